"""One training step. Nothing else in the package calls backward().

The gradient of a step is that of  sum over terms of  weight * (summed loss) / (targets), both sums running
over every micro-batch of every rank: how a step is cut changes nothing (docs/LOG.md, "exactness").
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pretune.base.json import Json
from pretune.model.families import family_of, plain_model
from pretune.objective.objective import Objective, StepWide
from pretune.objective.routing import LOADS
from pretune.tokens.rows import Batch
from pretune.train.loop.mechanism import Mechanism
from pretune.train.loop.penalty import Penalty
from pretune.train.loop.refusing import Refuse, Windows, complaint, portion, remember
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.scaling import Scaling, after, overflow, scale_of
from pretune.train.optim.update import Update
from pretune.train.parallel.pieces import here
from pretune.train.parallel.stages import Line

PENALTY = "penalty"
"""The term of what a run pays for leaving its start."""


class Scored(nn.Module):
    """Model and objective as the one module that is compiled, wrapped by DDP, and called."""

    def __init__(self, model: nn.Module, objective: Objective):
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch, step_wide: StepWide | None = None) -> dict[str, Tensor]:
        return self.objective.sums(self.model, batch, step_wide)


@dataclass
class TrainState:
    """Everything that must survive a restart, and nothing that need not.

    Args:
        scored: called in training; `model` is the plain model inside, or its shell (parallel/divide.py) where this
            process holds a part of it.
        total: steps of the whole run, which the schedule spans.
        updates: steps that reached the weights (a refused step counts as a step, not as an update).
        refused: refusals on end, up to now.
        refuse: when a step is.
        window: loss and gradient norm of the steps that were taken lately.
        passed: portions of the data that are passed over.
        returned: the step that the run went back to last, and how often: (step, times).
        micro: rows of a micro-batch since memory ran out; None: as the run was cut at its start.
        scaling: what the loss is multiplied with in float16.
        trained_at: names of the weights that move at a step; None: all that train.
        around: what the method does to the gradients before weights move, and to the weights after.
        still: modules that are in eval mode while the others train.
        penalty: what holds the weights near where they were.
        mechanism: what hides single examples, where the run is private.
        line: the stages that hand states on, where this process is one of them.
    """

    model: nn.Module
    scored: nn.Module
    update: Update
    total: int
    step: int = 0
    updates: int = 0
    refused: int = 0
    refuse: Refuse = field(default_factory=Refuse)
    window: Windows = field(default_factory=dict)
    passed: list[int] = field(default_factory=list)
    returned: tuple[int, int] = (-1, 0)
    micro: int | None = None
    scaling: Scaling = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    trained_at: Callable[[int], Collection[str]] | None = None
    around: Callable[[TrainState], AbstractContextManager[None]] = lambda state: nullcontext()
    still: Sequence[nn.Module] = ()
    penalty: Penalty | None = None
    mechanism: Mechanism | None = None
    line: Line | None = None

    def train(self) -> None:
        """Train mode, but for what stays in eval mode."""
        self.scored.train()
        for module in self.still:
            module.training = False

    @property
    def portion(self) -> int:
        """The portion of the data that the next step reads."""
        return portion(self.step, self.passed)

    def rate_factor(self) -> float:
        return self.update.settings.rate_factor(self.step, self.total)


@dataclass(frozen=True)
class StepReport:
    """One step: loss per target (nats), the gradient's norm before clipping, targets, seconds.

    Args:
        waited: seconds that the step waited for its rows, not part of `seconds`.
        micro: rows of a micro-batch; `tried`: of the first try, when memory ran out.
        loads: tokens that each expert got, by block, where there are experts.
        refused: why the step was not taken; None if it was.
        portion: of the data, that it read.
    """

    step: int
    loss: dict[str, float]
    gradient_norm: float
    learning_rate: float
    targets: dict[str, float]
    seconds: float
    waited: float = 0.0
    micro: int = 0
    tried: int = 0
    loads: Sequence[Sequence[float]] = ()
    refused: str | None = None
    portion: int = 0

    @property
    def taken(self) -> bool:
        """Whether the weights moved."""
        return self.refused is None


def take_step(state: TrainState, objective: Objective, batches: Sequence[Batch], runtime: Runtime) -> StepReport:
    """One update over `batches`, the micro-batches of this rank."""
    started = time.perf_counter()
    extras = _extras(objective, state.model)
    totals = runtime.sum(_added(_counts(objective, batch, extras) for batch in batches))
    weights = {**objective.weights_at(state.step / state.total), **extras}
    # DDP averages over ranks, the objective sums over targets: what was measured at the start undoes the mean.
    undo = runtime.undo * scale_of(state.scaling)
    scale = {t: weights[t] * undo / n if n else 0.0 for t, n in totals.items()}
    wide = gathered(state.model, objective, batches, runtime)
    sums, loads = _gradients(state, objective, batches, wide, scale, runtime)
    loss = runtime.sum(_added({t: float(s) for t, s in part.items()} for part in sums))
    loss = {t: s / totals[t] if totals[t] else 0.0 for t, s in loss.items() if t in totals}
    state.update.grad_scale = scale_of(state.scaling)
    if state.penalty is not None:
        loss[PENALTY] = state.penalty.add(state.update)
    if state.trained_at is not None:
        state.update.keep_gradients(state.trained_at(state.step))
    factor = state.rate_factor()
    with state.around(state):
        norm = state.update.gradient_norm()
        refused = _moved(state, {t: value for t, value in loss.items() if totals.get(t, 1)}, norm, factor)
    for term, n in totals.items():
        state.seen[term] = state.seen.get(term, 0.0) + n
    rate = state.update.settings.rate * factor
    return StepReport(
        state.step, loss, norm, rate, totals, time.perf_counter() - started, loads=_loads(loads, wide), refused=refused
    )


def _gradients(
    state: TrainState,
    objective: Objective,
    batches: Sequence[Batch],
    wide: Sequence[StepWide | None],
    scale: Mapping[str, float],
    runtime: Runtime,
) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """Put the gradient of the step where the weights are; (summed terms, tokens of each expert) of each micro-batch."""
    if state.line is not None:
        there = [runtime.put(batch) for batch in batches]
        sums, loads = state.line.step(there, partial(_weighed, scale), sorted(objective.weights)), list[Tensor]()
    else:
        sums, loads = _backward(state, objective, batches, wide, scale, runtime)
    gradients = {n: here(w.grad) for n, w in state.update.weights.items() if w.grad is not None}
    state.update.pieces.add_up(gradients)
    runtime.finish(list(gradients.values()))
    return sums, loads


def _backward(
    state: TrainState,
    objective: Objective,
    batches: Sequence[Batch],
    wide: Sequence[StepWide | None],
    scale: Mapping[str, float],
    runtime: Runtime,
) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
    """Forward and backward of each micro-batch; (summed terms of each, tokens of each expert)."""
    sums: list[dict[str, Tensor]] = []
    loads: list[Tensor] = []
    for i, batch in enumerate(batches):
        with runtime.exchange(state.scored, now=i == len(batches) - 1):
            scored = state.scored(runtime.put(batch), wide[i])
            loads += [scored.pop(LOADS)] if LOADS in scored else []
            assert objective.weights.keys() <= scored.keys(), "a term that is weighed must be told"
            loss_of_step: Any = _weighed(scale, scored)
            loss_of_step.backward()
        sums.append({t: s.detach() for t, s in scored.items()})
    return sums, loads


def _weighed(scale: Mapping[str, float], sums: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([scale[t] * sums[t] for t in scale if t in sums]).sum()


def _extras(objective: Objective, model: Any) -> Mapping[str, float]:
    return family_of(model).extras(plain_model(model)) if objective.body_terms else {}


def _loads(of_batches: list[Tensor], wide: Sequence[StepWide | None]) -> list[list[float]]:
    """Tokens of each expert by block, of the whole step; nothing of a model without experts."""
    if not of_batches:
        return []
    found: Tensor = wide[0].tensors[LOADS].sum(0) if wide[0] else torch.stack(of_batches).sum(0)
    return [[float(number) for number in block] for block in found.tolist()]


def _counts(objective: Objective, batch: Batch, extras: Collection[str]) -> dict[str, float]:
    """Targets of the objective's terms; what the body adds counts by tokens, padding aside."""
    if not extras:
        return objective.counts(batch)
    return objective.counts(batch) | dict.fromkeys(extras, objective.tokens(batch))


def gathered(
    model: nn.Module, objective: Objective, batches: Sequence[Batch], runtime: Runtime, *, alone: bool = False
) -> list[StepWide | None]:
    """A first pass without gradient; the second one draws the same random numbers again (dropout).

    None for each batch where nothing is needed from the others; `alone`: of this rank only, and without what the body
    adds, which only trains. What the body adds needs nothing either where it sees the whole step at once.
    """
    routed = family_of(model).routes and bool(_extras(objective, model)) and not alone
    passes = runtime.rows.size * sum(objective.passes(batch) for batch in batches)
    if not (objective.gathers or (routed and passes > 1)):
        return [None] * len(batches)
    with torch.random.fork_rng([runtime.device] if runtime.device.type == "cuda" else []), torch.no_grad():
        found = [objective.gather(model, runtime.put(batch)) for batch in batches]
    mine = {name: torch.cat([one[name] for one in found]) for name in found[0]}
    tensors, before = (mine, 0) if alone else runtime.gather(mine)
    sizes = [len(next(iter(one.values()))) for one in found]
    return [StepWide(tensors, before + sum(sizes[:i])) for i in range(len(sizes))]


def _refusal(state: TrainState, loss: Mapping[str, float], norm: float) -> str | None:
    """Why the step is refused, or None; then its numbers are those by which the next ones are judged."""
    found = {**{f"the loss {term!r}": value for term, value in loss.items()}, "the gradient norm": norm}
    told = complaint(state.refuse, state.window, found)
    if told is None:
        remember(state.refuse, state.window, found)
        return None
    return told if all(map(math.isfinite, found.values())) else told + _not_finite(state.update)


def _not_finite(update: Update) -> str:
    """The weight that holds what is no number, or else whose gradient does."""
    if broken := update.broken():
        return f", since the weight {broken} holds what is no number"
    first = update.first_without_norm()
    return f", first in the gradient of {first}" if first else ""


def _moved(state: TrainState, loss: Mapping[str, float], norm: float, factor: float) -> str | None:
    """Take the step, or not; why not."""
    finite = {"loss_is_finite": all(map(math.isfinite, loss.values())), "norm_is_finite": math.isfinite(norm)}
    skipped = overflow(state.scaling, **finite)
    refused = skipped or _refusal(state, loss, norm)
    move(state, norm, factor, taken=refused is None)
    state.refused -= skipped is not None  # of the scale, not of the data: no run goes back for it
    state.scaling = after(state.scaling, finite=finite["norm_is_finite"])
    return refused


def move(state: TrainState, norm: float, factor: float, *, taken: bool) -> None:
    """Take the step, or refuse it: what is not finite never reaches the weights."""
    settings = state.update.settings
    average = settings.average.share(state.step, state.total)
    state.step += 1
    if taken:
        clip = min(1.0, settings.clip / (norm + 1e-6))
        state.updates += 1
        state.refused = 0
        state.update.step(state.updates, factor, clip_scale=clip, average=average)
        return
    for weight in state.update.weights.values():
        weight.grad = None
    state.refused += 1


def _added(parts: Any) -> dict[str, float]:
    """Sums by name over dicts of floats."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
