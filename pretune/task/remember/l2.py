"""Stay near the start: weight / 2 * the sum of (theta - theta0) squared over the weights that the start had.

It needs no earlier data; every weight counts alike, so more is held than ewc would hold for the same effect.

Source: Li, Grandvalet & Davoine 2018, arXiv:1802.01483 (L2-SP; new heads move freely here).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from pretune.task.remember.remember import Remember, kept, known_weights

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.task.labelled_data import LabelledData
    from pretune.task.remember.earlier import Past
    from pretune.train.loop.session import Session


class L2(Remember):
    """Hold the weights near those that the run began with."""

    weight: float = Field(1.0, gt=0)
    """How dear it is to leave the start: half of it times the squared distance is added to the loss."""

    def start(self, session: Session, past: Past, data: LabelledData) -> None:
        hold(session, self.weight, {}, new_head=data.task.new_head)


def hold(session: Session, weight: float, importance: Mapping[str, Tensor], *, new_head: bool) -> None:
    """From now on the run pays for leaving its start."""
    from pretune.train.loop.penalty import Penalty

    session.state.penalty = Penalty(weight, anchor(session, new_head=new_head), importance)


def anchor(session: Session, *, new_head: bool) -> dict[str, Tensor]:
    """The exact weights of the start that train and are not new, by name."""
    update, model = session.state.update, session.state.model
    names = known_weights(model, list(update.weights), new_head=new_head)
    return kept(session.context, "anchor", lambda: {name: update.masters[name] for name in names})
