"""Which objective learns most grammar, most text and most for a task from the same ten megabytes of English?

    python benchmarks/blimp.py --shared ../shared --out runs/blimp            every cell that is missing, then the table
    python benchmarks/blimp.py --shared ... --out ... --only causal           one objective, three seeds

The text is gutenberg-en, tinyshakespeare and the English captions of multi30k; one tokenizer, one store. Every cell has
the same number of parameters (5.0 million; an encoder's feed-forward part is as wide as makes it so), reads the same
number of tokens (`--steps` of 32 x 256), and is measured by stage evaluate on BLiMP (causal models on all pairs, masked
ones by pseudo-log-likelihood on every tenth), by bits per byte on the held-out text where an objective tells them, and
by accuracy on sst2 after `--tuned` steps of fine-tuning. `random` is fine-tuned without having read anything. Figures
are means over three seeds with their spread (largest less smallest); the winner is ahead by more than both spreads.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from pretune.base.measurements import processor

DECODER = {"kind": "qwen3-nano"}
ENCODER = {"kind": "bert", "layers": 4, "width": 256, "heads": 4, "hidden": 928}
CELLS: dict[str, dict[str, Any]] = {
    "causal": {"model": DECODER, "objective": "causal"},
    "input_mask": {"model": DECODER, "objective": {"kind": "causal", "input_mask": 0.1}},
    "hybrid": {"model": DECODER, "objective": {"kind": "hybrid", "share_masked": 0.25}},
    "masked": {"model": ENCODER, "objective": "masked"},
}
SEEDS = 3
FIGURES = ("blimp", "blimp_per_token", "bits_per_byte", "sst2")


def texts(data: Path, out: Path) -> list[str]:
    """The ten megabytes: captions in documents of twenty, speeches likewise, books as they are."""
    out.mkdir(parents=True, exist_ok=True)
    with gzip.open(data / "multi30k" / "raw__train.en.gz", "rt", encoding="utf-8") as file:
        captions = [line.strip() for line in file]
    speeches = (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8").split("\n\n")
    some = {"captions": ("\n", captions), "speeches": ("\n\n", speeches)}
    for name, (between, lines) in some.items():
        documents = (between.join(lines[k : k + 20]) for k in range(0, len(lines), 20))
        written = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents)
        (out / f"{name}.jsonl").write_text(written, encoding="utf-8")
    return [str(data / "gutenberg-en"), *(str(out / f"{name}.jsonl") for name in some)]


def shared_stages(shared: Path, out: Path) -> dict[str, Any]:
    data = shared / "data"
    return {
        "corpus": {"kind": "corpus", "read": texts(data, out / "inputs"), "validation": 0.02, "test": 0.02},
        "words": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 8192},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$words"},
        "sst2": {"kind": "dataset", "read": [str(data / "sst2")]},
    }


def recipe(shared: Path, out: Path, cell: str, steps: int, tuned: int) -> dict[str, Any]:
    """The stages of one objective; what trains comes once for each seed, what all share lies at OUT."""
    pairs = {"pairs": str(shared / "data" / "blimp" / "pairs.jsonl.gz")}
    asked = {"max_examples": 1340} if cell == "masked" else {"data": "$tokens"}
    fine = {"kind": "finetune", "data": "$sst2", "task": "classify", "steps": tuned, "max_length": 64}
    base = {"kind": "pretrain", "tokens": "$tokens", "length": 256, "steps": steps, **CELLS[cell]}
    stages = {
        **shared_stages(shared, out),
        f"{cell}_base": base,
        f"{cell}_grammar": {"kind": "evaluate", "model": f"${cell}_base", **pairs, **asked},
        f"{cell}_tuned": {**fine, "model": f"${cell}_base"},
        f"{cell}_sst2": {"kind": "evaluate", "model": f"${cell}_tuned", "data": "$sst2"},
        f"{cell}_random": {**fine, "model": f"${cell}_base", "fresh": "same"},
        f"{cell}_floor": {"kind": "evaluate", "model": f"${cell}_random", "data": "$sst2"},
    }
    return {"name": "blimp", "work": str(out), "seeds": SEEDS, "stages": stages}


def row_of(out: Path, cell: str, seed: int) -> dict[str, Any]:
    def read(stage: str, name: str) -> dict[str, Any]:
        return json.loads((out / f"{cell}_{stage}.s{seed}" / name).read_text(encoding="utf-8"))

    def group(stage: str, which: str) -> dict[str, Any]:
        return read(stage, "report.json")["groups"].get(which, {})

    grammar, text = group("grammar", "pairs"), group("grammar", "all")
    others = {one["name"]: one["metrics"]["accuracy"] for one in grammar["baselines"]}
    return {
        "cell": cell,
        "seed": seed,
        "blimp": grammar["metrics"]["accuracy"],
        "blimp_per_token": grammar["metrics"]["accuracy_per_token"],
        "bits_per_byte": text.get("metrics", {}).get("bits_per_byte"),
        "sst2": group("sst2", "all")["metrics"]["accuracy"],
        "random": group("floor", "all")["metrics"]["accuracy"],
        "counting": others,
        "parameters": read("base", "artifact.json")["metrics"]["parameters"],
        "processor": processor(),
    }


def told(rows: list[dict[str, Any]]) -> str:
    lines = []
    for cell in CELLS:
        mine = [row for row in rows if row["cell"] == cell]
        for figure in (*FIGURES, "random"):
            values = [row[figure] for row in mine if row[figure] is not None]
            if values:
                spread = max(values) - min(values)
                lines.append(
                    f"{cell:<12} {figure:<16} {statistics.mean(values):.4f}  spread {spread:.4f}  n={len(values)}"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=640)
    parser.add_argument("--tuned", type=int, default=600)
    parser.add_argument("--only", action="append")
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "rows.jsonl"
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.is_file() else []
    for cell in given.only or CELLS:
        if any(row["cell"] == cell for row in rows):
            continue
        path = out / f"{cell}.yaml"
        tree = recipe(given.shared.resolve(), out, cell, given.steps, given.tuned)
        path.write_text(json.dumps(tree), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "pretune", "run", str(path)], check=True)
        rows += [row_of(out, cell, seed) for seed in range(SEEDS)]
        kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(told(rows))


if __name__ == "__main__":
    main()
