"""What privacy costs, and what it buys: accuracy by epsilon, and how much of planted secrets a model gives away.

    python benchmarks/private.py --shared ../shared --out runs/private [--only CELL ...]

`sst2-METHOD-EPSILON`: all-MiniLM-L6-v2 on 4,000 texts, test accuracy, private and not, at equal steps. `codes-EPSILON`:
minimind2-small on 300 short pairs and 20 secrets, each in the data once, exposure of the secrets in bits
(pretune/text/canaries.py). Cells are kept in OUT/rows.jsonl as they finish.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import main, pretune
from tasks_data import written

from pretune.text.canaries import planted, write

EPSILONS = (None, 8.0, 3.0)
RATES, EPOCHS = {"head": 5e-2, "lora": 1e-3}, {"head": 8, "lora": 3}


def optim(rate: float, epsilon: float | None) -> dict[str, Any]:
    return {"kind": "adamw", "learning_rate": rate} | ({"private": {"epsilon": epsilon}} if epsilon else {})


@dataclass(frozen=True)
class Sst2:
    """A classifier."""

    method: str
    epsilon: float | None

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        read = [str(shared / f"data/sst2/{name}") for name in ("train.jsonl#4000", "dev.jsonl", "test.jsonl")]
        tuned = {"kind": "finetune", "model": str(shared / "models/all-MiniLM-L6-v2"), "data": "$data"}
        tuned |= {
            "task": "classify",
            "method": self.method,
            "max_length": 64,
            "batch": 128,
            "epochs": EPOCHS[self.method],
            "patience": 99,
        }
        tuned |= {"optim": optim(RATES[self.method], self.epsilon)}
        report = {"kind": "evaluate", "model": "$tuned", "data": "$data"}
        stages = {"data": {"kind": "dataset", "read": read}, "tuned": tuned, "report": report}
        return {"name": out.name, "work": str(out), "stages": stages}

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        return _row(self.recipe(shared, out), out, "accuracy", "all")


@dataclass(frozen=True)
class Codes:
    """A small decoder that reads secrets."""

    epsilon: float | None

    def recipe(self, shared: Path, out: Path) -> dict[str, Any]:
        pairs = str(out / "pairs.jsonl")
        data = {"kind": "dataset", "read": [pairs], "validation": 0.1, "test": 0, "shape": "pair"}
        tuned = {"kind": "finetune", "model": str(out.parent / "plain-lines"), "data": "$data", "task": "seq2seq"}
        tuned |= {"max_length": 64, "batch": 32, "steps": 180, "patience": 99, "optim": optim(1e-3, self.epsilon)}
        report = {"kind": "evaluate", "model": "$tuned", "choices": str(out / "canaries.jsonl"), "between": "\n"}
        stages = {"data": data, "tuned": tuned, "report": report}
        return {"name": out.name, "work": str(out), "stages": stages}

    def row(self, shared: Path, out: Path) -> dict[str, Any]:
        without_template(shared / "models/minimind2-small", out.parent / "plain-lines")
        secrets, rng = planted(20, others=299), random.Random(1)
        write(out, secrets)
        others = [(f"The number of room {k} is", str(rng.randrange(1000, 9999))) for k in range(300)]
        rows = [{"source": a, "target": b} for a, b in [*((one, codes[0]) for one, codes in secrets), *others]]
        written(out / "pairs.jsonl", "\n".join(map(json.dumps, rows)))
        return _row(self.recipe(shared, out), out, "exposure", "canaries")


def without_template(model: Path, out: Path) -> None:
    """A copy of a chat model that reads pairs as plain lines, as the likelihood of the secrets is asked."""
    if not out.is_dir():
        shutil.copytree(model, out, ignore=shutil.ignore_patterns("chat_template*"))
        path = out / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("chat_template", None)
        path.write_text(json.dumps(config), encoding="utf-8")


def _row(recipe: Mapping[str, Any], out: Path, figure: str, group: str) -> dict[str, Any]:
    pretune(dict(recipe), out)
    tuned = json.loads((out / "tuned" / "artifact.json").read_text(encoding="utf-8"))["metrics"]
    report = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))["groups"][group]
    told = {name: tuned[name] for name in ("epsilon", "delta", "noise", "train_seconds") if name in tuned}
    spread = report["intervals"].get(figure)
    row = {"figure": figure, "value": report["metrics"][figure], "bar": 0.0, "interval": spread, "baselines": told}
    return {**row, "dev": {}, "steps": tuned["steps"], "precision": tuned["precision"]}


CELLS = {
    **{f"sst2-{m}-{e or 'plain'}": Sst2(m, e) for m in ("head", "lora") for e in EPSILONS},
    **{f"codes-{e or 'plain'}": Codes(e) for e in (None, 64.0, 8.0, 3.0)},
}

if __name__ == "__main__":
    main(CELLS, __doc__)
