"""Adapters of one base, chosen by the model's name in a request: what a server needs of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pretune.infer.predictor import Predictor


class Shelf(Protocol):
    """The adapters of one base."""

    @property
    def base(self) -> Path:
        """The folder of the base."""

    @property
    def folders(self) -> Mapping[str, Path]:
        """The adapters that fit it, by the names that clients use."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Why others are not served."""

    def answering(self) -> dict[str, Predictor]:
        """The base itself by its name, where it has a head that answers; its weights are in memory from now on."""

    def open(self, name: str) -> Predictor:
        """What answers with an adapter, around the weights of the base; it may be called from any thread."""

    def task_of(self, name: str) -> str:
        """What an adapter was made for, by its files alone."""
