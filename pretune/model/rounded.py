"""A frozen base in fewer bytes: the matrices of its blocks as int8 or int4, made floats again where they are used.

    int8   a byte a weight, and a float32 scale for each row         1.0 bytes a weight
    int4   half a byte, and a float32 scale for each group of 64     0.56 bytes a weight

    y = x W'       W' = whole numbers * scales, made in the forward pass, dropped, and made again in the backward pass

So adapters next to it learn by the exact gradient of the rounded base, as in QLoRA (arXiv:2305.14314, there with
another grid, NF4). Embeddings, norms, biases and heads stay float32. Works on any machine; price: every pass makes W'
again.

O outputs, I inputs, G groups of 64 inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.model.families import family_of
from pretune.model.rounding import scales_of, whole_numbers

GROUP = 64
"""Weights of an input group that share a scale in int4, as in arXiv:2305.14314."""
PLAIN = "float32"


class Rounded(nn.Linear):
    """A linear layer whose weight is kept as whole numbers and scales; `weight` makes it a float matrix [O, I]."""

    codes: Tensor
    scales: Tensor

    def __init__(self, codes: Tensor, scales: Tensor, bias: Any, inputs: int):
        nn.Module.__init__(self)
        self.in_features, self.out_features = inputs, len(codes)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.bias = bias

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return floats(self.codes, self.scales, self.in_features)

    @property
    def precision(self) -> str:
        return "int8" if self.codes.dtype == torch.int8 else "int4"

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = Product.apply(x, self.codes, self.scales)  # type: ignore[no-untyped-call]
        return found if self.bias is None else found + self.bias


class Product(torch.autograd.Function):
    """x W', which keeps W' as whole numbers until its gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
        ctx.save_for_backward(codes, scales)
        ctx.inputs = x.shape[-1]
        return F.linear(x, floats(codes, scales, ctx.inputs).to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        codes, scales = ctx.saved_tensors
        return grads[0] @ floats(codes, scales, ctx.inputs).to(grads[0].dtype), None, None


def floats(codes: Tensor, scales: Tensor, inputs: int) -> Tensor:
    """The matrix [O, I] of whole numbers: int8 [O, I] with scales [O, 1]; two in a byte, [O, G, 32], with [O, G, 1]."""
    if codes.dtype == torch.int8:
        return codes.to(scales.dtype) * scales
    pairs_OGH2 = torch.stack([codes & 15, codes >> 4], dim=-1)
    return ((pairs_OGH2.flatten(2).to(scales.dtype) - 8) * scales).flatten(1)[:, :inputs]


def rounded(weight: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Whole numbers and scales of a matrix [O, I], as `floats` reads them; empty ones on the device meta."""
    outputs, inputs = weight.shape
    groups = -(-inputs // GROUP)
    if weight.is_meta:
        shape, kind = ((outputs, inputs), torch.int8) if precision == "int8" else ((outputs, groups, 32), torch.uint8)
        scale = (outputs, 1) if precision == "int8" else (outputs, groups, 1)
        return torch.empty(shape, dtype=kind, device="meta"), torch.empty(scale, device="meta")
    array = weight.detach().float().cpu().numpy()
    if precision == "int8":
        scale_O1 = scales_of(array, 0)
        return torch.from_numpy(whole_numbers(array, scale_O1)), torch.from_numpy(scale_O1)
    rows = np.pad(array, ((0, 0), (0, groups * GROUP - inputs))).reshape(-1, GROUP)
    scale_R1 = scales_of(rows, 0, levels=7)
    whole = (whole_numbers(rows, scale_R1, levels=7) + 8).astype(np.uint8).reshape(outputs, groups, -1, 2)
    packed = whole[..., 0] | (whole[..., 1] << 4)
    return torch.from_numpy(packed), torch.from_numpy(scale_R1.reshape(outputs, groups, 1))


def is_turned(layer: nn.Module) -> bool:
    """Whether a layer's weight is [I, O] (GPT-2's Conv1D)."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, Conv1D)


def matrices_in_blocks(model: Any) -> list[tuple[str, Any, bool]]:
    """(name, layer, whether its weight is [I, O]) of the linear layers inside the blocks. Raises NotSupported: none."""
    family, layers = family_of(model), model.named_modules()
    kinds = [(name, layer) for name, layer in layers if isinstance(layer, nn.Linear) or is_turned(layer)]
    found = [(n, m, is_turned(m)) for n, m in kinds if (family.level_of(f"{n}.weight") or 0) > 0]
    if not found:
        problem = f"a {model.config.model_type} model has no linear layers in blocks that base_precision could round"
        raise NotSupported(problem, hint="leave base_precision=float32")
    return found


def round_base(model: Any, precision: str) -> Any:
    """The model with the matrices of its blocks rounded, in place; as it is where `precision` is float32."""
    for name, layer, turned in matrices_in_blocks(model) if precision != PLAIN else ():
        weight = layer.weight.T if turned else layer.weight
        device = weight.device
        codes, scales = rounded(weight, precision)
        model.set_submodule(name, Rounded(codes.to(device), scales.to(device), layer.bias, weight.shape[1]))
    return model


@torch.no_grad()
def put_on_grid(model: Any, precision: str) -> Any:
    """The model with plain layers whose weights are what `round_base` computes with, in place."""
    for _, layer, turned in matrices_in_blocks(model) if precision != PLAIN else ():
        weight = layer.weight.T if turned else layer.weight
        found = floats(*rounded(weight, precision), weight.shape[1])
        layer.weight.copy_(found.T if turned else found)
    return model


def precision_of(model: nn.Module) -> str:
    """How the base of a model is kept: float32, int8 or int4."""
    return next((module.precision for module in model.modules() if isinstance(module, Rounded)), PLAIN)
