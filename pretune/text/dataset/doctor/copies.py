"""Rows that say what other rows say: in one split (duplicates) and in two (leaks); equal, or near by verified MinHash.

    duplicates   beyond the first of each group of equal rows of one split, as counted for SMS spam: 418
    leaks        of a split that is judged on, the rows whose text is in a split before it

Equal means equal but for case, width and white space (`fields.same_text`). Near means a Jaccard similarity of at
least 0.8 of shingles, each pair compared (dedup/near.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pretune.base.sample import evenly
from pretune.text.dataset.doctor.fields import FIELDS
from pretune.text.dataset.doctor.findings import Check, Data, DataRow, Finding, Level, counted
from pretune.text.dedup import near
from pretune.text.read.split import SPLITS

BETWEEN = (("train", "validation"), ("train", "test"), ("validation", "test"))
MOST = 50_000
"""Rows of a split that are compared with each other by default; a second and a half."""
NO_SPANS = tuple(shape for shape in FIELDS if shape != "span")


class Duplicates(Check):
    """Rows of one split that say what an earlier one says."""

    kind: str = "duplicates"
    advice: ClassVar[str] = "Keep one of each, unless the copies are meant to weigh more."

    def find(self, data: Data) -> Iterator[Finding]:
        first: dict[tuple[str, str], DataRow] = {}
        again, like = [], []
        for row, key in zip(data.rows, data.whole, strict=True):
            earlier = first.setdefault((row.split, key), row)
            if earlier is not row:
                again.append(row)
                like.append(earlier)
        if again:
            number = f"{counted(len(again), 'row')} of {len(data.rows):,}"
            yield self.finding(f"{number} {_say(again)} what an earlier row of the split says", again, like=like)


class Leaks(Check):
    """Rows to be judged on that are in an earlier split too: figures on them flatter."""

    kind: str = "leaks"
    advice: ClassVar[str] = "Leave them out of the split that is judged on; figures on them flatter."
    serious: float = Field(default=0.01, ge=0, le=1)
    """Share of the later split from which leaks are an error; below it a warning."""

    def find(self, data: Data) -> Iterator[Finding]:
        first: dict[str, dict[str, DataRow]] = {split: {} for pair in BETWEEN for split in pair}
        for row, key in zip(data.rows, data.asked, strict=True):
            first[row.split].setdefault(key, row)
        for one, other in BETWEEN:
            pairs = zip(data.rows, data.asked, strict=True)
            leaked = [(r, first[one][key]) for r, key in pairs if r.split == other and key in first[one]]
            if leaked:
                rows, like = [r for r, _ in leaked], [f for _, f in leaked]
                yield self.finding(_shared(data, rows, one, other), rows, like=like, level=self._level(data, rows))

    def _level(self, data: Data, rows: Sequence[DataRow]) -> Level:
        return "error" if len(rows) >= self.serious * len(data.of_split(rows[0].split)) else "warning"


def _shared(data: Data, rows: Sequence[DataRow], one: str, other: str) -> str:
    number = f"{counted(len(rows), 'row')} of {len(data.of_split(other)):,} of {other}"
    return f"{number} {'is' if len(rows) == 1 else 'are'} in {one} too"


def _say(rows: Sequence[DataRow]) -> str:
    return "says" if len(rows) == 1 else "say"


# ---- near ---------------------------------------------------------------------------------------


class NearDuplicates(Check):
    """Rows of one split that say almost what an earlier one says."""

    kind: str = "near-duplicates"
    level: ClassVar[Level] = "hint"
    shapes: ClassVar[tuple[str, ...]] = NO_SPANS  # all questions about one passage are near
    advice: ClassVar[str] = "Look whether they are edited copies; if so keep one of each."
    similarity: float = Field(default=0.8, ge=0.65, le=1)
    """Jaccard similarity of shingles from which two rows are near."""
    most: int = Field(default=MOST, gt=0)
    """Rows of a split that are compared, evenly spread."""

    def find(self, data: Data) -> Iterator[Finding]:
        for split in SPLITS:
            every = [k for k, row in enumerate(data.rows) if row.split == split]
            here = evenly(every, self.most)
            texts = [data.fields.whole(data.rows[k].example) for k in here]
            found = _near(here, [data.whole[k] for k in here], texts, self.similarity)
            if found:
                rows, like = [data.rows[k] for k, _ in found], [data.rows[k] for _, k in found]
                text = f"{counted(len(rows), 'row')} of {split} {_say(rows)} almost what an earlier one says"
                yield self.finding(text + _part(len(here), len(every)), rows, like=like)


class NearLeaks(Check):
    """Rows to be judged on whose text is in an earlier split in almost the same words."""

    kind: str = "near-leaks"
    advice: ClassVar[str] = "Look whether they are edited copies; if so leave them out of the split that is judged on."
    similarity: float = Field(default=0.8, ge=0.65, le=1)
    """Jaccard similarity of shingles from which two texts are near."""
    most: int = Field(default=MOST, gt=0)
    """Rows of a split that are compared, evenly spread."""

    def find(self, data: Data) -> Iterator[Finding]:
        by_split = [[k for k, row in enumerate(data.rows) if row.split == split] for split in SPLITS]
        if sum(map(bool, by_split)) < 2:
            return
        here = [k for every in by_split for k in evenly(every, self.most)]
        texts = [data.fields.asked(data.rows[k].example) for k in here]
        near_rows = _near(here, [data.asked[k] for k in here], texts, self.similarity)
        pairs = [(data.rows[k], data.rows[first]) for k, first in near_rows]
        for one, other in BETWEEN:
            found = [(r, first) for r, first in pairs if (first.split, r.split) == (one, other)]
            if found:
                rows = [r for r, _ in found]
                near_text = _shared(data, rows, one, other).replace(" too", " in almost the same words")
                text = near_text + _part(len(here), len(data.rows))
                yield self.finding(text, rows, like=[first for _, first in found])


def _part(compared: int, number: int) -> str:
    return f" (of {compared:,} that were compared)" if compared < number else ""


def _near(
    numbers: Sequence[int], keys: Sequence[str], texts: Sequence[str], similarity: float
) -> list[tuple[int, int]]:
    """(row, earlier row) of near pairs; texts with equal keys are one text, the first."""
    places = list({key: k for k, key in reversed(list(enumerate(keys)))}.values())[::-1]
    if len(places) < 2:
        return []
    own = [texts[k] for k in places]
    with tempfile.TemporaryDirectory() as scratch:
        found = near.clusters(
            near.sign(own), lambda some: [own[k] for k in some], threshold=similarity, scratch=Path(scratch)
        )
    pairs = ((k, int(first)) for k, first in enumerate(found.because_of) if first >= 0)
    return [(numbers[places[k]], numbers[places[first]]) for k, first in pairs]
