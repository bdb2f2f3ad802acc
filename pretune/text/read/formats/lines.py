"""The lines of a text file, unpacked and decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretune.text.read.encoding import detect, text_lines
from pretune.text.read.formats.record import ZEROS, Repairs, open_bytes


def lines_of(path: Path, repairs: Repairs, newline: str | None = None) -> Iterator[str]:
    """The lines of a text file with their ends, unpacked and decoded; damage is mended and counted."""
    name = path.as_posix()
    with open_bytes(path) as stream:
        encoding = detect(stream, name)
    with open_bytes(path) as stream:
        for line, broken in text_lines(stream, encoding, name, newline):
            repairs.broken += broken
            repairs.mend(ZEROS, line.count("\0"))
            yield line.replace("\0", "")
