"""Pruning: what adds least to what the model says is left out.

    what=weights     single weights become 0; the model stays as large and as fast
    what=ffn         units of the feed-forward part, as many in each block
    what=heads       key heads with the query heads that ask them, as many in each block
    what=layers      whole blocks

The last three give a plain folder with a smaller config. How much a unit or a head adds is the mean square of what its
outputs are in what its branch gives, trace(W X'X W') over the columns that read it: units by Wanda's idea
(arXiv:2306.11695), heads by the same. The blocks that go are a run of them whose states turn least on the way through
(arXiv:2403.17887, there at the last token, here at all).

O outputs, I inputs, N places, D width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.compress.compressor import Compressed, Compressor, Work

if TYPE_CHECKING:
    from torch import Tensor

    from pretune.compress.calibration import Calibration


class Prune(Compressor):
    """Leave out what adds least: weights, units of the feed-forward part, heads, or whole layers."""

    kind: str = "prune"
    what: Literal["weights", "heads", "ffn", "layers"] = "ffn"
    """weights: single ones become 0, and no file is smaller and no CPU faster for it; heads, ffn, layers: fewer."""
    ratio: float = Field(0.25, gt=0, lt=1)
    """The share that goes, of each matrix's rows, of each block's heads or units, or of the layers."""
    by: Literal["activations", "magnitude", "last"] = "activations"
    """activations: by what it adds on text of `data`; magnitude: by the weights alone; last: the last layers."""
    pattern: Literal["any", "2:4"] = "any"
    """Of weights: 2:4 leaves two of every four, whatever `ratio` is; some GPUs are faster for it, no CPU is."""
    rows: int = Field(64, gt=0)
    """Rows of text that are read, where it goes by activations."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.by == "last" and self.what != "layers") or (self.by == "magnitude" and self.what == "layers"):
            raise ValueError(f"by={self.by} does not go with what={self.what}")
        if self.pattern != "any" and self.what != "weights":
            raise ValueError(f"pattern={self.pattern} is for what=weights")
        return self

    @property
    def reads(self) -> int:
        return self.rows if self.by == "activations" else 0

    def compress(self, work: Work) -> Compressed:
        """Returns a smaller model, or the same with weights of 0, and: parameters before and after, what is left."""
        before = sum(p.numel() for p in work.model.parameters())
        ways = {"weights": _weights, "heads": _heads, "ffn": _units, "layers": _layers}
        made, facts = ways[self.what](self, work.model, work.text)
        after = sum(p.numel() for p in made.parameters())
        return Compressed(model=made, metrics={"parameters_before": before, "parameters_after": after, **facts})


def _moments(model: Any, names: list[str], text: Calibration | None) -> dict[str, Tensor]:
    """X'X / N of the inputs of these layers; the identity without text."""
    import torch

    from pretune.compress.calibration import matrix_of, moments

    if text is not None:
        return moments(model, {name: model.get_submodule(name) for name in names}, text)
    return {name: torch.eye(matrix_of(model, name).shape[1]) for name in names}


def _added(weight_OI: Tensor, moment_II: Tensor, each: int) -> Tensor:
    """trace(W X'X W') of each part of the inputs, `each` of them in a row: how much it adds to the outputs."""
    # The outputs' part by inputs i and j is (W'W)_ij (X'X)_ij: a part is the sum over its own square.
    both_II = (weight_OI.T @ weight_OI) * moment_II
    parts = both_II.shape[0] // each
    return both_II.reshape(parts, each, parts, each).diagonal(dim1=0, dim2=2).sum((0, 1))


def _best(added: Tensor, number: int) -> Tensor:
    return added.topk(number).indices.sort().values


def _units(prune: Prune, model: Any, text: Calibration | None) -> tuple[Any, Json]:
    from pretune.compress.calibration import matrix_of
    from pretune.model.cuts import blocks_of, cuts_of, inside, num_units, without_units

    total, cuts = num_units(model), cuts_of(model)
    left = units_left(total, prune.ratio)
    readers = [next(inside(at, block, cuts.hidden_out)) for at, block in blocks_of(model).items()]
    heard = _moments(model, readers, text)
    kept = [_best(_added(matrix_of(model, name), heard[name], 1), left) for name in readers]
    return without_units(model, kept), {"units_before": total, "units_after": left}


def units_left(total: int, ratio: float) -> int:
    """How many of so many units stay: whole 32s where they are whole 32s, for formats in blocks. Some always go."""
    step = 32 if total % 32 == 0 and total > 32 else 1
    return max(step, min(total - step, round(total * (1 - ratio) / step) * step))


def _heads(prune: Prune, model: Any, text: Calibration | None) -> tuple[Any, Json]:
    from pretune.compress.calibration import matrix_of
    from pretune.model.cuts import blocks_of, cuts_of, head_sizes, may_have, without_heads

    keys, group, width = head_sizes(model)
    wanted = max(1, round(keys * (1 - prune.ratio)))
    left = next((n for n in range(min(wanted, keys - 1), 0, -1) if may_have(model, n * group)), 0)
    if not left:
        problem = f"the model has {keys} key heads of {group} query heads each, and no fewer of them fit its config"
        raise NotSupported(problem, hint="take method.what=ffn or layers")
    readers = [f"{at}.{cuts_of(model).heads_out}" for at in blocks_of(model)]
    heard = _moments(model, readers, text)
    kept = [_best(_added(matrix_of(model, name), heard[name], group * width), left) for name in readers]
    return without_heads(model, kept), {"heads_before": keys * group, "heads_after": left * group}


def _layers(prune: Prune, model: Any, text: Calibration | None) -> tuple[Any, Json]:
    from pretune.compress.calibration import turns
    from pretune.model.cuts import without_blocks
    from pretune.model.families import family_of

    total = len(family_of(model).stacks(model)[0])
    gone = min(total - 1, max(1, round(total * prune.ratio)))
    if gone < 1:
        raise NotSupported("the model has one layer, and none can go", hint="take method.what=ffn")
    first = total - gone
    facts: Json = {}
    if text is not None:
        by_first = turns(model, gone, text)
        first = 1 + min(range(len(by_first)), key=by_first.__getitem__)
        facts = {"turn_of_the_layers_that_go": by_first[first - 1] / math.pi}
    kept = [k for k in range(total) if not first <= k < first + gone]
    return without_blocks(model, kept), {
        "layers_before": total,
        "layers_after": len(kept),
        "first_gone": first,
        **facts,
    }


def _weights(prune: Prune, model: Any, text: Calibration | None) -> tuple[Any, Json]:
    import torch

    from pretune.compress.calibration import layers_in_blocks, matrix_of

    names = layers_in_blocks(model)
    heard = _moments(model, names, text)
    zeros = whole = 0
    for name in names:
        weight_OI = matrix_of(model, name)
        mask_OI = kept_weights(weight_OI, heard[name].diagonal(), prune.ratio, prune.pattern)
        with torch.no_grad():
            weight_OI.mul_(mask_OI)
        zeros, whole = zeros + int((~mask_OI).sum()), whole + mask_OI.numel()
    return model, {"zeros": zeros, "share_of_zeros": zeros / whole, "faster_on_a_cpu": False}


def kept_weights(weight_OI: Tensor, squares_I: Tensor, ratio: float, pattern: str) -> Tensor:
    """Which weights stay, bool [O, I]: the largest |w| * norm of its input of each row, or two of every four of them.

    Args:
        squares_I: mean square of each input; ones: by magnitude alone.

    Source: arXiv:2306.11695, section 3 (there as here, an output's weights are compared with each other).
    """
    import torch

    score_OI = weight_OI.abs() * squares_I.sqrt()
    if pattern == "2:4":
        if score_OI.shape[1] % 4:
            raise NotSupported(f"a matrix has {score_OI.shape[1]} inputs, which fours do not divide")
        groups = score_OI.reshape(len(score_OI), -1, 4)
        return torch.zeros_like(groups, dtype=torch.bool).scatter_(2, groups.topk(2).indices, True).reshape_as(score_OI)
    gone = score_OI.topk(round(ratio * score_OI.shape[1]), largest=False).indices
    return torch.ones_like(score_OI, dtype=torch.bool).scatter_(1, gone, False)
