"""Which method when: every way to adapt a model on two sets, and what each costs. `pretune advise` rests on its rows.

    python benchmarks/methods.py --shared ../shared --out runs/methods          every cell that is missing, a table
    python benchmarks/methods.py --shared ... --out ... --only sst2-lora-s0     one cell
    python benchmarks/methods.py --shared ... --out ... --list                  the cells, and whether each is there
    python benchmarks/methods.py --shared ... --out ... --write                 what is there becomes the package's
    python benchmarks/methods.py --shared ... --out runs/try --examples 100     a short try, never written

A cell is a set, a method of METHOD (of those with variants, each) and a seed: a recipe dataset -> finetune -> evaluate,
kept as in tasks.py. all-MiniLM-L6-v2 on sst2#2000: accuracy on the test split, two seeds. minimind2-small on 1,000
Chinese instructions: loss per token of held-out replies (the validation split, which also chooses the best weights) and
ROUGE-L of 50 answers on the test split, one seed; what it forgets is the rise of bits per byte on d2l-zh.
Seconds to the best score are the training's, validations counted, times the share of its steps up to the best one; a
stage's peak memory is that of its process. The machine should be quiet, the same for all cells.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, get_args

from tasks import MINILM, MINIMIND, Cell, campaign, kept, pretune
from tasks_data import files, text_of, written

from pretune.base.errors import PretuneError
from pretune.base.stage import STAGE
from pretune.model.families import family_named
from pretune.model.methods.method import METHOD
from pretune.task.advice.measured import PLACE, Measured, Way, table_text
from pretune.task.task import TASK

VARIED = ("variant", "base_precision")
"""Settings of a method of which each value is a cell."""
LANGUAGES = {"sst2": "en", "alpaca": "zh"}


@dataclass(frozen=True)
class Set:
    """A data set, a model, and what is measured there.

    Args:
        figure: of the report, or with `validation_` of the validation split.
        settings: of stage finetune, besides the method; the length of texts costs nothing where they are short.
        general: text that the model may forget; only a decoder tells that.
    """

    data: str
    task: str
    model: str
    figure: str
    seeds: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    general: str = ""


SETS = {
    "sst2": Set("sst2#2000", "classify", MINILM, "accuracy", seeds=2),
    "alpaca": Set(
        "llamafactory-sft/alpaca_zh_demo.json#1000",
        "chat",
        MINIMIND,
        "validation_loss",
        settings={"epochs": 3, "batch": 8, "max_length": 512},
        report={"max_examples": 50},
        general="d2l-zh",
    ),
}


@dataclass(frozen=True)
class MethodCell:
    """One method on one set with one seed."""

    of: Set
    method: dict[str, Any]
    seed: int
    examples: int | None = None

    @property
    def data(self) -> str:
        name, _, number = self.of.data.partition("#")
        return f"{name}#{self.examples or number}"

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        tuned = {"max_length": 256, **self.of.settings, "method": self.method}  # 256: the default of stage finetune
        if self.of.general and "watch" in STAGE.find("finetune").model_fields:
            tuned["watch"] = [str(out.parent / "general" / "tokens")]
        shown = "rouge_l" if self.of.figure.startswith("validation_") else self.of.figure
        cell = Cell(files(self.data), self.of.task, shown, tuned=tuned, report=self.of.report, base=self.of.model)
        return Cell.recipe(cell, shared, out) | {"seed": self.seed}

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        if self.of.general and not (out.parent / "general" / "tokens").exists():
            pretune(_general(self.of, shared, out.parent / "general"), out.parent / "general")
        pretune(self.recipe(shared, out), out)
        card = json.loads(text_of(out / "tuned" / "artifact.json"))["metrics"]
        group = json.loads(text_of(out / "report" / "report.json"))["groups"]["all"]
        told = {**group["metrics"], **card}
        lost = list(card.get("forgotten", {}).values())
        return {
            "figure": self.of.figure,
            "value": told[self.of.figure],
            "bar": 0.0,
            "baselines": {b["name"]: b["metrics"] for b in group["baselines"] if not b["is_ceiling"]},
            "report": group["metrics"],
            "forgotten": lost[0] if lost else None,
            "trained_parameters": card["trained_parameters"],
            "parameters": card["parameters"],
            "examples": card["examples"],
            "memory_bytes": card["peak_memory_bytes"],
            "seconds": round(card["train_seconds"] * card["best_step"] / card["steps_taken"], 1),
            "steps": card["steps_taken"],
            "precision": card["precision"],
        }


def _general(of: Set, shared: Path, out: Path) -> dict[str, Any]:
    corpus = {"kind": "corpus", "read": [str(shared / "data" / of.general)], "validation": 0.05}
    tokens = {"kind": "tokens", "corpus": "$corpus", "tokenizer": str(shared / of.model)}
    return {"name": "general", "work": str(out), "stages": {"corpus": corpus, "tokens": tokens}}


def ways(task: str, model: Path) -> dict[str, dict[str, Any]]:
    """Every method that the task can be learnt by on a model: as the table has them, so a new one is a new cell."""
    found: dict[str, dict[str, Any]] = {}
    for kind in METHOD.kinds():
        fields = METHOD.find(kind).model_fields
        varied = [(name, value) for name in VARIED if name in fields for value in _values(fields[name].annotation)]
        others = [(name, value) for name, value in varied if value not in (fields[name].default, None)]
        if TASK(task).why_not(METHOD(kind)) is None and _takes(METHOD(kind), model):
            found[kind] = {"kind": kind}
            found |= {f"{kind}-{value}": {"kind": kind, name: value} for name, value in others}
    return found


def _values(annotation: Any) -> list[str]:
    """The words of a Literal, or of one that may be left out."""
    every = [value for one in get_args(annotation) for value in (get_args(one) or (one,))]
    return [value for value in every if isinstance(value, str)]


def _takes(method: Any, model: Path) -> bool:
    config = json.loads(text_of(model / "config.json"))
    try:
        method.check(family_named(config["model_type"]).config(config))
    except PretuneError:
        return False
    return True


def cells(shared: Path, examples: int | None = None) -> dict[str, MethodCell]:
    return {
        f"{name}-{way}-s{seed}": MethodCell(one, method, seed, examples)
        for name, one in SETS.items()
        for way, method in ways(one.task, shared / one.model).items()
        for seed in range(one.seeds)
    }


def measured(rows: dict[str, dict[str, Any]], made: dict[str, MethodCell]) -> list[Measured]:
    """The rows of each set as one, the seeds of a method together."""
    found = []
    for name, one in SETS.items():
        mine = {cell: rows[cell] for cell in made if made[cell].of is one and cell in rows}
        if not mine:
            continue
        first = next(iter(mine.values()))
        groups: dict[str, list[str]] = {}
        for cell in mine:
            groups.setdefault(cell.rpartition("-s")[0], []).append(cell)
        found.append(
            Measured(
                data=made[next(iter(mine))].data,
                task=one.task,
                language=LANGUAGES[name],
                model=Path(one.model).name,
                parameters=first["parameters"],
                examples=first["examples"],
                figure=one.figure,
                settings=[f"{key}={value}" for key, value in one.settings.items()],
                baselines=_best(row["baselines"] for row in mine.values()),
                processor=f"{first['processor']}, {first['precision']}",
                ways=[_way(made[group[0]].method, [mine[cell] for cell in group]) for group in groups.values()],
            )
        )
    return found


def _best(every: Any) -> dict[str, dict[str, float]]:
    """Baselines by name, a mean over the cells (they learn from the same rows)."""
    rows = list(every)
    return {
        name: {figure: round(mean(row[name][figure] for row in rows), 4) for figure in rows[0][name]}
        for name in rows[0]
    }


def _way(method: dict[str, Any], rows: list[dict[str, Any]]) -> Way:
    said = [f"method={method['kind']}", *(f"method.{name}={v}" for name, v in method.items() if name != "kind")]
    lost = [row["forgotten"] for row in rows if row["forgotten"] is not None]
    return Way(
        settings=said,
        values=[round(row["value"], 4) for row in rows],
        report={k: round(mean(row["report"][k] for row in rows), 4) for k in rows[0]["report"]},
        forgotten=round(mean(lost), 4) if lost else None,
        trained_parameters=rows[0]["trained_parameters"],
        memory_bytes=max(row["memory_bytes"] for row in rows),
        seconds=round(mean(row["seconds"] for row in rows), 1),
    )


def _into_guide(guide: Path, told: str) -> None:
    before, _, rest = text_of(guide).partition("<!-- methods -->")
    written(guide, f"{before}<!-- methods -->\n{told}\n<!-- /methods -->{rest.partition('<!-- /methods -->')[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/ and models/")
    parser.add_argument("--out", type=Path, required=True, help="the folder of what is made; rows.jsonl are the rows")
    parser.add_argument("--only", action="append", metavar="CELL", help="this one; may be given again")
    parser.add_argument("--list", action="store_true", help="print the cells, run nothing")
    parser.add_argument("--write", action="store_true", help="run nothing; what is there becomes the package's table")
    parser.add_argument("--examples", type=int, help="of each set: a short try")
    given = parser.parse_args()
    shared, out = given.shared.absolute(), given.out.absolute()
    made = cells(shared, given.examples)
    names = given.only or list(made)
    if strays := [name for name in names if name not in made]:
        parser.error(f"there is no cell {strays[0]}; --list has their names")
    if given.list:
        print("\n".join(f"{name:32}{'there' if name in kept(out) else 'missing'}" for name in names))
        return
    if not given.write:
        campaign(made, names, shared, out)
    rows = measured(kept(out), made)
    print(table_text(rows))
    if given.write:
        assert given.examples is None, "a try is not what advice rests on"
        for language in ("en", "zh"):
            _into_guide(Path(__file__).parents[1] / "docs" / language / "guide.md", table_text(rows))
        PLACE.write_text(json.dumps([row.model_dump() for row in rows], ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
