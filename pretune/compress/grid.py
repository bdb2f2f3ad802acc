"""Whole numbers of four bits: sixteen steps for each group of inputs; and how a folder keeps them.

    group       0.80  -0.30   0.10   0.40       scale = 0.80 / -8 = -0.1, zero 8: the largest weight is number 0
    numbers     0      11      7      4         weight = (number - zero) * scale

**The layout of rounded folders.** The folder is plain Hugging Face in float32 with the rounded weights, so any reader
gives the rounded model's answers. Files next to it hold what an exporter needs to store fewer bytes, by the names of
the parameters; a parameter is in one of the first two at most, and what is in none of them was not rounded:

    int8-scales.safetensors   float32, of the weight's shape with the inputs as one group: [O, 1]; Conv1D [1, O]
    int4-scales.safetensors   float32, of the weight's shape with G groups of inputs: [O, G]; Conv1D [G, O]
    int4-zeros.safetensors    uint8, of the same shapes, of weights whose zero is not 8 everywhere

Group g of a row holds the inputs from g * size on, size being the power of two from 32 on that gives so many groups;
the last group may be short. Whole numbers are -127 ... 127 of int8 and 0 ... 15 of int4. int4 scales are float16
numbers (which Q4_0 of GGUF and MatMulNBits of ONNX keep), so number times scale is exact in float32 and every reader
finds the same numbers again.

O outputs, I inputs, G groups of inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pretune.base.errors import BadFile
from pretune.compress.quantise import INT4_SCALES, INT4_ZEROS
from pretune.model.rounding import fitted

MIDDLE, TOP = 8, 15
"""The number that stands for 0 in a symmetric group, and the largest number."""


@dataclass(frozen=True)
class Grid:
    """Sixteen steps for each group of inputs of a matrix.

    Args:
        scales_OG: float32 that float16 holds; may be negative.
        zeros_OG: float32 whole numbers from 0 to 15.
        size: inputs of a group.
    """

    scales_OG: Tensor
    zeros_OG: Tensor
    size: int

    def numbers(self, weight_OI: Tensor) -> Tensor:
        """The nearest whole numbers, uint8 [O, I]: as floats those of all matrices would be one more model."""
        scales, zeros = (_spread(t, self.size, weight_OI.shape[1]) for t in (self.scales_OG, self.zeros_OG))
        return (weight_OI / scales + zeros).round_().clamp_(0, TOP).byte()

    def weights(self, numbers_OI: Tensor) -> Tensor:
        """What the numbers stand for, [O, I]; exact in float32."""
        scales, zeros = (_spread(t, self.size, numbers_OI.shape[1]) for t in (self.scales_OG, self.zeros_OG))
        return (numbers_OI - zeros) * scales

    def nearest(self, weight_OI: Tensor) -> Tensor:
        """The weights rounded to the nearest step."""
        return self.weights(self.numbers(weight_OI))


def _spread(each_OG: Tensor, size: int, inputs: int) -> Tensor:
    return each_OG.repeat_interleave(size, dim=1)[:, :inputs]


def grid_of(weight_OI: Tensor, size: int, *, symmetric: bool) -> Grid:
    """The grid of a matrix: of each group its two ends are on it; or (symmetric) its weight of largest size is, on
    step 0, or near it, where another scale loses fewer squares. A group of zeros has scale 1.
    """
    groups_OGS = _in_groups(weight_OI, size)
    low, high = groups_OGS.amin(2).clamp(max=0), groups_OGS.amax(2).clamp(min=0)
    if symmetric:
        largest = torch.where(high > -low, high, low) / -MIDDLE
        scale = as_kept(torch.from_numpy(fitted(groups_OGS.numpy(), largest.numpy(), MIDDLE)))
        return Grid(scale, torch.full_like(scale, MIDDLE), size)
    scale = as_kept((high - low) / TOP)
    return Grid(scale, (-low / scale).round().clamp(0, TOP), size)


def _in_groups(weight_OI: Tensor, size: int) -> Tensor:
    outputs, inputs = weight_OI.shape
    return torch.nn.functional.pad(weight_OI, (0, -inputs % size)).reshape(outputs, -1, size)


def as_kept(scales: Tensor) -> Tensor:
    """Scales as float16 holds them, float32; 1 for 0."""
    found = scales.half().float()
    return torch.where(found == 0, torch.ones_like(found), found)


def size_of(inputs: int, groups: int) -> int:
    """Inputs of a group, where a matrix has so many groups: the smallest power of two from 32 on that gives them."""
    found = next((size for size in (2**k for k in range(5, 32)) if -(-inputs // size) == groups), 0)
    if not found:
        raise BadFile(f"{inputs} inputs do not fall into {groups} groups", hint="compress the model again")
    return found


def read_grids(folder: Path) -> dict[str, Grid]:
    """The int4 grids of a model folder by parameter name, [O, G] whichever way the parameter lies; empty for others.

    Use `matrix_of` of the parameter's layer for its weight [O, I].
    """
    if not (folder / INT4_SCALES).is_file():
        return {}
    from safetensors.torch import load_file

    from pretune.model.folder import weight_shapes

    shapes = weight_shapes(folder)
    zeros = load_file(folder / INT4_ZEROS) if (folder / INT4_ZEROS).is_file() else {}
    found = {}
    for name, scales in load_file(folder / INT4_SCALES).items():
        zero = zeros[name].float() if name in zeros else torch.full_like(scales, MIDDLE)
        turned = scales.shape[0] != shapes[name][0]  # Conv1D: [G, O]
        across = (scales.T, zero.T) if turned else (scales, zero)
        found[name] = Grid(*across, size_of(shapes[name][0 if turned else 1], across[0].shape[1]))
    return found
