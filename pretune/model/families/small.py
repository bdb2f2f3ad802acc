"""Bag of embeddings, text CNN and LSTM: the textbooks' baselines, as shapes. Their classes: `pretune.model.small`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from pretune.base.json import Json
from pretune.model.families.family import Family, Head
from pretune.model.shape import Layout, Shape

if TYPE_CHECKING:
    from torch import nn

    from pretune.tokens.encode.tokenizer import Specials


class SmallFamily(Family):
    """Classes of our own: transformers must hear of them first."""

    def class_for(self, head: Head, model_type: str) -> Any:
        _register()
        return super().class_for(head, model_type)

    def config(self, settings: Mapping[str, Any]) -> Any:
        _register()
        return super().config(settings)

    def stacks(self, model: Any) -> list[list[nn.Module]]:
        """They have no blocks."""
        return []


def _register() -> None:
    from pretune.model.small import register

    register()


_LABELS = "AutoModelForSequenceClassification"
SMALL = SmallFamily(
    classes={"label": _LABELS, "score": _LABELS, "vector": "AutoModel"}, architecture="encoder", needs_marks=False
)


class Small(Shape):
    """What the baselines share."""

    usual_rate: ClassVar[float | None] = 2e-3

    width: int = Field(128, gt=0)
    """Width of an embedding."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout of what the classifier reads."""

    def states(self) -> int:
        """Width of a token's state."""
        return self.width

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        return {
            "vocab_size": vocab_size,
            "embedding_size": self.width,
            "hidden_size": self.states(),
            "pooling": "max",
            "dropout": self.dropout,
            "pad_token_id": specials.pad,
        }


class Bag(Small):
    """Bag of embeddings: the mean of the tokens' vectors, and a linear classifier (fastText, arXiv:1607.01759)."""

    family: ClassVar[str] = "pretune-bag"

    def layout(self) -> Layout:
        return Layout(layers=0, width=self.width, matrix_parameters=0)

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        plain = super().config(vocab_size=vocab_size, max_length=max_length, specials=specials)
        return plain | {"pooling": "mean"}


class Cnn(Small):
    """Text CNN: filters over windows of a few tokens, the largest value of each (arXiv:1408.5882)."""

    family: ClassVar[str] = "pretune-cnn"
    windows: tuple[int, ...] = Field((3, 4, 5), min_length=1)
    """Tokens of a window."""
    filters: int = Field(100, gt=0)
    """Filters for each size of window."""

    @field_validator("windows")
    @classmethod
    def _are_sizes(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if min(windows) < 1:
            raise ValueError(f"a window has one token at least, not {min(windows)}")
        return windows

    def states(self) -> int:
        return self.filters * len(self.windows)

    def layout(self) -> Layout:
        return Layout(layers=0, width=self.width, matrix_parameters=self.width * self.filters * sum(self.windows))

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        plain = super().config(vocab_size=vocab_size, max_length=max_length, specials=specials)
        return plain | {"windows": list(self.windows)}


class Lstm(Small):
    """LSTM from both sides, the largest value of each state (Hochreiter & Schmidhuber 1997; pooled as in
    arXiv:1705.02364)."""

    family: ClassVar[str] = "pretune-lstm"
    hidden: int = Field(128, gt=0)
    """Width of a state, for each direction."""

    def states(self) -> int:
        return 2 * self.hidden

    def layout(self) -> Layout:
        return Layout(layers=0, width=self.width, matrix_parameters=8 * self.hidden * (self.width + self.hidden))
