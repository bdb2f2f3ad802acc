"""Which of two replies is better: losses on the log-probabilities of whole replies.

    row     one prompt with two replies, one after the other             segments 0 0 0 0 1 1 1
    batch   the first replies of all rows, then all second ones          input_ids, labels ... [2B, L]
            log p(reply) = the sum over its tokens, its end token among them; the prompt is no target

`reference` is what the model said before it was trained, computed once (`kept`) or at every step (`live`).

| loss  | of a preference, with r = log p - log p of the reference                   | at the first step    |
|-------|-----------------------------------------------------------------------------|----------------------|
| dpo   | -log sigmoid(beta (r of the chosen - r of the rejected))                    | ln 2                 |
| ipo   | (the same difference, r per token, - 1 / (2 beta)) squared                  | 1 / (4 beta squared) |
| kto   | 1 - sigmoid(beta (r - kl)) of a good reply, 1 - sigmoid(beta (kl - r)) else | half its weight      |
| orpo  | -log p per token of the chosen + beta (-log sigmoid(log of the odds' ratio)) |                      |
| simpo | -log sigmoid(beta (log p per token of the chosen - of the rejected) - gamma) |                      |

B rows of preferences, R = 2B replies, S rows of a step, L positions, N targets.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from pretune.base.config import Choice
from pretune.infer.engine import padded
from pretune.model.families import Head
from pretune.objective.objective import Objective, StepWide
from pretune.objective.packed import packed_batch, packed_states
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn

AT = ("at_first", "at_second")
"""The flat places of the targets of the first, and of the second replies [B, L]."""
LOOKED_AT = ("margin", "accuracy", "chosen", "rejected")
"""Terms that weigh nothing: the margin of the rewards, in how many rows it is positive, and the log-probabilities."""


@dataclass(frozen=True)
class Said:
    """What a model says of replies, and what the reference says.

    Args:
        sums: log-probabilities, reference: those of the start, lengths: targets (1 at least); [B, 2] each.
    """

    sums: Tensor
    reference: Tensor
    lengths: Tensor

    @property
    def gains(self) -> Tensor:
        """log p - log p of the reference [B, 2]."""
        return self.sums - self.reference

    @property
    def means(self) -> Tensor:
        """log p per token [B, 2]."""
        return self.sums / self.lengths


def half(batch: Batch, number: int) -> Batch:
    """The first or the second replies of a batch alone."""
    replies = len(batch["labels"]) // 2
    part = slice(number * replies, (number + 1) * replies)
    names = ("input_ids", "labels", "segments", "positions")
    return {"at": batch[AT[number]], **{name: batch[name][part] for name in names}}


def both(batch: Batch) -> Batch:
    """The first replies and the second ones."""
    import torch

    behind = batch["labels"].numel() // 2
    return {**batch, "at": torch.cat([batch[AT[0]], batch[AT[1]] + behind])}


def reply_log_probs(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The log-probability of each reply, summed over its targets, and how many these are; [R] each."""
    from pretune.objective.cross_entropy import label_log_probs

    labels_RL, at_N = batch["labels"], batch["at"]
    states = packed_states(model, batch, causal=True)
    found_N = label_log_probs(states, labels_RL.flatten()[at_N])
    sums_R = found_N.new_zeros(len(labels_RL)).index_add(0, at_N // labels_RL.shape[1], found_N)
    return sums_R, (labels_RL != IGNORE).sum(1)


class Preference(Objective):
    """Learn from judged replies."""

    head: ClassVar[Head] = "next"
    compares: ClassVar[bool] = True
    """Whether a row is the two replies of a preference; else one reply, and one to something else (KTO)."""
    reference: Literal["none", "kept", "live"] = "none"
    """What the gain is counted from: nothing; the model as it starts, asked once before the first step (kept); or the
    same asked at every step (live): the adapter switched off, or a copy of the model, which takes memory."""

    _start: Any = PrivateAttr(None)

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        each = max(2, length // 2)
        ids, targets = np.full(2 * each, vocabulary.size - 1), np.ones(2 * each, dtype=bool)
        return {"ids": ids, "segments": np.repeat([0, 1], each), "targets": targets}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids`, `segments` (0 and 1: the two replies, each behind its prompt) and `targets`, and, where they
        are known, `reference` and `good`."""
        import torch

        replies = [(r["ids"][r["segments"] == k], r["targets"][r["segments"] == k]) for k in (0, 1) for r in rows]
        ids_RL, mask_RL = padded([ids[:-1] for ids, _ in replies], vocabulary.pad)
        labels_RL, _ = padded([np.where(scored, ids, IGNORE)[1:] for ids, scored in replies], IGNORE)
        heads: list[Row] = [{"ids": i, "segments": s} for i, s in zip(ids_RL, mask_RL - 1, strict=True)]
        batch = packed_batch(heads, labels_RL, vocabulary.pad)
        batch.pop("at", None)
        for name, labels_BL in zip(AT, np.split(labels_RL, 2), strict=True):
            batch[name] = torch.from_numpy(np.flatnonzero(labels_BL != IGNORE))
        batch["reference"] = torch.tensor(np.array([row.get("reference", (0.0, 0.0)) for row in rows]))
        batch["good"] = torch.tensor([row.get("good", True) for row in rows])
        return batch

    def counts(self, batch: Batch) -> dict[str, float]:
        return dict.fromkeys(self.weights, float(there(batch).sum()))

    def hold(self, model: nn.Module) -> None:
        """Before the first step of a live reference: keep a copy of a model that has no adapter to switch off."""
        if not hasattr(model, "disable_adapter"):
            self._start = copy.deepcopy(model).eval().requires_grad_(False)

    def _said(self, model: nn.Module, batch: Batch) -> Said:
        """Of a row without targets (a rank that fills up has one) something finite."""
        import torch

        whole = both(batch)
        sums_R, lengths_R = reply_log_probs(model, whole)
        reference_R = self._reference(model, whole, batch["reference"].T.flatten())
        sums_B2, reference_B2, lengths_B2 = (part.view(2, -1).T for part in (sums_R, reference_R, lengths_R))
        sums_B2 = torch.where(lengths_B2 > 0, sums_B2, -1.0)
        return Said(sums_B2, reference_B2.to(sums_B2.dtype), lengths_B2.clamp(min=1))

    def _reference(self, model: nn.Module, batch: Batch, kept_R: Tensor) -> Tensor:
        import torch

        if self.reference != "live":
            return kept_R
        with _started(model, self._start) as start, torch.no_grad():
            return reply_log_probs(start, batch)[0]


def there(batch: Batch) -> Tensor:
    """Which rows [B] have a target: a rank that fills up has one without."""
    return (batch["labels"] != IGNORE).any(1)[: len(batch["labels"]) // 2]


@contextmanager
def _started(model: Any, start: Any) -> Iterator[Any]:
    """The model as it was before training, without dropout; the model itself in a dry run, which holds no start."""
    if start is not None:
        yield start
        return
    adapter = model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with adapter:
            yield model
    finally:
        for module, mode in modes.items():
            module.training = mode


def summed(batch: Batch, loss_B: Tensor, looked_at: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sums over the rows that are there; what is only looked at has no gradient."""
    there_B = there(batch).to(loss_B.dtype)
    return {"loss": (loss_B * there_B).sum(), **{n: (t.detach() * there_B).sum() for n, t in looked_at.items()}}


class Pairs(Preference):
    """Learn from two replies of which one is better."""

    weights: ClassVar[Mapping[str, float]] = {"loss": 1.0, **dict.fromkeys(LOOKED_AT, 0.0)}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        said = self._said(model, batch)
        margin_B = self.margin(said)
        looked_at = {"margin": margin_B, "chosen": said.sums[:, 0], "rejected": said.sums[:, 1]}
        looked_at["accuracy"] = (margin_B > 0).to(margin_B.dtype)
        return summed(batch, self.loss(said, margin_B), looked_at)

    def margin(self, said: Said) -> Tensor:
        """The reward of the chosen reply less that of the rejected one [B]."""
        raise AssertionError("a loss on pairs has margin()")

    def loss(self, said: Said, margin_B: Tensor) -> Tensor:
        """Of each row [B]."""
        raise AssertionError("a loss on pairs has loss()")


def _gap(values_B2: Tensor) -> Tensor:
    return values_B2[:, 0] - values_B2[:, 1]


def _unlikely(margin_B: Tensor) -> Tensor:
    """-log sigmoid: of Bradley and Terry's chance that the chosen reply is the better one."""
    import torch.nn.functional as F

    return -F.logsigmoid(margin_B)


class Dpo(Pairs):
    """-log sigmoid(beta (r of the chosen - r of the rejected)), r = log p - log p of the reference.

    Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7; beta 0.1 as in their experiments.
    """

    reference: Literal["kept", "live"] = "kept"
    beta: float = Field(0.1, gt=0)
    """How dear it is to leave the reference; the reward is beta times the gain of log p."""

    def margin(self, said: Said) -> Tensor:
        return self.beta * _gap(said.gains)

    def loss(self, said: Said, margin_B: Tensor) -> Tensor:
        return _unlikely(margin_B)


class Ipo(Pairs):
    """(h - 1 / (2 beta)) squared, h = gain of the chosen - gain of the rejected, log-probabilities per token.

    Source: Azar et al. 2023, arXiv:2310.12036, equation 17 (their tau is beta). Per token, not summed, as TRL's
    DPOTrainer takes it ("the loss is averaged over log-likelihoods of the completion, unlike DPO").
    """

    reference: Literal["kept", "live"] = "kept"
    beta: float = Field(0.1, gt=0)
    """Half the reciprocal of the gap that is aimed at: the smaller, the larger the gap."""

    def margin(self, said: Said) -> Tensor:
        return _gap(said.gains / said.lengths)

    def loss(self, said: Said, margin_B: Tensor) -> Tensor:
        return (margin_B - 1 / (2 * self.beta)) ** 2


class Orpo(Pairs):
    """-log p of the chosen - beta log sigmoid(log odds of the chosen - of the rejected), p per token; no reference.

    odds = p / (1 - p).

    Source: Hong et al. 2024, arXiv:2403.07691, equations 6 and 7 (their lambda is beta, 0.1 for most of their models).
    """

    beta: float = Field(0.1, gt=0)
    """Weight of the ratio of the odds next to the likelihood of the chosen reply."""

    def margin(self, said: Said) -> Tensor:
        import torch

        return _gap(said.means - torch.log(-torch.expm1(said.means)))

    def loss(self, said: Said, margin_B: Tensor) -> Tensor:
        return self.beta * _unlikely(margin_B) - said.means[:, 0]


class Simpo(Pairs):
    """-log sigmoid(beta (log p per token of the chosen - of the rejected) - gamma); no reference.

    Source: Meng et al. 2024, arXiv:2405.14734, equation 6; beta 2.0 and gamma / beta 0.5, where their repository
    (princeton-nlp/SimPO) says to start.
    """

    beta: float = Field(2.0, gt=0)
    """The reward is beta times log p per token."""
    gamma: float = Field(1.0, ge=0)
    """By how much the chosen reply's reward should be ahead."""

    def margin(self, said: Said) -> Tensor:
        return self.beta * _gap(said.means)

    def loss(self, said: Said, margin_B: Tensor) -> Tensor:
        return _unlikely(margin_B - self.gamma)


class Kto(Preference):
    """1 - sigmoid(beta (r - kl)) of a good reply, 1 - sigmoid(beta (kl - r)) of a bad one, times their weights.

    r = log p - log p of the reference. kl = the mean, 0 at least, of the same for prompts with the reply to another
    prompt; no gradient flows through it. The paper takes the mean over the micro-batch; here it is over the whole
    step, so how a step is cut changes nothing; and which reply stands in for another is fixed, so that its reference
    can be kept.

    Source: Ethayarajh et al. 2024, arXiv:2402.01306, section 4 (L_KTO).
    """

    compares: ClassVar[bool] = False
    gathers: ClassVar[bool] = True
    weights: ClassVar[Mapping[str, float]] = {"loss": 1.0, "margin": 0.0, "accuracy": 0.0, "kl": 0.0}
    reference: Literal["kept", "live"] = "kept"
    beta: float = Field(0.1, gt=0)
    """How soon a gain or a loss is large: the scale of r - kl."""
    desirable: float = Field(1.0, gt=0)
    """Weight of good replies."""
    undesirable: float = Field(1.0, gt=0)
    """Weight of bad replies; where the sides differ in size, the paper keeps desirable times the number of good replies
    between 1 and 4 / 3 of undesirable times the number of bad ones."""

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The gain of the reply that belongs to another prompt."""
        gains_B = self._gains(model, batch, 1)
        return {"strange": gains_B, "there": there(batch).to(gains_B.dtype)}

    def _gains(self, model: nn.Module, batch: Batch, number: int) -> Tensor:
        """Of one of the two replies of each row; the other is not read."""
        replies = half(batch, number)
        sums_B, _ = reply_log_probs(model, replies)
        return sums_B - self._reference(model, replies, batch["reference"][:, number]).to(sums_B.dtype)

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch

        assert step_wide is not None, "an objective that gathers is given what was gathered"
        gains_B, good_B = self._gains(model, batch, 0), batch["good"]
        strange_S, there_S = step_wide.tensors["strange"], step_wide.tensors["there"]
        kl = ((strange_S * there_S).sum() / there_S.sum()).clamp(min=0)
        margin_B = self.beta * torch.where(good_B, gains_B - kl, kl - gains_B)
        weight, other = gains_B.new_tensor([self.desirable, self.undesirable])
        weights_B = torch.where(good_B, weight, other)
        looked_at = {"margin": margin_B, "accuracy": (margin_B > 0).to(margin_B.dtype), "kl": kl.expand(len(margin_B))}
        return summed(batch, weights_B * (1 - torch.sigmoid(margin_B)), looked_at)


LOSS = Choice(
    Preference,
    {
        "dpo": "pretune.objective.preference:Dpo",
        "ipo": "pretune.objective.preference:Ipo",
        "kto": "pretune.objective.preference:Kto",
        "orpo": "pretune.objective.preference:Orpo",
        "simpo": "pretune.objective.preference:Simpo",
    },
    group="pretune.preference_losses",
    default="dpo",
)
