"""Paragraphs that many documents share: notices, menus, licences. All but the first document lose them.

    pass one   repeated(texts)                a hash per paragraph to disk; sorted; counted; where each comes first
    pass two   found.without(text, number)    any document, in any order and process

A paragraph ends at a blank line; in a text without blank lines, at every line's end. Case and white space
make no difference.

Price: 16 bytes per repeated paragraph and 4 per document in memory, besides `memory_bytes`; 16 bytes per
paragraph on disk.

Source: repeated spans over the corpus are cut in C4 (Raffel et al. 2020, arXiv:1910.10683, section 2.2) and CCNet
(Wenzek et al. 2020, arXiv:1911.00359, section 3.1, on normalised paragraphs).
"""

from __future__ import annotations

import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from pretune.text.dedup.runs import Sorter, frequent

_BLANK_LINES = re.compile(r"(\n[^\S\n]*\n\s*)")
_LINE_ENDS = re.compile(r"(\n+)")
_DOCUMENTS_TOGETHER = 4096


@dataclass(frozen=True)
class Repeated:
    """The repeated paragraphs of a corpus.

    Args:
        hashes: uint64 [R], rising.
        firsts: int64 [R], the first document of each.
        min_characters: shorter paragraphs do not count.
    """

    hashes: NDArray[np.uint64]
    firsts: NDArray[np.int64]
    min_characters: int

    def without(self, text: str, document: int) -> tuple[str, int]:
        """The text without paragraphs that an earlier document has, and how many those were.

        Args:
            document: its number in the corpus, as repeated() counted.
        """
        parted = pieces(text)
        gone = {k for k in range(0, len(parted), 2) if self._is_later(parted[k], document)}
        if not gone:
            return text, 0
        return "".join(p for k, p in enumerate(parted) if k - k % 2 not in gone), len(gone)

    def _is_later(self, paragraph: str, document: int) -> bool:
        code = _hash(paragraph, self.min_characters)
        place = int(np.searchsorted(self.hashes, np.uint64(code or 0)))
        if code is None or place == len(self.hashes) or int(self.hashes[place]) != code:
            return False
        return document > int(self.firsts[place])


def repeated(
    texts: Iterable[str], *, times: int = 4, min_characters: int = 60, memory_bytes: int = 64_000_000, scratch: Path
) -> Repeated:
    """The paragraphs that are in at least `times` documents.

    Args:
        texts: every document of the corpus, in order.
        times: documents, not occurrences: a refrain inside one text is no repetition.
        min_characters: of the paragraph without superfluous white space.
        scratch: folder for hashes; nothing stays there.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "paragraphs.bin"
        sizes = _write_hashes(texts, min_characters, path)
        sorter = Sorter(Path(folder) / "paragraphs.run", memory_bytes=memory_bytes)
        for _, codes in _read_hashes(path, sizes):
            sorter.add(codes)
        shared = np.concatenate([np.empty(0, dtype=np.uint64), *frequent(sorter.blocks(), times)])
        return Repeated(shared, _firsts(shared, path, sizes), min_characters)


def pieces(text: str) -> list[str]:
    """Paragraph, what parts it from the next, paragraph ...: joined, they are the text."""
    parted = _BLANK_LINES.split(text)
    return parted if len(parted) > 1 else _LINE_ENDS.split(text)


def _hash(paragraph: str, min_characters: int) -> int | None:
    plain = " ".join(paragraph.casefold().split())
    return xxhash.xxh3_64_intdigest(plain.encode("utf-8", "surrogatepass")) if len(plain) >= min_characters else None


def _write_hashes(texts: Iterable[str], min_characters: int, path: Path) -> NDArray[np.int64]:
    """Each document's hashes, each once, as uint64; returns how many each document has."""
    sizes = array("I")
    with path.open("wb") as file:
        for text in texts:
            codes = {_hash(paragraph, min_characters) for paragraph in pieces(text)[::2]} - {None}
            file.write(np.array(sorted(c for c in codes if c is not None), dtype=np.uint64).data)
            sizes.append(len(codes))
    return np.array(sizes, dtype=np.int64)


def _read_hashes(path: Path, sizes: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
    """(number of the document, hash) of all paragraphs, in order, in blocks."""
    with path.open("rb") as file:
        for start in range(0, len(sizes), _DOCUMENTS_TOGETHER):
            mine = sizes[start : start + _DOCUMENTS_TOGETHER]
            codes = np.frombuffer(file.read(8 * int(mine.sum())), dtype=np.uint64)
            yield np.repeat(np.arange(start, start + len(mine)), mine), codes


def _firsts(frequent: NDArray[np.uint64], path: Path, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    firsts = np.full(len(frequent), len(sizes), dtype=np.int64)
    for documents, codes in _read_hashes(path, sizes) if len(frequent) else ():
        places = np.minimum(np.searchsorted(frequent, codes), len(frequent) - 1)
        hit = frequent[places] == codes
        np.minimum.at(firsts, places[hit], documents[hit])
    return firsts
