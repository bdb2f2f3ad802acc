"""What noise costs: epsilon of the Gaussian mechanism on Poisson samples, composed over steps. numpy alone.

    z ~ N(0, s^2)    A(a) = E[((1 - q) + q exp((2 z - 1) / (2 s^2)))^a]     moments of the privacy loss of a step
                     rdp(a) = T log A(a) / (a - 1)                          Rényi divergence of T steps
                     epsilon = min over a of  rdp(a) + log((a - 1) / a) - (log delta + log a) / (a - 1)

q: the chance of each example to be in a step's sample; s: the noise's standard deviation over the norm to which each
example's gradient is clipped. Neighbours differ by one example, which is there or not.

Sources: Mironov, Talwar, Zhang 2019, arXiv:1908.10530, section 3; from Rényi to epsilon Canonne, Kamath, Steinke 2020,
arXiv:2004.00010, proposition 12. The expectation is taken by quadrature, for any order above 1.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

ORDERS = (*(1 + k / 10 for k in range(1, 100)), *range(11, 64), 96, 128, 192, 256, 512, 1024)
LEAST_NOISE, MOST_NOISE = 0.2, 1000.0
PER_DEVIATION, TAIL = 64, 12.0
"""Points of the quadrature per standard deviation, and standard deviations that it reaches beyond the last peak."""


@cache
def divergence(order: float, rate: float, noise: float) -> float:
    """Rényi divergence of one step at an order above 1, for a sampling rate in (0, 1] and a noise above 0."""
    if rate == 1:
        return order / (2 * noise * noise)
    number = int(PER_DEVIATION * (2 * TAIL + order / noise))
    z = np.linspace(-TAIL * noise, order + TAIL * noise, number)
    logs = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * z - 1) / (2 * noise * noise))
    logs = order * logs - z * z / (2 * noise * noise) - math.log(noise * math.sqrt(2 * math.pi))
    top = float(logs.max())
    return (top + math.log(np.exp(logs - top).sum() * (z[1] - z[0]))) / (order - 1)


def epsilon(noise: float, rate: float, steps: int, delta: float) -> float:
    """What so many steps give away at most, but for a chance of delta."""
    if not steps:
        return 0.0
    return max(0.0, min(_epsilon(order, steps * divergence(order, rate, noise), delta) for order in ORDERS))


def _epsilon(order: float, spent: float, delta: float) -> float:
    return spent + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


def noise_for(wanted: float, rate: float, steps: int, delta: float) -> float | None:
    """The least noise, to a thousandth, that gives away no more than `wanted`; None where not even a thousand does."""
    low, high = LEAST_NOISE, MOST_NOISE
    if epsilon(high, rate, steps, delta) > wanted:
        return None
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if epsilon(middle, rate, steps, delta) <= wanted else (middle, high)
    return high
