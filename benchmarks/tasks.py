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
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import tasks_data as data
from tasks_data import Inputs, text_of, written

from pretune.base.digest import digest
from pretune.base.extras import git_commit
from pretune.base.measurements import processor
from pretune.base.stage import STAGE

MINILM, MINIMIND = "models/all-MiniLM-L6-v2", "models/minimind2-small"


@dataclass(frozen=True)
class Base:
    """A small model of ours, pretrained on the text of some sets; several cells may start from it.

    Args:
        more: settings of stage pretrain that are not the defaults.
    """

    name: str
    texts: Inputs
    model: str
    objective: str
    minutes: float
    more: dict[str, Any] = field(default_factory=dict)

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        read = {"text": self.texts(shared / "data", out / "inputs")}
        stages = {
            "corpus": {"kind": "corpus", "read": read, "filters": [], "max_overlap": None},
            "tokenizer": {"kind": "tokenizer", "corpus": "$corpus", "vocab_size": 8000},
            "tokens": {"kind": "tokens", "corpus": "$corpus", "tokenizer": "$tokenizer"},
            "base": {"kind": "pretrain", "tokens": "$tokens", "model": self.model, "objective": self.objective},
        }
        stages["base"] |= {"minutes": self.minutes, "length": 256, **self.more}
        return {"name": self.name, "work": str(out / self.name), "stages": stages}


@dataclass(frozen=True)
class Cell:
    """One data set, one task, one seed.

    Args:
        figure: the one that is told, of the report's.
        bar: what it must reach; "baseline": the best baseline.
        data, tuned: settings of stages dataset and finetune that are not the defaults.
        base: what is fine-tuned.
    """

    inputs: Inputs
    task: str
    figure: str
    bar: float | str = "baseline"
    data: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    base: Base | str = MINILM
    seed: int = 0

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        model = shared / self.base if isinstance(self.base, str) else out.parent / self.base.name / "base"
        tuned = {"kind": "finetune", "model": str(model), "data": "$data", "task": self.task, "max_length": 128}
        stages = {
            "data": {"kind": "dataset", "read": self.inputs(shared / "data", out.parent / "inputs"), **self.data},
            "tuned": {**tuned, **self.tuned},
            "report": {"kind": "evaluate", "model": "$tuned", "data": "$data", **self.report},
        }
        return {"name": out.name, "work": str(out), "seed": self.seed, "stages": stages}

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        """Make what is missing of its folders, and read the report."""
        started = time.time()
        if isinstance(self.base, Base):
            pretune(self.base.recipe(shared, out.parent), out.parent / self.base.name)
        pretune(self.recipe(shared, out), out)
        cards = {stage: _card(out / stage) for stage in ("data", "tuned", "report")}
        tuned, stages = cards["tuned"]["metrics"], {stage: card["made"]["seconds"] for stage, card in cards.items()}
        group = json.loads(text_of(out / "report" / "report.json"))["groups"]["all"]
        beside = [one for one in group["baselines"] if not one["is_ceiling"] and self.figure in one["metrics"]]
        others = {one["name"]: one["metrics"][self.figure] for one in beside}
        return {
            "figure": self.figure,
            "value": group["metrics"][self.figure],
            "interval": group["intervals"].get(self.figure),
            "baselines": others,
            "bar": max(others.values()) if self.bar == "baseline" else self.bar,
            "dev": {name: value for name, value in tuned.items() if name.startswith("validation_")},
            "steps": tuned["steps_taken"],
            "stages": stages,
            "seconds": round(max(sum(stages.values()), time.time() - started), 1),
            "precision": tuned["precision"],
            "verdict": group["verdict"],
        }


def pretune(recipe: dict[str, Any], out: Path) -> None:
    path = written(out / "recipe.yaml", json.dumps(recipe, indent=1))
    subprocess.run([sys.executable, "-m", "pretune", "run", path], check=True)


def _card(folder: Path) -> dict[str, Any]:
    return json.loads(text_of(folder / "artifact.json"))


# ---- other people's programs on sst2 --------------------------------------------------------------


def others(
    side: str, shared: Path, out: Path, *more: str, enough: float = math.inf
) -> list[tuple[float, dict[str, Any]]]:
    program, told = Path(__file__).with_name("tasks_transformers.py"), out / f"{side}.jsonl"
    words = [side, str(shared / MINILM), str(shared / "data/sst2"), "--out", str(told), *more]
    return watched([sys.executable, "-W", "ignore", str(program), *words], told, enough)


def watched(command: list[str], told: Path, enough: float = math.inf) -> list[tuple[float, dict[str, Any]]]:
    """What a command writes of its validation, each line with the seconds since the command.

    Args:
        enough: the command is ended at this accuracy.
    """
    told.unlink(missing_ok=True)
    started, found = time.perf_counter(), []
    with subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}) as process:
        while True:
            ended = process.poll() is not None
            lines = [x for x in text_of(told).splitlines(keepends=True) if "validation" in x] if told.exists() else []
            found += [(time.perf_counter() - started, json.loads(x)) for x in lines[len(found) :] if x.endswith("\n")]
            reached = any(said.get("validation_accuracy", 0) >= enough for _, said in found)
            if ended or reached:
                break
            time.sleep(0.05)
        if reached:
            process.terminate()
    assert reached or process.returncode == 0, f"{command[:3]} failed"
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
        steps = len(text_of(shared / "data/sst2/train.jsonl").splitlines()) // 32
        words = ["finetune", str(shared / MINILM), str(shared / "data/sst2"), "task=classify", "max_length=128"]
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        command = [sys.executable, "-m", "pretune", *words, f"evaluate_every={steps // 4}", "patience=99"]
        ours = watched([*command, "--out", str(out / "ours")], out / "ours.scratch" / "metrics.jsonl")
        best = max(said["validation_accuracy"] for _, said in ours)
        theirs = others("trainer", shared, out, enough=best)  # there the goal is ours; what follows changes nothing
        curves = [[(s, x["validation_accuracy"]) for s, x in one] for one in (ours, theirs)]
        goal = min(max(score for _, score in curve) for curve in curves)
        mine, trainer = (next(s for s, score in curve if score >= goal) for curve in curves)
        precision = _card(out / "ours")["metrics"]["precision"]
        row = {"figure": "times as fast", "value": trainer / mine, "bar": 2.5 if precision == "bfloat16" else 1.6}
        said = {"goal": goal, "ours": curves[0], "Trainer": curves[1]}
        return {**row, "interval": None, "baselines": {"Trainer, s": trainer, "ours, s": mine}, "dev": said, "steps": 0}


# ---- the cells, the cheap ones first --------------------------------------------------------------

SST2 = data.files("sst2")
# Steps of a quarter of the usual rows: with 32 a masked model of 15 minutes does not leave the unigram's plateau.
ZH_ENCODER = Base("zh-encoder", data.chinese, "modernbert-mini", "masked", 15, {"batch": 8})
EN_DE = Base("en-de-decoder", data.sides_of(data.multi30k), "qwen3-mini", "causal", 5)
ZH_DECODER = Base("classical-decoder", data.sides_of(data.classical), "qwen3-mini", "causal", 5)
WNUT = data.files("wnut17/train.conll#4000", "wnut17/dev.conll", "wnut17/test.conll")
PREFERENCES = data.files("llamafactory-sft/dpo_zh_demo.json", "llamafactory-sft/dpo_en_demo.json")
SHIFTED = data.splits("squadshifts", train="reddit_v1.0.json.gz#2000", test="amazon_reviews_v1.0.json.gz#4000")
CMRC = data.splits("cmrc2018", train="train.json#4000", dev="trial.json", test="dev.json#1000")
CLUENER = data.splits("cluener2020", train="train.jsonl#4000", test="dev.jsonl")


def rate(peak: float) -> dict[str, Any]:
    return {"optim": {"kind": "adamw", "learning_rate": peak}}


FEW: dict[str, Any] = {"max_examples": 500}
SMOOTH = {"kind": "classify", "label_smoothing": 0.1}
LONG = {"epochs": 16, **rate(5e-4)}
"""For an encoder that knows little yet: dev F1 on cluener2020 .53, with the defaults .12."""
SHORT = {"minutes": 15, **rate(5e-4)}
"""LONG over the windows of 4,000 paragraphs would take 4,768 steps: three hours and a half on AVX2."""
CELLS: dict[str, Cell | Other] = {
    "sms-spam": Cell(data.files("sms-spam/all.jsonl#4000"), "classify", "macro_f1", 0.980),
    "wikigold": Cell(data.files("wikigold/all.conll"), "tag", "f1", tuned={"epochs": 8}),
    "wnut17": Cell(WNUT, "tag", "f1"),
    "goemotions": Cell(data.goemotions, "classify", "macro_f1", tuned={"max_length": 64, **rate(3e-4)}),
    "stsb": Cell(data.stsb, "regress", "spearman"),
    "stsb-embed": Cell(data.stsb, "embed", "spearman", 0.82),
    "agnews-small": Cell(
        data.files("agnews-small/train.jsonl#4000", "agnews-small/test.jsonl"), "classify", "accuracy"
    ),
    "banking77": Cell(data.files("banking77"), "classify", "accuracy", 0.93, tuned={"epochs": 8, "task": SMOOTH}),
    "squadshifts": Cell(SHIFTED, "answer", "f1", tuned={"max_length": 256}),
    **{f"sst2-s{seed}": Cell(SST2, "classify", "accuracy", 0.89, seed=seed) for seed in range(3)},
    "multi30k": Cell(data.multi30k, "seq2seq", "bleu", tuned={"epochs": 10}, report=FEW, base=EN_DE),
    "classical-modern": Cell(data.classical, "seq2seq", "bleu", tuned={"epochs": 10}, report=FEW, base=ZH_DECODER),
    "cluener2020": Cell(CLUENER, "tag", "f1", tuned={**LONG, "task": {"kind": "tag", "crf": True}}, base=ZH_ENCODER),
    "cmrc2018": Cell(CMRC, "answer", "f1", tuned={**SHORT, "max_length": 256}, base=ZH_ENCODER),
    "cmrc2018-finding": Cell(data.finding, "embed", "ndcg_10", tuned={"max_length": 256}, base=ZH_ENCODER),
    "dpo": Cell(PREFERENCES, "prefer", "win_rate", 0.5, tuned={"max_length": 512, "epochs": 3}, base=MINIMIND),
    "sst2-plain": Other("plain"),
    "sst2-clock": Other("trainer"),
}


# ---- all of them --------------------------------------------------------------------------------


def kept(out: Path) -> dict[str, dict[str, Any]]:
    """The last row of each cell."""
    path = out / "rows.jsonl"
    rows = [json.loads(line) for line in text_of(path).splitlines()] if path.is_file() else []
    return {row["cell"]: row for row in rows}


class Kept(Protocol):
    """What a campaign runs and keeps: a cell of any benchmark."""

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]: ...

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        """With `value` and `bar`."""


Cells = Mapping[str, Kept]


def campaign(cells: Cells, names: list[str], shared: Path, out: Path) -> None:
    versions = {kind: STAGE.find(kind).version for kind in ("dataset", "pretrain", "finetune", "evaluate")}
    for name in names:
        key = digest([cells[name].recipe(shared, out / name), versions])
        if kept(out).get(name, {}).get("key") == key:
            continue
        started = time.time()
        made = cells[name].row(shared, out / name)
        row = {"cell": name, "key": key, "seconds": round(time.time() - started, 1), **made}
        row |= {"met": row["value"] >= row["bar"], "processor": processor(), "git": git_commit()}
        with (out / "rows.jsonl").open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row) + "\n")


def table(cells: Cells, rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| cell | figure | ours | 95 % | baselines | bar | | dev | steps | seconds |", "|" + "---|" * 10]
    for name in (name for name in cells if name in rows):
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


def main(cells: Cells, described: str | None) -> None:
    parser = argparse.ArgumentParser(description=described, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/ and models/")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of what is made; rows.jsonl are the results"
    )
    parser.add_argument("--only", action="append", choices=cells, metavar="CELL", help="this one; may be given again")
    parser.add_argument("--list", action="store_true", help="print the cells, run nothing")
    given = parser.parse_args()
    names, shared, out = given.only or list(cells), given.shared.absolute(), given.out.absolute()
    if given.list:
        for name in names:
            print(f"{name:16}{'there' if name in kept(out) else 'missing'}")
        return
    campaign(cells, names, shared, out)
    print(table(cells, kept(out)))


if __name__ == "__main__":
    main(CELLS, __doc__)
