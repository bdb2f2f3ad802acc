"""Test functions of samplers: what is searched, and the score (lower is better). benchmarks/tune.py has them, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pretune.tune.proposing import Sampler, propose
from pretune.tune.space import Axis
from pretune.tune.study import Trial

Score = Callable[[Mapping[str, Any]], float]


def _branin(p: Mapping[str, Any]) -> float:
    """Branin's function; three minima of 0.398."""
    x, y, pi = p["x"], p["y"], math.pi
    bent = (y - 5.1 / (4 * pi**2) * x**2 + 5 / pi * x - 6) ** 2
    return bent + 10 * (1 - 1 / (8 * pi)) * math.cos(x) + 10


def _log(p: Mapping[str, Any], name: str) -> float:
    return math.log10(p[name])


FUNCTIONS: dict[str, tuple[tuple[Axis, ...], Score]] = {
    "sphere": (
        (Axis("x", low=-5.0, high=5.0), Axis("y", low=-5.0, high=5.0)),
        lambda p: (p["x"] - 1.3) ** 2 + (p["y"] + 2.1) ** 2,
    ),
    "branin": ((Axis("x", low=-5.0, high=10.0), Axis("y", low=0.0, high=15.0)), _branin),
    "fine-tuning": (
        (Axis("rate", low=1e-5, high=1e-2, is_log=True), Axis("rank", (4, 8, 16)), Axis("epochs", low=1, high=8)),
        lambda p: (_log(p, "rate") + 3.4) ** 2 + 0.4 / p["rank"] + 0.02 * (p["epochs"] - 4) ** 2,
    ),
    "idle settings": (
        (
            Axis("rate", low=1e-6, high=1e-2, is_log=True),
            Axis("decay", low=1e-4, high=1e-1, is_log=True),
            Axis("warmup", low=0.0, high=0.3),
        ),
        lambda p: (_log(p, "rate") + 4.3) ** 2 + 0.02 * (_log(p, "decay") + 2) ** 2 + 0.05 * p["warmup"],
    ),
    "ridge": (
        (Axis("rate", low=1e-5, high=1e-2, is_log=True), Axis("batch", low=4, high=128, is_log=True)),
        lambda p: (_log(p, "rate") + 4.4 - _log(p, "batch") / 2) ** 2 + 0.1 * (_log(p, "batch") - 1.2) ** 2,
    ),
    "four of a kind": (
        tuple(Axis(name, low=-5.0, high=5.0) for name in "abcd"),
        lambda p: (p["a"] - 1) ** 2 + (p["b"] + 2) ** 2 / 2 + (p["c"] - 3) ** 2 / 5 + p["d"] ** 2 / 10,
    ),
}


def tried(name: str, sampler: Sampler, number: int, seed: int) -> list[Trial]:
    """So many trials, each proposed after those before."""
    axes, score = FUNCTIONS[name]
    trials: list[Trial] = []
    for _ in range(number):
        values = propose(axes, trials, sampler=sampler, seed=seed, lower=True)
        assert values is not None
        trials.append(Trial(values, score(values)))
    return trials


def lowest(trials: list[Trial]) -> float:
    """The best score."""
    return min(trial.score for trial in trials if trial.score is not None)
