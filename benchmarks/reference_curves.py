"""The reference curves of `pretune show RUN --compare`: small models on three texts, sizes x tokens x seeds.

    python benchmarks/reference_curves.py --data FOLDER                    all runs; the figures into the package
    python benchmarks/reference_curves.py --data FOLDER --only zh_small    some of them; the others as they were

FOLDER holds `gutenberg-en/*.md` and `chinese-poetry/*.jsonl.gz`; the third text is the Python that is installed here.
Every run is a recipe of our own defaults (Muon, linear schedule, rows of 256, 16 a step); a run that is done is not
run again. Kept of each: parameters, bytes and tokens read, epochs, and two curves in bits per byte over bytes read.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "pretune" / "train" / "normal" / "reference.json"
TEXTS = {"en": "gutenberg-en/*.md", "zh": "chinese-poetry/*.jsonl.gz", "code": "python:code"}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"kind": "qwen3", "layers": 1, "width": 64, "heads": 2, "kv_heads": 1, "head_width": 32, "hidden": 176},
    "small": {"kind": "qwen3", "layers": 2, "width": 128, "heads": 2, "kv_heads": 1, "hidden": 352},
    "nano": {"kind": "qwen3-nano"},
}
TOKENS = {"short": 250_000, "middle": 400_000, "long": 800_000}
RUNS = {
    ("tiny", "short"): (0, 1, 2),
    ("small", "short"): (0, 1, 2),
    ("tiny", "long"): (0,),
    ("nano", "short"): (0,),
    ("small", "long"): (0,),
    ("nano", "middle"): (0,),
}
"""Seeds of each size and budget, the cheap ones first: each run takes two minutes of one core at most."""
VOCABULARY = 4096
BATCH = 16


def names() -> list[str]:
    """`en_tiny_short_0` and so on."""
    cells = [(text, *cell, seed) for cell, seeds in RUNS.items() for seed in seeds for text in TEXTS]
    return ["_".join(map(str, cell)) for cell in cells]


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
    for name in names():
        if name.startswith(options.only):
            made(name, options.data, options.work)


if __name__ == "__main__":
    main()
