"""Reports that are compared: opened, known by their names, their rows brought into one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pretune.base.artifact import Artifact
from pretune.base.errors import NotSupported
from pretune.base.json import Json, JsonMap
from pretune.evaluate.records import grouped
from pretune.evaluate.reporting import read_report

ASKED = (
    *("part", "text", "second", "label", "labels", "score", "wanted", "question", "context", "source", "query"),
    *("best", "prompt", "chosen", "rejected", "good", "bad", "bytes"),
)
"""Columns of predictions that say what was asked and what the data wants; the rest is of the model."""

Key = tuple[str, int]


@dataclass(frozen=True)
class Reported:
    """A report and its rows, one per example."""

    name: str
    artifact: Artifact
    report: Json
    rows: Sequence[Json]

    @property
    def what(self) -> str:
        return str(self.report["what"])

    def parts(self) -> dict[str, list[int]]:
        """The places of the rows: of text, pairs and each file of choices apart; else all of them under ""."""
        return dict(grouped([row.get("part") or "" for row in self.rows]))


def open_reports(paths: Sequence[str]) -> list[Reported]:
    """The reports, their rows in the order of the first one's.

    Raises:
        NotSupported: a summary, other tasks, or other examples than the first one's; as Artifact.open.
    """
    artifacts = [Artifact.open(path, "report").verify() for path in paths]
    names = [one.path.name for one in artifacts]
    if len(set(names)) < len(names):
        names = [one.path.as_posix() for one in artifacts]
    found = [Reported(name, one, *read_report(one.path)) for name, one in zip(names, artifacts, strict=True)]
    for one in found:
        if not one.rows:
            raise NotSupported(f"{one.name!r} has no predictions", hint="compare reports of stage evaluate")
        if one.what != found[0].what:
            raise NotSupported(f"{found[0].name!r} is a report on {found[0].what!r}, {one.name!r} on {one.what!r}")
    return [found[0], *(_aligned(found[0], one) for one in found[1:])]


def _aligned(first: Reported, other: Reported) -> Reported:
    """The other's rows in the order of the first's; NotSupported where they are not of the same examples."""
    mine, theirs = list(_keys(first.rows)), {key: k for k, key in enumerate(_keys(other.rows))}
    shared = sum(key in theirs for key in mine)
    if shared < max(len(mine), len(theirs)):
        told = f"{first.name!r} has {len(mine)} examples and {other.name!r} {len(theirs)}, of which they share {shared}"
        hint = "evaluate both on the same data, with the same split and max_examples"
        raise NotSupported(f"the reports are on different examples: {told}", hint=hint)
    return replace(other, rows=[other.rows[theirs[key]] for key in mine])


def _keys(rows: Sequence[JsonMap]) -> Iterator[Key]:
    """Of each row what was asked, and the how-manieth of its kind it is."""
    seen = Counter[str]()
    for row in rows:
        asked = repr([row.get(name) for name in ASKED])
        yield asked, seen[asked]
        seen[asked] += 1
