"""Delimited tables: a row each, by the names in the first line.

    , or ;   a text in " may hold delimiters, ends of lines and doubled quotes
    tab      the same, but most programs that write tabs quote nothing, so a quote may be a letter like any other:
             "Bring me the lamp<tab>calm      one row, its text begins with a quote

With tabs a file is read without quoting if each of its lines is then a row and, with quoting, some would not be. If
neither reading fits all lines, each line is read by the one that fits it; a row goes on over the next lines only where
no reading ends it on its own. Where the names are in quotes the file quotes, and such a row is damaged.

A column without a name (the trailing ones of `v1,v2,,,`) is called by its place, `column 3`, and is there only in rows
that hold something in it. Blank lines in front of the names, and Excel's `sep=;`, are passed over; the names once more
(two exports in one file) are no row, and counted.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from pretune.base.errors import BadFile
from pretune.text.read.formats.record import Record, Repairs, edge, lines_of, suffix_of

MAX_AGAIN = 1 << 20
"""Lines that are read again, over the whole file."""
TAB = "\t"
SEPARATOR = re.compile('"?sep=(.)"?', re.IGNORECASE)
AGAIN = "lines that repeat the names of the columns were left out"
SPILLED = "rows hold something behind the last column that has a name, which is not read"


def read_csv(path: Path, repairs: Repairs) -> Iterator[Record]:
    """Rows by the names in the first line; `,` `;` or a tab between cells, whichever the first line has most of."""
    yield from _records(open_rows(path, repairs), repairs)


def line_of_row(path: Path, number: int) -> int | None:
    """The line, from 1, on which record `number`, from 0, begins; None where there are fewer."""
    rows = open_rows(path, Repairs())
    found = next(islice(_records(rows, Repairs(quarantine=[])), number, None), None)
    return None if found is None else rows.first_line


def _records(rows: Rows, repairs: Repairs) -> Iterator[Record]:
    while True:
        try:
            record = _record(rows)
        except BadFile as error:
            repairs.refuse(error, f"{rows.path.as_posix()}:{rows.first_line}")
            rows.try_again_after_first()
            continue
        if record is None:
            return
        if not record:
            continue
        if record.get(rows.names[0], "").strip().endswith(rows.head[0]) and _says_names(record, rows):
            repairs.mend(AGAIN, 1)
            continue
        if rows.num_named < len(rows.names):
            repairs.mend(SPILLED, int(any(name in record for name in rows.names[rows.num_named :])))
        yield record


def _says_names(record: Record, rows: Rows) -> bool:
    """Whether a row is the names once more; a text that is called like its only column is a text."""
    said = (record.get(name, "").strip().removeprefix("\ufeff") for name in rows.names)
    return rows.num_named > 1 and list(said) == rows.head


def _record(rows: Rows) -> Record | None:
    """The next row, {} for an empty line, None at the end."""
    try:
        cells = rows.next_row()
    except csv.Error as error:
        hint = 'a quote that is opened must be closed; within a quoted text it is written twice, ""'
        raise BadFile(f"{rows.path.as_posix()}:{rows.first_line} is not csv: {error}", hint=hint) from None
    if not cells:
        return None if cells is None else {}
    if not _fits(cells, rows.head):
        where = f"{rows.path.as_posix()}:{rows.first_line}"
        problem = f"{where} has {len(cells)} cells, the first line has {len(rows.head)}"
        hint = "a text must hold no tab" if rows.delimiter == TAB else 'put texts with commas in "'
        raise BadFile(problem, hint=hint)
    record = dict(zip(rows.names, cells, strict=False))
    return {n: c for n, c in record.items() if c or n in rows.head} if "" in rows.head else record


def _fits(cells: Sequence[str], head: Sequence[str]) -> bool:
    """Whether cells are a row of these columns: empty ones may follow, those without a name may be missing."""
    if len(cells) == len(head):
        return True
    return len(cells) >= _num_named(head) and not any(cells[len(head) :])


def _num_named(head: Sequence[str]) -> int:
    """Columns up to the last that has a name."""
    return max((k for k, name in enumerate(head, 1) if name), default=0)


# ---- rows ---------------------------------------------------------------------------------------


def open_rows(path: Path, repairs: Repairs) -> Rows:
    """The rows behind the first line of a table; raises BadFile where that line names no columns."""
    csv.field_size_limit(1 << 30)
    rows = Rows(path, lines_of(path, repairs, newline=""))
    rows.delimiter = _delimiter(path, rows)
    rows.is_quoted = all(len(name) > 1 and name[0] == name[-1] == '"' for name in rows.peek().strip().split(TAB))
    with edge(f"{path.as_posix()}:{rows.next_line}", "the first line of a csv"):
        rows.head = [*repairs.names] or [name.strip() for name in rows.next_row() or []]
    rows.names = [name or f"column {k}" for k, name in enumerate(rows.head, 1)]
    if len(set(rows.names)) < len(rows.names):
        problem = f"{path.as_posix()!r} has two columns of one name: {', '.join(rows.names)}"
        raise BadFile(problem, hint="give each column a name of its own")
    rows.num_named = _num_named(rows.head)
    lines = islice(lines_of(path, Repairs(), newline=""), rows.first_line - 1, None)
    rows.is_plain = rows.delimiter == TAB and not rows.is_quoted and _is_plain(lines, rows.head)
    return rows


def _delimiter(path: Path, rows: Rows) -> str:
    """What is between cells; blank lines in front, and Excel's line `sep=;`, are passed over."""
    separator = None
    while (line := rows.peek()) and (not line.strip() or SEPARATOR.fullmatch(line.rstrip("\r\n"))):
        separator = SEPARATOR.fullmatch(line.rstrip("\r\n")) or separator
        rows.pass_over()
    if separator:
        return separator[1]
    return TAB if suffix_of(path) == ".tsv" else max(",;\t", key=line.count)


def _is_plain(lines: Iterable[str], head: Sequence[str]) -> bool:
    """Whether every line is a row without quoting, and some line would be none with it."""
    quotes_fail = False
    for line in lines:
        text = line.rstrip("\r\n")
        if text and not _fits(text.split(TAB), head):
            return False
        quotes_fail = quotes_fail or (_has_quotes(text) and not _fits(_unquoted(text), head))
    return quotes_fail


def _has_quotes(line: str) -> bool:
    """Whether a cell begins with a quote; within a cell it is a letter."""
    return '"' in line and (line[0] == '"' or '\t"' in line)


def _unquoted(line: str) -> list[str]:
    """The cells of a line with quotes; none if it is no row by itself."""
    try:
        return next(csv.reader([line], delimiter=TAB, strict=True), [])
    except csv.Error:
        return []


@dataclass
class Rows:
    """Rows of a table that can be left and entered again at the next line.

    A quote that is opened and never closed makes one row of all that follows; only its first line is at fault.

    Args:
        head: the names of the columns as the first line has them, "" for none; empty while that line is read.
        names: as records have them.
        num_named: columns up to the last that has a name.
        is_plain: a quote is a letter like any other.
        is_quoted: even the names are in quotes, so a row that is not is damaged.
        first_line: the line, from 1, on which the last row began.
    """

    path: Path
    lines: Iterator[str]
    delimiter: str = ","
    head: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    num_named: int = 0
    is_plain: bool = False
    is_quoted: bool = False
    first_line: int = 1
    next_line: int = 1
    num_again: int = 0
    waiting: deque[str] = field(default_factory=deque)
    taken: list[str] = field(default_factory=list)

    def peek(self) -> str:
        if not self.waiting:
            self.waiting.append(next(self.lines, ""))
        return self.waiting[0]

    def pass_over(self) -> None:
        """Leave out the line that was seen."""
        next(self._feed())

    def next_row(self) -> list[str] | None:
        """Cells of the next row, [] for an empty line; None at the end."""
        self.first_line, self.taken = self.next_line, []
        lines = self._feed()
        if self.delimiter == TAB and self.head:
            line = next(lines, None)
            if line is None or (cells := self._alone(line.rstrip("\r\n"))) is not None:
                return None if line is None else cells
            lines = chain([line], lines)
        return next(csv.reader(lines, delimiter=self.delimiter, strict=True), None)

    def _alone(self, line: str) -> list[str] | None:
        """The cells of a row that ends with its line; None where it may go on."""
        if not line:
            return []
        cells = line.split(TAB)
        if self.is_plain or not _has_quotes(line):
            return cells
        quoted = _unquoted(line)
        if _fits(quoted, self.head):
            return quoted
        return cells if _fits(cells, self.head) and not self.is_quoted else None

    def _feed(self) -> Iterator[str]:
        while (line := self.waiting.popleft() if self.waiting else next(self.lines, None)) is not None:
            self.taken.append(line)
            self.next_line += 1
            yield line

    def try_again_after_first(self) -> None:
        """Take back all lines of the last row but its first."""
        again = self.taken[1:]
        self.num_again += len(again)
        if self.num_again <= MAX_AGAIN:
            self.waiting.extendleft(reversed(again))
            self.next_line -= len(again)
