"""Words and tags, one word a line, a blank line after each sentence.

    EU        NNP  B-ORG          the first column is the word, the last its tag; tabs, or blanks
    rejects   VBZ  O
                                  lines that begin with -DOCSTART- are passed over, and comments: # sent_id = 1
    当 O
    # O                           a word all the same, for it has as many columns as the first row, and a tag

A word may be empty (`<tab>O`, a blank that was a word once): it is read as such, and left out later with a count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.text.dataset.shapes.schemes import parts_of
from pretune.text.read.readers import Repairs, lines_of

SUFFIXES = (".conll", ".conll2003", ".conll03", ".iob", ".iob2", ".bio", ".bioes", ".bmes", ".ner", ".tags")
BLANKS = re.compile(" +")
START = "-DOCSTART-"
COMMENT = re.compile(r"#+(\s|$)|#[\w.:-]+\s*=")
KEY = re.compile(r"#+\s*[\w.:-]+\s*=")


def looks_like(sample: Sequence[str]) -> bool:
    """Whether the beginning of a file is words and tags: two columns or more, the last of them B-X, I-X, O ..."""
    first, lines = _begun(iter(sample))
    rows = [cells_of(line.rstrip("\r\n")) for line in lines if line.strip() and not _is_passed_over(line, first)]
    tags = {cells[-1] for cells in rows}
    blank = any(not line.strip() for line in sample)
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


def _begun(lines: Iterator[str]) -> tuple[list[str], Iterator[str]]:
    """The cells of the first row, and all lines."""
    head: list[str] = []
    for line in lines:
        head.append(line)
        if line.strip() and not line.startswith((START, "#")):
            return cells_of(line.rstrip("\r\n")), chain(head, lines)
    return cells_of(head[0].rstrip("\r\n")) if head else [], iter(head)


def _is_passed_over(line: str, first: Sequence[str]) -> bool:
    """Whether a line is no row: the start of a document, or a comment rather than the word #."""
    if line.startswith(START) or not COMMENT.match(line):
        return line.startswith(START)
    cells = cells_of(line.rstrip("\r\n"))
    is_tag = parts_of(cells[-1])[0] or not parts_of(first[-1])[0]
    return len(cells) != len(first) or not is_tag or ("\t" not in line and bool(KEY.match(line)))


def read_conll(path: Path, repairs: Repairs) -> Iterator[Json]:
    """One record a sentence: tokens, tags, and `line` where it begins.

    Raises:
        BadFile: a word without a tag, or more or fewer columns than in the lines before, with the line.
    """
    words: list[str] = []
    tags: list[str] = []
    first, lines = _begun(lines_of(path, repairs))
    begins, columns = 1, len(first)
    for number, text in enumerate(lines, 1):
        line = text.rstrip("\r\n")
        if line.startswith("#") and _is_passed_over(line, first):
            continue
        if not line or line.isspace() or line.startswith(START):
            if words:
                yield {"tokens": words, "tags": tags, "line": begins}
            words, tags, begins = [], [], number + 1
            continue
        cells = cells_of(line)
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
