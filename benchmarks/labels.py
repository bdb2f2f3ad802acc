"""Labels that are few, or lopsided: what each remedy is worth.

    python benchmarks/labels.py --shared ../shared --out runs/labels         every cell that is missing, then a table
    (--only CELL and --list as in tasks.py, whose cells these are)

`rare-*`: sms-spam with one spam to twenty ham, a third of it for the report; macro-F1 on the test split with its
interval. `few-*`: sst2 with 8 or 32 examples of each label to learn from and as many to choose by, three draws and
seeds each; accuracy on its test split. all-MiniLM-L6-v2 throughout. `rare-smote` needs the extra smote.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tasks import Cell, main
from tasks_data import Inputs, text_of, written

SPAM, HAM = 1, 20
SEEDS, EACH = (0, 1, 2), (8, 32)


def lopsided(data: Path, made: Path) -> list[str]:
    """All ham, and of the spam so much that there is one to twenty."""
    by_label: dict[str, list[str]] = {}
    for line in text_of(data / "sms-spam" / "all.jsonl").splitlines():
        by_label.setdefault(str(json.loads(line)["label"]), []).append(line)
    rare, often = sorted(by_label.values(), key=len)
    cut = random.Random(0).sample(rare, len(often) * SPAM // HAM)
    return [written(made / "sms-spam-1-20" / "all.jsonl", "\n".join([*often, *cut]) + "\n")]


def few(each: int, seed: int) -> Inputs:
    """sst2 with so many examples of each label in train, as many others in dev, and its test split."""

    def read(data: Path, made: Path) -> list[str]:
        by_label: dict[str, list[str]] = {}
        for line in text_of(data / "sst2" / "train.jsonl").splitlines():
            by_label.setdefault(str(json.loads(line)["label"]), []).append(line)
        drawn = [random.Random(seed).sample(lines, 2 * each) for _, lines in sorted(by_label.items())]
        folder = made / f"sst2-{each}-{seed}"
        parts = {
            "train": [x for lines in drawn for x in lines[:each]],
            "dev": [x for lines in drawn for x in lines[each:]],
        }
        parts["test"] = text_of(data / "sst2" / "test.jsonl").splitlines()
        return [written(folder / f"{split}.jsonl", "\n".join(lines) + "\n") for split, lines in parts.items()]

    return read


REMEDIES: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {},
    "weights": {"data": {"balance": "weights"}},
    "over": {"data": {"balance": "over"}},
    "under": {"data": {"balance": "under"}},
    "focal": {"task": {"loss": "focal"}},
    "thresholds": {"task": {"thresholds": True}},
    "head": {"tuned": {"method": "head"}},
    "smote": {"task": {"smote": True}, "tuned": {"method": "head"}},
}
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "full": {},
    "head": {"tuned": {"method": "head"}},
    "few-shot": {"task": {"few_shot": True}},
    "r-drop": {"task": {"r_drop": 1.0}},
    "mixup": {"task": {"mixup": 0.4}},
}


def cell(inputs: Inputs, how: dict[str, dict[str, Any]], figure: str, seed: int, **data: Any) -> Cell:
    tuned = {"task": {"kind": "classify", **how.get("task", {})}, **how.get("tuned", {})}
    return Cell(inputs, "classify", figure, 0.0, data={**data, **how.get("data", {})}, tuned=tuned, seed=seed)


CELLS = {
    f"rare-{name}": cell(lopsided, how, "macro_f1", 0, validation=0.17, test=0.33) for name, how in REMEDIES.items()
} | {
    f"few-{each}-{name}-s{seed}": cell(few(each, seed), how, "accuracy", seed)
    for each in EACH
    for name, how in WAYS.items()
    for seed in SEEDS
}

if __name__ == "__main__":
    main(CELLS, __doc__)
