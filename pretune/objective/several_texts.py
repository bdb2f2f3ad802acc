"""Rows of several texts each: a query and what is near it, two that are compared, a query with each candidate.

    row     ids of all texts one after the other, `lengths` of each          [5 7 2 | 5 9 9 2]
    batch   every text a row of input_ids [T, L]; `places` [T]: row * M + number of the text in its row

B rows, M texts of a row at most, T texts of the batch, D numbers of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pretune.objective.whole_rows import row_logits, rows_batch
from pretune.tokens.rows import Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


def joined_row(texts: Sequence[Row]) -> Row:
    """One row of the rows of several texts."""
    found: Row = {
        "ids": [token for text in texts for token in text["ids"]],
        "lengths": [len(text["ids"]) for text in texts],
    }
    if any("parts" in text for text in texts):
        found["parts"] = np.concatenate([text.get("parts", np.zeros(len(text["ids"]), np.int64)) for text in texts])
    return found


def texts_of(row: Row) -> Iterator[Row]:
    """The row of each text again."""
    start = 0
    for length in row["lengths"]:
        piece = slice(start, start + length)
        text: Row = {"ids": row["ids"][piece]}
        if "parts" in row:
            text["parts"] = row["parts"][piece]
        yield text
        start += length


def texts_batch(rows: Sequence[Row], vocabulary: Vocabulary, labels: NDArray[Any], *, width: int) -> Batch:
    """All texts, padded on the right to the longest; `width`: M."""
    import torch

    batch = rows_batch([text for row in rows for text in texts_of(row)], vocabulary, labels)
    places = [number * width + k for number, row in enumerate(rows) for k in range(len(row["lengths"]))]
    return {**batch, "places": torch.tensor(places)}


def by_row(
    model: nn.Module, batch: Batch, rows: int, width: int, *, read: Callable[[nn.Module, Batch], Tensor] = row_logits
) -> Tensor:
    """What the model gives each text, [B, M, D], zeros where a row has no further text; `read`: how that is asked."""
    found_TD = read(model, batch)
    empty = found_TD.new_zeros(rows * width, found_TD.shape[1])
    return empty.index_copy(0, batch["places"], found_TD).view(rows, width, -1)


def blank_texts(length: int, number: int, vocabulary: Vocabulary) -> Row:
    """A row of `length` tokens in so many texts of like length."""
    borders = [length * k // number for k in range(number + 1)]
    lengths = [max(1, b - a) for a, b in pairwise(borders)]
    return {"ids": [vocabulary.size - 1] * sum(lengths), "lengths": lengths}
