"""Every task on real data, next to its baselines: what a model of 22 million parameters is worth on each.

    python benchmarks/tasks.py --shared ../shared --out runs/tasks                  every cell that is missing, then a table
    python benchmarks/tasks.py --shared ... --out ... --only banking77              one cell
    python benchmarks/tasks.py --shared ... --out ... --list                        the cells, and whether each is there

A cell is a recipe of pretune's own stages, dataset -> finetune -> evaluate, in a process of its own: figures are those
of its report (the test split, baselines learnt from the same training split). Its row is appended to OUT/rows.jsonl; a
row that is there is not made again unless its recipe has changed, and a cell that was cut short goes on where it was.
Settings are the defaults, but for the length of texts and what CELLS names; they were chosen on validation splits.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.base.digest import digest
from pretune.base.extras import git_commit
from pretune.base.measurements import processor

MODEL = "models/all-MiniLM-L6-v2"
Inputs = Callable[[Path, Path], list[str]]
"""What stage dataset reads, given the folder of the data sets and one to write into."""


@dataclass(frozen=True)
class Cell:
    """One data set, one task, one seed.

    Args:
        figure: the one that is told; of the report's.
        bar: what it must be above; "baseline": the best baseline.
        finetune: settings of the stage that are not the defaults.
    """

    inputs: Inputs
    task: str
    figure: str
    bar: float | str = "baseline"
    finetune: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        read = self.inputs(shared / "data", out.with_name("inputs"))
        tuned = {"kind": "finetune", "model": str(shared / MODEL), "data": "$data", "task": self.task}
        stages = {
            "data": {"kind": "dataset", "read": read, **self.dataset},
            "tuned": {**tuned, "max_length": 128, **self.finetune},
            "report": {"kind": "evaluate", "model": "$tuned", "data": "$data"},
        }
        return {"name": out.name, "work": str(out), "seed": self.seed, "stages": stages}


# ---- what they read -----------------------------------------------------------------------------


def files(*names: str) -> Inputs:
    return lambda data, made: [str(data / name) for name in names]


def stsb(data: Path, made: Path) -> list[str]:
    """The same rows with a line of names, which the files lack."""
    return [
        _written(made / "stsb" / f"{split}.csv", f"sentence1,sentence2,score\n{_text(data / 'stsb' / f'en-{split}.csv')}")
        + ("#4000" if split == "train" else "")
        for split in ("train", "dev", "test")
    ]


def goemotions(data: Path, made: Path) -> list[str]:
    """Rows with the names of their labels, which the files give as numbers."""
    names, found = _text(data / "goemotions" / "labels.txt").split(), []
    for split in ("train", "dev", "test"):
        rows = csv.reader(_text(data / "goemotions" / f"{split}.tsv").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
        lines = [json.dumps({"text": text, "labels": [names[int(k)] for k in held.split(",")]}) for text, held, _ in rows]
        found.append(_written(made / "goemotions" / f"{split}.jsonl", "\n".join(lines) + "\n"))
    return [f"{found[0]}#4000", *found[1:]]


def squadshifts(data: Path, made: Path) -> list[str]:
    """What is learnt is about reddit, what is asked about amazon."""
    (made / "squadshifts").mkdir(parents=True, exist_ok=True)
    found = []
    for split, name in (("train", "reddit"), ("test", "amazon_reviews")):
        found.append(made / "squadshifts" / f"{split}.json.gz")
        shutil.copyfile(data / "squadshifts" / f"{name}_v1.0.json.gz", found[-1])
    return [f"{found[0]}#2000", f"{found[1]}#4000"]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return str(path)


# ---- the cells, the cheap ones first --------------------------------------------------------------

SST2 = files("sst2")
CELLS: dict[str, Cell] = {
    "sms-spam": Cell(files("sms-spam/all.jsonl#4000"), "classify", "macro_f1", 0.980),
    "wikigold": Cell(files("wikigold/all.conll"), "tag", "f1"),
    "stsb": Cell(stsb, "regress", "spearman"),
    "wnut17": Cell(files("wnut17/train.conll#4000", "wnut17/dev.conll", "wnut17/test.conll"), "tag", "f1"),
    "agnews-small": Cell(files("agnews-small/train.jsonl#4000", "agnews-small/test.jsonl"), "classify", "accuracy"),
    "goemotions": Cell(goemotions, "classify", "macro_f1"),
    "squadshifts": Cell(squadshifts, "answer", "f1", finetune={"max_length": 384}),
    "banking77": Cell(files("banking77"), "classify", "accuracy", 0.93),
    **{f"sst2-s{seed}": Cell(SST2, "classify", "accuracy", 0.89, seed=seed) for seed in range(3)},
}


# ---- one cell -----------------------------------------------------------------------------------


def run(name: str, cell: Cell, shared: Path, out: Path) -> dict[str, Any]:
    """Make what is missing of its three folders; returns its row."""
    folder = out / name
    recipe = cell.recipe(shared, folder)
    path = Path(_written(folder / "recipe.yaml", json.dumps(recipe, indent=1)))
    started = time.time()
    subprocess.run([sys.executable, "-m", "pretune", "run", str(path)], check=True)
    cards = {stage: json.loads(_text(folder / stage / "artifact.json")) for stage in recipe["stages"]}
    return {
        "cell": name,
        "key": digest(recipe),
        **figures(cell, json.loads(_text(folder / "report" / "report.json"))),
        "dev": {k: v for k, v in cards["tuned"]["metrics"].items() if k.startswith("validation_")},
        "steps": cards["tuned"]["metrics"]["steps_taken"],
        "stages": {stage: card["made"]["seconds"] for stage, card in cards.items()},
        "seconds": round(sum(card["made"]["seconds"] for card in cards.values()), 1),
        "wall": round(time.time() - started, 1),
        "precision": cards["tuned"]["metrics"]["precision"],
        "processor": processor(),
        "git": git_commit(),
    }


def figures(cell: Cell, report: dict[str, Any]) -> dict[str, Any]:
    group = report["groups"]["all"]
    others = {one["name"]: one["metrics"][cell.figure] for one in group["baselines"] if not one["is_ceiling"]}
    value = group["metrics"][cell.figure]
    bar = max(others.values()) if cell.bar == "baseline" else cell.bar
    return {
        "figure": cell.figure,
        "value": value,
        "interval": group["intervals"].get(cell.figure),
        "baselines": others,
        "bar": bar,
        "met": value >= bar,
        "examples": group["examples"],
        "verdict": group["verdict"],
    }


# ---- all of them --------------------------------------------------------------------------------


def kept(out: Path) -> dict[str, dict[str, Any]]:
    """The last row of each cell."""
    path = out / "rows.jsonl"
    rows = [json.loads(line) for line in _text(path).splitlines()] if path.is_file() else []
    return {row["cell"]: row for row in rows}


def campaign(names: list[str], shared: Path, out: Path) -> None:
    for name in names:
        cell = CELLS[name]
        if (row := kept(out).get(name)) and row["key"] == digest(cell.recipe(shared, out / name)):
            continue
        row = run(name, cell, shared, out)
        with (out / "rows.jsonl").open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row) + "\n")


def table(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| cell | figure | ours | 95 % | baselines | bar | | dev | steps | seconds |", "|" + "---|" * 10]
    for name in (name for name in CELLS if name in rows):
        row = rows[name]
        spread = " to ".join(f"{x:.3f}" for x in row["interval"] or ())
        others = ", ".join(f"{who} {value:.3f}" for who, value in row["baselines"].items())
        met = "met" if row["met"] else "**not met**"
        dev = row["dev"].get(f"validation_{row['figure']}")
        lines.append(
            f"| {name} | {row['figure']} | **{row['value']:.3f}** | {spread} | {others} | {row['bar']:.3f} | {met} | "
            f"{'' if dev is None else f'{dev:.3f}'} | {row['steps']} | {row['seconds']:.0f} |"
        )
    machines = {(row["processor"], row["precision"]) for row in rows.values()}
    total = sum(row["seconds"] for row in rows.values())
    return "\n".join([*lines, "", *(f"{p}, {q}" for p, q in sorted(machines)), f"all: {total / 60:.0f} minutes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/ and models/")
    parser.add_argument("--out", type=Path, required=True, help="the folder of what is made; rows.jsonl are the results")
    parser.add_argument("--only", action="append", choices=CELLS, metavar="CELL", help="this one; may be given again")
    parser.add_argument("--list", action="store_true", help="print the cells, run nothing")
    given = parser.parse_args()
    names, shared, out = given.only or list(CELLS), given.shared.absolute(), given.out.absolute()
    if given.list:
        for name in names:
            print(f"{name:16}{'there' if name in kept(out) else 'missing'}")
        return
    campaign(names, shared, out)
    print(table(kept(out)))


if __name__ == "__main__":
    main()
