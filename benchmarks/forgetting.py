"""sst2, then banking77, then sms-spam: what a model forgets of the first ones, and what keeps it from that.

    python benchmarks/forgetting.py --shared ../shared --out runs/forgetting       every cell that is missing, a table
    python benchmarks/forgetting.py --shared ... --out ... --only ewc --seeds 1    one remedy, one seed
    python benchmarks/forgetting.py --shared ... --out ... --only l2=0.3           another weight
    python benchmarks/forgetting.py --shared ... --out ... --examples 40           a short try

A cell is a remedy and a seed: a recipe of pretune's own stages, three fine-tunings of MiniLM in a row, 2,000 training
examples and two epochs each, that watch the data sets of the earlier ones. Its row, appended to OUT/rows.jsonl, is the
accuracy matrix: row k what is known after task k, column j the accuracy on the validation split of task j, by the head
that was saved for it. A row that is there is not made again unless its recipe has changed, or the version of a stage.
`lora` merges each adapter into its base before the next task, since adapters apart would forget nothing at all.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tasks import MINILM, campaign, kept, pretune
from tasks_data import text_of

TASKS = ("sst2", "banking77", "spam")
SHORT = 500
"""Fewer examples are a try, whose validation is as short."""
HELD_OUT = 0.2
"""Of banking77 and sms-spam, which have no validation split of their own."""


def remedy(kind: str, weight: float | None = None, **more: Any) -> dict[str, Any]:
    return {"remember": {"kind": kind, **({} if weight is None else {"weight": weight}), **more}}


WITH_DATA = ("ewc", "replay", "lwf", "average")
"""Remedies that are told which data sets came before."""
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "ewc": remedy("ewc"),
    "l2": remedy("l2"),
    "lwf": remedy("lwf"),
    "replay": remedy("replay", 0.05),
    "lora": {"method": "lora"},
    "average": remedy("average"),
}


def data_of(shared: Path, examples: int) -> dict[str, Any]:
    sets, more = shared / "data", int(examples / (1 - HELD_OUT))
    dev = sets / "sst2" / "dev.jsonl"
    sst2 = [f"{sets / 'sst2' / 'train.jsonl'}#{examples}", f"{dev}#{examples}" if examples < SHORT else str(dev)]
    common = {"kind": "dataset", "test": 0}
    return {
        "sst2": {**common, "read": sst2},
        "banking77": {**common, "read": [f"{sets / 'banking77' / 'train.jsonl'}#{more}"], "validation": HELD_OUT},
        "spam": {**common, "read": [f"{sets / 'sms-spam' / 'all.jsonl'}#{more}"], "validation": HELD_OUT},
    }


def step_of(place: int, model: str, method: str, how: dict[str, Any], before: list[str]) -> dict[str, Any]:
    """The fine-tuning of one task; `before`: the data sets (of lora the models) of the earlier ones."""
    tuned = {"kind": "finetune", "model": model, "data": f"${TASKS[place]}", "task": "classify", "max_length": 128}
    tuned |= {"epochs": 2, "watch": before}
    if not place:
        return tuned | ({"method": "lora"} if method == "lora" else {})
    how = json.loads(json.dumps(how))
    if "remember" in how and how["remember"]["kind"] in WITH_DATA:
        how["remember"]["data"] = before
    return tuned | how


@dataclass(frozen=True)
class Cell:
    """A remedy and a seed, as tasks.py runs and keeps it."""

    method: str
    how: dict[str, Any]
    seed: int
    examples: int

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        """All three in one recipe; the first one is shared by the remedies of a seed."""
        stages, model = data_of(shared, self.examples), str(shared / MINILM)
        for place, task in enumerate(TASKS):
            name = f"{task}_{self.method}" if place or self.method == "lora" else f"{task}_first"
            before = [f"${earlier}" for earlier in TASKS[:place]]
            stages[name] = step_of(place, model, self.method, self.how, before)
            model = f"${name}"
        work = str(out.parent / f"s{self.seed}")
        return {"name": f"forgetting-{self.method}", "work": work, "seed": self.seed, "stages": stages}

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        tree = self.recipe(shared, out)
        if self.how.get("method") == "lora":
            run_lora(tree, out)
        else:
            pretune(tree, out)
        found = row_of(tree)
        return {"method": self.method, "seed": self.seed, "value": found["average_accuracy"], "bar": 0.0, **found}


def run_lora(tree: dict[str, Any], out: Path) -> None:
    """One stage after the other; the next one begins with the merged model, and its watch names the adapters."""
    from pretune.model.folder import save_model
    from pretune.model.methods.adapter import open_adapter

    work = Path(tree["work"])
    data = {name: stage for name, stage in tree["stages"].items() if stage["kind"] == "dataset"}
    made: list[Path] = []
    model = tree["stages"][f"{TASKS[0]}_lora"]["model"]
    for task in TASKS:
        stage = dict(tree["stages"][f"{task}_lora"], watch=[str(one) for one in made], model=model)
        pretune({**tree, "stages": {**data, f"{task}_lora": stage}}, out / task)
        made.append(work / f"{task}_lora")
        merged = made[-1].with_name(f"{task}_lora_merged")
        model = str(merged)
        if not merged.exists():
            merged.mkdir()
            save_model(open_adapter(made[-1]), merged, tokenizer=made[-1])


def row_of(tree: dict[str, Any]) -> dict[str, Any]:
    """The matrix and what follows from it (Lopez-Paz & Ranzato 2017, arXiv:1706.08840)."""
    tuned = [name for name, stage in tree["stages"].items() if stage["kind"] == "finetune"]
    cards = [json.loads(text_of(Path(tree["work"]) / name / "artifact.json")) for name in tuned]
    known = [card["metrics"]["knows"] for card in cards]
    matrix = [[known[k][task] for task in TASKS[: k + 1]] for k in range(len(TASKS))]
    lost = [matrix[j][j] - matrix[-1][j] for j in range(len(TASKS) - 1)]
    return {
        "matrix": matrix,
        "average_accuracy": mean(matrix[-1]),
        "backward_transfer": -mean(lost),
        "new_task": mean(matrix[k][k] for k in range(1, len(TASKS))),
        "average_weights": [card["metrics"].get("average_weight") for card in cards],
        "seconds_of_stages": [card["made"]["seconds"] for card in cards],
        "precision": cards[-1]["metrics"]["precision"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the seeds, in points; of what is forgotten the standard deviation too."""
    lines = [
        "| remedy | sst2 after 1, 2, 3 | banking77 after 2, 3 | spam | average | forgotten | new tasks | seconds |"
    ]
    lines.append("|" + "---|" * 8)
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        of = [[mean(row["matrix"][k][j] for row in mine) for j in range(k + 1)] for k in range(len(TASKS))]
        cells = [", ".join(f"{100 * of[k][j]:.1f}" for k in range(j, len(TASKS))) for j in range(len(TASKS))]
        lost = [-100 * row["backward_transfer"] for row in mine]
        spread = f" ± {stdev(lost):.1f}" if len(lost) > 1 else ""
        ends = [100 * mean(row[figure] for row in mine) for figure in ("average_accuracy", "new_task")]
        seconds = mean(sum(row["seconds_of_stages"][1:]) for row in mine)
        told = [method, *cells, f"{ends[0]:.1f}", f"{mean(lost):.1f}{spread}", f"{ends[1]:.1f}", f"{seconds:.0f}"]
        lines.append(f"| {' | '.join(told)} |")
    machines = sorted({f"{row['processor']} {row['precision']}" for row in rows})
    return "\n".join([*lines, "", *machines, f"seeds: {len({row['seed'] for row in rows})}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/ and models/")
    parser.add_argument("--out", type=Path, required=True, help="the folder of what is made")
    parser.add_argument("--only", action="append", metavar="METHOD", help="this one; may be given again; METHOD=WEIGHT")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=2000, help="for training, of each data set")
    given = parser.parse_args()
    shared, out = given.shared.absolute(), given.out.absolute()
    cells = {}
    for seed in range(given.seeds):
        for asked in given.only or METHODS:
            method, _, weight = asked.partition("=")
            how, name = remedy(method, float(weight)) if weight else METHODS[method], asked.replace("=", "_")
            cells[f"{name}-s{seed}"] = Cell(name, how, seed, given.examples)
    campaign(cells, list(cells), shared, out)
    print(table(list(kept(out).values())))


if __name__ == "__main__":
    main()
