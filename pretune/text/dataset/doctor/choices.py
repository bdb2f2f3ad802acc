"""Preferences and rankings: nothing is preferred, nothing is right, a candidate stands twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pretune.text.dataset.doctor.fields import Piece, same_text
from pretune.text.dataset.doctor.findings import Level, Row, RowCheck


class NoPreference(RowCheck):
    """Preferences whose two replies are one, or both empty."""

    kind: str = "no-preference"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("preference",)
    advice: ClassVar[str] = "Leave them out; they teach nothing and cost a step."
    claim: ClassVar[str] = "whose chosen and rejected reply are the same"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return same_text(row.example.chosen) == same_text(row.example.rejected)


class NoPositive(RowCheck):
    """Rankings without a candidate that is better than nothing."""

    kind: str = "no-positive"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("ranking",)
    advice: ClassVar[str] = "Give one candidate a score above 0, or leave the row out."
    claim: ClassVar[str] = "without a candidate whose score is above 0"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        return not any(score > 0 for score in row.example.scores)


class CandidatesTwice(RowCheck):
    """Candidates that stand twice in one row: which of the two is right is chance."""

    kind: str = "candidates-twice"
    shapes: ClassVar[tuple[str, ...]] = ("ranking",)
    advice: ClassVar[str] = "Keep one of the two, with the score that is meant."
    claim: ClassVar[str] = "with one candidate twice"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        # Case, width and white space may be the very thing that is asked for.
        return len(set(row.example.candidates)) < len(row.example.candidates)


class Unequal(RowCheck):
    """Rankings with more scores (or times) than candidates, or fewer: a gold answer out of range ends here."""

    kind: str = "scores-unequal"
    level: ClassVar[Level] = "error"
    shapes: ClassVar[tuple[str, ...]] = ("ranking",)
    advice: ClassVar[str] = "Give every candidate one score; look whether the right answer counts from 0 or from 1."
    claim: ClassVar[str] = "with another number of scores than of candidates"

    def is_wrong(self, row: Row, pieces: Sequence[Piece]) -> bool:
        e = row.example
        return len(e.scores) != len(e.candidates) or len(e.times) not in (0, len(e.candidates))
