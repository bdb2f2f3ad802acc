"""Tell which tokens were replaced, all of them (ELECTRA): one question for every token, not for 15 % of them.

    text           the cat sat on the mat
    generator      the [M] sat on [M] mat    a small masked model; it learns to fill the holes, and what it draws there
    discriminator  the dog sat on the mat    is read by the model that is kept: 0 1 0 0 0 0 (a right guess is no
                                             replacement)

No gradient goes through what was drawn. It is drawn by a number that `prepare` gives each hidden place, through the
cumulative sum of the generator's distribution, so that it does not depend on how a step is cut.

Source: Clark et al. 2020, arXiv:2003.10555: 15 % of the tokens, all of them [MASK]; loss = generator's + 50 times the
discriminator's, means over hidden tokens and over all tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pretune.base.errors import NotSupported
from pretune.model.families import Head, States, plain_model
from pretune.objective.objective import StepWide
from pretune.objective.packed import packed_batch, packed_states, target_sum
from pretune.objective.pretraining.masked import Hiding
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn


class Replaced(Hiding):
    """Tell which tokens a small generator has replaced."""

    head: ClassVar[Head] = "replaced"
    needs: ClassVar[tuple[str, ...]] = ("mask",)

    keep: float = Field(0.0, ge=0, le=1)
    """Share of the chosen that the generator sees as it is."""
    replace: float = Field(0.0, ge=0, le=1)
    """Share of the chosen in whose place the generator sees a random token."""
    weight: float = Field(50.0, gt=0)
    """Weight of the discriminator's loss; the generator's has 1."""

    @property
    def weights(self) -> Mapping[str, float]:  # type: ignore[override]  # it depends on a setting
        return {"generator": 1.0, "discriminator": self.weight}

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return RowForm(length, causal=False, cls=vocabulary.cls)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """The row with hidden tokens, and a number for each place by which its token is drawn."""
        hidden = super().prepare(row, vocabulary, rng)
        return {**hidden, "draws": rng.random(len(hidden["ids"]))}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Packed rows; `at`, the hidden places [N], and `draws`, a number for each of them."""
        import torch

        labels_BL = np.stack([row["labels"] for row in rows])
        at = np.flatnonzero(labels_BL != IGNORE)
        draws = np.stack([row["draws"] for row in rows]).ravel()[at]
        batch = packed_batch(rows, labels_BL, vocabulary.pad)
        return {**batch, "at": torch.from_numpy(at), "draws": torch.from_numpy(draws)}

    def idle(self, row: Row, vocabulary: Vocabulary) -> Batch:
        """Nothing hidden, and nothing but padding."""
        batch = self.collate([row], vocabulary)
        batch["labels"].fill_(IGNORE)
        batch["segments"].fill_(-1)
        return {**batch, "at": batch["at"][:0], "draws": batch["draws"][:0]}

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"generator": float(len(batch["at"])), "discriminator": float((batch["segments"] >= 0).sum())}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch.nn.functional as F

        guesses = self._generated(model, batch)
        logits_N, wrong_N, there_N = self._judged(model, batch, guesses)
        losses_N = F.binary_cross_entropy_with_logits(logits_N, wrong_N.to(logits_N.dtype), reduction="none")
        return {"generator": target_sum(guesses, batch), "discriminator": (losses_N * there_N).sum()}

    def measured(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        """Hidden tokens that the generator guesses; tokens that the discriminator judges rightly, replaced ones that
        it finds (recall), and those that are replaced among what it takes for replaced (precision)."""
        from pretune.objective.cross_entropy import num_right

        guesses = self._generated(model, batch)
        logits_N, wrong_N, there_N = self._judged(model, batch, guesses)
        told_N = (logits_N > 0) & there_N
        found, right = float((told_N & wrong_N).sum()), float(((told_N == wrong_N) & there_N).sum())
        return {
            "generator_accuracy": num_right(guesses, batch["labels"].flatten()[batch["at"]]),
            "discriminator_accuracy": (right, float(there_N.sum())),
            "discriminator_recall": (found, float(wrong_N.sum())),
            "discriminator_precision": (found, float(told_N.sum())),
        }

    def _generated(self, model: nn.Module, batch: Batch) -> States:
        """What the generator says of the hidden places."""
        generator: Any = plain_model(model)._modules.get("generator")
        if generator is None:
            hint = "go on with objective=masked, or begin anew: leave out base"
            raise NotSupported("this model has no generator; it is not kept after pretraining", hint=hint)
        return packed_states(generator, batch, causal=False)

    def _judged(self, model: nn.Module, batch: Batch, guesses: States) -> tuple[Tensor, Tensor, Tensor]:
        """Of each place of the batch, [B * L]: how surely the discriminator takes its token for a replaced one (logits,
        in float32 or wider), whether it is one, and whether it is a token at all."""
        import torch

        from pretune.objective.cross_entropy import drawn_ids

        labels_N, ids_N = batch["labels"].flatten(), batch["input_ids"].flatten().clone()
        ids_N[batch["at"]] = drawn_ids(guesses, batch["draws"])
        read = {**batch, "input_ids": ids_N.view_as(batch["input_ids"])}
        del read["at"]
        logits_N = packed_states(model, read, causal=False).hidden_ND[:, 0]
        wide = torch.promote_types(logits_N.dtype, torch.float32)
        return logits_N.to(wide), (labels_N != IGNORE) & (ids_N != labels_N), batch["segments"].flatten() >= 0
