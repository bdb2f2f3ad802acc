"""Where tokens end and training begins: a row, a batch, and what is known of a vocabulary. No torch at the top.

row     one tokenised sequence, numpy                        {"ids": [5 7 2], "segments": [0 0 0]}
batch   what one forward pass sees, torch                    {"input_ids": [B, L], "labels": [B, L], ...}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids
from pretune.tokens.encode.words import Words, words_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    Batch = dict[str, Tensor]
else:
    Batch = dict

Ids = NDArray[np.integer]
IGNORE = -100
"""A label that is no target."""


class Row(TypedDict, total=False):
    """One tokenised sequence. `ids` is always there; the rest as the objective and the task need it.

    Args:
        segments: number of the document that a token belongs to; -1 is padding.
        targets: whether a token is scored; labels: what is predicted at each place (IGNORE: nothing).
        label: the one label of the row; holds: of each of several labels, 1.0 where it holds, else 0.0.
        score: the number that belongs to the row.
        span: first and last place of what is looked for.
        example: number of the example, where one gives several rows.
        lengths: of the texts, where the ids are those of several one after the other; names: numbers that equal texts
            share; gains: of each how good it is.
        reference: log-probabilities of the two replies of the row, before training.
        good: whether the reply of the row was liked.
        of: name of the objective that the row belongs to, where there are several.
        read: the ids that the model reads, where they are not those that it learns.
        progress: share of the run's steps before this one, in [0, 1); only rows that are trained on have it.
        written: number of the document that each of the labels belongs to, where they are a row of their own.
        parts, is_next: of pairs, which of the two a token belongs to, and whether they follow each other.
        said: logits that a head gave of the row before training.
        told, told_ids: what a teacher says of the row's targets, as objective/distil.py keeps it.
        draws: a number in [0, 1) for each place, by which a token is drawn from a model's distribution.
        partner: another row of the step that this one is mixed with, and `share`, this one's part of the two.
        readings: a number for each reading of the row, by which its dropout is drawn.
    """

    ids: Ids | Sequence[int]
    segments: Ids
    targets: NDArray[np.bool_]
    labels: Ids
    label: int
    said: NDArray[np.floating]
    told: NDArray[np.floating]
    told_ids: Ids
    span: tuple[int, int]
    example: int
    of: str
    holds: NDArray[np.float64]
    score: float
    lengths: Sequence[int]
    names: Ids
    gains: NDArray[np.float64]
    reference: NDArray[np.float64]
    good: bool
    parts: Ids
    is_next: bool
    read: Ids
    written: Ids
    progress: float
    draws: NDArray[np.float64]
    partner: Any
    share: float
    readings: Ids


@dataclass(frozen=True)
class Vocabulary:
    """What training needs to know of a tokenizer.

    Args:
        specials: ids of all control tokens.
        controls: the id of each control token by its text.
        folder: where the tokenizer lies; None where nothing but ids is known (forecasts, tests).
        end: the token that ends a document; None where the tokenizer has none.
    """

    size: int
    pad: int
    mask: int | None = None
    cls: int | None = None
    specials: tuple[int, ...] = ()
    controls: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None
    end: int | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """For objectives that look at the text behind the tokens."""
        assert self.folder is not None, "nothing but ids is known of this tokenizer"
        return load_tokenizer(self.folder)

    @cached_property
    def words(self) -> Words:
        """For objectives that look at the words behind the tokens."""
        return words_of(self.tokenizer)


def vocabulary_of(folder: Path) -> Vocabulary:
    """Size and special ids of a tokenizer folder: those its configuration names, and its other control tokens."""
    tokenizer = load_tokenizer(folder)
    specials = special_ids(folder, tokenizer)
    controls = {token.content: n for n, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ids = {*controls.values(), *(number for number in astuple(specials) if number is not None)}
    pad = specials.pad if specials.pad is not None else (specials.eos or 0)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    end = specials.eos if specials.eos is not None else specials.sep
    return Vocabulary(size, pad, specials.mask, specials.cls, tuple(sorted(ids)), controls, folder, end)
