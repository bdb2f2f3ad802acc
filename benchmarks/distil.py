"""A student of three layers, with and without its teacher of six: sst2 (three seeds; and a short try of 2,000 examples)
and banking77.

    python benchmarks/distil.py --shared ../shared --out runs/distil               every cell that is missing, a table
    python benchmarks/distil.py --shared ... --out ... --only sst2-s0-logits       one cell
    python benchmarks/distil.py --shared ... --out ... --list                      the cells, and whether they are there

The teacher is all-MiniLM-L6-v2, fine-tuned with the defaults; each student has blocks 0, 2 and 5 of all-MiniLM-L6-v2
and is fine-tuned on the same rows. `alone` has no teacher; `logits` learns what the teacher says, `states` what its
blocks give besides. Figures are accuracies of the test split; what was chosen was chosen on validation splits. The bar
of a student is its teacher's accuracy less two points; that it is above `alone` is to be read in the table.
A row that is there is not made again unless its recipe has changed, or the version of a stage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tasks_data as data
from tasks import MINILM, main, pretune
from tasks_data import Inputs, text_of

LAYERS = 3
WITHIN = 0.02
"""Of the teacher's accuracy, what a student may lack."""
TOLD = {"kind": "distil", "teacher": "$teacher", "weight": 0.9}
WAYS: dict[str, dict[str, Any]] = {
    "teacher": {},
    "alone": {"take_layers": LAYERS},
    "logits": {"take_layers": LAYERS, "objective": TOLD},
    "states": {"take_layers": LAYERS, "objective": {**TOLD, "hidden": 1.0}},
}


@dataclass(frozen=True)
class Cell:
    """A data set, a way to learn and a seed; the cells of a set and a seed share data and teacher."""

    inputs: Inputs
    way: str
    seed: int
    tuned: tuple[tuple[str, Any], ...] = ()

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        usual = {"kind": "finetune", "model": str(shared / MINILM), "data": "$data", "task": "classify"}
        usual |= {"max_length": 128, **dict(self.tuned)}
        stages = {
            "data": {"kind": "dataset", "read": self.inputs(shared / "data", out.parent / "inputs")},
            **{name: {**usual, **WAYS[name]} for name in dict.fromkeys(("teacher", self.way))},
            f"{self.way}_report": {"kind": "evaluate", "model": f"${self.way}", "data": "$data"},
        }
        work = str(out.with_name(out.name.rpartition("-")[0]))
        return {"name": out.name, "work": work, "seed": self.seed, "stages": stages}

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        tree = self.recipe(shared, out)
        pretune(tree, out)
        work = Path(tree["work"])
        cards = {name: json.loads(text_of(work / name / "artifact.json"))["metrics"] for name in ("teacher", self.way)}
        tuned, group = cards[self.way], _group(work / f"{self.way}_report")
        own = work / "teacher_report"
        teacher = _group(own)["metrics"]["accuracy"] if own.is_dir() else 0.0
        return {
            "figure": "accuracy",
            "value": group["metrics"]["accuracy"],
            "interval": group["intervals"].get("accuracy"),
            "baselines": {"teacher": teacher} if teacher else {},
            "bar": teacher - WITHIN,
            "dev": {"validation_accuracy": tuned["validation_accuracy"]},
            "steps": tuned["steps_taken"],
            "parameters": tuned["parameters"],
            "precision": tuned["precision"],
        }


def _group(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text_of(report / "report.json"))["groups"]["all"]
    return found


BANKING = (("epochs", 8),)
SHORT = data.files("sst2/train.jsonl#2000", "sst2/dev.jsonl", "sst2/test.jsonl")
CELLS = {
    **{f"short-s0-{way}": Cell(SHORT, way, 0, (("epochs", 3),)) for way in WAYS},
    **{f"sst2-s{s}-{way}": Cell(data.files("sst2"), way, s) for s in range(3) for way in WAYS},
    **{f"banking77-s0-{way}": Cell(data.files("banking77"), way, 0, BANKING) for way in WAYS},
}

if __name__ == "__main__":
    main(CELLS, __doc__)
