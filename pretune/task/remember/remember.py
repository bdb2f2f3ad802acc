"""Ways not to forget: a file each. What they may do to a run, in the order in which it happens.

    learnt    the run reads other rows, or learns another loss      replay, lwf
    start     the model before its first step is looked at          ewc, l2, lwf, average
    finish    the weights after training are changed                average

No torch at the top: the settings are read with the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pretune.base.config import Choice, Variant
from pretune.base.json import Json

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.base.stage import Context
    from pretune.model.methods.method import Method
    from pretune.task.labelled_data import LabelledData
    from pretune.task.remember.earlier import Past
    from pretune.task.task import Task
    from pretune.train.loop.session import Session
    from pretune.train.loop.spec import TrainSpec


class Looks(Protocol):
    """Who looks at a run and keeps its best weights (task/choosing.py)."""

    @property
    def session(self) -> Session: ...

    @property
    def data(self) -> LabelledData: ...

    def scores(self) -> dict[str, float]:
        """Loss and scores on the validation split, with the exact weights."""


class Remember(Variant):
    """Settings of how a run keeps what the model knew."""

    changes_loss: ClassVar[bool] = False
    """Whether the rows of a run get others next to them; then the task must be one alone, with a loss of its own."""

    def why_not(self, task: Task, method: Method) -> str | None:
        """Why it does not go with a task or a method; None: it does."""
        if method.only_heads:
            return f"method={method.kind} leaves the body as it is: nothing is forgotten, and nothing is to remember"
        if self.changes_loss and (task.is_alone or not task.shape):
            return f"remember={self.kind} goes with one task that has a loss of its own rows, not with task={task.kind}"
        return None

    def learnt(self, spec: TrainSpec, past: Past, data: LabelledData) -> TrainSpec:
        """What the run learns."""
        return spec

    def start(self, session: Session, past: Past, data: LabelledData) -> None:
        """Hears of the model before its first step, also of a run that is then resumed."""

    def finish(self, best: Looks) -> Json:
        """Changes the best weights; what the card says of that."""
        return {}


REMEMBER = Choice(
    Remember,
    {
        "replay": "pretune.task.remember.replay:Replay",
        "ewc": "pretune.task.remember.ewc:Ewc",
        "l2": "pretune.task.remember.l2:L2",
        "lwf": "pretune.task.remember.lwf:Lwf",
        "average": "pretune.task.remember.average:Average",
    },
    group="pretune.remember",
)


def kept(context: Context, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of the start, computed once and kept in the run's scratch, so that a resumed run has the same bits."""
    from safetensors.torch import load_file

    from pretune.model.folder import write_safetensors

    path = context.scratch / f"{name}.safetensors"

    def write() -> bool:
        write_safetensors(make(), path)
        return True

    context.choose(name, write)
    return load_file(path)


def known_weights(model: Any, names: Sequence[str], *, new_head: bool) -> list[str]:
    """Of the weights that train those that the start had: all, or where the task has a new head those of the body."""
    from pretune.model.families import plain_model

    body = {id(p) for p in plain_model(model).base_model.parameters()}
    return [n for n, p in model.named_parameters() if n in set(names) and (not new_head or id(p) in body)]
