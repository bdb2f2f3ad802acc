"""A task, and next to it what the model is not to forget: rows of earlier data, or what it said of rows before.

    loss of a step = weight of the task * its mean + for each part  weight * the mean over the part's own targets

A part is learnt through a head that the model does not train: the one an earlier task was saved with, on the body that
trains now. Until it is held (`hold`) a part has no rows, as in the dry runs that find a micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from pydantic import PrivateAttr, SerializeAsAny

from pretune.model.families import Head
from pretune.objective.objective import Objective
from pretune.objective.several import OfParts, term_of
from pretune.tokens.rows import Row, Vocabulary


class Holds(Protocol):
    """An earlier head before there is a model."""

    def on(self, model: Any) -> Callable[[Any], Any]:
        """Put on the body of the model that trains: model -> the module that answers."""


TASK = "task"
"""The name of the part that is new."""


class Beside(OfParts):
    """Learn a task next to others that are only to be kept."""

    head: ClassVar[Head] = "label"

    of: dict[str, SerializeAsAny[Objective]]
    """What is learnt, by name; the new task is `task`."""
    shares: dict[str, float]
    """Weight of each in the loss."""

    _coming: Mapping[str, Holds] = PrivateAttr(default_factory=dict)
    _held: dict[str, Callable[[Any], Any]] = PrivateAttr(default_factory=dict)

    @property
    def parts(self) -> Mapping[str, Objective]:
        return self.of

    @property
    def weights(self) -> Mapping[str, float]:  # type: ignore[override]  # it depends on the parts
        found = {name: part.weights.items() for name, part in self.of.items()}
        return {term_of(n, t): self.shares[n] * w for n, terms in found.items() for t, w in terms}

    def coming(self, heads: Mapping[str, Holds]) -> Self:
        """The same, with what each part but the task is asked through once there is a model."""
        self._coming = heads
        return self

    def hold(self, model: Any) -> None:
        """The heads of the parts are put on the body of the model, which is the one that trains from now on."""
        self._held.update({name: head.on(model) for name, head in self._coming.items()})

    def learner(self, model: Any, name: str) -> Any:
        return self._held[name](model) if name in self._held else model

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {**self.of[TASK].blank(length, vocabulary, rng), "of": TASK}
