"""Every task on real data, next to its baselines: what a model of 22 million parameters is worth on each.

    python benchmarks/tasks.py --shared ../shared --out runs/tasks          every cell that is missing, then a table
    python benchmarks/tasks.py --shared ... --out ... --only banking77      one cell
    python benchmarks/tasks.py --shared ... --out ... --list                the cells, and whether each is there

A cell is a recipe of pretune's own stages, dataset -> finetune -> evaluate, in a process of its own: figures are those
of its report (the test split, baselines learnt from the same training split). Its row is appended to OUT/rows.jsonl; a
row that is there is not made again unless its recipe has changed, or the version of a stage; a cell that was cut short
goes on where it was.
Settings are the defaults, but for the length of texts and what CELLS names; they were chosen on validation splits.

Two cells on sst2 compare with others: `sst2-plain`, a plain transformers loop of the same model, rows and number of
steps as `sst2-s0`; and `sst2-clock`, seconds from the command until the validation accuracy that both sides reach, ours
next to transformers' Trainer with its defaults, four looks an epoch on each side. The clock wants a quiet machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pretune.base.digest import digest
from pretune.base.extras import git_commit
from pretune.base.measurements import processor
from pretune.base.stage import STAGE

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

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        """Make what is missing of its three folders, and read the report."""
        path = _written(out / "recipe.yaml", json.dumps(self.recipe(shared, out), indent=1))
        subprocess.run([sys.executable, "-m", "pretune", "run", path], check=True)
        cards = {stage: _card(out / stage) for stage in ("data", "tuned", "report")}
        tuned, stages = cards["tuned"]["metrics"], {stage: card["made"]["seconds"] for stage, card in cards.items()}
        group = json.loads(_text(out / "report" / "report.json"))["groups"]["all"]
        others = {one["name"]: one["metrics"][self.figure] for one in group["baselines"] if not one["is_ceiling"]}
        return {
            "figure": self.figure,
            "value": group["metrics"][self.figure],
            "interval": group["intervals"].get(self.figure),
            "baselines": others,
            "bar": max(others.values()) if self.bar == "baseline" else self.bar,
            "dev": {name: value for name, value in tuned.items() if name.startswith("validation_")},
            "steps": tuned["steps_taken"],
            "stages": stages,
            "seconds": round(sum(stages.values()), 1),
            "precision": tuned["precision"],
            "verdict": group["verdict"],
        }


# ---- what they read -----------------------------------------------------------------------------


def files(*names: str) -> Inputs:
    return lambda data, made: [str(data / name) for name in names]


def stsb(data: Path, made: Path) -> list[str]:
    """The same rows with a line of names, which the files lack."""
    return [
        _written(
            made / "stsb" / f"{split}.csv", f"sentence1,sentence2,score\n{_text(data / 'stsb' / f'en-{split}.csv')}"
        )
        + ("#4000" if split == "train" else "")
        for split in ("train", "dev", "test")
    ]


def goemotions(data: Path, made: Path) -> list[str]:
    """Rows with the names of their labels, which the files give as numbers."""
    names, found = _text(data / "goemotions" / "labels.txt").split(), []
    for split in ("train", "dev", "test"):
        rows = csv.reader(
            _text(data / "goemotions" / f"{split}.tsv").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE
        )
        lines = [
            json.dumps({"text": text, "labels": [names[int(k)] for k in held.split(",")]}) for text, held, _ in rows
        ]
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


def _card(folder: Path) -> dict[str, Any]:
    return json.loads(_text(folder / "artifact.json"))


def _written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return str(path)


# ---- other people's programs on sst2 --------------------------------------------------------------


def others(side: str, shared: Path, out: Path, *more: str) -> list[tuple[float, dict[str, Any]]]:
    program, told = Path(__file__).with_name("tasks_transformers.py"), out / f"{side}.jsonl"
    words = [side, str(shared / MODEL), str(shared / "data/sst2"), "--out", str(told), *more]
    return watched([sys.executable, "-W", "ignore", str(program), *words], told)


def watched(command: list[str], told: Path) -> list[tuple[float, dict[str, Any]]]:
    """What a command writes of its validation, each line with the seconds since the command."""
    told.unlink(missing_ok=True)
    started, found = time.perf_counter(), []
    with subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}) as process:
        while True:
            ended = process.poll() is not None
            lines = [x for x in _text(told).splitlines(keepends=True) if "validation" in x] if told.exists() else []
            found += [(time.perf_counter() - started, json.loads(x)) for x in lines[len(found) :] if x.endswith("\n")]
            if ended:
                break
            time.sleep(0.05)
    assert process.returncode == 0, f"{command[:3]} failed"
    return found


@dataclass(frozen=True)
class Other:
    """One comparison on sst2."""

    side: Literal["plain", "trainer"]

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        return {"side": self.side, "version": 1}

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        out.mkdir(parents=True, exist_ok=True)
        return self._plain(shared, out) if self.side == "plain" else self._clock(shared, out)

    def _plain(self, shared: Path, out: Path) -> dict[str, Any]:
        """The accuracy of the loop against that of ours, which must be there."""
        ours, tuned = kept(out.parent)["sst2-s0"], _card(out.with_name("sst2-s0") / "tuned")["metrics"]
        ((_, said),) = others(
            "plain", shared, out, "--steps", str(tuned["steps"]), "--rate", str(tuned["learning_rate"])
        )
        row = {"figure": "accuracy", "value": ours["value"], "interval": ours["interval"], "bar": said["accuracy"]}
        return {**row, "baselines": {"plain loop": said["accuracy"]}, "dev": said, "steps": tuned["steps"]}

    def _clock(self, shared: Path, out: Path) -> dict[str, Any]:
        """Times as fast to the validation accuracy that both sides reach."""
        steps = len(_text(shared / "data/sst2/train.jsonl").splitlines()) // 32
        words = ["finetune", str(shared / MODEL), str(shared / "data/sst2"), "task=classify", "max_length=128"]
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        command = [sys.executable, "-m", "pretune", *words, f"evaluate_every={steps // 4}", "patience=99"]
        ours = watched([*command, "--out", str(out / "ours")], out / "ours.scratch" / "metrics.jsonl")
        curves = [[(s, x["validation_accuracy"]) for s, x in one] for one in (ours, others("trainer", shared, out))]
        goal = min(max(score for _, score in curve) for curve in curves)
        mine, theirs = (next(s for s, score in curve if score >= goal) for curve in curves)
        precision = _card(out / "ours")["metrics"]["precision"]
        row = {"figure": "times as fast", "value": theirs / mine, "bar": 2.5 if precision == "bfloat16" else 1.6}
        said = {"goal": goal, "ours": curves[0], "Trainer": curves[1]}
        return {**row, "interval": None, "baselines": {"Trainer, s": theirs, "ours, s": mine}, "dev": said, "steps": 0}


# ---- the cells, the cheap ones first --------------------------------------------------------------

SST2 = files("sst2")
CELLS: dict[str, Cell | Other] = {
    "sms-spam": Cell(files("sms-spam/all.jsonl#4000"), "classify", "macro_f1", 0.980),
    "wikigold": Cell(files("wikigold/all.conll"), "tag", "f1"),
    "stsb": Cell(stsb, "regress", "spearman"),
    "wnut17": Cell(files("wnut17/train.conll#4000", "wnut17/dev.conll", "wnut17/test.conll"), "tag", "f1"),
    "agnews-small": Cell(files("agnews-small/train.jsonl#4000", "agnews-small/test.jsonl"), "classify", "accuracy"),
    "goemotions": Cell(goemotions, "classify", "macro_f1"),
    "squadshifts": Cell(squadshifts, "answer", "f1", finetune={"max_length": 384}),
    "banking77": Cell(files("banking77"), "classify", "accuracy", 0.93),
    **{f"sst2-s{seed}": Cell(SST2, "classify", "accuracy", 0.89, seed=seed) for seed in range(3)},
    "sst2-plain": Other("plain"),
    "sst2-clock": Other("trainer"),
}


# ---- all of them --------------------------------------------------------------------------------


def kept(out: Path) -> dict[str, dict[str, Any]]:
    """The last row of each cell."""
    path = out / "rows.jsonl"
    rows = [json.loads(line) for line in _text(path).splitlines()] if path.is_file() else []
    return {row["cell"]: row for row in rows}


def campaign(names: list[str], shared: Path, out: Path) -> None:
    versions = {kind: STAGE.find(kind).version for kind in ("dataset", "pretrain", "finetune", "evaluate")}
    for name in names:
        key = digest([CELLS[name].recipe(shared, out / name), versions])
        if kept(out).get(name, {}).get("key") == key:
            continue
        started = time.time()
        made = CELLS[name].row(shared, out / name)
        row = {"cell": name, "key": key, "seconds": round(time.time() - started, 1), **made}
        row |= {"met": row["value"] >= row["bar"], "processor": processor(), "git": git_commit()}
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
    machines = sorted({f"{row['processor']} {row.get('precision', '')}" for row in rows.values()})
    total = sum(row["seconds"] for row in rows.values())
    return "\n".join([*lines, "", *machines, f"all: {total / 60:.0f} minutes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/ and models/")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of what is made; rows.jsonl are the results"
    )
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
