"""Products of the blocks in 8-bit floats (arXiv:2209.05433), for cards that multiply them twice as fast as bfloat16.

    forward     x e4m3  @  weight e4m3        backward, for x     slope e5m2  @  weight e4m3
                                              backward, for the weight: bfloat16, where errors would add up over steps

Each tensor is scaled by its largest value, anew at each product. Weights stay bfloat16 with float32 masters;
embedding, norms, attention and head are not touched. Written to the rules of `torch._scaled_mm` and tested on a
CPU; it has not run on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

WIDTHS = 16
"""Both sides of a matrix must be divisible by this."""


class Float8Linear(nn.Linear):
    """A linear layer whose products are made in 8 bits."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        found: Tensor = _Product.apply(rows, self.weight)  # type: ignore[no-untyped-call]
        found = found.view(*x.shape[:-1], -1)
        return found if self.bias is None else found + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_MD: Tensor) -> Tensor:
        ctx.save_for_backward(x_ND, weight_MD)
        return _scaled(x_ND, weight_MD, torch.float8_e4m3fn)

    @staticmethod
    def backward(ctx: Any, slope_NM: Tensor) -> Any:
        x_ND, weight_MD = ctx.saved_tensors
        return _scaled(slope_NM, weight_MD.t().contiguous(), torch.float8_e5m2), slope_NM.t() @ x_ND


def _scaled(left: Tensor, right: Tensor, kind: torch.dtype) -> Tensor:
    """left [N, K] @ right [M, K] transposed, in 8 bits; the second lies column by column, as the cards want it."""
    a, scale_a = _rounded(left, kind)
    b, scale_b = _rounded(right, torch.float8_e4m3fn)
    return torch._scaled_mm(a, b.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=left.dtype)


def _rounded(wide: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """8-bit numbers and the factor that makes them what they were."""
    scale = (wide.abs().amax().float() / torch.finfo(kind).max).clamp(min=1e-12)
    return (wide.float() / scale).to(kind).contiguous(), scale


def use_float8(blocks: list[nn.Module]) -> int:
    """Turn the linear layers of these blocks into 8-bit ones, names and weights kept; returns how many there are."""
    found = [m for block in blocks for m in block.modules() if type(m) is nn.Linear and _fits(m)]
    for module in found:
        module.__class__ = Float8Linear
    return len(found)


def _fits(module: nn.Linear) -> bool:
    return module.in_features % WIDTHS == 0 and module.out_features % WIDTHS == 0


def has_float8(device: torch.device) -> bool:
    """Does the card multiply 8-bit floats (compute capability 8.9 or more)?"""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)
