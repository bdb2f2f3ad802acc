"""The reference curves of `pretune show RUN --compare`: small models on five texts, sizes x tokens x seeds.

    python benchmarks/reference_curves.py --data FOLDER                    all runs; the figures into the package
    python benchmarks/reference_curves.py --data FOLDER --only zh_small  some of them; the others stay

FOLDER holds `gutenberg-en/*.md`, `chinese-poetry/*.jsonl.gz`, `d2l-zh/*.md` and `tinyshakespeare/*.txt`; a fifth text
is the Python that is installed here.
Every run is a recipe of our own defaults (Muon, linear schedule, rows of 256, 16 a step); a run that is done is not
run again. Kept of each: parameters, bytes and tokens read, epochs, and two curves in bits per byte over bytes read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "pretune" / "train" / "watch" / "diagnosis" / "reference.json"
TEXTS = {
    "en": "gutenberg-en/*.md",
    "zh": "chinese-poetry/*.jsonl.gz",
    "code": "python:code",
    "manual": "d2l-zh/*.md",
    "plays": "tinyshakespeare/*.txt",
}
SHORT_TEXTS = ("manual", "plays")
"""Texts of about a megabyte: read once they are no longer than the short budget."""
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"kind": "qwen3", "layers": 1, "width": 64, "heads": 2, "kv_heads": 1, "head_width": 32, "hidden": 176},
    "small": {"kind": "qwen3", "layers": 2, "width": 128, "heads": 2, "kv_heads": 1, "hidden": 352},
    "nano": {"kind": "qwen3-nano"},
}
TOKENS = {"brief": 80_000, "short": 250_000}
RUNS = {
    ("tiny", "brief"): (0,),
    ("tiny", "short"): (0, 1, 2),
    ("small", "short"): (0,),
    ("nano", "brief"): (0,),
}
"""Seeds of each size and budget, the cheap ones first: each run takes two minutes of one core at most."""
VOCABULARY = 4096
BATCH = 16


def names() -> list[str]:
    """`en_tiny_short_0` and so on."""
    cells = [(text, *cell, seed) for cell, seeds in RUNS.items() for seed in seeds for text in TEXTS]
    return ["_".join(map(str, cell)) for cell in cells if _is_run(*cell)]


def _is_run(text: str, shape: str, budget: str, seed: int) -> bool:
    return text not in SHORT_TEXTS or (budget in ("brief", "short") and shape != "nano" and seed == 0)


def stages(name: str, data: Path) -> dict[str, Any]:
    """The recipe of a run: text, tokenizer and tokens are shared by all runs of a text."""
    text, shape, budget, _ = name.split("_")
    place = TEXTS[text] if ":" in TEXTS[text] else str(data / TEXTS[text])
    run = {
        "kind": "pretrain",
        "tokens": f"${text}_tokens",
        "model": SHAPES[shape],
        "tokens_read": TOKENS[budget],
        "batch": BATCH,
        "micro_batch": 8,
        "precision": "bfloat16",
        "compile": "no",
    }
    return {
        f"{text}_corpus": {"kind": "corpus", "read": [place]},
        f"{text}_tokenizer": {"kind": "tokenizer", "corpus": f"${text}_corpus", "vocab_size": VOCABULARY},
        f"{text}_tokens": {"kind": "tokens", "corpus": f"${text}_corpus", "tokenizer": f"${text}_tokenizer"},
        name: run,
    }


def made(name: str, data: Path, work: Path) -> Any:
    from pretune.base.log import Log
    from pretune.base.recipe import Recipe

    seed = int(name.rpartition("_")[2])
    first = Recipe.build({"work": str(work), "stages": dict(list(stages(name, data).items())[:3])})
    tokens = first.run(log=Log(quiet=True))[f"{name.split('_', maxsplit=1)[0]}_tokens"]
    run = stages(name, data)[name] | {"tokens": str(tokens.path)}
    return Recipe.build({"work": str(work), "seed": seed, "stages": {name: run}}).run(log=Log())[name]


def kept(name: str, artifact: Any) -> dict[str, Any]:
    """What the package keeps of a run; numbers to four digits."""
    from pretune.train.watch.diagnosis.reading import Run

    run = Run.open(artifact.path)
    assert run.text is not None, "the tokens lie next to the run"
    scale = {"train": run.text.bits("train"), "validation": run.text.bits("validation")}
    points = {"train": run.train, "validation": run.validation}
    curves = {n: [(round(run.bytes_at(s)), round(v * scale[n], 4)) for s, v in points[n]] for n in points}
    return {
        "text": name.split("_", maxsplit=1)[0],
        "parameters": run.parameters,
        "matrices": run.matrices,
        "seed": int(name.rpartition("_")[2]),
        "steps": run.steps,
        "num_bytes": round(run.num_bytes),
        "epochs": round(run.epochs, 3),
        "bits_per_byte": round(run.bits_per_byte, 4),
        "bytes_per_token": round(run.text.bytes_per_token, 4),
        **curves,
    }


def write(found: dict[str, Any]) -> None:
    """The figures of these runs take the place of what the package had of them."""
    old = json.loads(TARGET.read_text(encoding="utf-8"))["runs"] if TARGET.is_file() else {}
    runs = {f"{r['text']}_{r['parameters']}_{r['num_bytes']}_{r['seed']}": r for r in [*old, *found.values()]}
    lines = ",\n".join(json.dumps(runs[n]) for n in sorted(runs))
    command = "python benchmarks/reference_curves.py --data FOLDER"
    TARGET.write_text(f'{{"command": "{command}", "runs": [\n{lines}\n]}}\n', encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/reference"))
    parser.add_argument("--only", default="", help="the beginning of names")
    parser.add_argument("--list", action="store_true", help="print the names")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names()))
        return
    chosen = [name for name in names() if name.startswith(options.only)]
    write({name: kept(name, made(name, options.data, options.work)) for name in chosen})


if __name__ == "__main__":
    main()
