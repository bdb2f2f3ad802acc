"""Which steps are refused: those whose loss or gradient is no number, or far above what it was lately. No torch.

    loss        4.02 3.98 4.05 4.01 ... 3.97     mean 4.01, standard deviation 0.04
    this step   4.22                             5.3 deviations: taken
    this step   6.90                             72 deviations: refused, the weights stay where they are

The window holds the last steps that were taken, by the name of the number: each term of the loss, and the norm of the
gradient. It judges when it is full. A refused step never enters it.

After a few refusals on end the run goes back to the last good checkpoint and passes over the rows of these steps: the
step s reads the s-th of the portions that are not passed over, so the order of all others stays.

Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, section 5.1 (go back, skip the batches); OLMo et al. 2024,
arXiv:2501.00656 (skipping a step at 6 deviations of the last 128).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, pstdev

from pydantic import Field

from pretune.base.config import Config

LEAST_DEVIATION = 0.01
"""Of the mean: numbers that hardly differ do not make a step that does an outlier."""
MOST_RETURNS = 2
"""To the same checkpoint. After them numbers that are finite are taken: what was far outside is the new level."""
Windows = dict[str, list[float]]


class Refuse(Config):
    """When a step is refused, and what follows."""

    sigmas: float | None = Field(6.0, gt=0)
    """Standard deviations that the loss, or the norm of the gradient, of a step may lie above the mean of its window;
    null: every finite number is taken. What is not finite is refused always."""
    window: int = Field(128, ge=8)
    """Steps that were taken lately, by which the next one is judged; none is before there are so many."""
    goes_back_after: int = Field(3, gt=0)
    """Refusals on end after which the run goes back to its last good checkpoint and passes over the rows of these
    steps."""


def complaint(refuse: Refuse, windows: Mapping[str, list[float]], found: Mapping[str, float]) -> str | None:
    """Why a step with these numbers is refused, or None."""
    if wrong := [f"{name} is {value}" for name, value in found.items() if not math.isfinite(value)]:
        return ", ".join(wrong)
    if refuse.sigmas is None:
        return None
    told = (_outside(refuse, name, windows.get(name, []), value) for name, value in found.items())
    return ", ".join(filter(None, told)) or None


def _outside(refuse: Refuse, name: str, window: list[float], value: float) -> str | None:
    if refuse.sigmas is None or len(window) < refuse.window:
        return None
    mean = fmean(window)
    deviation = max(pstdev(window), LEAST_DEVIATION * abs(mean))
    if value <= mean + refuse.sigmas * deviation:
        return None
    lately = f"the last {len(window)} have {mean:.4g} and deviate by {deviation:.2g}"
    return (
        f"{name} is {value:.4g}, {(value - mean) / deviation if deviation else math.inf:,.0f} deviations up: {lately}"
    )


def remember(refuse: Refuse, windows: Windows, found: Mapping[str, float]) -> None:
    """The numbers of a step that was taken enter the windows."""
    if refuse.sigmas is not None:
        for name, value in found.items():
            windows[name] = [*windows.get(name, []), value][-refuse.window :]


def portion(step: int, passed: Iterable[int]) -> int:
    """The portion of the data that a step reads: the step-th of those that are not passed over."""
    for one in sorted(passed):
        if one <= step:
            step += 1
    return step
