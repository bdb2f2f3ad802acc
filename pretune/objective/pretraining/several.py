"""Several objectives over the same text, one model, one head: each row is prepared for one of them.

    objective: {a: causal, b: {kind: infill}}                                 half of the rows each
    objective: {kind: several, of: {...}, shares: {a: 3, b: 1}}               three rows of a for one of b
    objective: {kind: hybrid, share: 0.25, last_share: 0.5}                   masked rows in a causal model, ever more

A row's objective is drawn from (seed, step, slot), like all that is random, so that the cut changes nothing. The loss
is the sum over the objectives of  share * (summed loss) / (targets),  each over its own targets in the whole step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from pretune.base.config import chosen
from pretune.model.families import Head
from pretune.objective.objective import OBJECTIVE, Objective
from pretune.objective.pretraining.causal import Causal
from pretune.objective.pretraining.hiding import along
from pretune.objective.pretraining.masked_next import MaskedNext
from pretune.objective.several import OfParts, term_of
from pretune.tokens.rows import Row, Vocabulary
from pretune.tokens.store.packing import RowForm

Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
OneObjective = Annotated[Objective, *chosen(OBJECTIVE)]
USUAL_ROW = 128, Vocabulary(size=1, pad=0)
"""Of which two objectives want the same form, or not."""


class OneModel(OfParts):
    """Objectives by name that train one model; what it is asked for is asked of them."""

    one_shape: ClassVar[bool] = False

    def share(self, name: str, progress: float) -> float:
        """Of the rows that are prepared for an objective, at a share of the run's steps; all together 1."""
        raise AssertionError("an objective of parts over text has share()")

    @property
    def first(self) -> Objective:
        return next(iter(self.parts.values()))

    @property
    def head(self) -> Head:  # type: ignore[override]  # what follows depends on the parts
        return self.first.head

    @property
    def packing(self) -> str | None:  # type: ignore[override]
        return self.first.packing

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(sorted({need for part in self.parts.values() for need in part.needs}))

    @property
    def controls(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(dict.fromkeys(text for part in self.parts.values() for text in part.controls))

    @property
    def writes(self) -> bool:  # type: ignore[override]
        return any(part.writes for part in self.parts.values())

    @property
    def tells_bits(self) -> str | None:  # type: ignore[override]
        return next((term_of(n, part.tells_bits) for n, part in self.parts.items() if part.tells_bits), None)

    @property
    def weights(self) -> Mapping[str, float]:  # type: ignore[override]
        return self.weights_at(1.0)

    def weights_at(self, progress: float) -> Mapping[str, float]:
        found = {name: part.weights.items() for name, part in self.parts.items()}
        return {term_of(n, t): self.share(n, progress) * w for n, terms in found.items() for t, w in terms}

    def remark(self) -> str:
        return "; ".join(dict.fromkeys(filter(None, (part.remark() for part in self.parts.values()))))

    @property
    def passed(self) -> tuple[float, float]:  # type: ignore[override]
        shares = [(self.share(name, 1.0), part.passed) for name, part in self.parts.items()]
        return sum(share * read for share, (read, _) in shares), sum(share * wrote for share, (_, wrote) in shares)

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        forms = [part.form(length, vocabulary) for part in self.parts.values()]  # any of them may refuse the length
        return forms[0]

    def together(self, rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        return list(rows)  # whose a row is, is drawn when it is prepared

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """The row as one of the objectives wants it, and `of` which."""
        shares = np.cumsum([self.share(name, row.get("progress", 1.0)) for name in self.parts])
        number = min(int(np.searchsorted(shares, rng.random(), "right")), len(shares) - 1)
        return super().prepare({**row, "of": list(self.parts)[number]}, vocabulary, rng)

    def learner(self, model: Any, name: str) -> Any:
        return model


class SeveralOfText(OneModel):
    """Learn by several objectives at once, by name."""

    of: dict[Name, OneObjective] = Field(min_length=1)
    """The objectives: {a: causal, b: {kind: infill}}."""
    shares: dict[str, Annotated[float, Field(gt=0)]] = {}
    """How many of the rows are prepared for each, in proportion; alike where nothing is said."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        first, *others = self.of.values()
        if other := next((one for one in others if one.head != first.head), None):
            raise ValueError(f"{first.kind} and {other.kind} train two kinds of heads; they cannot share a model")
        if alone := next((one for one in self.of.values() if one.is_alone), None):
            raise ValueError(f"{alone.kind} cannot be one of several objectives")
        if other := next((one for one in others if one.packing != first.packing), None):
            raise ValueError(f"{first.kind} and {other.kind} read rows of two packings")
        if other := next((one for one in others if one.form(*USUAL_ROW) != first.form(*USUAL_ROW)), None):
            raise ValueError(f"{first.kind} and {other.kind} read rows of two forms")
        if odd := sorted(self.shares.keys() ^ self.of.keys()) if self.shares else []:
            raise ValueError(f"shares names every objective and nothing else; it is wrong about {odd[0]!r}")
        return self

    @property
    def parts(self) -> Mapping[str, Objective]:
        return self.of

    def share(self, name: str, progress: float) -> float:
        return self.shares.get(name, 1.0) / sum(self.shares.get(other, 1.0) for other in self.of)


class Hybrid(OneModel):
    """Masked and causal rows in one decoder (GPT-BERT, arXiv:2410.24159; AntLM, arXiv:2412.03275).

    GPT-BERT found 1 masked row in 16 to 1 in 2 best, and a mask rate that falls from 0.30 to 0.15.
    """

    share_masked: float = Field(0.5, ge=0, le=1)
    """Share of the rows whose tokens are hidden and predicted from both sides."""
    last_share_masked: float | None = Field(None, ge=0, le=1)
    """The share at the end of the run, where it changes over the run."""
    rate: float = Field(0.3, gt=0, lt=1)
    """Share of a masked row's tokens that is hidden."""
    last_rate: float | None = Field(0.15, gt=0, lt=1)
    """The rate at the end of the run."""

    @cached_property
    def parts(self) -> Mapping[str, Objective]:
        masked = MaskedNext(kind="masked-next", rate=self.rate, last_rate=self.last_rate)
        return {"causal": Causal(kind="causal"), "masked": masked}

    def share(self, name: str, progress: float) -> float:
        masked = along(progress, self.share_masked, self.last_share_masked)
        return masked if name == "masked" else 1.0 - masked
