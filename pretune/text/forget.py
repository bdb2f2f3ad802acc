"""Taking texts out again: which raw records they are, and a list of their digests that a recipe keeps.

    where     "user=4711"        the column is this
              "text~Ann Smith"   the column matches a regular expression (of all columns together: `any~...`)
    list      one digest a line, next to the recipe; stages corpus and dataset read it as `without`

The list names records by digests alone, so that what was to be forgotten does not stand in it. Files are never edited;
a record that is left out keeps its number, so the ids of all others stay.

Records are those that a stage itself reads (its settings say how: names of columns, words with tags, members of
archives), and a condition looks at both the record and what the stage makes of it: `<b>Ann</b> Smith` and the words
`Ann`, `Smith` are Ann Smith.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.errors import BadCommand, BadFile
from pretune.base.json import Json, JsonMap

DIGEST = re.compile(r"^[0-9a-f]{32}$")
WHERE = re.compile(r"^([\w.-]+)([=~])(.*)$", re.DOTALL)
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>")
ANY = "any"


@dataclass(frozen=True)
class Where:
    """A condition on a record."""

    column: str
    value: str | None = None
    pattern: re.Pattern[str] | None = None

    @classmethod
    def of(cls, text: str) -> Where:
        """From COLUMN=VALUE or COLUMN~REGEX. Raises BadCommand."""
        found = WHERE.match(text)
        if not found or not found[3]:
            raise BadCommand(f"{text!r} is no condition", hint="write COLUMN=VALUE or text~REGEX")
        if found[2] == "=":
            return cls(found[1], value=found[3])
        try:
            return cls(found[1], pattern=re.compile(found[3]))
        except (re.error, OverflowError, RecursionError) as error:
            raise BadCommand(f"{found[3]!r} is no regular expression: {error}") from None

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether a record, or what a corpus or dataset has of it, is meant."""
        return self.is_in(texts_in(dict(record)) if self.column == ANY else texts_in(record.get(self.column)))

    def is_in(self, texts: Collection[str]) -> bool:
        """Whether one of the texts, as it is written, in normal form C or without its markup, is what is meant."""
        forms = {form for text in texts for form in _forms(text)}
        if self.pattern is not None:
            return any(self.pattern.search(text) for text in forms)
        return self.value in forms


def _forms(text: str) -> tuple[str, ...]:
    composed = unicodedata.normalize("NFC", text)
    if "<" not in text and "&" not in text:
        return text, composed
    return text, composed, html.unescape(MARKUP.sub("", composed)).replace("\xa0", " ")


def texts_in(value: object) -> list[str]:
    """All texts and numbers in a value, however deep, and names below its own columns; of a list of words the text."""
    if isinstance(value, Mapping):
        return [text for one in value.values() for text in (*texts_in(one), *_names_in(one))]
    if isinstance(value, list | tuple):
        words = [one for one in value if isinstance(one, str)]
        joined = [" ".join(words), "".join(words)] if len(words) > 1 else []
        return [text for one in value for text in texts_in(one)] + joined
    return [] if value is None or isinstance(value, bytes) else [str(value)]


def _names_in(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, Mapping) else []


@dataclass(frozen=True)
class Read:
    """A raw record as a stage reads it.

    Args:
        path: the file on the disk, of a member its archive's.
        file: the file as people know it (`a/pages.zip/x.csv`), and the record's number in it.
        made: what the stage has of it, by columns.
    """

    path: Path
    file: str
    number: int
    record: Json
    made: Callable[[], Json]

    def is_meant(self, wheres: Collection[Where]) -> bool:
        """By what is written, or by what becomes of it."""
        if any(where.holds(self.record) for where in wheres):
            return True
        made = self.made()
        return any(where.holds(made) for where in wheres)


def record_digest(record: JsonMap) -> str:
    """128 bits of sha256 of a raw record, its columns sorted."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_digests(path: Path) -> frozenset[str]:
    """The list of a file. Raises BadFile."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if wrong := [k for k, line in enumerate(lines, 1) if not DIGEST.match(line)]:
        hint = "`pretune forget` writes such lists, a digest of 32 hex digits a line"
        raise BadFile(f"{path.as_posix()} (line {wrong[0]}) is no list of digests", hint=hint)
    return frozenset(lines)


def listed(given: Artifact | None) -> frozenset[str]:
    """The digests of setting `without`."""
    return frozenset().union(*(read_digests(path) for path in given.files())) if given else frozenset()


# ---- what was made ------------------------------------------------------------------------------


def rows_with(folder: Path, wheres: Collection[Where]) -> int:
    """Rows of a corpus or a dataset folder that are meant, in any of its files."""
    import pyarrow.parquet as pq

    found = 0
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                rows = map(with_meta, file.read_row_group(group).to_pylist())
                found += sum(any(where.holds(row) for where in wheres) for row in rows)
    return found


def with_meta(row: dict[str, Any]) -> dict[str, Any]:
    """A document's row with the other columns that it had in its raw file."""
    meta = json.loads(row["meta"]) if isinstance(row.get("meta"), str) and row["meta"] else {}
    return {**meta, **{name: value for name, value in row.items() if name != "meta"}}


# ---- the recipe ---------------------------------------------------------------------------------


def with_setting(text: str, line: int, name: str, value: str) -> str:
    """A recipe's text with one more setting in the stage that begins on a line (from 1)."""
    lines = text.splitlines(keepends=True)
    head = lines[line - 1]
    stage, _, rest = head.partition(":")
    if rest.lstrip().startswith("{"):
        lines[line - 1] = f"{stage}:{rest.replace('{', f'{{{name}: {value}, ', 1)}"
        return "".join(lines)
    behind = next(one for one in lines[line:] if one.strip() and not one.lstrip().startswith("#"))
    indent = behind[: len(behind) - len(behind.lstrip())]
    ending = "\r\n" if head.endswith("\r\n") else "\n"
    return "".join([*lines[:line], f"{indent}{name}: {value}{ending}", *lines[line:]])
