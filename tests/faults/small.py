"""A small run in this process: a regression of two layers, whose session is the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from pretune.base.log import Log
from pretune.base.stage import Context
from pretune.model.methods.method import METHOD
from pretune.testing.worlds import VOCABULARY, case
from pretune.tokens.rows import Row
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.session import Session, begin
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.step import StepReport
from pretune.train.loop.stream import RowStream
from pretune.train.settings import TrainSettings

BATCH = 4


@dataclass
class Loud(Log):
    """A log that keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(quiet=True, silent=True, metrics_file=folder / "metrics.jsonl")


@dataclass(frozen=True)
class Portions:
    """The portions of a stream without some of them; rows of others may be changed."""

    plain: RowStream
    without: tuple[int, ...] = ()
    changed: Mapping[int, Callable[[list[Row]], list[Row]]] = field(default_factory=dict)

    def _at(self, step: int) -> int:
        return [one for one in range(step + len(self.without) + 1) if one not in self.without][step]

    def rows(self, step: int) -> list[Row]:
        rows = [Row(**row) for row in self.plain.rows(self._at(step))]
        return self.changed[step](rows) if step in self.changed else rows

    def where(self, step: int) -> str:
        return self.plain.where(self._at(step))

    def share(self, step: int) -> float:
        return 1.0


def session(
    folder: Path,
    *,
    steps: int = 12,
    stream: Callable[[RowStream], Any] = lambda plain: plain,
    stopping: Callable[[], bool] = lambda: False,
    run: dict[str, Any] | None = None,
    **settings: Any,
) -> Session:
    """A session in `folder`, before its first step; the dropout is on."""
    model, objective, rows = case("regress")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    rows = [{**row, "ids": row["ids"][:8], "parts": None} for row in rows * 6]
    rows = [{name: value for name, value in row.items() if value is not None} for row in rows]  # type: ignore[misc]
    given = TrainSettings(batch=BATCH, steps=steps, precision="float64", **{"save_every": 4, **settings})
    spec = TrainSpec(
        given, objective, VOCABULARY, outline=lambda: model, known_by=[], method=METHOD("full"), layers=2, length=8,
        tokens_per_row=6.0, rows=len(rows), batch=BATCH, micro_tokens=64, make=lambda: model,
        stream=stream(RowStream(rows, BATCH, seed=5)),
    )  # fmt: skip
    choices = {"precision": "float64", "checkpointed": 0, "micro_batch": 2, "compile": False, "steps": steps}
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(
        seed=3, log=Loud(folder), scratch=folder, home=folder, stopping=stopping,
        choose=lambda name, resolve: resolve(), run=run or {},
    )  # fmt: skip
    found = begin(spec, {**choices, "seconds_per_step": 0.0, "warmup": 0}, Runtime(), context)
    torch.manual_seed(3)
    found.resume()
    return replace(found, log_every=1)


def finished(one: Session, after: Callable[[StepReport], bool] = lambda report: False) -> dict[str, torch.Tensor]:
    """The weights behind the last step."""
    one.run(after)
    return {name: weight.detach().clone() for name, weight in one.state.update.final().items()}


def alike(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(weight, other[name]) for name, weight in one.items())
