"""The texts of a file that a model is asked about, read as every stage reads files.

a.txt, and what has no format   one a line; blank lines are passed over
a.jsonl a.csv a.parquet ...     one a record, in the column that a data set's text, or source, would stand in; or two
                                that are compared, in two: sentence1 and sentence2, text and second ...
a.html a.pdf a.docx ...         one a file (of archives and dumps, one a page)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pretune.base.errors import BadFile, EmptyInput, NoSuchColumn, NoSuchFile
from pretune.base.json import Json
from pretune.infer.answers import Given
from pretune.text.dataset.shapes.labelled import compared_columns
from pretune.text.dataset.shapes.pairs import source_column
from pretune.text.read.columns import Table
from pretune.text.read.piped import spooled
from pretune.text.read.readers import READERS, TABULAR, Record, Repairs, line_of, lines_of, read_records, suffix_of
from pretune.text.read.values import text_in, texts_in

LINES = (".txt", ".md")
LISTED = ("candidates",)
"""Roles whose column holds a list of texts."""
LOOKED_AT, PLACES = 100, 5
"""Records by which the column is found; places that are named."""


@contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """A file as it is; what comes through a pipe as a file that can be read twice. Raises NoSuchFile, BadFile."""
    _check_file(path)
    if path.is_file():
        yield path
        return
    with TemporaryDirectory() as scratch, path.open("rb") as stream:
        yield spooled(stream, f"{scratch}/{path.name}")


def given_in(
    path: Path,
    roles: Sequence[str] = ("text",),
    column: str | None = None,
    *,
    tell: Callable[[str], None] = lambda told: None,
    warn: Callable[[str], None] = lambda told: None,
) -> Iterator[Given]:
    """What one file asks of a model, in order, read as it is asked for: texts, pairs of texts, or texts by their roles.

    Args:
        roles: what the model reads, such as question and context; texts alone where there is one.
        column: where texts stand in a table; by default the one that a data set's text would stand in, else a prompt
            or a source. One that is named is read alone.
        tell: is told which column was taken.
        warn: is told, at the end, what was mended or left out.

    Raises:
        NoSuchFile, EmptyInput, NoSuchColumn; BadFile: a folder, no table, a record that is broken, lacks a role, or
        whose text is a list; NotText: binary, or an encoding that cannot be told.
    """
    with as_file(path) as file:
        found = _texts(file, column, tell, warn) if tuple(roles) == ("text",) else _records(file, roles, warn)
        first = next(found, None)
        if first is None:
            raise EmptyInput(f"{path.as_posix()!r} holds no {' with a '.join(roles)}")
        yield first
        yield from found


def _texts(
    path: Path, column: str | None, tell: Callable[[str], None], warn: Callable[[str], None]
) -> Iterator[str | tuple[str, str]]:
    repairs, suffix = Repairs(), suffix_of(path)
    if suffix in READERS and suffix not in LINES:
        yield from _in_records(path, read_records(path, repairs), column, tell, warn)
    else:
        yield from (line.rstrip("\r\n") for line in lines_of(path, repairs) if line.strip())
    _warn_of(repairs, path, warn)


def _records(path: Path, roles: Sequence[str], warn: Callable[[str], None]) -> Iterator[Json]:
    """The texts of each record of a table, by roles such as question and context."""
    if suffix_of(path) not in TABULAR:
        hint = f"give jsonl, csv or parquet with {' and '.join(roles)}"
        raise BadFile(f"{path.as_posix()!r} is no table, and this model reads {' and '.join(roles)}", hint=hint)
    repairs, left_out = Repairs(), 0
    records = read_records(path, repairs)
    first = list(islice(records, LOOKED_AT))
    table = Table(path.as_posix(), first, {})
    columns = {role: table.need(role) for role in roles}
    for record in chain(first, records):
        found = {role: _read(record, name, role) for role, name in columns.items()}
        if all(texts if isinstance(texts, list) else texts.strip() for texts in found.values()):
            yield found
        else:
            left_out += 1
    _warn_of(repairs, path, warn)
    if left_out:
        warn(f"{left_out} records without {' or '.join(roles)} were left out of {path.as_posix()}")


def _read(record: Record, column: str, role: str) -> Any:
    """A text, or a list of texts where a role has several."""
    return texts_in(record, column) if role in LISTED else text_in(record, column)


def _warn_of(repairs: Repairs, path: Path, warn: Callable[[str], None]) -> None:
    if repairs.broken:
        warn(f"{path.as_posix()}: {repairs.broken} broken sequences of bytes became \ufffd")
    for what, number in sorted(repairs.mended.items()):
        warn(f"{path.as_posix()}: {what}: {number}")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise BadFile(f"{path.as_posix()!r} is a folder", hint="name one file in it")
    if not path.exists():
        raise NoSuchFile(f"there is no file {path.as_posix()!r}")


def _columns(path: Path, first: list[Record], column: str | None) -> list[str]:
    """That of the texts, else that of prompts or sources; of two that are compared, both."""
    table = Table(path.as_posix(), first, {"text": column} if column else {})
    try:
        found = compared_columns(table) if column is None else (table.need("text"), None)
        return [name for name in found if name is not None]
    except NoSuchColumn as error:
        prompt = None if column else table.column("prompt") or source_column(table)
        if prompt is None:
            raise NoSuchColumn(error.problem, hint=error.hint if column else "name it: --column COLUMN") from None
        return [prompt]


def _in_records(
    path: Path, records: Iterator[Record], column: str | None, tell: Callable[[str], None], warn: Callable[[str], None]
) -> Iterator[str | tuple[str, str]]:
    first = list(islice(records, LOOKED_AT))
    names = _columns(path, first, column) if suffix_of(path) in TABULAR else ["text"]
    if not column and names != ["text"]:
        told = f"column {names[0]!r}" if len(names) == 1 else f"columns {names[0]!r} and {names[1]!r}, two at a time"
        tell(f"{path.as_posix()}: the texts are read from the {told} (--column says another)")
    empty, num_empty = list[int](), 0
    for number, record in enumerate(chain(first, records)):
        try:
            texts = tuple(text_in(record, name) for name in names)
        except BadFile as error:
            raise BadFile(f"{_where(path, number)}: {error.problem}", hint=error.hint) from None
        if all(text.strip() for text in texts):
            yield texts[0] if len(texts) == 1 else (texts[0], texts[1])
        else:
            num_empty += 1
            empty += [number] if num_empty <= PLACES else []
    if empty:
        places = ", ".join(_where(path, k) for k in empty) + (", ..." if num_empty > PLACES else "")
        warn(f"{num_empty} records without a text in {' or '.join(map(repr, names))} were left out: {places}")


def _where(path: Path, number: int) -> str:
    """`a.jsonl:17`, the line; `a.json#16` where records have none."""
    line = line_of(path, number)
    return f"{path.as_posix()}#{number}" if line is None else f"{path.as_posix()}:{line}"


def check_output(path: Path) -> None:
    """Refuse a place where no answers can be written, before they are made.

    Raises:
        NoSuchFile: its folder is not there; BadFile: it is a folder itself.
    """
    if path.is_dir():
        raise BadFile(f"{path.as_posix()!r} is a folder, so the answers cannot be written there", hint="name a file")
    if not path.parent.is_dir():
        folder = path.parent.as_posix()
        raise NoSuchFile(f"there is no folder {folder!r} to write the answers into", hint=f"make it: mkdir -p {folder}")
