"""Words and tags, one word a line, a blank line after each sentence.

    EU        NNP  B-ORG          the first column is the word, the last its tag; tabs, or blanks
    rejects   VBZ  O
                                  lines that begin with -DOCSTART- are passed over
    当 O

A word may be empty (`<tab>O`, a blank that was a word once): it is read as such, and left out later with a count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pretune.base.errors import BadFile
from pretune.text.readers import Repairs, lines_of
from pretune.text.shapes.schemes import parts_of

SUFFIXES = (".conll", ".conll2003", ".conll03", ".iob", ".iob2", ".bio", ".bioes", ".bmes", ".ner", ".tags")
BLANKS = re.compile(" +")
START = "-DOCSTART-"


def looks_like(lines: Sequence[str]) -> bool:
    """Whether the beginning of a file is words and tags: two columns or more, the last of them B-X, I-X, O ..."""
    rows = [cells_of(line.rstrip("\r\n")) for line in lines if line.strip() and not line.startswith(START)]
    tags = {cells[-1] for cells in rows}
    blank = any(not line.strip() for line in lines)
    named = sum(tag != "O" for tag in tags)
    return (
        len(rows) > 1
        and all(len(cells) >= 2 and parts_of(cells[-1])[0] for cells in rows)
        and (named > 0 or blank)
        and max(map(len, rows)) == min(map(len, rows))
    )


def cells_of(line: str) -> list[str]:
    """The cells of a line; the first may be empty."""
    if "\t" in line:
        return line.split("\t")
    cells = line.split(" ")
    return cells if "" not in cells else BLANKS.split(line.rstrip(" "))


def read_conll(path: Path, repairs: Repairs) -> Iterator[dict[str, Any]]:
    """One record a sentence: tokens, tags, and `line` where it begins.

    Raises:
        BadFile: a word without a tag, or more or fewer columns than in the lines before, with the line.
    """
    words: list[str] = []
    tags: list[str] = []
    begins, columns = 1, 0
    for number, text in enumerate(lines_of(path, repairs), 1):
        line = text.rstrip("\r\n")
        if not line or line.isspace() or line.startswith(START):
            if words:
                yield {"tokens": words, "tags": tags, "line": begins}
            words, tags, begins = [], [], number + 1
            continue
        cells = cells_of(line)
        columns = columns or len(cells)
        if len(cells) < 2 or len(cells) != columns:
            raise _wrong(path, number, line, len(cells), columns)
        words.append(cells[0])
        tags.append(cells[-1].strip())
    if words:
        yield {"tokens": words, "tags": tags, "line": begins}


def _wrong(path: Path, number: int, line: str, found: int, columns: int) -> BadFile:
    where = f"{path.as_posix()}:{number}"
    hint = "each line is a word and its tag, with a tab or a blank between them; a blank line ends a sentence"
    if found < 2:
        return BadFile(f"{where} has no tag: {line[:40]!r}", hint=hint)
    return BadFile(f"{where} has {found} columns, the lines before it {columns}: {line[:40]!r}", hint=hint)
