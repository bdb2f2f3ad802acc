"""Where texts that were to be forgotten still stand: in files as they are written, and in what was made of them.

    raw file        a condition that no record of it meets holds of a line: in a name of a column, behind a broken line
    report.html     a worst example, the command that was typed
    predictions     the texts that a model was judged by

A text is looked for by its first hundred characters, whatever white space and escapes of HTML or JSON are in it; what
has fewer than twenty says nothing. Weights, token ids and vocabularies are not looked at: lineage tells what they saw.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.errors import UserError
from pretune.text.forget import ANY, Where, texts_in, with_meta
from pretune.text.read.readers import ARCHIVES, READERS, Repairs, lines_of, members, read_records, suffix_of
from pretune.text.read.sources import named_files

TEXT = "text"
SHORTEST, LONGEST = 20, 100
SEARCHED = (".html", ".json", ".jsonl", ".md", ".log", ".yaml", ".yml", ".txt", ".csv", ".forgotten", ".parquet")
AS_WRITTEN = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md")
"""Formats whose lines hold the texts of their records as they are."""
VOCABULARY = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def lines_in(path: Path) -> Iterator[str]:
    """The lines of a text file, or of those in an archive; none of what is no text."""
    with suppress(UserError):
        if suffix_of(path) not in ARCHIVES:
            yield from lines_of(path, Repairs())
            return
        with TemporaryDirectory() as scratch:
            for _, member in members(path, Path(scratch), Repairs(quarantine=[])):
                yield from lines_in(member) if member.stat().st_size else ()


def is_written_in(path: Path, wheres: Collection[Where]) -> bool:
    """Whether a line of a raw file holds what is looked for in all columns by a regular expression."""
    patterns = [where for where in wheres if where.column == ANY and where.pattern]
    return bool(patterns) and any(where.is_in([line]) for line in lines_in(path) for where in patterns)


def stays_outside(path: Path, wheres: Collection[Where], records: Collection[Mapping[str, Any]]) -> bool:
    """Whether a line of a file holds what is looked for though it is of none of its records that are meant: a broken
    line next to a whole one. Of formats that do not write texts as they are (pages, dumps) nobody can tell.

    A line is of a record if it holds one of its texts, each once, or is a piece of the record; only letters and digits
    are compared.
    """
    patterns = [where for where in wheres if where.column == ANY and where.pattern]
    left = [Counter(filter(None, map(_letters, texts_in(dict(one))))) for one in records]
    whole = [_letters(" ".join(texts_in(dict(one)))) for one in records]
    lines = (line for line in _written_lines(path) if any(where.is_in([line]) for where in patterns))
    return not all(_is_of_record(_letters(_said_in(line)), left, whole) for line in lines)


def _is_of_record(line: str, left: list[Counter[str]], whole: list[str]) -> bool:
    for texts in left:
        if here := [text for text in texts if texts[text] and text in line]:
            texts.subtract(here)
            return True
    return any(line in one for one in whole)


def _written_lines(path: Path) -> Iterator[str]:
    with suppress(UserError):
        if suffix_of(path) in ARCHIVES:
            with TemporaryDirectory() as scratch:
                for _, member in members(path, Path(scratch), Repairs(quarantine=[])):
                    yield from _written_lines(member) if member.stat().st_size else ()
        elif suffix_of(path) in AS_WRITTEN or suffix_of(path) not in READERS:
            yield from lines_of(path, Repairs())


def _said_in(line: str) -> str:
    """The texts of a line of JSON; any other line without escapes."""
    with suppress(ValueError, RecursionError):
        if isinstance(tree := json.loads(line), dict):
            return " ".join(texts_in(tree))
    return _unescaped(line).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFC", text)))


def raw_with(artifact: Artifact, wheres: Collection[Where]) -> list[Path]:
    """The raw files of an input that a stage reads in a way of its own, and that hold what is meant."""
    return [path for _, path in named_files(artifact) if _has_record(path, wheres) or is_written_in(path, wheres)]


def _has_record(path: Path, wheres: Collection[Where]) -> bool:
    with suppress(UserError):
        return any(where.holds(one) for one in read_records(path, Repairs(quarantine=[])) for where in wheres)
    return False


# ---- what was made ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traces:
    """What is looked for: conditions on all columns or on the text, and the beginnings of texts that were left out."""

    wheres: Collection[Where]
    beginnings: frozenset[str]

    @classmethod
    def of(cls, wheres: Collection[Where], texts: Iterable[str]) -> Traces:
        plain = (_plain(text) for text in texts)
        whole = [where for where in wheres if where.column in (ANY, TEXT) and where.pattern]
        return cls(whole, frozenset(text[:LONGEST] for text in plain if len(text) >= SHORTEST))

    @cached_property
    def _by_start(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for text in self.beginnings:
            found.setdefault(text[:SHORTEST], []).append(text)
        return found

    def are_in(self, text: str) -> bool:
        """Whether a text holds one of them."""
        if any(where.is_in([text, _unescaped(text)]) for where in self.wheres):
            return True
        plain, starts = _plain(_unescaped(text)), self._by_start
        places = (k for k in range(len(plain) - SHORTEST + 1) if plain[k : k + SHORTEST] in starts) if starts else ()
        return any(plain.startswith(one, k) for k in places for one in starts[plain[k : k + SHORTEST]])

    def files_with(self, paths: Iterable[Path]) -> list[Path]:
        """Those of the files that hold one of them."""
        return [path for path in paths if _is_searched(path) and any(map(self.are_in, _texts_of(path)))]


def _is_searched(path: Path) -> bool:
    return path.suffix.lower() in SEARCHED and path.name not in VOCABULARY


def _texts_of(path: Path) -> Iterator[str]:
    if path.suffix == ".parquet":
        yield from _texts_of_rows(path)
        return
    for line in lines_in(path):
        tree = None
        if path.suffix in (".json", ".jsonl"):
            with suppress(ValueError, RecursionError):
                tree = json.loads(line)
        yield from texts_in(tree) if isinstance(tree, dict) else [line]


def _texts_of_rows(path: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                yield from texts_in(with_meta(row))


def _unescaped(text: str) -> str:
    """Without escapes of HTML, and without those of JSON where a page holds some."""
    plain = ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "\\u" in text else text
    return html.unescape(plain).replace("\\n", " ").replace('\\"', '"')


def _plain(text: str) -> str:
    return " ".join(text.split())
