"""Pairs of parts for next-sentence prediction (BERT, arXiv:1810.04805, section 3.1 and appendix A.2), or for their
order (ALBERT, arXiv:1909.11942, section 3.1).

    document    t t t . t t . t t t t .       cut into an even number of parts, each at the end of a sentence
    its rows    [cls] t t t . [sep] t t . [sep] ...

    four rows that follow each other in the order       A1 B1   A2 B2   A3 B3   A4 B4
    two of them, of different documents, are drawn      A1 B3   A2 B2   A3 B1   A4 B4      is_next 0 1 0 1

So half of the rows are not what the text says, each with a B from another document, and still every token is
read once per epoch. Which two is drawn from (seed, epoch, place of the four), so ranks and cuts change nothing.
Where all four are of one document nothing is swapped: it has no other document's part to offer.

Where their order is asked, the two that are drawn keep their own parts, in the other order: B1 A1, and B3 A3.

A part is at most half of a row. A border lies behind the last token that ends a sentence (see `sentence_stops`)
before the place where equal parts would be cut, and in that place where there is none near.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pretune.base.errors import EmptyInput, NotSupported, WrongValue
from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids
from pretune.tokens.store.order import Order, keyed
from pretune.tokens.store.packing import Arrays, Packing, RowForm, Rows, some, spread
from pretune.tokens.store.store import Store

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GROUP = 4
SWAPS = np.array(list(combinations(range(GROUP), 2)))
SLACK = 8
"""A part is planned an eighth shorter than it may be, so that borders find the end of a sentence."""
STOPS = (".", "!", "?", "…", "。", "！", "？", "\n")
CLOSING = "\"'”’)]）】」』》 \t"


class PairPacking(Packing):
    """[cls] A [sep] B [sep]: two parts of a document that follow each other, or, in half of the rows, of two."""

    def completed(self, form: RowForm, tokenizer: Path) -> RowForm:
        if form.causal:
            return form
        found = load_tokenizer(tokenizer)
        return replace(form, sep=special_ids(tokenizer, found).sep, stops=sentence_stops(found))

    def rows(self, store: Store, form: RowForm, seed: int) -> Rows:
        if form.causal or form.cls is None or form.sep is None or form.stops is None:
            hint = "packing=pairs goes with objective=masked; a decoder learns from blocks, best-fit or document"
            raise NotSupported("pairs are for encoders, with a tokenizer that names a cls and a sep token", hint=hint)
        if form.length < 9:
            raise WrongValue(f"length is {form.length}, too short for [cls] A [sep] B [sep]", hint="128 is usual")
        lengths = store.lengths - 1
        half = (form.length - 3) // 2
        parts = 2 * -(-lengths // (2 * max(2, half - half // SLACK)))
        return Pairs(store, form, seed, np.cumsum(np.where(lengths > 1, parts // 2, 0)))

    def check(self, rows: Rows, form: RowForm, name: str) -> None:
        assert isinstance(rows, Pairs)
        there = len(np.unique(rows.lasts[rows.lasts > 0]))
        hint = "leave out objective.pairs, or give longer documents (a corpus has one per file or record)"
        if not there:
            raise EmptyInput(f"the documents of {name} are too short for pairs: none has two tokens", hint=hint)
        if there == 1 and not form.swaps:
            problem = f"{name} has one document with two parts, so there is no part of another one to pair them with"
            raise EmptyInput(problem, hint=f"take objective.pairs=order; or {hint}")


def sentence_stops(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Which tokens end a sentence, perhaps with a closing mark or a space behind: bool [V]."""
    texts = tokenizer.decode_batch([[k] for k in range(tokenizer.get_vocab_size())], skip_special_tokens=False)
    special = tokenizer.get_added_tokens_decoder()
    return np.array([k not in special and text.rstrip(CLOSING).endswith(STOPS) for k, text in enumerate(texts)])


@dataclass(frozen=True)
class Pairs:
    """Rows [cls] A [sep] B [sep]; `parts` is 1 for B and its [sep], `is_next` says whether B follows A.

    Args:
        lasts: one past the last row of each document, [num_documents].
    """

    store: Store
    form: RowForm
    seed: int
    lasts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.lasts[-1]) if len(self.lasts) else 0

    def at(self, positions: NDArray[np.int64]) -> Arrays:
        return self._rows(*self._numbers(positions))

    def sample(self, number: int) -> Arrays:
        """Rows evenly spread over an epoch of this seed, half of them swapped as in training."""
        groups = -(-number // GROUP)
        starts = spread(-(-len(self) // GROUP), groups) * GROUP
        positions = (starts[:, None] + np.arange(GROUP)).ravel()
        return self.at(positions[positions < len(self)][:number])

    def where(self, positions: NDArray[np.int64]) -> str:
        return f"pairs {some(self._numbers(positions)[0])} of the training split"

    def _numbers(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """The rows that give A and B at each position, and whether the two change places."""
        epochs, places = np.divmod(np.asarray(positions, np.int64), len(self))
        groups, slots = np.divmod(places, GROUP)
        sizes = np.minimum(len(self) - groups * GROUP, GROUP)
        members = np.minimum(np.arange(GROUP), sizes[:, None] - 1) + (places - slots)[:, None]
        order = Order(len(self), self.seed)
        rows = order.rows((epochs[:, None] * len(self) + members).ravel()).reshape(-1, GROUP)
        draws = (keyed(np.stack([epochs, groups], axis=1), self.seed) % np.uint64(len(SWAPS))).astype(np.int64)
        at = np.arange(len(rows))
        mine = rows[at, slots]
        if self.form.swaps:
            return mine, mine, (SWAPS[draws] == slots[:, None]).any(axis=1)
        return mine, rows[at, self._partners(rows, slots, sizes, draws)], np.zeros(len(rows), bool)

    def _partners(
        self, rows: NDArray[np.int64], slots: NDArray[np.int64], sizes: NDArray[np.int64], draws: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The slot in its group whose B each position takes: the first swap from the drawn one on that is allowed."""
        documents = np.searchsorted(self.lasts, rows, "right")
        swaps = SWAPS[(draws[:, None] + np.arange(len(SWAPS))) % len(SWAPS)]  # [N, 6, 2]
        there = (swaps < sizes[:, None, None]).all(axis=2)
        one, other = (np.take_along_axis(documents, swaps[:, :, k], axis=1) for k in (0, 1))
        allowed = there & (one != other)
        a, b = swaps[np.arange(len(rows)), allowed.argmax(axis=1)].T
        swapped = np.where(slots == a, b, np.where(slots == b, a, slots))
        return np.where(allowed.any(axis=1), swapped, slots)

    def _rows(self, mine: NDArray[np.int64], other: NDArray[np.int64], changed: NDArray[np.bool_]) -> Arrays:
        """Rows of the A of some rows and the B of others, [B, L]; where they have changed places B comes first."""
        (a, a_end, _), (_, b, b_end) = self._borders(mine), self._borders(other)
        first, middle = np.where(changed, b, a), np.where(changed, b_end, a_end)
        begin, end = np.where(changed, a, b), np.where(changed, a_end, b_end)
        seps = 1 + middle - first  # where A's [sep] stands
        stops = seps + 1 + end - begin
        columns = np.arange(self.form.length)
        is_a, is_b = columns <= seps[:, None], columns <= stops[:, None]
        source = np.where(is_a, first[:, None] + columns - 1, (begin - seps - 1)[:, None] + columns)
        is_text = is_b & (columns > 0) & (columns != seps[:, None]) & (columns != stops[:, None])
        ids = np.where(is_b, np.int32(self.form.sep or 0), np.int32(0))
        ids[is_text] = self.store.ids[source[is_text]]
        ids[:, 0] = self.form.cls
        segments = np.where(is_b, np.int32(0), np.int32(-1))
        return {
            "ids": ids,
            "segments": segments,
            "parts": (is_b & ~is_a).astype(np.int32),
            "is_next": (mine == other) & ~changed,
        }

    def _borders(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where A begins, where it ends and B begins, where B ends: int64 [3, B]."""
        documents = np.searchsorted(self.lasts, rows, "right")
        begins, ends = self.store.spans(documents)
        before = np.where(documents > 0, self.lasts[documents - 1], 0)
        parts, length = 2 * (self.lasts[documents] - before), ends - 1 - begins
        slack = np.minimum((self.form.length - 3) // 2 - -(-length // parts), length // parts - 1)
        numbers = 2 * (rows - before) + np.arange(3)[:, None]
        even: NDArray[np.int64] = begins + np.floor_divide(numbers * length, parts, dtype=np.int64)
        is_edge = (numbers == 0) | (numbers == parts)
        return self._moved(even, np.where(is_edge, np.int64(0), slack))

    def _moved(self, borders: NDArray[np.int64], slack: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each border behind the last sentence that ends at most `slack` tokens before it, else where it was."""
        assert self.form.stops is not None, "pairs need to know where sentences end"
        back = np.arange(int(slack.max(initial=0)) + 1)
        is_stop = self.form.stops[self.store.ids[np.maximum(borders[..., None] - 1 - back, 0)]]
        is_stop &= back <= slack[..., None]
        return np.asarray(borders - is_stop.argmax(axis=-1))
