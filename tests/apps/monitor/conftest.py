"""A watch without a network: a model that counts words, a clock that is told the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pretune.apps.monitor.reading import Models
from pretune.apps.monitor.series import Watching
from pretune.apps.monitor.store import MIGRATIONS, Store
from pretune.apps.state import State
from pretune.infer.answers import Answer, Entity, Label, Tags
from pretune.infer.predictor import Facts

MONDAY = 1_767_571_200
"""2026-01-05, 00:00 UTC."""
HOUR = 3600


@dataclass(frozen=True)
class Words:
    """Says the first of its labels that is in the text, else the last."""

    labels: tuple[str, ...]
    gives: type[Answer] = Label

    @property
    def facts(self) -> Facts:
        return Facts("classify", "label", 64, self.labels)

    def answer(self, inputs: Sequence[Any], **settings: Any) -> list[Answer]:
        return [Label(next((l for l in self.labels if l in text), self.labels[-1]), 0.9) for text in inputs]


@dataclass(frozen=True)
class Capitals:
    """Every word with a capital is an entity."""

    gives: type[Answer] = Tags

    def answer(self, inputs: Sequence[Any], **settings: Any) -> list[Answer]:
        return [Tags((), entities=tuple(Entity(w, 0, 1, "ORG") for w in t.split() if w[0].isupper())) for t in inputs]


@dataclass
class Clock:
    now: float = MONDAY

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def models() -> Models:
    return Models(Words(("negative", "positive")), Words(("bank", "rail", "other")))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Callable[..., Store]:
    """A store at one place, opened as often as it is asked for."""
    opened: list[State] = []

    def make(watching: Watching | None = None, **settings: Any) -> Store:
        opened.append(State(tmp_path / "state", MIGRATIONS))
        return Store(opened[-1], watching or Watching(), now=clock, **settings)

    yield make
    for state in opened:
        state.close()
