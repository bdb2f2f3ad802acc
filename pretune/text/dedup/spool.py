"""Texts on disk, to be read again by the place of a character.

    texts -> [1 byte per character | 2 | 4]     the narrowest that holds a text's widest character
    codes(start, stop)                          code points of a stretch, counted over all texts
    pieces(size, overlap)                       everything once more, in order

Read with pread, not mapped: pages of a mapped file would count as this process's memory.

Price: 17 bytes of memory per text; on disk 1 byte per character for Latin, 2 for Chinese.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class Spool:
    """Texts in a file, in order.

    Args:
        texts: all of them.
        path: the file, which the caller removes.

    Attributes:
        begins: int64 [D + 1], where each text begins, in characters.
    """

    def __init__(self, texts: Iterable[str], path: Path):
        sizes, widths = array("q", [0]), array("B")
        with path.open("wb") as file:
            for text in texts:
                width = _width(text)
                file.write(text.encode(_CODECS[width], "surrogatepass" if width > 1 else "strict"))
                sizes.append(len(text))
                widths.append(width)
        self.begins = np.cumsum(np.frombuffer(sizes, np.int64))
        self._widths = np.frombuffer(widths, np.uint8)
        self._places = np.cumsum([0, *(np.frombuffer(sizes, np.int64)[1:] * self._widths)])
        self._file = path.open("rb")

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def codes(self, start: int, stop: int) -> NDArray[np.generic]:
        """The code points of a stretch inside one text, as wide as that text is stored."""
        text = int(np.searchsorted(self.begins, start, side="right")) - 1
        width = int(self._widths[text])
        at = int(self._places[text]) + (start - int(self.begins[text])) * width
        return np.frombuffer(os.pread(self._file.fileno(), (stop - start) * width, at), f"<u{width}")

    def pieces(
        self, size: int, overlap: int
    ) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]]:
        """(code points, place of each, number of the piece of each), some `size` characters at a time.

        A text longer than `size` comes in pieces; each begins with the last `overlap` characters of the one before.
        """
        held: list[tuple[int, NDArray[np.generic]]] = []
        room = size
        for begin, end in zip(self.begins[:-1].tolist(), self.begins[1:].tolist(), strict=True):
            for start in range(begin, max(end - overlap, min(begin + 1, end)), size):
                stop = min(start + size + overlap, end)
                if held and stop - start > room:
                    yield _joined(held)
                    held, room = [], size
                held.append((start, self.codes(start, stop)))
                room -= stop - start
        if held:
            yield _joined(held)


def _width(text: str) -> int:
    if text.isascii():
        return 1
    widest = max(text)
    return 1 if widest < "\u0100" else 2 if widest < "\U00010000" else 4


def _joined(
    pieces: list[tuple[int, NDArray[np.generic]]],
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    sizes = np.array([len(codes) for _, codes in pieces])
    starts = np.array([start for start, _ in pieces])
    numbers = np.repeat(np.arange(len(pieces)), sizes)
    inside = np.arange(len(numbers)) - (np.cumsum(sizes) - sizes)[numbers]
    return np.concatenate([codes for _, codes in pieces]).astype(np.uint64), starts[numbers] + inside, numbers
