"""Counting in many texts at once: one numpy batch of code points, and everything countable per piece.

    pieces -> batch of code points -> cells, units, lines, paragraphs -> counts [P, ...]

Equal units, lines and n-grams are found by 64-bit hashes of their lower case and a sort. Nothing here loops over
characters; the price is some 60 nanoseconds per character of English and 200 of Chinese.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pretune.text.clean.quality import scripts, words
from pretune.text.read.characters import codes_of, lowered
from pretune.text.read.hashing import BASE, Hashes, hashed, mixed, running_sums

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Counts = dict[str, Ints]
"""Of each piece, by what is counted: [P] or [P, ...]."""

PIECE: Final = 1 << 17
BATCH: Final = 1 << 18
"""Characters measured at once, line ends between pieces included."""
BATCH_PIECES: Final = 1024

TOP: Final = (2, 3, 4)
REPEATED: Final = (5, 6, 7, 8, 9, 10)
_APART: Final = np.uint64(0xC2B2AE3D27D4EB4F)
OFTEN: Final = (10, 10)
"""(units of an n-gram, occurrences) from which it counts as a loop."""


def pieces_of(text: str) -> list[str]:
    """The text in pieces of at most PIECE characters, cut behind a line end, else a space, else anywhere."""
    pieces = []
    at = 0
    while len(text) - at > PIECE:
        end = (text.rfind("\n", at, at + PIECE) + 1) or (text.rfind(" ", at, at + PIECE) + 1) or at + PIECE
        pieces.append(text[at:end])
        at = end
    return [*pieces, text[at:]]


# ---- one batch ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spans:
    """Stretches of a batch: start and end (one past), the piece, and a hash of the content."""

    starts: Ints
    ends: Ints
    piece: Ints
    hashes: Hashes

    @property
    def lengths(self) -> Ints:
        return self.ends - self.starts


@dataclass(frozen=True)
class _Batch:
    """Pieces joined by line ends, with one behind the last.

    Args:
        codes: code points [C].
        cells: their cells [C].
        closing: the place of the line end behind each piece [P].
        sums: running sums over their lower case.
    """

    codes: NDArray[np.uint32]
    cells: NDArray[np.uint8]
    closing: Ints
    sums: Hashes

    def piece_of(self, places: Ints) -> Ints:
        if len(self.closing) == 1:
            return np.zeros(len(places), np.int64)
        return np.searchsorted(self.closing, places)

    def spans(self, starts: Ints, ends: Ints) -> _Spans:
        return _Spans(starts, ends, self.piece_of(starts), hashed(self.sums, starts, ends))

    def per_piece(self, piece: Ints, weights: Ints | Bools | None = None) -> Ints:
        """How many, or the sum of weights, of each piece: [P]."""
        return np.bincount(piece, weights, minlength=len(self.closing)).astype(np.int64)


def _batch(pieces: Sequence[str]) -> _Batch:
    codes = codes_of("\n".join(pieces) + "\n")
    folded = scripts.folded(codes)
    closing = np.cumsum([len(piece) + 1 for piece in pieces]) - 1
    values = lowered(scripts.SIZE)[folded]
    if folded is not codes:
        values = np.where(codes < scripts.SIZE, values, codes)
    return _Batch(codes, scripts.cell_table()[folded], closing, running_sums(values + np.uint32(1)))


def count(pieces: Sequence[str]) -> Counts:
    """Everything countable of each piece: arrays [P] or [P, ...]."""
    batch = _batch(pieces)
    units, lines = _units(batch), _lines(batch)
    return {
        "cells": scripts.count_cells(batch.cells, batch.closing),
        **_stop_words(batch, units),
        **_unit_counts(batch, units),
        **_repetition(batch, units),
        **_sentence_counts(batch),
        **_line_counts(batch, lines),
        **_paragraph_counts(batch, lines),
    }


# ---- units --------------------------------------------------------------------------------------

_BLANK, _RUN, _SINGLE = range(3)


@cache
def _kinds() -> NDArray[np.uint8]:
    """Cell -> white space, part of a run, or a unit by itself."""
    kinds = np.full(scripts.NUM_CELLS, _RUN, np.uint8)
    kinds[[scripts.NEWLINE, scripts.WHITE]] = _BLANK
    for k, name in enumerate(scripts.SCRIPTS):
        if name in scripts.UNSPACED:
            kinds[scripts.LETTERS + 2 * k : scripts.LETTERS + 2 * k + 2] = _SINGLE
    return kinds


def _units(batch: _Batch) -> _Spans:
    kinds = _kinds()[batch.cells]
    single, run = kinds == _SINGLE, kinds == _RUN
    begins, finishes = run.copy(), run.copy()
    begins[1:] &= ~run[:-1]
    finishes[:-1] &= ~run[1:]
    return batch.spans(np.flatnonzero(begins | single), np.flatnonzero(finishes | single) + 1)


def _unit_counts(batch: _Batch, units: _Spans) -> dict[str, Ints]:
    letters = np.zeros(len(batch.cells) + 1, np.int32)
    np.cumsum(batch.cells >= scripts.LETTERS, out=letters[1:])
    alphabetic = letters[units.ends] > letters[units.starts]
    return {
        "words": batch.per_piece(units.piece),
        "alphabetic_words": batch.per_piece(units.piece[alphabetic]),
    }


@cache
def _stop_table() -> tuple[Hashes, Ints, Bools]:
    """Hashes of all stop words, sorted; which word each is; a quick test by the lowest 16 bits."""
    listed = words.all_words()
    batch = _batch([" ".join(listed)])
    places = np.cumsum([0, *(len(word) + 1 for word in listed)])[:-1]
    hashes = hashed(batch.sums, places, places + np.array([len(word) for word in listed]))
    order = np.argsort(hashes)
    quick = np.zeros(1 << 16, bool)
    quick[(hashes & np.uint64(0xFFFF)).astype(np.int64)] = True
    return hashes[order], order.astype(np.int64), quick


def _stop_words(batch: _Batch, units: _Spans) -> dict[str, Ints]:
    """Stop words of each language: occurrences and how many different ones, int64 [P, L]."""
    known, word, quick = _stop_table()
    maybe = np.flatnonzero(quick[(units.hashes & np.uint64(0xFFFF)).astype(np.int64)])
    hashes = units.hashes[maybe]
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    hit = known[at] == hashes
    keys, counts = np.unique(units.piece[maybe[hit]] * len(known) + word[at[hit]], return_counts=True)
    of = _membership()[keys % len(known)]
    piece = keys // len(known)
    return {"stop": _summed(of * counts[:, None], piece, batch), "distinct_stop": _summed(of, piece, batch)}


def _summed(rows: Ints, piece: Ints, batch: _Batch) -> Ints:
    """The sum of the rows of each piece, which come in its order: int64 [P, L]."""
    sums = np.zeros((len(batch.closing), rows.shape[1]), np.int64)
    if len(piece):
        there, firsts = np.unique(piece, return_index=True)
        sums[there] = np.add.reduceat(rows, firsts)
    return sums


@cache
def _membership() -> Ints:
    """1 where a stop word belongs to a language: int64 [W, L]."""
    of = words.languages_of()
    return np.array([[int(name in of[word]) for name in words.STOP_WORDS] for word in words.all_words()])


# ---- repetition ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ngrams:
    """Places of n-grams that occur at least twice, and the group of equal ones each belongs to."""

    places: Ints
    group: Ints
    counts: Ints


def _groups(keys: NDArray[np.integer], places: Ints) -> _Ngrams:
    order = np.argsort(keys)
    ranked = keys[order]
    new = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(keys) else np.zeros(0, np.int64)
    counts = np.diff(np.append(new, len(keys)))
    often = counts > 1
    kept = np.repeat(often, counts)
    counts = counts[often]
    return _Ngrams(places[order[kept]], np.repeat(np.arange(len(counts)), counts), counts)


def _repetition(batch: _Batch, units: _Spans) -> dict[str, Ints]:
    """Visible characters in the most frequent 2- to 4-grams, and in all 5- to 10-grams that occur again.

    A 6-gram can only occur again where both of its 5-grams do, so each length looks at fewer places.
    """
    lengths = np.concatenate([[0], np.cumsum(units.lengths)])
    found = _pairs(units)
    counts = {}
    for n in range(2, REPEATED[-1] + 1):
        if n in TOP:
            counts[f"top_{n}gram"] = _top(batch, units, found, lengths, n)
        if n in REPEATED:
            counts[f"repeated_{n}gram"] = _covered(batch, units, found.places, n)
        if n == OFTEN[0]:
            counts["often"] = _covered(batch, units, found.places[found.counts[found.group] >= OFTEN[1]], n)
        found = _longer(found, len(units.starts))
    return counts


def _pairs(units: _Spans) -> _Ngrams:
    keys = units.hashes + units.piece.astype(np.uint64) * _APART
    inside = np.flatnonzero(units.piece[1:] == units.piece[:-1])
    pairs = mixed(keys[inside] * np.uint64(BASE)) + keys[inside + 1]
    return _groups(pairs, inside)


def _longer(found: _Ngrams, num_units: int) -> _Ngrams:
    """Repeated (n + 1)-grams from repeated n-grams: equal where both n-grams inside are."""
    if not len(found.places):
        return found
    group = np.full(num_units + 1, -1, np.int64)
    group[found.places] = found.group
    both = np.flatnonzero((group[:-1] >= 0) & (group[1:] >= 0))
    return _groups(group[both] * len(found.counts) + group[both + 1], both)


def _top(batch: _Batch, units: _Spans, found: _Ngrams, lengths: Ints, n: int) -> Ints:
    """Visible characters in the most frequent n-gram of each piece; of equally frequent ones the longest."""
    firsts = found.places[np.cumsum(found.counts) - found.counts]
    sizes = lengths[firsts + n] - lengths[firsts]
    best = np.zeros(len(batch.closing), np.int64)
    np.maximum.at(best, units.piece[firsts], (found.counts << 32) + sizes)
    return (best >> 32) * (best & 0xFFFFFFFF)


def _covered(batch: _Batch, units: _Spans, places: Ints, n: int) -> Ints:
    """Visible characters in the n-grams at these places, each counted once."""
    if not len(places):
        return np.zeros(len(batch.closing), np.int64)
    covered = np.zeros(len(units.starts), bool)
    for k in range(n):
        covered[places + k] = True
    return batch.per_piece(units.piece[covered], units.lengths[covered])


# ---- sentences, lines, paragraphs ---------------------------------------------------------------

_BULLETS: Final = np.array(sorted(ord(c) for c in "•‣⁃∙◦●○▪▫►▸▶*-+–"), np.uint32)
_BEHIND_END: Final = (scripts.NEWLINE, scripts.WHITE, scripts.QUOTE, scripts.CLOSE)
_DOT, _ELLIPSIS = 0x2E, 0x2026


def _sentence_counts(batch: _Batch) -> dict[str, Ints]:
    cells, codes = batch.cells, batch.codes
    places = np.flatnonzero((cells == scripts.NARROW_END) | (cells == scripts.WIDE_END))
    behind = cells[places + 1]
    last = (behind != scripts.NARROW_END) & (behind != scripts.WIDE_END)
    closed = (cells[places] == scripts.WIDE_END) | np.isin(behind, _BEHIND_END)
    begins = codes[places - 1] != codes[places]  # place -1 is the last line end
    three = (codes[places + 1] == _DOT) & (codes[np.minimum(places + 2, len(codes) - 1)] == _DOT)
    ellipses = begins & ((codes[places] == _ELLIPSIS) | ((codes[places] == _DOT) & three))
    return {
        "sentences": batch.per_piece(batch.piece_of(places[last & closed])),
        "ellipses": batch.per_piece(batch.piece_of(places[ellipses])),
    }


@dataclass(frozen=True)
class _Lines:
    """Lines that are not blank, without white space at their ends; `opens` marks the first of a paragraph."""

    spans: _Spans
    opens: Bools


def _lines(batch: _Batch) -> _Lines:
    stops = np.flatnonzero(batch.cells == scripts.NEWLINE)
    solid = np.flatnonzero(_kinds()[batch.cells] != _BLANK)
    after = np.searchsorted(solid, stops)
    before = np.concatenate([[0], after[:-1]])
    number = np.flatnonzero(after > before)
    spans = batch.spans(solid[before[number]], solid[after[number] - 1] + 1)
    opens = np.ones(len(number), bool)
    opens[1:] = (np.diff(number) != 1) | (np.diff(spans.piece) != 0)
    return _Lines(spans, opens)


def _line_counts(batch: _Batch, lines: _Lines) -> dict[str, Ints]:
    spans, codes, cells = lines.spans, batch.codes, batch.cells
    last, ends = cells[spans.ends - 1], spans.ends
    terminal = np.isin(last, (scripts.NARROW_END, scripts.WIDE_END, scripts.QUOTE))
    dots = (codes[ends - 1] == _DOT) & (codes[ends - 2] == _DOT) & (codes[ends - 3] == _DOT)
    flags = {
        "lines": np.ones(len(ends), bool),
        "lines_under_30": spans.lengths < 30,
        "lines_under_12": spans.lengths < 12,
        "terminal_lines": terminal,
        "bullet_lines": _bullets(batch, spans),
        "ellipsis_lines": dots | (codes[ends - 1] == _ELLIPSIS),
    }
    counts = {name: batch.per_piece(spans.piece[flag]) for name, flag in flags.items()}
    counts["line_characters"] = batch.per_piece(spans.piece, spans.lengths)
    return counts | _duplicates(batch, spans, "line")


def _bullets(batch: _Batch, spans: _Spans) -> Bools:
    """Lines that begin with a bullet; a hyphen or asterisk is one only before white space."""
    first = batch.codes[spans.starts]
    apart = _kinds()[batch.cells[spans.starts + 1]] == _BLANK
    return np.asarray(np.isin(first, _BULLETS) & (apart | (first > 0x2013)))


def _paragraph_counts(batch: _Batch, lines: _Lines) -> dict[str, Ints]:
    firsts = np.flatnonzero(lines.opens)
    lasts = np.append(firsts[1:], len(lines.opens))[: len(firsts)] - 1
    spans = batch.spans(lines.spans.starts[firsts], lines.spans.ends[lasts])
    counts = {
        "paragraphs": batch.per_piece(spans.piece),
        "paragraph_characters": batch.per_piece(spans.piece, spans.lengths),
    }
    return counts | _duplicates(batch, spans, "paragraph")


def _duplicates(batch: _Batch, spans: _Spans, name: str) -> dict[str, Ints]:
    """How many spans repeat an earlier one of their piece, and their characters."""
    keys = spans.hashes + spans.piece.astype(np.uint64) * _APART
    order = np.argsort(keys, kind="stable")
    again = order[1:][keys[order[1:]] == keys[order[:-1]]]
    return {
        f"duplicate_{name}s": batch.per_piece(spans.piece[again]),
        f"duplicate_{name}_characters": batch.per_piece(spans.piece[again], spans.lengths[again]),
    }
