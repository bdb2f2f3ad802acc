"""Labels: written in two ways, unknown to train, too rare, uneven, or one for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field

from pretune.text.dataset.doctor.fields import same_text
from pretune.text.dataset.doctor.findings import Check, Data, DataRow, Finding, Level, counted
from pretune.text.dataset.example import SHAPES
from pretune.text.read.split import SPLITS

NAMED = tuple(shape for shape, of in SHAPES.items() if of.names)
FEW_SHOWN = 8


def names_of(data: Data, row: DataRow) -> set[str]:
    """The labels of a row; of tags their kinds (PER, LOC)."""
    names = SHAPES[data.shape].names
    assert names is not None, f"{data.shape} has no labels"
    return names(row.example)


def counts_of(data: Data, split: str) -> Counter[str]:
    """label -> rows of the split that carry it."""
    return Counter(name for row in data.of_split(split) for name in names_of(data, row))


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    return ", ".join(map(repr, every[:FEW_SHOWN])) + (" ..." if len(every) > FEW_SHOWN else "")


def _with(data: Data, names: set[str], splits: Sequence[str]) -> list[DataRow]:
    return [row for row in data.rows if row.split in splits and names_of(data, row) & names]


class Spelling(Check):
    """Labels that differ by case, width or blanks alone: "spam" and "Spam" become two classes."""

    kind: str = "label-spelling"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = NAMED
    advice: ClassVar[str] = "Write each label in one way."

    def find(self, data: Data) -> Iterator[Finding]:
        counts = Counter(name for row in data.rows for name in names_of(data, row))
        groups: dict[str, list[str]] = {}
        for name, _ in counts.most_common():
            groups.setdefault(same_text(name), []).append(name)
        twice = [names for names in groups.values() if len(names) > 1]
        rare = {name for names in twice for name in names[1:]}
        if twice:
            ways = "; ".join(" and ".join(map(repr, names)) for names in twice[:FEW_SHOWN])
            text = f"{counted(len(twice), 'label')} written in several ways: {ways}"
            yield self.finding(text, _with(data, rare, SPLITS), count=len(twice))


class Unknown(Check):
    """Labels of validation or test that no row of train carries: a model cannot say them."""

    kind: str = "unknown-labels"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = NAMED
    advice: ClassVar[str] = "Move some of these rows to train, or leave them out."

    def find(self, data: Data) -> Iterator[Finding]:
        known = set(counts_of(data, "train"))
        for split in ("validation", "test"):
            unknown = set(counts_of(data, split)) - known
            if known and unknown:
                rows = _with(data, unknown, (split,))
                text = f"{counted(len(rows), 'row')} of {split} with labels that train has not: {_listed(unknown)}"
                yield self.finding(text, rows)


class Unused(Check):
    """Labels of train that validation or test lacks: how well a model knows them is not measured."""

    kind: str = "unused-labels"
    level: ClassVar[Level] = "hint"
    shapes: ClassVar[tuple[str, ...]] = NAMED
    advice: ClassVar[str] = "Nothing is measured for them; hold some rows out if they matter."

    def find(self, data: Data) -> Iterator[Finding]:
        known = set(counts_of(data, "train"))
        for split in ("validation", "test"):
            there = set(counts_of(data, split))
            if there and known - there:
                text = f"{counted(len(known - there), 'label')} of train never in {split}: {_listed(known - there)}"
                yield self.finding(text, _with(data, known - there, ("train",)), count=len(known - there))


class FewRows(Check):
    """Labels with too few rows to learn."""

    kind: str = "few-rows"
    shapes: ClassVar[tuple[str, ...]] = NAMED
    advice: ClassVar[str] = "Collect more rows, join the label with another, or augment (dataset.augment)."
    least: int = Field(default=8, ge=1)
    """Rows of train that a label needs."""

    def find(self, data: Data) -> Iterator[Finding]:
        few = {name: n for name, n in counts_of(data, "train").items() if n < self.least}
        if few:
            text = f"{counted(len(few), 'label')} with fewer than {self.least} rows in train: {_listed(few)}"
            yield self.finding(text, _with(data, set(few), ("train",)), count=len(few))


class Imbalance(Check):
    """One label many times as frequent as another: a model may say the frequent one too often."""

    kind: str = "imbalance"
    shapes: ClassVar[tuple[str, ...]] = NAMED
    advice: ClassVar[str] = "Read macro_f1 next to accuracy; try dataset.balance=weights or over."
    ratio: float = Field(default=5, gt=1)
    """Rows of the most frequent label for one of the rarest, from which it is a warning; a hint from half of it on."""

    def find(self, data: Data) -> Iterator[Finding]:
        counts = counts_of(data, "train").most_common()
        if len(counts) < 2:
            return
        (most, high), (least, low) = counts[0], counts[-1]
        if high >= low * self.ratio / 2:
            # What is in a text is uneven by nature; only one label a text is a choice of who collects.
            level: Level = "warning" if high >= low * self.ratio and data.shape == "label" else "hint"
            text = f"{high / low:.1f} rows of {most!r} ({high:,}) for one of {least!r} ({low:,})"
            yield self.finding(text, _with(data, {least}, ("train",)), level=level, count=low)


ANSWER: dict[str, Callable[[Any], Hashable]] = {
    "label": lambda e: e.label,
    "labels": lambda e: e.labels,
    "score": lambda e: e.score,
    "tags": lambda e: set(e.tags) == {"O"},
    "pair": lambda e: e.targets,
    "dialogue": lambda e: tuple(m.content for m in e.messages if m.role == "assistant"),
}


class OneAnswer(Check):
    """Every row of train has one and the same answer: there is nothing to learn."""

    kind: str = "one-answer"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = tuple(ANSWER)
    advice: ClassVar[str] = "Look whether the right column was read."

    def find(self, data: Data) -> Iterator[Finding]:
        rows = data.of_split("train")
        answers = {ANSWER[data.shape](row.example) for row in rows}
        if len(rows) > 1 and len(answers) == 1 and (data.shape != "tags" or True in answers):
            yield self.finding(f"all {counted(len(rows), 'row')} of train have one answer", rows)
