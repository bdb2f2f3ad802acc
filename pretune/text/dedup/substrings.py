"""Stretches of text that are anywhere in the corpus before, character for character, whatever is around them.

    signatures  each window of L characters is signed by the least hash of the L/2-grams in it: windows that are
                equal have equal signatures, and neighbours mostly share theirs, so few are written to disk
    windows     where a signature comes twice, each window's own hash and place go to disk; sorted; each finds
                the last place before it that does not overlap it
    verified    runs of windows are compared with that place, character by character; what is equal is cut

A character is cut if and only if a window of L characters around it came before, in an earlier text or in the
same one without overlap. That is what a suffix array with a threshold of L finds (Lee et al. 2022,
arXiv:2107.06499), without one: memory stays bounded and the result does not depend on it. Nothing is cut that was
not compared; a window is missed only where 64-bit hashes of other windows hide it.

Price: 16 bytes of memory per stretch, 8 per repeated signature and 25 per text, besides `memory_bytes`; on disk the
texts once, and 32 bytes per repeated character for a while.

Source of the signatures: winnowing (Schleimer, Wilkerson, Aiken 2003, "Winnowing: local algorithms for document
fingerprinting", section 4).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretune.text.dedup.runs import Sorter, frequent
from pretune.text.dedup.spool import Spool
from pretune.text.dedup.units import splits_word
from pretune.text.read.hashing import Hashes, hashed, mixed, running_sums

_TOGETHER = 1 << 17
"""Windows that are worked on at once: the arrays stay in the cache."""
_BYTES_PER_WINDOW = 80
"""What sorting one repeated window takes in memory."""
_MOST_FILES = 256

Pairs = NDArray[np.uint64]


@dataclass(frozen=True)
class Substrings:
    """The stretches of a corpus that came before.

    Args:
        begins: int64 [D + 1], where each text begins, in characters over all texts.
        starts, stops: int64 [R], the stretches, rising and apart from one another, in the same characters.
    """

    begins: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def ranges(self, document: int) -> list[tuple[int, int]]:
        """(start, stop) of the stretches of a text, in its characters."""
        begin, end = self.begins[document : document + 2]
        low, high = np.searchsorted(self.starts, [begin, end])
        found = np.stack([self.starts[low:high], self.stops[low:high]], axis=1) - begin
        return [(int(start), int(stop)) for start, stop in found]

    def without(self, text: str, document: int) -> tuple[str, int]:
        """The text without them, and how many characters went.

        A cut is drawn in to where words end, and leaves the white space before it: nothing is glued together.

        Args:
            document: its number in the corpus, as repeated_substrings() counted.
        """
        kept, at = [], 0
        for bounds in self.ranges(document):
            start, stop = _between_words(text, *bounds)
            kept.append(text[at:start])
            at = stop
        left = "".join([*kept, text[at:]])
        return left, len(text) - len(left)


def repeated_substrings(
    texts: Iterable[str], *, min_characters: int = 200, memory_bytes: int = 64_000_000, scratch: Path
) -> Substrings:
    """Every stretch of at least `min_characters` that came before.

    Args:
        texts: every document of the corpus, in order.
        memory_bytes: for what grows with the corpus; the result does not depend on it.
        scratch: folder for the texts and their windows; nothing stays there.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as name, Spool(texts, Path(name) / "texts.bin") as spool:
        folder, size = Path(name), int(spool.begins[-1])
        files = min(_MOST_FILES, 1 + size * _BYTES_PER_WINDOW // memory_bytes)
        twice = _twice(spool, min_characters, Sorter(folder / "signatures.run", memory_bytes=memory_bytes))
        windows, copies = _Scattered(folder / "windows", files), _Scattered(folder / "copies", files)
        for hashes, places in _suspects(spool, min_characters, twice):
            windows.add(hashes >> np.uint64(48), 1 << 16, hashes, places)
        for pairs in windows.parts():
            later, earlier = _earlier(pairs, min_characters, size)
            copies.add(later, size, later, earlier)
        ranges = [_verified(spool, pairs, min_characters) for pairs in copies.parts()]
        return Substrings(spool.begins, *_united(np.concatenate([np.empty((0, 2), np.int64), *ranges]), spool.begins))


def _between_words(text: str, start: int, stop: int) -> tuple[int, int]:
    """The bounds drawn in until neither parts a word, and no white space is cut at the start."""
    while start < stop and (splits_word(text, start) or text[start].isspace()):
        start += 1
    while stop > start and splits_word(text, stop):
        stop -= 1
    return start, stop


# ---- windows ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Windows:
    """The windows of one piece of the corpus; none of them reaches from one text into the next.

    Args:
        places: uint64 [W], where each begins.
        hashes: uint64 [W], of all its characters.
        signatures: uint64 [W], the least hash of a gram in it.
        changes: bool [W], it is signed otherwise than the window before, or by a gram that came again.
    """

    places: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    signatures: NDArray[np.uint64]
    changes: NDArray[np.bool_]


def _windows(spool: Spool, length: int) -> Iterator[_Windows]:
    gram = (length + 1) // 2
    span = length - gram + 1  # grams of a window
    for codes, places, numbers in spool.pieces(_TOGETHER, length - 1):
        if len(codes) < length:
            continue
        inside = np.flatnonzero(numbers[: len(codes) - length + 1] == numbers[length - 1 :])
        sums = running_sums(codes + np.uint64(1))
        signatures = _least(_hashed(sums, gram), span)[inside]
        hashes = _hashed(sums, length)[inside]
        yield _Windows(places[inside].astype(np.uint64), hashes, signatures, _changes(signatures, inside, span))


def _hashed(sums: Hashes, length: int) -> Hashes:
    """A hash of the `length` characters from each place on; all of its bits depend on all characters."""
    return mixed(hashed(sums, slice(0, len(sums) - length), slice(length, None)))


def _least(values: NDArray[np.uint64], width: int) -> NDArray[np.uint64]:
    """The least of each `width` values in a row, by blocks of `width` (van Herk 1992): two passes for any width."""
    count = len(values) - width + 1
    blocks = np.full((-(-len(values) // width), width), np.uint64(2**64 - 1))
    blocks.ravel()[: len(values)] = values
    ahead = np.minimum.accumulate(blocks, axis=1).ravel()
    behind = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.asarray(np.minimum(behind[:count], ahead[width - 1 : width - 1 + count]))


def _changes(signatures: NDArray[np.uint64], inside: NDArray[np.int64], span: int) -> NDArray[np.bool_]:
    """Where another gram signs. One gram signs `span` windows at most: more are another one that is equal to it."""
    numbers = np.arange(len(signatures))
    new = np.ones(len(signatures), dtype=bool)
    new[1:] = (signatures[1:] != signatures[:-1]) | (np.diff(inside) != 1)
    since = numbers - np.maximum.accumulate(np.where(new, numbers, 0))
    return np.asarray(since % span == 0)


def _twice(spool: Spool, length: int, sorter: Sorter) -> NDArray[np.uint64]:
    """The signatures that come more than once, rising."""
    for windows in _windows(spool, length):
        sorter.add(windows.signatures[windows.changes])
    found = [np.empty(0, dtype=np.uint64), *frequent(sorter.blocks(), 2)]
    sorter.close()
    return np.concatenate(found)


def _suspects(
    spool: Spool, length: int, twice: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
    """(hash, place) of the windows whose signature comes more than once."""
    for windows in _windows(spool, length) if len(twice) else ():
        signed = windows.signatures[windows.changes]
        known = twice[np.minimum(np.searchsorted(twice, signed), len(twice) - 1)] == signed
        chosen = known[np.cumsum(windows.changes) - 1]
        yield windows.hashes[chosen], windows.places[chosen]


# ---- pairs --------------------------------------------------------------------------------------


class _Scattered:
    """Pairs of numbers in several files, each small enough to be sorted in memory."""

    def __init__(self, path: Path, files: int):
        self._paths = [path.with_name(f"{path.name}-{k}.bin") for k in range(files)]

    def add(self, keys: NDArray[np.uint64], end: int, one: NDArray[np.uint64], other: NDArray[np.uint64]) -> None:
        """Put each pair where its key, 0 ... end - 1, belongs; the files are in the order of the keys."""
        files = keys * np.uint64(len(self._paths)) // np.uint64(max(end, 1))
        order = np.argsort(files, kind="stable")
        pairs = np.stack([one, other], axis=1)[order]
        found, starts = np.unique(files[order], return_index=True)
        for file, part in zip(found.tolist(), np.split(pairs, starts[1:]), strict=True) if len(found) else ():
            with self._paths[file].open("ab") as opened:
                opened.write(np.ascontiguousarray(part).data)

    def parts(self) -> Iterator[Pairs]:
        """Each file's pairs, uint64 [n, 2]; the file is gone then."""
        for path in self._paths:
            if path.exists():
                pairs = np.fromfile(path, dtype=np.uint64).reshape(-1, 2)
                path.unlink()
                yield pairs


def _earlier(pairs: Pairs, length: int, size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(place, last place before it with the same hash and without overlap), where there is one."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    hashes, places = pairs[order, 0], pairs[order, 1].astype(np.int64)
    groups = np.cumsum(np.concatenate([[0], hashes[1:] != hashes[:-1]]))
    keys = groups * (size + length) + places
    found = np.searchsorted(keys, keys - length, side="right") - 1
    there = (found >= 0) & (groups[found] == groups)
    return places[there].astype(np.uint64), places[found[there]].astype(np.uint64)


def _verified(spool: Spool, pairs: Pairs, length: int) -> NDArray[np.int64]:
    """(start, stop) of the stretches that are, character for character, what is at the places before them."""
    later, earlier = pairs[np.argsort(pairs[:, 0])].astype(np.int64).T
    apart = np.flatnonzero((np.diff(later) != 1) | (np.diff(earlier) != 1)) + 1
    starts = np.unique(np.concatenate([apart, np.arange(0, len(later), _TOGETHER)]))
    sizes = np.diff(np.concatenate([starts, [len(later)]])) + length - 1
    runs = zip(later[starts].tolist(), earlier[starts].tolist(), sizes.tolist(), strict=True)
    return np.concatenate([_equal_runs(spool, *run, length) for run in runs])


def _equal_runs(spool: Spool, later: int, earlier: int, size: int, length: int) -> NDArray[np.int64]:
    """(start, stop) of the runs of at least `length` equal characters, of `size` at both places."""
    equal = spool.codes(later, later + size) == spool.codes(earlier, earlier + size)
    bounds = np.flatnonzero(np.diff(np.concatenate([[0], equal.view(np.int8), [0]]))).reshape(-1, 2)
    return np.asarray(bounds[bounds[:, 1] - bounds[:, 0] >= length] + later)


def _united(ranges: NDArray[np.int64], begins: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranges [n, 2], which rise, as (starts, stops) of their union; those of two texts stay two."""
    starts, stops = ranges[:, 0], np.maximum.accumulate(ranges[:, 1])
    texts = np.searchsorted(begins, starts, side="right")
    new = np.ones(len(starts) + 1, dtype=bool)
    new[1:-1] = (starts[1:] > stops[:-1]) | (texts[1:] != texts[:-1])
    return starts[new[:-1]], stops[new[1:]]
