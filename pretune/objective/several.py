"""Several objectives at once, over one body: each row belongs to one of them, each has a head and a loss of its own.

The loss of a step is the weighted sum of theirs, each over its own targets in the whole step; how the rows of the
objectives fall into micro-batches changes nothing.

Source: Caruana 1997, Multitask Learning; Liu et al. 2019, arXiv:1901.11504 (one body, a head for each task).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import SerializeAsAny

from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.tokens.rows import Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class OfParts(Objective):
    """Objectives by name; rows say `of` which they are."""

    @property
    def parts(self) -> Mapping[str, Objective]:
        """What is predicted, by name."""
        raise AssertionError("an objective of parts has parts()")

    def learner(self, model: Any, name: str) -> Any:
        """What a part trains."""
        raise AssertionError("an objective of parts has learner()")

    def together(self, rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        found: dict[int, Row] = {}
        for name, part in self.parts.items():
            mine = [k for k, row in enumerate(rows) if row["of"] == name]
            found |= zip(mine, part.together([rows[k] for k in mine], rng), strict=True)
        return [found[k] for k in range(len(rows))]

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return {**self.parts[row["of"]].prepare(row, vocabulary, rng), "of": row["of"]}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """A batch of each part that has rows here, its tensors under `name/`."""
        batch: Batch = {}
        for name, part in self.parts.items():
            if mine := [row for row in rows if row["of"] == name]:
                batch |= {f"{name}/{key}": tensor for key, tensor in part.collate(mine, vocabulary).items()}
        return batch

    def idle(self, row: Row, vocabulary: Vocabulary) -> Batch:
        batch = self.parts[row["of"]].idle(row, vocabulary)
        return {f"{row['of']}/{key}": tensor for key, tensor in batch.items()}

    def counts(self, batch: Batch) -> dict[str, float]:
        found = dict.fromkeys(self.weights, 0.0)
        for name, mine in split(batch).items():
            found |= {term_of(name, term): n for term, n in self.parts[name].counts(mine).items()}
        return found

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        there = split(batch)
        found: dict[str, Tensor] = {}
        nothing = next(model.parameters()).new_zeros(())
        for name, part in self.parts.items():
            learner = self.learner(model, name)
            if name in there:
                terms = part.sums(learner, there[name], step_wide)
            elif any(self.learner(model, one) is model for one in there):  # that part moves all weights
                terms = dict.fromkeys(part.weights, nothing)
            else:  # DDP waits for the gradient of every weight
                left = (0.0 * p.sum() for p in learner.parameters() if p.requires_grad)
                terms = dict.fromkeys(part.weights, sum(left, nothing))
            found |= {term_of(name, term): terms[term] for term in part.weights if term in terms}
            # What the body adds is one term, whoever called it.
            found |= {t: found.get(t, 0.0) + value for t, value in terms.items() if t not in part.weights}
        return found

    def measured(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        found: dict[str, tuple[float, float]] = {}
        for name, mine in split(batch).items():
            told = self.parts[name].measured(self.learner(model, name), mine)
            found |= {f"{name}_{measure}": value for measure, value in told.items()}
        return found

    @property
    def body_terms(self) -> bool:  # type: ignore[override]  # it depends on the parts
        return all(part.body_terms for part in self.parts.values())

    def passes(self, batch: Batch) -> int:
        return sum(self.parts[name].passes(mine) for name, mine in split(batch).items())

    def tokens(self, batch: Batch) -> float:
        return sum(self.parts[name].tokens(mine) for name, mine in split(batch).items())

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        import torch

        found = [self.parts[name].gather(self.learner(model, name), mine) for name, mine in split(batch).items()]
        return {key: torch.cat([one[key] for one in found]) for key in found[0]}


class SeveralObjectives(OfParts):
    """Objectives of several tasks: `model.heads[name]` is what each of them trains."""

    head: ClassVar[Head] = "label"

    of: dict[str, SerializeAsAny[Objective]]
    """What is predicted, by name."""
    shares: dict[str, float] = {}
    """Weight of each in the loss; 1 where nothing is said."""
    lengths: dict[str, int] = {}
    """Tokens of the longest row of each, where they are known."""

    @property
    def parts(self) -> Mapping[str, Objective]:
        return self.of

    def learner(self, model: Any, name: str) -> Any:
        return model.heads[name]

    @property
    def weights(self) -> Mapping[str, float]:  # type: ignore[override]  # it depends on the parts
        """name, or name_term where a part has several terms -> its weight."""
        found = {name: part.weights.items() for name, part in self.of.items()}
        return {term_of(n, t): self.shares.get(n, 1.0) * w for n, terms in found.items() for t, w in terms}

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        name = list(self.of)[int(rng.integers(len(self.of)))]
        longest = min(length, self.lengths.get(name, length))  # a row of several texts is longer than the model reads
        return {**self.of[name].blank(longest, vocabulary, rng), "of": name}


def term_of(name: str, term: str) -> str:
    """The name of a part's term: that of the part, where it has one term alone."""
    return name if term == "loss" else f"{name}_{term}"


def split(batch: Batch) -> dict[str, Batch]:
    """The batch of each part."""
    found: dict[str, Batch] = {}
    for key, tensor in batch.items():
        name, _, rest = key.partition("/")
        found.setdefault(name, {})[rest] = tensor
    return found
