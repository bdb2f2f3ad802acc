"""Tiny token stores in memory; the trainer that ours is measured by."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, models, trainers

from pretune.tokens.learn.algorithm import SPECIALS, Learning
from pretune.tokens.learn.bpe import MAX_TOKEN_BYTES, alphabet, byte_level
from pretune.tokens.store.packing import PACKING, RowForm, Rows
from pretune.tokens.store.store import Store

END = 1
CLS, SEP = 2, 3
FIRST = 10
"""Ids below are special; from here on they count up, so that every token of a tiny store is known."""

KINDS: list[Any] = ["blocks", "best-fit", "document"]


def store_of(lengths: list[int], *, first: int = FIRST) -> Store:
    """Documents of these lengths, end token included; all ids but the ends differ."""
    ends = np.cumsum(lengths).astype(np.uint64)
    ids = np.arange(first, first + int(sum(lengths))).astype(np.uint16)
    if len(ends):
        ids[ends.astype(int) - 1] = END
    return Store(ids, ends, num_bytes=0, vocab_size=60_000, end_id=END)


def counting_store(lengths: list[int]) -> Store:
    """The same, but the ends have ids of their own too."""
    ends = np.cumsum(lengths).astype(np.uint64)
    ids = np.arange(FIRST, FIRST + int(sum(lengths))).astype(np.uint16)
    return Store(ids, ends, num_bytes=0, vocab_size=60_000, end_id=END)


def pair_frame(length: int, stops: NDArray[np.bool_] | None = None) -> RowForm:
    stops = np.zeros(60_000, bool) if stops is None else stops
    return RowForm(length, causal=False, cls=CLS, sep=SEP, stops=stops)


def frame_for(kind: str, length: int, *, causal: bool = True) -> RowForm:
    if kind == "pairs":
        return pair_frame(length)
    return RowForm(length) if causal else RowForm(length, causal=False, cls=CLS)


def rows_by(kind: Any, store: Store, form: RowForm, seed: int = 0) -> Rows:
    return PACKING(kind).rows(store, form, seed)  # type: ignore[no-any-return]


def epoch(rows: Rows, number: int = 0) -> dict[str, NDArray[Any]]:
    return rows.at(np.arange(number * len(rows), (number + 1) * len(rows)))


def by_tokenizers(learning: Learning, longest: int = MAX_TOKEN_BYTES) -> Tokenizer:
    """Byte-level BPE by the trainer of `tokenizers`: what algorithm=bpe must write, byte for byte."""
    tokenizer, ours = Tokenizer(models.BPE()), byte_level([*SPECIALS, *alphabet()], [])
    for part in ("pre_tokenizer", "decoder", "post_processor"):
        setattr(tokenizer, part, getattr(ours, part))
    tokenizer.encode_special_tokens = True  # a control token in the text is text, here too
    trainer = trainers.BpeTrainer(
        vocab_size=learning.vocab_size,
        min_frequency=learning.min_frequency,
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIALS],
        initial_alphabet=alphabet(),
        max_token_length=longest,
        show_progress=False,
    )
    tokenizer.train_from_iterator(learning.texts(), trainer)
    tokenizer.encode_special_tokens = False
    return tokenizer
