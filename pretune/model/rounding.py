"""Rounding of weights: whole numbers times a scale, one for each row (or column, or group of 64). No torch here.

row        0.50  -0.25   0.10      scale = 0.50 / 127 = 0.00394
int8        127    -64      25
rounded    0.500 -0.252  0.098     what a model computes with from now on
"""

from __future__ import annotations

import numpy as np

LEVELS = 127
"""The largest whole number of int8; that of int4 is 7."""
SPARE_BITS = 8
NEAR = (1.0, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1)
"""Factors on the scale of a block that are tried."""


def scales_of(weight: np.ndarray, axis: int, *, levels: int = LEVELS) -> np.ndarray:
    """Scale of every row (axis 0) or column (axis 1) of a float32 matrix, with the other axis kept as 1.

    The last 8 bits of a scale are 0, so that scale times a whole number up to 127 is exact in float32: rounding
    twice changes nothing, and int8 x scale is the stored weight bit for bit. A scale is at most 2**-15 larger
    than max |w| / levels for it; a channel of zeros has scale 1.
    """
    largest = np.abs(weight).max(axis=1 - axis, keepdims=True).astype(np.float32)
    scale = _rounded_up(largest / np.float32(levels))
    return np.where(scale == 0, np.float32(1), scale)


def _rounded_up(scale: np.ndarray) -> np.ndarray:
    """The next float32 whose last 8 bits are 0."""
    step = 1 << SPARE_BITS
    bits = scale.astype(np.float32).view(np.uint32)
    return (((bits + np.uint32(step - 1)) // np.uint32(step)) * np.uint32(step)).astype(np.uint32).view(np.float32)


def whole_numbers(weight: np.ndarray, scale: np.ndarray, *, levels: int = LEVELS) -> np.ndarray:
    """int8: the nearest multiples of the scale, in scales."""
    found: np.ndarray = np.clip(np.rint(weight.astype(np.float64) / scale), -levels, levels).astype(np.int8)
    return found


def on_grid(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The nearest multiples of the scale, float32; no weight moves by more than half a scale."""
    return np.asarray((whole_numbers(weight, scale) * scale.astype(np.float32)).astype(np.float32))


def fitted(x: np.ndarray, scale: np.ndarray, half: int) -> np.ndarray:
    """Of scales near the given ones [N, b] those with the least sum of squares, each fitted to its own rounding.

    Args:
        x: blocks [N, b, block]; half: whole numbers go from -half to half - 1.
    """
    best, least = scale, np.full(scale.shape, np.inf, dtype=np.float32)
    for factor in NEAR:
        tried = np.where(scale == 0, 1, scale * np.float32(factor))[..., None]
        whole = np.clip(np.rint(x / tried), -half, half - 1)
        squares = (whole * whole).sum(2)
        found = (whole * x).sum(2) / np.where(squares == 0, 1, squares)
        lost = ((whole * found[..., None] - x) ** 2).sum(2)
        best, least = np.where(lost < least, found, best), np.minimum(lost, least)
    return best
