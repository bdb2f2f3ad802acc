"""What the next trial tries: a pure function of the seed and the trials so far.

So a study that was stopped anywhere goes on as if it had not been, and nothing but the trials needs to be kept. TPE is
Optuna's: it fits one density to the settings of the better trials and one to those of the rest, and takes the values
at which the first is highest next to the second (Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization).
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Sequence
from typing import Any, Literal

from pretune.base.errors import BadCommand
from pretune.base.json import Json
from pretune.base.stage import derive_seed
from pretune.tune.space import Axis
from pretune.tune.study import Trial

Sampler = Literal["tpe", "random", "grid"]
STARTUP = 5
"""Random trials before TPE has something to fit; Optuna's ten are many where a study has sixteen."""
GOOD = 0.25
"""The share of trials that TPE takes for the better ones. Of sixteen trials Optuna's tenth is one or two, too few to
fit a density to: docs/LOG.md, "How many trials are good ones"."""
DIGITS = 3
"""Digits of a proposed number: what is finer makes no difference that a score could show."""


def propose(
    axes: Sequence[Axis], trials: Sequence[Trial], *, sampler: Sampler, seed: int, lower: bool = False
) -> Json | None:
    """Values by setting; None when a grid has been tried whole.

    Args:
        trials: all before, in their order.
        lower: whether a lower score is better.
    """
    if sampler == "grid":
        tried = [trial.values for trial in trials]  # by another sampler or seed, too
        return next((values for values in grid(axes, seed) if values not in tried), None)
    import optuna

    own = derive_seed(seed, f"trial {len(trials)}") % 2**32
    chosen, known = (optuna.samplers.RandomSampler(seed=own), ()) if sampler == "random" else (_tpe(own), trials)
    asked = study_of(axes, known, lower=lower, sampler=chosen).ask(distributions(axes))
    return {axis.path: _value(axis, asked.params[axis.path]) for axis in axes}


def _tpe(seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # gamma will go in Optuna 6; pyproject.toml stays below
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP, gamma=lambda number: math.ceil(GOOD * number)
        )


def grid(axes: Sequence[Axis], seed: int) -> list[Json]:
    """Every combination of the choices once, in a random order, so that the first ones are no corner.

    Raises:
        BadCommand: a setting has a range.
    """
    if ranges := [axis.path for axis in axes if not axis.choices]:
        raise BadCommand(f"a grid needs choices, and {ranges[0]} has a range", hint=f"{ranges[0]}=VALUE,VALUE,VALUE")
    paths = [axis.path for axis in axes]
    every = [dict(zip(paths, values, strict=True)) for values in itertools.product(*(axis.choices for axis in axes))]
    random.Random(seed).shuffle(every)
    return every


def importance(axes: Sequence[Axis], trials: Sequence[Trial], *, lower: bool, seed: int) -> dict[str, float]:
    """The share of the variance of scores that each setting explains, largest first; {} if it cannot be told.

    Source: functional ANOVA over a random forest (Hutter et al. 2014), as Optuna computes it.
    """
    done = [trial for trial in trials if trial.state == "finished"]
    if len({trial.score for trial in done}) < 2:
        return {}
    import optuna

    study = study_of(axes, done, lower=lower)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {path: float(part) for path, part in found.items()}


def study_of(axes: Sequence[Axis], trials: Sequence[Trial], *, lower: bool, sampler: Any = None) -> Any:
    """Optuna's study with these trials; one that failed or fell behind counts as worse than all that finished."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if lower else "maximize", sampler=sampler)
    spread = distributions(axes)
    for trial in trials:
        ended = {"value": trial.score} if trial.state == "finished" else {"state": optuna.trial.TrialState.PRUNED}
        params = {axis.path: _place(axis, trial.values[axis.path]) for axis in axes}
        curve = {} if trial.state == "finished" else dict(trial.curve)
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=spread, intermediate_values=curve, **ended)
        )
    return study


def distributions(axes: Sequence[Axis]) -> dict[str, Any]:
    """What Optuna draws from; choices by their place, whatever they are."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def one(axis: Axis) -> Any:
        if axis.choices:
            return CategoricalDistribution(range(len(axis.choices)))
        return (IntDistribution if axis.is_whole else FloatDistribution)(axis.low, axis.high, log=axis.is_log)

    return {axis.path: one(axis) for axis in axes}


def _place(axis: Axis, value: Any) -> Any:
    return axis.choices.index(value) if axis.choices else value


def _value(axis: Axis, drawn: Any) -> Any:
    if axis.choices:
        return axis.choices[drawn]
    return drawn if axis.is_whole else min(max(float(f"{drawn:.{DIGITS}g}"), axis.low), axis.high)
