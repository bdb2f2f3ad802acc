"""What counting alone can do: a 5-gram model over the same tokens, and a file compressor.

The n-gram model is interpolated modified Kneser-Ney. A gram is known by the number of the gram before it and
its last token, so counting is sorting, and nothing is hashed:

    number of "the cat sat"  =  rank of (number of "the cat", "sat") among all that were seen

Each document is preceded by begin marks, so no gram crosses a border and the first words have a context.
Time: 2 s per million training tokens on one core; memory: about 100 bytes per token.

Source: Chen & Goodman 1998, "An empirical study of smoothing techniques", section 3.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretune.tokens.store.store import Store

ORDER = 5
MAX_TOKENS = 4_000_000
"""Training tokens that the n-gram model counts at most."""
XZ_BYTES = 8 << 20
"""Training text that xz sees at most; its window at -9 is 64 MiB."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """Grams of one length.

    Args:
        keys: sorted; context number x base + last token.
        weights: count of each gram less its discount, over the context's total.
        spare: by context: the share that is left to shorter contexts; 1 where the context was never seen.
    """

    keys: Ints
    weights: Floats
    spare: Floats


@dataclass(frozen=True)
class NGram:
    """A counted model; levels[n - 1] holds the grams of n tokens."""

    vocab_size: int
    levels: list[Level]

    @property
    def base(self) -> int:
        """Tokens and the begin mark."""
        return self.vocab_size + 1


def train_ngram(store: Store, *, order: int = ORDER, max_tokens: int = MAX_TOKENS) -> NGram:
    """Count a store, its first `max_tokens` tokens at most."""
    tokens, _ = marked(store, order, max_tokens=max_tokens)
    base, is_target = store.vocab_size + 1, tokens < store.vocab_size
    unique, numbers, firsts = [np.arange(base)], [tokens], [np.zeros(0, np.int64)]
    counts = [np.bincount(tokens[is_target], minlength=base)]
    for _ in range(1, order):
        keys = tokens.copy()
        keys[1:] += numbers[-1][:-1] * base
        found, first, number = np.unique(keys, return_index=True, return_inverse=True)
        unique.append(found)
        firsts.append(first)
        numbers.append(number)
        counts.append(np.bincount(number[is_target], minlength=len(found)))
    for n in range(order - 1):  # below the longest, what counts is how many tokens stood before a gram
        counted = unique[n + 1] % base < store.vocab_size  # nobody predicts a begin mark
        before = numbers[n][firsts[n + 1][counted]]
        counts[n] = np.bincount(before, minlength=len(unique[n]))
    sizes = [1, *(len(keys) for keys in unique[:-1])]
    levels = [_level(k, c, base, size) for k, c, size in zip(unique, counts, sizes, strict=True)]
    return NGram(store.vocab_size, levels)


def marked(store: Store, order: int, *, max_tokens: int | None = None) -> tuple[Ints, Ints]:
    """Tokens with order - 1 begin marks (id vocab_size) before each document, and the place of each token in it."""
    end = len(store.ids) if max_tokens is None else min(max_tokens, len(store.ids))
    starts = np.concatenate([[0], store.ends[:-1].astype(np.int64)]) if len(store.ends) else np.zeros(0, np.int64)
    starts = starts[starts < end]
    document = np.searchsorted(starts, np.arange(end), side="right")
    places = np.arange(end) + (order - 1) * document
    tokens = np.full(end + (order - 1) * len(starts), store.vocab_size, dtype=np.int64)
    tokens[places] = store.ids[:end]
    return tokens, places


def _level(keys: Ints, counts: Ints, base: int, num_contexts: int) -> Level:
    """Discounted weights of one length; for single tokens (`num_contexts` 1) there is one, empty context."""
    context = keys // base
    discounts = discounts_of(counts)
    taken = discounts[np.minimum(counts, 3)]
    total = np.bincount(context, weights=counts, minlength=num_contexts)
    given = np.bincount(context, weights=taken, minlength=num_contexts)
    known = np.maximum(total, 1)
    return Level(keys, (counts - taken) / known[context], np.where(total > 0, given / known, 1.0))


def discounts_of(counts: Ints) -> Floats:
    """What is taken off a count of 0, 1, 2, and 3 or more; 0.5 where the counts of counts say nothing."""
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    plain = np.array([0.0, 0.5, 0.5, 0.5])
    if not (n1 and n2 and n3 and n4):
        return plain
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return np.asarray(np.clip(found, plain * 0.2, [0.0, 1.0, 2.0, 3.0]))


def ngram_nats(model: NGram, store: Store) -> Floats:
    """Nats of every token of a store from up to four before it in its document, float64 [num_tokens]."""
    tokens, places = marked(store, len(model.levels))
    chance = np.full(len(tokens), 1.0 / model.vocab_size)
    number = np.zeros(len(tokens), dtype=np.int64)  # of the context that ends before each token; -1 if never seen
    for level in model.levels:
        keys = number * model.base + tokens
        at = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
        seen, known = (level.keys[at] == keys) & (number >= 0), number >= 0
        spare = np.where(known, level.spare[np.maximum(number, 0)], 1.0)
        chance = np.where(seen, level.weights[at], 0.0) + spare * chance
        number = np.concatenate([[-1], np.where(seen, at, -1)[:-1]])
    return np.asarray(-np.log(chance[places]))


def xz_bytes(test: bytes, train: bytes) -> int:
    """Bytes that `xz -9` adds for the test text when the training text (its last 8 MiB) stands before it."""
    before = train[-XZ_BYTES:]
    with ThreadPoolExecutor(2) as pool:  # lzma works outside the interpreter's lock
        whole, alone = pool.map(_xz_size, [before + test, before])
    return whole - alone


def _xz_size(data: bytes) -> int:
    return len(lzma.compress(data, preset=9))


def join_bytes(texts: Sequence[str]) -> bytes:
    """Documents as one text of UTF-8, a line end behind each."""
    return "".join(f"{text}\n" for text in texts).encode("utf-8", errors="replace")
