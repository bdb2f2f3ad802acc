"""GPTQ: columns are rounded one after the other, and those that are still floats make up for each error.

    minimise  trace(D H D')      D = rounded - float [O, I],   H = X'X / N [I, I] of calibration text

With U the upper Cholesky factor of the inverse of H, an error e of column j moves column k > j by -e U[j, k] / U[j, j].
The errors of a group move what is behind it at once. Price: I^3 for U, and O * I^2 / 2 for the rest.

Source: Frantar et al. 2022, arXiv:2210.17323, algorithm 1; columns in their own order.

O outputs, I inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pretune.compress.calibration import error_of
from pretune.compress.grid import Grid, grid_of

DAMPING = 0.01
"""Of the mean of H's diagonal, added to it (section 3.3)."""


def gptq(weight_OI: Tensor, moment_II: Tensor, size: int, *, symmetric: bool) -> tuple[Tensor, Grid, bool]:
    """Numbers [O, I], their grid, and whether they are GPTQ's: to the nearest where that is better on the text.

    Args:
        moment_II: X'X / N of what the matrix reads.
        size: inputs of a group.
    """
    numbers_OI, grid = _compensated(weight_OI, moment_II, size, symmetric=symmetric)
    plain = grid_of(weight_OI, size, symmetric=symmetric)
    nearest_OI = plain.numbers(weight_OI)
    ours, theirs = (error_of(g.weights(n) - weight_OI, moment_II) for g, n in ((grid, numbers_OI), (plain, nearest_OI)))
    return (numbers_OI, grid, True) if ours < theirs else (nearest_OI, plain, False)


def _compensated(weight_OI: Tensor, moment_II: Tensor, size: int, *, symmetric: bool) -> tuple[Tensor, Grid]:
    left_OI, upper_II = weight_OI.double().clone(), factor(moment_II)
    numbers_OI, grids = torch.zeros_like(weight_OI, dtype=torch.uint8), []
    for start in range(0, weight_OI.shape[1], size):
        end = min(start + size, weight_OI.shape[1])
        grids.append(grid_of(left_OI[:, start:end].float(), size, symmetric=symmetric))
        errors = torch.zeros_like(left_OI[:, start:end])
        for j in range(start, end):
            column = left_OI[:, j : j + 1].clone()
            numbers_OI[:, j : j + 1] = grids[-1].numbers(column.float())
            error = (column - grids[-1].weights(numbers_OI[:, j : j + 1])) / upper_II[j, j]
            left_OI[:, j + 1 : end] -= error * upper_II[j, j + 1 : end]
            errors[:, j - start] = error[:, 0]
        left_OI[:, end:] -= errors @ upper_II[start:end, end:]
    scales, zeros = (torch.cat([getattr(g, name) for g in grids], 1) for name in ("scales_OG", "zeros_OG"))
    return numbers_OI, Grid(scales, zeros, size)


def factor(moment_II: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of the damped moment, float64; inputs that are always 0 count as 1."""
    damped_II = moment_II.double().clone()
    diagonal = damped_II.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += DAMPING * diagonal.mean()
    inverse_II = torch.cholesky_inverse(torch.linalg.cholesky(damped_II))
    found: Tensor = torch.linalg.cholesky(inverse_II, upper=True)
    return found
