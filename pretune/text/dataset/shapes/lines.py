"""Lines with a label each, without any header.

__label__good __label__short A lovely film     fastText: one label or several, at the beginning
词汇阅读是关键<tab>3                              a text, a tab, a label; the first line may be their names
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.text.read.columns import LABEL, TEXT
from pretune.text.read.readers import Repairs, lines_of

MARK = "__label__"
LABEL_CHARACTERS = 40


def has_marks(lines: Sequence[str]) -> bool:
    """Whether every line has a label of fastText's form."""
    rows = [line for line in lines if line.strip()]
    return bool(rows) and all(line.lstrip().startswith(MARK) for line in rows)


def read_marked(path: Path, repairs: Repairs) -> Iterator[Json]:
    """One record a line: text with `label`, or, if any line has more or fewer than one, with `labels`."""
    rows = []
    for number, line in enumerate(lines_of(path, repairs), 1):
        if not line.strip():
            continue
        words = line.split()
        marks = [word.removeprefix(MARK) for word in words if word.startswith(MARK)]
        if not marks:
            raise BadFile(
                f"{path.as_posix()}:{number} has no {MARK}: {line.strip()[:40]!r}", hint="each line needs one"
            )
        rows.append((_without_marks(line), marks))
    single = all(len(marks) == 1 for _, marks in rows)
    for text, marks in rows:
        yield {"text": text, "label": marks[0]} if single else {"text": text, "labels": marks}


def _without_marks(line: str) -> str:
    """The text of a line, its blanks as they are."""
    text = line.strip()
    while text.startswith(MARK):
        text = text[len(text.split(maxsplit=1)[0]) :].lstrip()
    return text if MARK not in text else " ".join(w for w in text.split() if not w.startswith(MARK))


def has_tabs(lines: Sequence[str]) -> bool:
    """Whether every line is a text, a tab and a short label, and labels come more than once."""
    rows = [line.rstrip("\r\n").split("\t") for line in lines if line.strip()]
    if len(rows) < 2 or not all(len(row) == 2 and row[0].strip() for row in rows):
        return False
    labels = [row[1].strip() for row in rows]
    return max(map(len, labels)) <= LABEL_CHARACTERS and len(set(labels)) <= len(labels) / 2


def read_tabs(path: Path, repairs: Repairs) -> Iterator[Json]:
    """One record a line: text and label."""
    for number, line in enumerate(lines_of(path, repairs), 1):
        cells = line.rstrip("\r\n").split("\t")
        if not line.strip():
            continue
        if len(cells) != 2:
            raise BadFile(f"{path.as_posix()}:{number} has {len(cells) - 1} tabs, not one: {line.strip()[:40]!r}")
        if number > 1 or not _are_names(cells):
            yield {"text": cells[0], "label": cells[1]}


def _are_names(cells: Sequence[str]) -> bool:
    """Whether a first line says `sentence<tab>label`: the names of the columns, no example."""
    text, label = (cell.strip().lower() for cell in cells)
    return text in TEXT and label in LABEL
