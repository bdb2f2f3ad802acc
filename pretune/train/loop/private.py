"""Differentially private steps: what an example adds to the gradient is clipped, then noise hides whether it was there.

    sample    each example of the data with chance q = batch / examples, by a die of its own     (PoissonStream)
    clip      g_i = gradient of its loss;  g_i * min(1, C / |g_i|)
    noise     (sum of g_i + N(0, (s C)^2)) / batch                                               s: optim/accountant.py

Rows pass one at a time, so that the gradient of each is there as it is, for any model, method and objective. Which rows
were drawn and what the noise was must stay unknown, or it could be taken off again: both come from a secret of the run,
which lies in its scratch folder, comes back with it and goes with it. It feeds an ordinary generator (PCG64, from all
128 bits), which protects against who reads the model, not against who can guess its state.

How many examples a step had, and how long they were, would tell of them too: losses, speed, waiting and memory of the
steps are not noted. What is protected is what a run leaves; who watches it can time its steps, and the card has the
time and the memory of the whole run.

Each step has its price. None is refused for its norm, the run does not go back and take others instead, and it ends as
soon as a weight is no number: from then on it would pay for noise alone.

Source: Abadi et al. 2016, arXiv:1607.00133, algorithm 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pretune.base.errors import WrongValue
from pretune.base.json import Json
from pretune.objective.objective import Objective
from pretune.tokens.rows import Batch, Row
from pretune.train.loop.mechanism import Mechanism
from pretune.train.loop.runtime import Runtime
from pretune.train.loop.spec import TrainSpec
from pretune.train.loop.step import StepReport, TrainState, move, take_step
from pretune.train.loop.stream import RowStream
from pretune.train.optim.accountant import MOST_NOISE, epsilon, noise_for

SAMPLE = 1
"""What is drawn from the secret, besides the noise."""


@dataclass(frozen=True)
class PoissonStream:
    """Rows in memory, each in a step by a die of its own: a step may have any number of them, none too.

    Args:
        expected: rows of a step on the average.
        secret: of the run.
    """

    all_rows: Sequence[Row]
    expected: float
    secret: int

    def rows(self, step: int) -> list[Row]:
        return [self.all_rows[k] for k in self._chosen(step)]

    def _chosen(self, step: int) -> list[int]:
        dice = np.random.default_rng([self.secret, step, SAMPLE]).random(len(self.all_rows))
        return np.flatnonzero(dice * len(self.all_rows) < self.expected).tolist()

    def share(self, step: int) -> float:
        """As on the average: how many there were is not told."""
        return 1.0

    def where(self, step: int) -> str:
        """Which there were is not told either."""
        return ""


def private_run(spec: TrainSpec, steps: int, secret: int) -> tuple[PoissonStream, Mechanism, Json]:
    """The sample, the noise and what a card says of them, of a run of so many steps over rows in memory.

    Raises:
        WrongValue: no noise is enough.
    """
    asked, stream = spec.settings.optim.private, spec.stream
    assert asked is not None and isinstance(stream, RowStream), "a private run is over rows in memory"
    number = len(stream.all_rows)
    rate, delta = min(1.0, stream.batch / number), asked.delta or 1 / (10 * number)
    noise = noise_for(asked.epsilon, rate, steps, delta)
    if noise is None:
        least = epsilon(MOST_NOISE, rate, steps, delta)
        problem = (
            f"optim.private.epsilon={asked.epsilon:g} cannot be had in {steps} steps of {stream.batch} of {number} rows"
        )
        raise WrongValue(problem, hint=f"fewer steps, a smaller batch, more examples; or at least {least:.2g}")
    told = {"epsilon": rounded_up(epsilon(noise, rate, steps, delta)), "delta": delta, "noise": round(noise, 4)}
    expected = rate * number
    mechanism = Mechanism(asked.clip, noise, expected, secret)
    return PoissonStream(stream.all_rows, expected, secret), mechanism, {**told, "sampling_rate": rate}


def trial_of(spec: TrainSpec, noise: float = 1.0) -> Mechanism | None:
    """What makes a step that is only tried or counted as much work as one of the run; None where that is a plain one.

    Args:
        noise: 0 draws none, for the dry run of a model that would not fit into memory.
    """
    asked = spec.settings.optim.private
    return None if asked is None else Mechanism(asked.clip, noise, expected=spec.batch, secret=0)


def taking(state: TrainState) -> Callable[[TrainState, Objective, Sequence[Batch], Runtime], StepReport]:
    """How the steps of this run are taken."""
    return take_step if state.mechanism is None else take_private_step


def rounded_up(epsilon: float) -> float:
    """Four digits behind the point, never less than was spent: what is rounded down is promised and not kept."""
    return math.ceil(epsilon * 1e4) / 1e4


def told_of(facts: Json) -> str:
    """The promise in words."""
    return (
        f"epsilon {facts['epsilon']} at delta {facts['delta']:.2g}, noise {facts['noise']:g} times the clip, "
        f"each example in a step with chance {facts['sampling_rate']:.2g}"
    )


def take_private_step(
    state: TrainState, objective: Objective, batches: Sequence[Batch], runtime: Runtime
) -> StepReport:
    """One update over `batches`, each of which is one example. Of the loss nothing is told: it would tell of them.

    It is taken whatever its norm is, for it is paid for; only what is not finite never reaches the weights.
    """
    assert state.mechanism is not None and runtime.world == 1, "a private run has a mechanism and one process"
    started = time.perf_counter()
    weights = objective.weights_at(state.step / state.total)
    if state.trained_at is not None:
        state.update.keep_gradients(state.trained_at(state.step))
    for batch in batches:
        counts = objective.counts(batch)
        scored = state.scored(runtime.put(batch), None)
        terms = [weights[t] / n / state.mechanism.expected * scored[t] for t, n in counts.items() if n]
        loss_of_example: Any = torch.stack(terms).sum()
        loss_of_example.backward()
        state.mechanism.take(state.update)
    factor = state.rate_factor()
    state.mechanism.finish(state.update, state.step)
    with state.around(state):
        norm = state.update.gradient_norm()
        move(state, norm, factor, taken=math.isfinite(norm))
    refused = None if math.isfinite(norm) else f"the gradient norm is {norm}"
    rate = state.update.settings.rate * factor
    return StepReport(state.step, {}, norm, rate, {}, time.perf_counter() - started, refused=refused)
