"""What a quarter of an hour of BERT's pretraining is worth: fine-tuned, next to the same model from random weights and
to the textbooks' bag, CNN and LSTM on the same labels.

    python benchmarks/next_sentence.py --shared ../shared --out runs/next --language en     sst2
    python benchmarks/next_sentence.py --shared ../shared --out runs/next --language zh     chnsenticorp

Masked tokens and next sentences (objective.pairs=next) on raw text for `--minutes`, then stage finetune with the
defaults, for three seeds: the pretrained model, `fresh=same`, `fresh=bag`, `cnn` and `lstm`, all with its tokenizer.
Figures are accuracies on the test split, mean and spread; the linear SVM on TF-IDF is that of the report.
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

from blimp import texts as english
from tasks_data import splits

from pretune.base.measurements import processor

SEEDS = 3
KINDS: dict[str, dict[str, Any]] = {
    "pretrained": {},
    "random": {"fresh": "same"},
    **{kind: {"fresh": kind} for kind in ("bag", "cnn", "lstm")},
}


def chinese(data: Path, out: Path) -> list[str]:
    """A textbook, instructions with their answers, and the unlabelled texts of the reviews that are trained on."""
    out.mkdir(parents=True, exist_ok=True)
    with gzip.open(data / "alpaca-zh" / "train.jsonl.gz", "rt", encoding="utf-8") as file:
        told = ["\n".join(str(part) for part in json.loads(line).values() if part) for line in file]
    with (data / "chnsenticorp" / "train.jsonl").open(encoding="utf-8") as file:
        told += [json.loads(line)["text"] for line in file]
    lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in told)
    (out / "zh.jsonl").write_text("".join(lines), encoding="utf-8")
    return [str(data / "d2l-zh"), str(out / "zh.jsonl")]


def labelled(data: Path, out: Path, language: str) -> list[str]:
    if language == "en":
        return [str(data / "sst2")]
    return splits("chnsenticorp", train="train.jsonl", dev="dev.jsonl", test="test_noleak.jsonl")(data, out)


def recipes(
    shared: Path, out: Path, language: str, minutes: float, tuned_steps: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the pretraining, once; and of everything that is fine-tuned, for each seed."""
    data = shared / "data"
    read = (english if language == "en" else chinese)(data, out / "inputs")
    base = {
        "corpus": {"kind": "corpus", "read": read, "validation": 0.02, "test": 0},
        "words": {"kind": "tokenizer", "corpus": "$corpus", "algorithm": "wordpiece", "vocab_size": 8192},
        "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$words"},
        "base": {
            "kind": "pretrain",
            "tokens": "$tokens",
            "model": "bert-mini",
            "objective": {"kind": "masked", "pairs": "next"},
            "length": 128,
            "minutes": minutes,
        },
    }
    tuned: dict[str, Any] = {"data": {"kind": "dataset", "read": labelled(data, out / "inputs", language)}}
    for name, fresh in KINDS.items():
        task = {"kind": "finetune", "model": str(out / "base"), "data": "$data", "task": "classify", "max_length": 128}
        tuned[name] = {**task, **fresh, **({"steps": tuned_steps} if tuned_steps else {})}
        tuned[f"{name}_report"] = {"kind": "evaluate", "model": f"${name}", "data": "$data"}
    work = {"name": "next", "work": str(out)}
    return {**work, "stages": base}, {**work, "seeds": SEEDS, "stages": tuned}


def row_of(out: Path, name: str) -> dict[str, Any]:
    groups = [
        json.loads((out / f"{name}_report.s{k}" / "report.json").read_text(encoding="utf-8"))["groups"]["all"]
        for k in range(SEEDS)
    ]
    values = [group["metrics"]["accuracy"] for group in groups]
    others = {one["name"]: one["metrics"]["accuracy"] for one in groups[0]["baselines"]}
    return {
        "model": name,
        "accuracy": statistics.mean(values),
        "spread": max(values) - min(values),
        "baselines": others,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--tuned", type=int, help="steps of fine-tuning, where not the stage's own number (to try it)")
    given = parser.parse_args()
    out = given.out.resolve() / given.language
    out.mkdir(parents=True, exist_ok=True)
    for number, tree in enumerate(recipes(given.shared.resolve(), out, given.language, given.minutes, given.tuned)):
        path = out / f"recipe-{number}.yaml"
        path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "pretune", "run", str(path)], check=True)
    told = json.loads((out / "base" / "artifact.json").read_text(encoding="utf-8"))["metrics"]
    print(json.dumps({name: v for name, v in told.items() if name.startswith("validation_") and isinstance(v, float)}))
    for name in KINDS:
        print(json.dumps({**row_of(out, name), "processor": processor()}), flush=True)


if __name__ == "__main__":
    main()
