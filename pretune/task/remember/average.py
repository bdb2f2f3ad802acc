"""Meet the start halfway: after training the weights become a mean of those at the start and those that were learnt.

    theta = (1 - weight) * theta0 + weight * theta1            new heads stay as they were learnt

Without a `weight` it is chosen from 0, .1 ... 1 on the validation split: by the score of the new task, or by the mean
of that and the scores of the earlier data sets that `data` names; of equal ones the one that is nearer to the start.

Source: Wortsman et al. 2021, arXiv:2109.01903 (WiSE-FT; they average the head of a zero-shot classifier too).
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PrivateAttr

from pretune.base.config import Input
from pretune.base.errors import NoTarget
from pretune.base.json import Json
from pretune.report.numbers import is_lower_better
from pretune.task.remember.l2 import anchor
from pretune.task.remember.remember import Looks, Remember

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.task.labelled_data import LabelledData
    from pretune.task.remember.earlier import Past
    from pretune.task.remember.watched import Watched
    from pretune.train.loop.session import Session
    from pretune.train.optim.update import Update

TRIED = tuple(k / 10 for k in range(11))


class Average(Remember):
    """Average what was learnt with the start."""

    data: Annotated[list[str], Input("dataset|model", by_name=True)] = []
    """Earlier data sets (or models) whose scores count when the weight is chosen, as much as that of the new task."""
    weight: float | None = Field(None, ge=0, le=1)
    """Weight of what was learnt, 0 being the start; when not given it is chosen on the validation split."""

    _start: dict[str, Tensor] = PrivateAttr(default_factory=dict)
    _watched: list[Watched] = PrivateAttr(default_factory=list)

    def start(self, session: Session, past: Past, data: LabelledData) -> None:
        from pretune.task.remember.watched import watched

        self._watched = watched(past, past.given, session)
        if self.weight is None and not (data.dev_rows or self._watched):
            problem = "the weight of remember=average is chosen on a validation split, and there is none"
            raise NoTarget(problem, hint="make one, or say remember.weight=0.5")
        self._start = anchor(session, new_head=data.task.new_head)

    def finish(self, best: Looks) -> Json:
        update = best.session.state.update
        learnt = {name: tensor.clone() for name, tensor in update.final().items() if name in update.weights}
        seen: dict[str, dict[str, float]] = {}
        curve: dict[str, dict[str, float]] = {}
        for weight in TRIED if self.weight is None else (self.weight,):
            put_between(update, self._start, learnt, weight)
            seen[f"{weight:g}"] = best.scores() if best.data.dev_rows else {}
            curve[f"{weight:g}"] = self._told(best, seen[f"{weight:g}"])
        chosen = best_of(curve)
        put_between(update, self._start, learnt, float(chosen))
        if seen[chosen]:
            best.session.state.extra["best"] = seen[chosen]
        best.session.context.log.info(f"    averaged with the start: weight {chosen} of what was learnt")
        return {"average_weight": float(chosen), "average_curve": curve}

    def _told(self, best: Looks, scores: Mapping[str, float]) -> dict[str, float]:
        """The score of the new task, those of the earlier ones, and `mean`, by which the weight is chosen: a loss with
        a minus."""
        mains = {one.name: next(iter(one.figures(best.session).items())) for one in self._watched}
        if scores:
            mains = {"task": (best.data.task.better, scores[best.data.task.better]), **mains}
        found = {name: -value if is_lower_better(main) else value for name, (main, value) in mains.items()}
        return {**found, "mean": mean(found.values())} if found else {}


def put_between(update: Update, start: Mapping[str, Tensor], learnt: Mapping[str, Tensor], weight: float) -> None:
    """The weights become this mean; at 0 the start and at 1 what was learnt, to the bit."""
    between = {n: t.to(learnt[n]) if weight == 0 else t.to(learnt[n]).lerp(learnt[n], weight) for n, t in start.items()}
    update.replace({**learnt, **between} if weight < 1 else learnt)


def best_of(curve: Mapping[str, Mapping[str, float]]) -> str:
    """The weight with the best mean, the smallest of equal ones; the one that was given where nothing is scored."""
    scored = {weight: figures["mean"] for weight, figures in curve.items() if figures}
    return max(scored, key=scored.__getitem__) if scored else list(curve)[-1]
