"""int4 weights in groups: 4.5 bits a weight at groups of 32, 4.125 at 128.

The folder's layout is in compress/grid.py. Rounding is to the nearest step, or by GPTQ on text; then the scales may
learn to say what the float model said; and the matrices that cost most may stay int8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pretune.base.json import Json
from pretune.compress.compressor import Compressed, Compressor, Work

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.compress.calibration import Calibration
    from pretune.compress.grid import Grid


SENSING_ROWS = 8
"""Rows on which the cost of rounding one matrix is measured."""


class Int4(Compressor):
    """Weights rounded to sixteen steps for each group of inputs."""

    kind: str = "int4"
    group: Literal[32, 64, 128] = 32
    """Inputs that share a scale: fewer are closer to the float model, and larger."""
    symmetric: bool = True
    """Whether 0 is step 8 of every group; otherwise the steps go from a group's least to its largest weight."""
    by: Literal["gptq", "nearest"] = "gptq"
    """gptq: weights make up for each other's errors on text of `data` (arXiv:2210.17323); nearest: each by itself."""
    steps: int = Field(0, ge=0)
    """Steps in which the scales learn to say what the float model said of the train split's text."""
    rate: float = Field(1e-3, gt=0)
    """Rate of that, in parts of a scale."""
    embeddings: bool = True
    """Whether the table of the vocabulary is rounded too."""
    spare: float = Field(0.0, ge=0, lt=1)
    """Share of the weights that become int8 instead: the matrices whose rounding alone changes most what is said."""
    rows: int = Field(64, gt=0)
    """Rows of text that are read for by=gptq, steps and spare."""

    @property
    def copies(self) -> float:
        """Both models and whole numbers, a byte each; where scales learn, the gradient of the weights and what a scale
        makes of them."""
        return 5 if self.steps else 3

    @property
    def reads(self) -> int:
        return self.rows if self.by == "gptq" or self.steps or self.spare else 0

    def compress(self, work: Work) -> Compressed:
        """Round every matrix in place; a tied head and its embedding are one matrix.

        Returns:
            Scales, and zeros where they are not 8, by parameter name; and: bits a weight, how many matrices GPTQ beat
            the nearest step on, which stayed int8, and how far the model's answers are from the float ones.
        """
        from pretune.compress.learning import distance

        model, text = work.model, work.text
        float_model = work.float_model() if text is not None else work.teacher
        rounded = _rounded(self, model, text)
        spared = _spared(self, model, rounded, float_model, text)
        for name, one in rounded.items():
            if name not in spared:
                one.put()
        scales8 = _to_int8(spared)
        kept = {name: one for name, one in rounded.items() if name not in spared}
        facts: Json = {}
        if text is not None and float_model is not None:
            facts["distance"] = distance(model, float_model, text)
            if self.steps:
                facts["distance_learnt"] = _learnt(self, model, float_model, kept, text)
        return _compressed(model, kept, scales8, facts)


@dataclass
class Rounded:
    """A matrix on its grid.

    Args:
        weight: the parameter; turned: whether it is [I, O] (Conv1D).
        beaten: whether GPTQ was better than the nearest step.
    """

    weight: Tensor
    turned: bool
    numbers_OI: Tensor
    grid: Grid
    beaten: bool = False

    def across(self, each: Tensor) -> Tensor:
        """Turned from the way of the grid to that of the parameter, or back."""
        return each.T if self.turned else each

    def put(self) -> None:
        """Give the parameter what the numbers stand for."""
        self.weight.detach().copy_(self.across(self.grid.weights(self.numbers_OI)))


def _rounded(how: Int4, model: Any, text: Calibration | None) -> dict[str, Rounded]:
    """Numbers and grids of every matrix; the model is not changed."""
    from torch import nn

    from pretune.compress.calibration import moments
    from pretune.compress.gptq import gptq
    from pretune.compress.grid import grid_of
    from pretune.compress.quantise import matrices

    layers = {name: model.get_submodule(name.removesuffix(".weight")) for name, _, _ in matrices(model)}
    tables = {name for name, layer in layers.items() if isinstance(layer, nn.Embedding)}
    linear = {name: layer for name, layer in layers.items() if name not in tables}
    heard = moments(model, linear, text) if how.by == "gptq" and text is not None else {}
    found = {}
    for name, weight, axis in matrices(model):
        if name in tables and not how.embeddings:
            continue
        weight_OI = weight.detach().T if axis else weight.detach()
        if name in heard:
            numbers_OI, grid, beaten = gptq(weight_OI, heard.pop(name), how.group, symmetric=how.symmetric)
        else:
            grid, beaten = grid_of(weight_OI, how.group, symmetric=how.symmetric), False
            numbers_OI = grid.numbers(weight_OI)
        found[name] = Rounded(weight, bool(axis), numbers_OI, grid, beaten)
    return found


def _spared(
    how: Int4, model: Any, rounded: dict[str, Rounded], teacher: Any, text: Calibration | None
) -> dict[str, Rounded]:
    """The matrices whose rounding alone changes most what is said, up to `spare` of the weights."""
    from pretune.compress.learning import distance

    if not how.spare or text is None:
        return {}
    few, costs = text.some(SENSING_ROWS), {}
    for name, one in rounded.items():
        whole = one.weight.detach().clone()
        one.put()
        costs[name] = distance(model, teacher, few)
        one.weight.detach().copy_(whole)
    room = how.spare * sum(one.weight.numel() for one in rounded.values())
    found = {}
    for name in sorted(costs, key=costs.__getitem__, reverse=True):
        if rounded[name].weight.numel() <= room:
            room -= rounded[name].weight.numel()
            found[name] = rounded[name]
    return found


def _to_int8(spared: dict[str, Rounded]) -> dict[str, Tensor]:
    """Put these on int8 grids; their scales."""
    import torch

    from pretune.model.rounding import on_grid, scales_of

    found = {}
    for name, one in spared.items():
        weight = one.weight.detach().numpy()
        scale = scales_of(weight, int(one.turned))
        one.weight.detach().copy_(torch.from_numpy(on_grid(weight, scale)))
        found[name] = torch.from_numpy(scale)
    return found


def _learnt(how: Int4, model: Any, teacher: Any, kept: dict[str, Rounded], text: Calibration) -> float:
    """Let the scales learn, in parts of what they are, and put back what they were if that is no nearer.

    Returns:
        How far the model is from its teacher in the end.
    """
    from pretune.compress.grid import as_kept
    from pretune.compress.learning import Made, distance, learn

    def put(grids: dict[str, Grid]) -> float:
        for name, one in kept.items():
            one.grid = grids[name]
            one.put()
        return distance(model, teacher, text)

    first = {name: one.grid for name, one in kept.items()}
    before = put(first)
    made = {name: Made(one.weight, *_parts(one)) for name, one in kept.items()}
    learn(model, teacher, made, text, steps=how.steps, rate=how.rate)
    scales = {name: as_kept(first[name].scales_OG * (1 + made[name].numbers[0])) for name in kept}
    after = put({name: replace(first[name], scales_OG=scales[name]) for name in kept})
    return after if after < before else put(first)


def _parts(one: Rounded) -> tuple[tuple[Tensor, ...], Callable[..., Tensor]]:
    """Parts that are added to the scales, and the weight by them."""
    import torch

    grid = one.grid

    def make(parts_OG: Tensor) -> Tensor:
        return one.across(replace(grid, scales_OG=grid.scales_OG * (1 + parts_OG)).weights(one.numbers_OI))

    return (torch.zeros_like(grid.scales_OG),), make


def _compressed(model: Any, kept: dict[str, Rounded], scales8: dict[str, Tensor], facts: Json) -> Compressed:
    from pretune.compress.grid import MIDDLE
    from pretune.compress.quantise import INT4_SCALES, INT4_ZEROS, SCALES

    files = {INT4_SCALES: {name: one.across(one.grid.scales_OG) for name, one in kept.items()}}
    if any(bool((one.grid.zeros_OG != MIDDLE).any()) for one in kept.values()):
        files[INT4_ZEROS] = {name: one.across(one.grid.zeros_OG).byte() for name, one in kept.items()}
    files |= {SCALES: scales8} if scales8 else {}
    total = sum(p.numel() for p in model.parameters())
    stored = _stored(model, kept, scales8, total, zeros=INT4_ZEROS in files)
    facts |= {"bytes_float32": 4 * total, "bytes_int4": stored, "bits_per_weight": 8 * stored / total}
    facts |= {"int8_matrices": sorted(scales8), "better_by_gptq": sum(one.beaten for one in kept.values())}
    return Compressed(files, {**facts, "int4_matrices": len(kept)}, stored=stored)


def _stored(model: Any, kept: dict[str, Rounded], scales8: dict[str, Tensor], total: int, *, zeros: bool) -> int:
    """Bytes: half a weight, two a scale and half a zero; one a weight and four a scale of int8; four of the rest."""
    whole4 = sum(one.weight.numel() for one in kept.values())
    groups = sum(one.grid.scales_OG.numel() for one in kept.values())
    whole8: int = sum(model.get_parameter(name).numel() for name in scales8)
    narrow = whole4 / 2 + groups * (2.5 if zeros else 2) + whole8
    return round(narrow) + 4 * (total - whole4 - whole8 + sum(s.numel() for s in scales8.values()))
