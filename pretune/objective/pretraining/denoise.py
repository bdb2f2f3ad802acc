"""Several ways to damage a text, each told by a token before what is read (UL2, arXiv:2205.05131, section 3.1.2).

    [R] regular    spans of 3 or 8 tokens, 15 % hidden                            as T5
    [X] extreme    spans of 3 or 8 tokens, 50 % hidden; spans of 64, 15 or 50 %   much is written from little
    [S] in order   the first part is read, the rest written, a quarter on the average

The paper draws the seven of them alike. Each is a term of its own in the loss, so that it can be followed by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from pydantic import Field

from pretune.objective.objective import Objective
from pretune.objective.pretraining.prefix import Prefix
from pretune.objective.pretraining.several import OneModel
from pretune.objective.pretraining.span import Span

SPANS = {
    "r3": (3.0, 0.15),
    "r8": (8.0, 0.15),
    "x3": (3.0, 0.5),
    "x8": (8.0, 0.5),
    "x64": (64.0, 0.15),
    "x64_half": (64.0, 0.5),
}
"""Name -> mean length and rate; the letter is the mode."""


class Denoise(OneModel):
    """Write hidden spans, short and long, few and many, and how texts go on: UL2's mixture of denoisers."""

    share_in_order: float = Field(1 / 7, ge=0, lt=1)
    """Share of the rows that go on with their text ([S]); the spans share the rest alike."""
    sentinels: int = Field(100, gt=1)
    """How many control tokens there are to stand for spans."""

    @cached_property
    def parts(self) -> Mapping[str, Objective]:
        spans = {
            name: Span(kind="span", mode=f"[{name[0].upper()}]", mean_length=mean, rate=rate, sentinels=self.sentinels)
            for name, (mean, rate) in SPANS.items()
        }
        return {**spans, "s": Prefix(kind="prefix", mode="[S]", most=0.5)}

    def share(self, name: str, progress: float) -> float:
        return self.share_in_order if name == "s" else (1 - self.share_in_order) / len(SPANS)
