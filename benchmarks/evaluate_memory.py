"""Memory of an evaluation by the size of the test set: a tiny classifier on 100 and on 50,000 drawn texts.

    python benchmarks/evaluate_memory.py [--texts 50000] [--labels 2]

Each size in a process of its own; what counts is how much more the larger one holds at its peak (bar: 50 MiB).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import json, resource, sys
from pretune.base.log import Log
from pretune.base.recipe import Recipe
Recipe.build(json.loads(sys.argv[1])).run(log=Log(quiet=True))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
WORDS = [f"w{k}" for k in range(3000)]
MODEL = {"kind": "bert", "layers": 1, "width": 32, "heads": 2, "hidden": 48}


def rows(number: int, labels: int, rng: random.Random) -> str:
    drawn = ({"text": " ".join(rng.choices(WORDS, k=12)), "label": f"l{k % labels}"} for k in range(number))
    return "\n".join(map(json.dumps, drawn))


def peak(folder: Path, texts: int, labels: int) -> float:
    """MiB of a process that evaluates; model and data are made before, in another one."""
    data, rng = folder / f"data-{texts}", random.Random(0)
    data.mkdir()
    for split, number in (("train", 500), ("dev", 100), ("test", texts)):
        (data / f"{split}.jsonl").write_text(rows(number, labels, rng), encoding="utf-8")
    small = {"steps": 2, "batch": 8, "precision": "float32"}
    stages = {
        "corpus": {"kind": "corpus", "read": [str(data)], "filters": []},
        "words": {"kind": "tokenizer", "corpus": "$corpus", "algorithm": "wordpiece", "vocab_size": 300},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$words"},
        "base": {"kind": "pretrain", "tokens": "$tokens", "model": MODEL, "objective": "masked", "length": 32, **small},
        "data": {"kind": "dataset", "read": [str(data)]},
        "tuned": {"kind": "finetune", "model": "$base", "data": "$data", "task": "classify", "max_length": 32, **small},
    }
    report = {"report": {"kind": "evaluate", "model": "$tuned", "data": "$data"}}
    found = 0.0
    for some in (stages, stages | report):
        tree = json.dumps({"work": str(folder / f"work-{texts}"), "stages": some})
        done = subprocess.run([sys.executable, "-c", PROGRAM, tree], capture_output=True, text=True, check=True)
        found = float(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--labels", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        few, many = (peak(Path(folder), number, asked.labels) for number in (100, asked.texts))
    print(f"100 texts {few:.1f} MiB, {asked.texts:,} texts {many:.1f} MiB: {many - few:.1f} MiB more")


if __name__ == "__main__":
    main()
