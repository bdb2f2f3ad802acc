"""One training step. Nothing else in the package calls backward().

The gradient of a step is that of  sum over terms of  weight * (summed loss) / (targets), both sums running
over every micro-batch of every rank: how a step is cut changes nothing (docs/LOG.md, "exactness").
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pretune.base.errors import NotFinite
from pretune.base.json import Json
from pretune.model.families import family_of
from pretune.objective.objective import Objective, StepWide
from pretune.tokens.rows import Batch
from pretune.train.loop.runtime import Runtime
from pretune.train.optim.update import Update

REFUSALS_THAT_END = 3


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
        scored: called in training; `model` is the plain model inside.
        total: steps of the whole run, which the schedule spans.
        updates: steps that reached the weights (a refused step counts as a step, not as an update).
        micro: rows of a micro-batch since memory ran out; None: as the run was cut at its start.
        trained_at: names of the weights that move at a step; None: all that train.
    """

    model: nn.Module
    scored: nn.Module
    update: Update
    total: int
    step: int = 0
    updates: int = 0
    refused: int = 0
    micro: int | None = None
    seen: dict[str, float] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    trained_at: Callable[[int], Collection[str]] | None = None

    def rate_factor(self) -> float:
        return self.update.settings.rate_factor(self.step, self.total)


@dataclass(frozen=True)
class StepReport:
    """One step: loss per target (nats), the gradient's norm before clipping, targets, seconds.

    Args:
        waited: seconds that the step waited for its rows, not part of `seconds`.
        micro: rows of a micro-batch; `tried`: of the first try, when memory ran out.
    """

    step: int
    loss: dict[str, float]
    gradient_norm: float
    learning_rate: float
    targets: dict[str, float]
    seconds: float
    taken: bool
    waited: float = 0.0
    micro: int = 0
    tried: int = 0


def take_step(
    state: TrainState, objective: Objective, batches: Sequence[Batch], runtime: Runtime, *, where: str = ""
) -> StepReport:
    """One update over `batches`, the micro-batches of this rank."""
    started = time.perf_counter()
    extras = family_of(state.model).extras
    totals = runtime.sum(_added(_counts(objective, batch, extras) for batch in batches))
    weights = {**objective.weights_at(state.step / state.total), **extras}
    # DDP averages over ranks, the objective sums over targets: the world size undoes the mean.
    scale = {t: weights[t] * runtime.world / n if n else 0.0 for t, n in totals.items()}
    sums: list[dict[str, Tensor]] = []
    wide = gathered(state.model, objective, batches, runtime)
    for i, batch in enumerate(batches):
        with runtime.exchange(state.scored, now=i == len(batches) - 1):
            scored = state.scored(runtime.put(batch), wide[i])
            loss_of_step: Any = torch.stack([scale[t] * s for t, s in scored.items()]).sum()
            loss_of_step.backward()
        sums.append({t: s.detach() for t, s in scored.items()})
    loss = runtime.sum(_added({t: float(s) for t, s in part.items()} for part in sums))
    loss = {t: s / totals[t] if totals[t] else 0.0 for t, s in loss.items()}
    if state.trained_at is not None:
        state.update.keep_gradients(state.trained_at(state.step))
    norm = state.update.gradient_norm()
    taken = math.isfinite(norm) and all(map(math.isfinite, loss.values()))
    factor = state.rate_factor()
    _move(state, norm, factor, taken=taken, where=where, loss=loss)
    for term, n in totals.items():
        state.seen[term] = state.seen.get(term, 0.0) + n
    rate = state.update.settings.rate * factor
    return StepReport(state.step, loss, norm, rate, totals, time.perf_counter() - started, taken)


def _counts(objective: Objective, batch: Batch, extras: Collection[str]) -> dict[str, float]:
    """Targets of the objective's terms; what the body adds counts by tokens, padding aside."""
    if not extras:
        return objective.counts(batch)
    there = batch["segments"] >= 0 if "segments" in batch else batch["attention_mask"]
    return objective.counts(batch) | dict.fromkeys(extras, float(there.sum()))


def gathered(
    model: nn.Module, objective: Objective, batches: Sequence[Batch], runtime: Runtime, *, alone: bool = False
) -> list[StepWide | None]:
    """A first pass without gradient; the second one draws the same random numbers again (dropout).

    None for each batch where the objective needs no such thing; `alone`: of this rank only.
    """
    if not objective.gathers:
        return [None] * len(batches)
    with torch.random.fork_rng([runtime.device] if runtime.device.type == "cuda" else []), torch.no_grad():
        found = [objective.gather(model, runtime.put(batch)) for batch in batches]
    mine = {name: torch.cat([one[name] for one in found]) for name in found[0]}
    tensors, before = (mine, 0) if alone else runtime.gather(mine)
    sizes = [len(next(iter(one.values()))) for one in found]
    return [StepWide(tensors, before + sum(sizes[:i])) for i in range(len(sizes))]


def _move(state: TrainState, norm: float, factor: float, *, taken: bool, where: str, loss: dict[str, float]) -> None:
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
    if state.refused >= REFUSALS_THAT_END:
        place = f" ({where})" if where else ""
        raise NotFinite(
            f"step {state.step}: the gradient norm is {norm}, the loss {loss}{place}, for the third step on end",
            hint="lower optim.learning_rate, or set precision=float32",
        )


def _added(parts: Any) -> dict[str, float]:
    """Sums by name over dicts of floats."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
