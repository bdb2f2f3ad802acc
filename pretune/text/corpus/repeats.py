"""Repeats: what many documents share is taken out of all but the first, once copies of whole documents are gone.

    shards -> find (one pass over the kept texts per rule) -> without -> shards, measured again where a text changed

A document of which nothing is left is left out, as `emptied`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from pretune.base.config import Choice, Variant
from pretune.base.json import Json
from pretune.base.log import Bar, Log
from pretune.text.clean.quality.statistics import COLUMNS, measure_all
from pretune.text.corpus.deciding import Shards, Verdict


class Repeated(Protocol):
    """What a pass over all texts found to be repeated."""

    def without(self, text: str, document: int) -> tuple[str, int]:
        """The text without what came before, and how much that was (0: the text is unchanged).

        Args:
            document: its number among the texts of the pass.
        """


class Repeats(Variant):
    """Finds what is repeated over a whole corpus."""

    def find(self, texts: Iterable[str], *, memory_bytes: int, scratch: Path) -> Repeated:
        raise AssertionError(f"{type(self).__name__} has no find()")


class Paragraphs(Repeats):
    """Notices, menus, licences: paragraphs that many documents share."""

    kind: str = "paragraphs"
    times: int = Field(default=4, ge=2)
    """In how many documents a paragraph is before it is removed."""
    min_characters: int = Field(default=60, ge=1)
    """Shorter paragraphs stay."""

    def find(self, texts: Iterable[str], *, memory_bytes: int, scratch: Path) -> Repeated:
        from pretune.text.dedup.paragraphs import repeated

        return repeated(
            texts, times=self.times, min_characters=self.min_characters, memory_bytes=memory_bytes, scratch=scratch
        )


class Substrings(Repeats):
    """Stretches of text that are anywhere in the corpus before, character for character."""

    kind: str = "substrings"
    min_characters: int = Field(default=200, ge=20)
    """Shorter stretches stay."""

    def find(self, texts: Iterable[str], *, memory_bytes: int, scratch: Path) -> Repeated:
        from pretune.text.dedup.substrings import repeated_substrings

        return repeated_substrings(
            texts, min_characters=self.min_characters, memory_bytes=memory_bytes, scratch=scratch
        )


REPEATS = Choice(
    Repeats,
    {
        "paragraphs": "pretune.text.corpus.repeats:Paragraphs",
        "substrings": "pretune.text.corpus.repeats:Substrings",
    },
    group="pretune.repeats",
)


def without_repeats(
    shards: Shards, verdict: Verdict, rules: Sequence[Repeats], *, memory_bytes: int, scratch: Path, log: Log
) -> tuple[Shards, Counter[str]]:
    """The shards without what the rules find, in their order, and how many documents each rule changed.

    Documents that were left out already stay as they are; in `verdict` those that are emptied are left out.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    found: list[tuple[str, Repeated]] = []
    with log.progress("repeated text", total=len(rules) * len(shards), unit="documents") as bar:
        for rule in rules:
            texts = (text for text, _ in _left(shards, verdict, found, bar))
            found.append((rule.kind, rule.find(texts, memory_bytes=memory_bytes, scratch=scratch)))
    counts: Counter[str] = Counter()
    with log.progress("removing repeats", total=len(shards), unit="documents") as bar:
        changed = _left(shards, verdict, found, bar, counts)
        starts = (end - size for end, size in zip(shards.ends, shards.sizes, strict=True))
        paths = zip(shards.paths, starts, strict=True)
        return Shards([_rewritten(path, start, verdict, changed, scratch) for path, start in paths]), counts


def _left(
    shards: Shards,
    verdict: Verdict,
    found: Sequence[tuple[str, Repeated]],
    bar: Bar,
    counts: Counter[str] | None = None,
) -> Iterator[tuple[str, bool]]:
    """(text without the repeats found so far, is it another one) of every kept document."""
    at = number = 0
    for table in shards.tables(["text"]):
        for text in table["text"].to_pylist():
            if verdict.reasons[at] is None:
                yield _without(text, number, found, counts)
                number += 1
            at += 1
        bar.advance(table.num_rows)


def _without(
    text: str, number: int, found: Sequence[tuple[str, Repeated]], counts: Counter[str] | None
) -> tuple[str, bool]:
    left = text
    for kind, one in found:
        left, gone = one.without(left, number)
        if gone and counts is not None:
            counts[kind] += 1
    return left, left != text


def _rewritten(path: Path, start: int, verdict: Verdict, changed: Iterator[tuple[str, bool]], scratch: Path) -> Path:
    """The shard itself, or a new one if any of its texts changed."""
    size = pq.read_metadata(path).num_rows
    kept = [k for k in range(size) if verdict.reasons[start + k] is None]
    new = {k: text for k in kept for text, other in [next(changed)] if other}
    if not new:
        return path
    for k, text in new.items():
        if not text.strip():
            verdict.reasons[start + k] = "emptied"
    table = pq.read_table(path)
    made = scratch / path.name
    pq.write_table(_with_texts(table, new), made, compression="lz4", use_dictionary=False)
    return made


def _with_texts(table: pa.Table, new: dict[int, str]) -> pa.Table:
    """The table with other texts, and their columns measured again."""
    rows: list[Json] = table.to_pylist()
    for (k, text), statistics in zip(new.items(), measure_all(list(new.values())), strict=True):
        rows[k] |= {**statistics, "text": text, "bytes": len(text.encode())}
    assert set(COLUMNS) <= set(table.column_names)
    return pa.Table.from_pylist(rows, schema=table.schema)
