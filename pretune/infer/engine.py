"""What runs a model: two small protocols of numpy arrays, so that answers are made the same way by every back end.

    tokens ──▶ Decoder.feed ──▶ logits of the next token       torch: pretune.model.generate
    rows   ──▶ Encoder.logits ──▶ logits of the labels         onnxruntime: pretune.infer.ort

*B rows, L positions, V vocabulary.*
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from pretune.tokens.rows import Ids

ROWS_AT_ONCE = 32
T = TypeVar("T")
R = TypeVar("R")
METER: ContextVar[Callable[[int], object]] = ContextVar("METER", default=int)
"""Hears how many tokens an encoder reads; who answers a request sets it, for whatever runs in its context."""


class Decoder(Protocol):
    """A causal language model with a cache."""

    @property
    def vocab_size(self) -> int:
        """V, the width of the logits."""

    @property
    def max_length(self) -> int:
        """How many positions a row may have, prompt and answer together."""

    def start(self) -> Any:
        """An empty cache."""

    def feed(self, state: Any, ids_BL: np.ndarray) -> tuple[np.ndarray, Any]:
        """Read L more tokens of every row.

        Args:
            state: from `start`, the last `feed`, or what joined or cut some; it is used up.
            ids_BL: whole numbers; of all rows as many, there is no padding among them.

        Returns:
            float32 logits_BV of the last position, and the next state.
        """

    def select(self, state: Any, rows: np.ndarray) -> Any:
        """The cache of these rows (whole numbers, some perhaps twice) of a state, which is used up."""

    def whole(self, ids_BL: np.ndarray, keep: int) -> np.ndarray:
        """float32 logits_BKV of the last `keep` positions of rows of one length."""


@runtime_checkable
class Joins(Decoder, Protocol):
    """A decoder that goes on with rows of different lengths together: its states are padded on the left."""

    @property
    def joins(self) -> bool:
        """Whether this model's states join; those of a model that does not see its whole row anew do not."""

    @property
    def position_bytes(self) -> int:
        """Bytes of a cache for each position of a row; padding costs as much."""

    def join(self, states: Sequence[Any]) -> Any:
        """One state of all rows of these, in order; they are used up."""

    def cut(self, state: Any, row: int, length: int) -> Any:
        """A state of the first `length` positions of one row, on memory of its own; the other state stays."""


class Encoder(Protocol):
    """A model that scores a whole row, or every token of it."""

    @property
    def max_length(self) -> int:
        """How many positions a row may have."""

    def logits(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """float32 logits of each row: [labels], or of its tokens [L or more, labels].

        Rows have their own lengths and are padded inside, on the right.
        """


@dataclass(frozen=True)
class Attribution:
    """What the tokens of a row added to an output f of a model (`pretune.model.attribution`), float64.

    Args:
        added_L: of each token.
        error: how far their sum is from f of the row less f of a row that says nothing.
        without_W: by how much f falls when a word is blank, of each word.
    """

    added_L: np.ndarray
    error: float
    without_W: np.ndarray


@runtime_checkable
class Attributes(Encoder, Protocol):
    """An encoder with gradients: it knows what its tokens add to its logits."""

    def attribution(
        self, ids: Sequence[int], words: Sequence[Sequence[int]], direction_C: Sequence[float]
    ) -> Attribution:
        """What the tokens of a row added to direction . logits.

        Args:
            words: positions of the tokens of each word.
        """


def by_length(
    rows: Sequence[T],
    run: Callable[[list[T]], Iterable[R]],
    *,
    at_once: int = ROWS_AT_ONCE,
    size: Callable[[T], int] = len,  # type: ignore[assignment]
) -> list[R]:
    """The result of each row, in their order; rows of like size run together."""
    METER.get()(sum(map(size, rows)))
    order = sorted(range(len(rows)), key=lambda k: size(rows[k]))
    groups = [order[i : i + at_once] for i in range(0, len(order), at_once)]
    found = {k: result for group in groups for k, result in zip(group, run([rows[k] for k in group]), strict=True)}
    return [found[k] for k in range(len(rows))]


def token_types(ids_BL: np.ndarray, mask_BL: np.ndarray, separator: int) -> np.ndarray:
    """int64 [B, L]: 0 up to the first separator of a row, 1 behind it (the second text), 0 of padding."""
    is_separator = ids_BL == separator
    found: np.ndarray = (np.cumsum(is_separator, axis=1) > is_separator) & (mask_BL == 1)
    return found.astype(np.int64)


def left_padded(lengths_B: np.ndarray, num_fresh: int) -> tuple[np.ndarray, np.ndarray]:
    """What reads L more tokens of rows that are in a cache, padded on the left to the longest.

    Returns:
        int64 mask_BT of the cache and the tokens, 1 where there is text, and positions_BL of the tokens.
    """
    before_B1 = (lengths_B.max(initial=0) - lengths_B)[:, None]
    mask_BT = np.arange(lengths_B.max(initial=0) + num_fresh) >= before_B1
    return mask_BT.astype(np.int64), lengths_B[:, None] + np.arange(num_fresh)


def padded(rows: Sequence[Sequence[int] | Ids], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 ids_BL padded on the right to the longest row, and the mask: 1 where there is text."""
    lengths = np.array([len(row) for row in rows])
    mask_BL = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids_BL = np.full(mask_BL.shape, pad_id, dtype=np.int64)
    ids_BL[mask_BL == 1] = [token for row in rows for token in row]
    return ids_BL, mask_BL
