"""What a listener is: something that shows the curves of `metrics.jsonl` in a library of its own.

The file is the one truth. A listener begins again each time a run is started or goes on: what it had of this run is
taken back and the file is read from its beginning. So no point is there twice and none is lost, whatever step the
file was cut back to. Everything is written next to the run, in `OUT.track/KIND/NAME@KEY`; nothing is sent anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pretune.base.config import Choice, Variant


@dataclass(frozen=True)
class Place:
    """Where a listener writes.

    Args:
        folder: its own; there is nothing in it yet.
        name: of the run, `base@1a2b3c4d`: the folder's name and the beginning of its key.
        settings: of the stage, for libraries that show them.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Curves(Protocol):
    """A run in the library."""

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of a step; a step may come in several parts."""

    def close(self) -> None:
        """Everything is on the disk."""


class Listener(Variant):
    """A library that shows curves."""

    def open(self, place: Place) -> Curves:
        """Begin the run in the library."""
        raise AssertionError(f"{type(self).__name__} has no open()")


LISTENER = Choice(
    Listener,
    {
        "tensorboard": "pretune.train.watch.track.libraries:TensorBoard",
        "wandb": "pretune.train.watch.track.libraries:WandB",
        "swanlab": "pretune.train.watch.track.libraries:SwanLab",
        "mlflow": "pretune.train.watch.track.libraries:MLflow",
        "trackio": "pretune.train.watch.track.libraries:Trackio",
    },
    group="pretune.listeners",
)
