"""Read some of what was learnt before again, next to the new task.

    loss of a step = (1 - weight) * mean of the task + weight * mean of what is replayed

Of a step's rows the share that is replayed is `weight` too (of 32 rows 2 more with 0.05), so that each target counts
about alike. General text is learnt by the base's own pretraining, as in  lambda * pretraining + (1 - lambda) * task;
an earlier data set through the head that it was saved with, which stays as it is: only the body learns of it.

Source: Robins 1995, Catastrophic forgetting, rehearsal and pseudorehearsal; Chaudhry et al. 2019, arXiv:1902.10486
(a small memory is enough).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pretune.base.config import Input
from pretune.task.remember.remember import Remember

if TYPE_CHECKING:
    from pretune.task.labelled_data import LabelledData
    from pretune.task.remember.earlier import Past
    from pretune.train.loop.session import Session
    from pretune.train.loop.spec import TrainSpec


class Replay(Remember):
    """Learn some of the earlier data again."""

    changes_loss: ClassVar[bool] = True

    data: Annotated[list[str], Field(min_length=1), Input("dataset|model|tokens", by_name=True)]
    """What is read again: tokens of general text, data sets that the base was fine-tuned on, or such models."""
    weight: float = Field(0.05, gt=0, lt=1)
    """Share of what is replayed in the loss, and in the rows of a step; several are replayed alike."""

    def learnt(self, spec: TrainSpec, past: Past, data: LabelledData) -> TrainSpec:
        from pretune.objective.beside import TASK, Beside
        from pretune.task.remember.earlier import earlier
        from pretune.task.remember.streams import Named, beside

        parts = {f"replay_{k}" if k else "replay": earlier(past, one) for k, one in enumerate(past.given)}
        number = max(1, round(spec.batch * self.weight / (1 - self.weight) / len(parts)))
        streams = [Named(one.stream(number, past.seed + k), name) for k, (name, one) in enumerate(parts.items())]
        objectives = {TASK: spec.objective, **{name: one.objective for name, one in parts.items()}}
        shares = {TASK: 1 - self.weight, **dict.fromkeys(parts, self.weight / len(parts))}
        objective = Beside(kind="beside", of=objectives, shares=shares).coming(parts)
        return beside(spec, objective, streams, number * len(parts))

    def start(self, session: Session, past: Past, data: LabelledData) -> None:
        from pretune.objective.beside import Beside

        assert isinstance(session.spec.objective, Beside), "a run that replays learns beside"
        session.spec.objective.hold(session.state.model)
