"""Learn from a teacher: what a larger model says tells more than one right answer (Hinton 2015, arXiv:1503.02531).

    student ──reads──▶ says ─┬─ the objective's own loss        weight 1 - weight
    teacher ──reads──▶ says ─┴─ how far the two are apart       weight            (objective/divergence.py)
      states and attention of its blocks, next to the student's                   hidden, attention (blocks.py)

Student and teacher read the same batch; the teacher in eval mode, without gradient. What it says of a row depends on
nothing but the row, so a step can be cut as it likes, and where rows are read several times it can be kept (`told`).
Each term has its own count: places that have a target, and tokens that are no padding.

B rows, L positions, N places, C outputs, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, field_validator, model_validator

from pretune.base.config import Choice, Input, Variant, chosen
from pretune.base.errors import NotSupported
from pretune.model.families import Head, States
from pretune.objective.blocks import block_map, inside, listening, projection_of
from pretune.objective.objective import OBJECTIVE, Objective, StepWide
from pretune.objective.pretraining.causal import Causal
from pretune.objective.several import term_of
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary
from pretune.tokens.store.packing import RowForm

if TYPE_CHECKING:
    from torch import Tensor, nn

HARD, SOFT = "hard", "distil"
"""The terms of the objective's own loss, and of what the teacher says."""
NOT_THERE = -1e30
"""The logit of an output that a row does not have."""


class Taught(Variant):
    """Settings of what is learnt from a teacher."""

    teacher: Annotated[str, Input("model", by_name=True)]
    """The model that is learnt from, of the same tokenizer; for a task one that does it, with the same labels."""
    weight: float = Field(0.5, ge=0, le=1)
    """Weight of what the teacher says; the own loss has 1 - weight."""
    temperature: float = Field(2.0, gt=0)
    """What logits are divided by before they are compared: the higher, the more the small ones count."""
    divergence: Literal["forward", "reverse"] = "forward"
    """forward: KL(teacher || student), to miss nothing that the teacher says; reverse: KL(student || teacher), to say
    nothing that it does not (MiniLLM, arXiv:2306.08543)."""
    top_k: int | None = Field(None, gt=0)
    """Of so many of the teacher's likeliest outputs the chances are compared one by one, and of all others as a sum;
    None: one by one all."""
    hidden: float = Field(0.0, ge=0)
    """Weight of the squared distance of the blocks' states; 0: they are not compared."""
    attention: float = Field(0.0, ge=0)
    """Weight of the squared distance of the blocks' attention; 0: it is not compared."""
    layers: tuple[int, ...] | None = None
    """For each block of the student the block of the teacher that it is compared with, from 0; when not given, evenly
    spread up to the last."""

    on_policy: float = Field(0.0, ge=0, le=1)
    """Share of the rows whose replies the student writes itself, token by token, to be judged by the teacher alone; of
    a decoder that chats or writes (GKD, arXiv:2306.13649). What such a step costs is about one reading of a row more
    in arithmetic, and one call of the model for each of its positions."""

    @property
    def listens(self) -> dict[str, float]:
        """What is compared inside the blocks, and its weight."""
        return {name: weight for name in ("hidden", "attention") if (weight := getattr(self, name))}

    def around(self, objective: Objective) -> Distil:
        """Learn this objective from the teacher. Raises NotSupported where it cannot be."""
        if not objective.read_once:
            problem, hint = why_not(objective)
            raise NotSupported(problem, hint=hint)
        return Distil.model_validate({**self.model_dump(), "of": objective})


def why_not(objective: Objective) -> tuple[str, str]:
    """Why an objective cannot be learnt from a teacher, and what to do."""
    problem = f"{objective.kind} is not one loss of one reading, so no teacher's answers can be put next to it"
    return problem, "leave out what reads rows twice or mixes them (r_drop, mixup, crf), or objective=distil"


TAUGHT = Choice(Taught, {"distil": "pretune.objective.distil:Taught"}, group="pretune.taught", default="distil")
"""What a task is learnt by, other than its own objective."""


class Distil(Taught, Objective):
    """Predict what an objective asks for, and what a teacher says of it."""

    is_alone: ClassVar[bool] = True

    of: Annotated[Objective, *chosen(OBJECTIVE)] = OBJECTIVE("causal")
    """The objective whose places are looked at, with its own loss."""

    _teacher: Any = PrivateAttr(None)

    @field_validator("of")
    @classmethod
    def _is_read_once(cls, of: Objective) -> Objective:
        if not of.read_once:
            raise ValueError("{}; {}".format(*why_not(of)))
        return of

    @model_validator(mode="after")
    def _is_written(self) -> Self:
        if self.on_policy and not isinstance(self.of, Causal):
            raise ValueError(f"on_policy is for replies of a decoder, and {self.of.kind} writes none")
        return self

    def hold(self, teacher: Any) -> Self:
        """The same, with the model that is learnt from; None: what it says is in the rows."""
        self._teacher = teacher
        return self

    # ---- as the objective that it wraps ----

    @property
    def head(self) -> Head:  # type: ignore[override]  # what follows depends on the objective
        return self.of.head

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.of.needs

    @property
    def controls(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.of.controls

    @property
    def packing(self) -> str | None:  # type: ignore[override]
        return self.of.packing

    @property
    def tells_bits(self) -> str | None:  # type: ignore[override]
        return self.of.tells_bits and term_of(HARD, self.of.tells_bits)

    @property
    def writes(self) -> bool:  # type: ignore[override]
        return self.of.writes

    @property
    def passed(self) -> tuple[float, float]:  # type: ignore[override]
        return self.of.passed

    @property
    def one_shape(self) -> bool:  # type: ignore[override]
        return self.of.one_shape and not self.listens

    @property
    def gathers(self) -> bool:  # type: ignore[override]
        return self.of.gathers

    @property
    def body_terms(self) -> bool:  # type: ignore[override]
        return self.of.body_terms

    @property
    def weights(self) -> Mapping[str, float]:  # type: ignore[override]
        own = {term_of(HARD, term): (1 - self.weight) * weight for term, weight in self.of.weights.items()}
        return {**own, SOFT: self.weight, **self.listens}

    def remark(self) -> str:
        return self.of.remark()

    def form(self, length: int, vocabulary: Vocabulary) -> RowForm:
        return self.of.form(length, vocabulary)

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        return self.of.blank(length, vocabulary, rng)

    def together(self, rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        return self.of.together(rows, rng)

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        found = self.of.prepare(row, vocabulary, rng)
        if self.on_policy and "progress" in row and rng.random() < self.on_policy:  # not in validation
            return {**found, OWN: rng.random(len(found["ids"]) - 1)}
        return found

    def idle(self, row: Row, vocabulary: Vocabulary) -> Batch:
        told = {name: tensor[:0] for name, tensor in told_batch([row]).items()}
        return self.of.idle(row, vocabulary) | told

    def passes(self, batch: Batch) -> int:
        return self.of.passes(batch)

    def tokens(self, batch: Batch) -> float:
        return self.of.tokens(batch)

    def measured(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        return self.of.measured(model, batch)

    def gather(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return self.of.gather(model, batch)

    # ---- what is more ----

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """As the objective, with what was `told` of the rows, where it is kept."""
        import torch

        found = self.of.collate(rows, vocabulary) | told_batch(rows)
        if any(OWN in row for row in rows):
            nobody = np.full(found["labels"].shape[1], -1.0)
            found[OWN] = torch.from_numpy(np.stack([row.get(OWN, nobody) for row in rows]))
        return found

    def counts(self, batch: Batch) -> dict[str, float]:
        """Places behind an end that the student writes count for the teacher: where it ends is not known before."""
        own = {term_of(HARD, term): number for term, number in self.of.counts(_of_examples(batch)).items()}
        inside = dict.fromkeys(self.listens, self.of.tokens(batch) if self.listens else 0.0)
        return {**own, SOFT: float(self.of.is_target(batch).sum()), **inside}

    def sums(self, model: nn.Module, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        import torch

        examples = _of_examples(batch)
        if OWN in batch:
            from pretune.objective.own_words import in_own_words

            batch = in_own_words(model, batch, batch[OWN])
        own: dict[str, list[Tensor]] = {}
        with listening(model, own, self.listens):
            states = self.of.asked(model, batch)
        found = self.of.judged(model, states, examples, step_wide)
        found = {term_of(HARD, t) if t in self.of.weights else t: loss for t, loss in found.items()}
        theirs: dict[str, list[Tensor]] = {}
        said: States | None = None
        if TOLD not in batch:
            teacher = model if self._teacher is None else self._teacher  # in a forecast there is none
            with torch.no_grad(), listening(teacher, theirs, self.listens):
                said = self.of.asked(teacher, batch)
        found[SOFT] = self._soft(states, said, batch)
        there_BL = batch["segments"] >= 0 if "segments" in batch else batch["attention_mask"] > 0
        project = projection_of(model)
        for name in self.listens:
            pairs = zip(own[name], self._partners(own[name], theirs[name]), strict=True)
            far = [inside(name, mine, other, there_BL, project) for mine, other in pairs]
            found[name] = torch.stack(far).mean()
        return found

    def told_by_row(self, rows: Sequence[Row], vocabulary: Vocabulary) -> dict[str, list[Tensor]]:
        """What the teacher says of the targets of each row, to be put into the rows: `told` and, of a few outputs,
        `told_ids`."""
        import torch

        from pretune.objective.cross_entropy import logits_of

        device = next(self._teacher.parameters()).device
        batch = {name: t.to(device) for name, t in self.of.collate(rows, vocabulary).items()}
        numbers = [int(self.of.is_target(self.of.collate([row], vocabulary)).sum()) for row in rows]
        with torch.no_grad():
            logits_NC = torch.cat(list(logits_of(self.of.asked(self._teacher, batch))))[self.of.is_target(batch)]
            told = self._told_of(logits_NC) if self._cuts(logits_NC.shape[-1]) else (logits_NC,)
        return {n: [*torch.split(t.cpu(), numbers)] for n, t in zip((TOLD, TOLD_IDS), told, strict=False)}

    def _partners(self, own: Sequence[Tensor], theirs: Sequence[Tensor]) -> list[Tensor]:
        return [theirs[k] for k in block_map(len(own), len(theirs), self.layers)]

    def _soft(self, states: States, said: States | None, batch: Batch) -> Tensor:
        """The divergence at all places with a target, some places at once: logits of all never lie in memory."""
        import torch
        from torch.utils.checkpoint import checkpoint

        from pretune.objective.cross_entropy import places_at_once

        is_target_N = self.of.is_target(batch)
        if said is None:
            place_N = (is_target_N.long().cumsum(0) - 1).clamp(min=0)
            kept = [batch[name] for name in (TOLD, TOLD_IDS) if name in batch]
            theirs = [t[place_N] if len(t) else t.new_zeros(len(place_N), *t.shape[1:]) for t in kept]
        else:
            theirs = [said.hidden_ND]
        size, whole = places_at_once(states), (is_target_N, states.hidden_ND, *theirs)
        parts = zip(*(t.split(size) for t in whole), strict=True)  # type: ignore[no-untyped-call]
        last = said.last if said else None
        done = [checkpoint(self._apart, states.last, last, *part, use_reentrant=False) for part in parts]
        found: Tensor = torch.stack(done).sum()
        return found

    def _apart(
        self,
        last: nn.Module | None,
        their_last: nn.Module | None,
        is_target_C: Tensor,
        hidden_CD: Tensor,
        theirs: Tensor,
        ids_CK: Tensor | None = None,
    ) -> Tensor:
        import torch

        from pretune.objective.divergence import apart, chances_apart, some_chances

        now = _wide(hidden_CD if last is None else last(hidden_CD))
        reverse, heat = self.divergence == "reverse", self.temperature
        with torch.no_grad():
            then = (theirs if their_last is None else their_last(theirs)).to(now.dtype)
            if ids_CK is None and self._cuts(then.shape[-1]):
                then, ids_CK = self._told_of(then)
        if ids_CK is not None:
            far_C = chances_apart(some_chances(now, ids_CK, heat), then.to(now.dtype), heat, reverse=reverse)
        else:
            size = min(now.shape[-1], then.shape[-1])  # one of the two may have rows for no token at the end
            far_C = apart(now[:, :size], then[:, :size], of=self.of.outputs, temperature=heat, reverse=reverse)
        return (far_C * is_target_C).sum()

    def _cuts(self, outputs: int) -> bool:
        return self.top_k is not None and self.top_k < outputs and self.of.outputs == "label"

    def _told_of(self, logits_NC: Tensor) -> tuple[Tensor, Tensor]:
        from pretune.objective.divergence import likeliest

        assert self.top_k is not None
        return likeliest(logits_NC, self.top_k, self.temperature)


OWN: Final = "draws"
"""Of a row whose replies the student writes, the numbers by which its tokens are drawn; of other rows -1."""


def _of_examples(batch: Batch) -> Batch:
    """The batch with the targets alone that examples have."""
    if OWN not in batch:
        return batch
    return {**batch, "labels": batch["labels"].masked_fill(batch[OWN] >= 0, IGNORE)}


TOLD: Final = "told"
TOLD_IDS: Final = "told_ids"
"""Of a row with N targets what the teacher says of them: logits [N, C]; or log-chances of a few outputs and of all
others together [N, K + 1], and which these are [N, K]."""


def _wide(logits: Tensor) -> Tensor:
    import torch

    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def told_batch(rows: Sequence[Row]) -> Batch:
    """What was told of the rows' targets, in one piece; nothing where it is not kept."""
    kept: dict[str, list[NDArray[Any]]] = {
        TOLD: [row[TOLD] for row in rows if TOLD in row],
        TOLD_IDS: [row[TOLD_IDS] for row in rows if TOLD_IDS in row],
    }
    return {name: _joined(parts) for name, parts in kept.items() if parts}


def _joined(parts: Sequence[NDArray[Any]]) -> Tensor:
    """One behind the other, all as wide as the widest: rows have as many outputs as tokens, where those are places."""
    import torch

    most = max(part.shape[1] for part in parts)
    wide = [p if p.shape[1] == most else _widened(p, most) for p in parts]
    return torch.from_numpy(np.concatenate(wide))


def _widened(part: NDArray[Any], width: int) -> NDArray[Any]:
    return np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=NOT_THERE)
