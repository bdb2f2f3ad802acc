"""Does this back end add gradients up as we think? Asked before the first step, of the wrapper that is used.

    rank r's loss has the slope r     summed    0 + 1 + 2 + 3 = 6
                                      averaged  1.5            (DDP)

torch's FSDP2 on gloo has summed where it should have averaged (pytorch#162338), and nobody noticed: a rate that is
twice too large still trains. So the loop is told what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isclose

import torch
from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.train.parallel.mesh import Axis
from pretune.train.parallel.pieces import here

WIDTH = 8
"""More rows than processes in one group, so that each has some of a weight that is dealt."""

ROUNDED = 1e-4
"""A mean of 5 processes is a sum of fifths, which float32 rounds; two processes are half or twice apart."""


class Slope(nn.Module):
    """A loss whose slope in every weight is the number that it is given."""

    def __init__(self, rows: int, device: torch.device):
        super().__init__()
        self.inner = nn.Linear(2, rows, bias=False, device=device)

    def forward(self, slope: Tensor) -> Tensor:
        found: Tensor = self.inner(slope.expand(1, 2)).sum()
        return found


def measured_factor(
    wrap: Callable[[nn.Module, list[nn.Module]], nn.Module],
    finish: Callable[[list[Tensor]], None],
    rows: Axis,
    device: torch.device,
) -> float:
    """What a gradient must be multiplied with to be the sum over the processes with rows of their own.

    Args:
        wrap: what is done to the module that is trained, and to its blocks.
        finish: what is done to the gradients after the last backward pass.

    Raises:
        NotSupported: gradients are neither summed nor averaged, or not the same for all weights.
    """
    plain = Slope(WIDTH * rows.size, device)
    wrapped = wrap(plain, [plain.inner])
    wrapped(torch.tensor(float(rows.index + 1), device=device)).backward()
    gradient = plain.inner.weight.grad
    assert gradient is not None, "a module that was called has a gradient"
    local = here(gradient)
    finish([local])
    wanted = rows.size * (rows.size + 1) / 2
    return _agreed([value / wanted for value in local.flatten().tolist()], rows.size)


def _agreed(shares: Sequence[float], size: int) -> float:
    """What makes sums of gradients that came out as these shares of their sum."""
    for factor in (1.0, float(size)):
        if shares and all(isclose(share * factor, 1.0, rel_tol=ROUNDED) for share in shares):
            return factor
    told = ", ".join(sorted({f"{share:.4g}" for share in shares})) or "nothing"
    problem = f"the gradients of {size} processes come out as {told} of their sum: neither summed nor averaged"
    raise NotSupported(problem, hint="another back end or version of torch; parallel.shard=1 takes another path")
