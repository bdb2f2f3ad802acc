"""Findings: what is wrong, how many rows, which to look at, what to do.

A check is a class and its line in CHECK; one that looks at each row by itself is an entry in rows.py.

error      training or its figures will be wrong      labels of test that train has not, leaks
warning    rows that teach nothing or the wrong thing  copies, contradictions, replies without content
hint       to know                                    lengths, uneven classes, a text in another language
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from pretune.base.config import Choice, Variant
from pretune.base.json import Json
from pretune.text.dataset.doctor.fields import FIELDS, Fields, Piece, same_text
from pretune.text.dataset.example import Example
from pretune.text.dataset.shapes.converter import Remark
from pretune.text.read.split import SPLITS

Level = Literal["error", "warning", "hint"]
LEVELS: tuple[Level, ...] = ("error", "warning", "hint")
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        name: the kind of the check.
        count: rows (labels, where the finding is about labels).
        problem: one sentence that holds the count.
        rows: origins of the first of them; `like`: the row that each was compared with, "" where there is none.
        advice: what to do.
    """

    name: str
    level: Level
    count: int
    problem: str
    advice: str
    rows: tuple[str, ...] = ()
    like: tuple[str, ...] = ()

    @property
    def looked_at(self) -> list[str]:
        """Origins, each with the row it is like."""
        like = self.like or ("",) * len(self.rows)
        return [f"{row} (like {twin})" if twin else row for row, twin in zip(self.rows, like, strict=True)]

    def row(self) -> dict[str, str]:
        """As a row of a page's table."""
        found = {"finding": f"{self.level}: {self.name}", "what was found": self.problem, "what to do": self.advice}
        return found | {"rows to look at": ", ".join(self.looked_at)}

    def fact(self) -> Json:
        """As plain JSON, for cards and `--json`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class DataRow:
    """An example and its split."""

    split: str
    example: Any

    @property
    def origin(self) -> str:
        return str(self.example.origin)


@dataclass(frozen=True)
class Data:
    """Labelled data as the checks see it.

    Args:
        rows: all splits, train first.
        reading: what reading has left out or mended already.
    """

    shape: str
    rows: tuple[DataRow, ...]
    reading: tuple[Remark, ...] = ()

    @classmethod
    def of(cls, shape: str, splits: Mapping[str, Sequence[Example]], reading: Sequence[Remark] = ()) -> Data:
        rows = tuple(DataRow(split, example) for split in SPLITS for example in splits.get(split, ()))
        return cls(shape, rows, tuple(reading))

    @property
    def fields(self) -> Fields:
        return FIELDS[self.shape]

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """Of each row, one form for all its copies."""
        return tuple(same_text(self.fields.whole(row.example)) for row in self.rows)

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """Of each row, one form of what must not be in two splits."""
        return tuple(same_text(self.fields.asked(row.example)) for row in self.rows)

    @cached_property
    def pieces(self) -> list[list[Piece]]:
        """Of each row, (field, text) of every text in it."""
        return [self.fields.pieces(row.example) for row in self.rows]

    def of_split(self, split: str) -> list[DataRow]:
        return [row for row in self.rows if row.split == split]


class Check(Variant):
    """One thing to look for in labelled data; its settings are thresholds."""

    level: ClassVar[Level] = "warning"
    shapes: ClassVar[tuple[str, ...]] = tuple(FIELDS)
    """The shapes it looks at."""
    advice: ClassVar[str] = ""
    """What to do, as one sentence."""

    def find(self, data: Data) -> Iterator[Finding]:
        """What it finds; nothing where all is well."""
        raise AssertionError(f"{type(self).__name__} has no find()")

    def finding(
        self,
        problem: str,
        rows: Sequence[DataRow],
        *,
        name: str | None = None,
        like: Sequence[DataRow] = (),
        level: Level | None = None,
        count: int | None = None,
        advice: str | None = None,
    ) -> Finding:
        return Finding(
            name=name or self.kind,
            level=level or self.level,
            count=len(rows) if count is None else count,
            problem=problem,
            advice=advice or self.advice,
            rows=tuple(row.origin for row in rows[:SHOWN]),
            like=tuple(row.origin for row in like[:SHOWN]),
        )


def counted(number: int, name: str) -> str:
    """1 row, 2 rows."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


CHECK = Choice(
    Check,
    {
        "leaks": "pretune.text.dataset.doctor.copies:Leaks",
        "near-leaks": "pretune.text.dataset.doctor.copies:NearLeaks",
        "duplicates": "pretune.text.dataset.doctor.copies:Duplicates",
        "near-duplicates": "pretune.text.dataset.doctor.copies:NearDuplicates",
        "contradictions": "pretune.text.dataset.doctor.contradictions:Contradictions",
        "both-ways": "pretune.text.dataset.doctor.contradictions:BothWays",
        "label-spelling": "pretune.text.dataset.doctor.labels:Spelling",
        "unknown-labels": "pretune.text.dataset.doctor.labels:Unknown",
        "unused-labels": "pretune.text.dataset.doctor.labels:Unused",
        "few-rows": "pretune.text.dataset.doctor.labels:FewRows",
        "imbalance": "pretune.text.dataset.doctor.labels:Imbalance",
        "one-answer": "pretune.text.dataset.doctor.labels:OneAnswer",
        "empty": "pretune.text.dataset.doctor.texts:Empty",
        "over-long": "pretune.text.dataset.doctor.texts:OverLong",
        "languages": "pretune.text.dataset.doctor.language:Languages",
        "wrong-offset": "pretune.text.dataset.doctor.reading:WrongOffset",
        "length-ratio": "pretune.text.dataset.doctor.texts:LengthRatio",
        "rows": "pretune.text.dataset.doctor.rows:Rows",
        "mended": "pretune.text.dataset.doctor.reading:Mended",
        "left-out": "pretune.text.dataset.doctor.reading:LeftOut",
        # The one upward door: tokens are counted with a tokenizer, which text knows nothing of.
        "truncation": "pretune.tokens.store.truncation:Truncation",
    },
    group="pretune.checks",
)
"""In the order in which findings of one level are listed."""


def every_check() -> list[Check]:
    """One of each kind, with its defaults."""
    return [CHECK(kind) for kind in [*CHECK.table, *sorted({*CHECK.kinds()} - {*CHECK.table})]]


def examine(data: Data, checks: Iterable[Check] | None = None) -> list[Finding]:
    """What is wrong, the worst first; of one level in the order of the checks."""
    wanted = every_check() if checks is None else checks
    found = [f for check in wanted if data.shape in check.shapes for f in check.find(data)]
    return sorted(found, key=lambda f: LEVELS.index(f.level))
