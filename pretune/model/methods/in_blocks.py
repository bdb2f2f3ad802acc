"""Bottlenecks in the blocks of a model: modules of their own next to what they change, put in by hooks.

B rows, L positions, D width of the stream.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.model.families import family_of

NAME = "bottleneck"
PARALLEL_SCALE = 4.0
"""What a parallel adapter's output is multiplied with (arXiv:2110.04366, section 4.5)."""


class Bottle(nn.Module):
    """up(bend(down(x))), zero at its start; hooks add it to what a branch gives."""

    def __init__(self, like: Tensor, outer: int, width: int, activation: str, scale: float = 1.0):
        super().__init__()
        where: dict[str, Any] = {"device": like.device, "dtype": like.dtype}
        self.down, self.up = nn.Linear(outer, width, **where), nn.Linear(width, outer, **where)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.activation, self.scale = activation, scale

    def forward(self, x_BLD: Tensor) -> Tensor:
        bend = getattr(F, self.activation)
        found: Tensor = self.scale * self.up(bend(self.down(x_BLD)))
        return found

    def behind(self, module: nn.Module, given: tuple[Any, ...], h_BLD: Tensor) -> Tensor:
        """A forward hook: it reads what the branch gives."""
        found: Tensor = h_BLD + self(h_BLD)
        return found

    def beside(self, module: nn.Module, given: tuple[Any, ...], h_BLD: Tensor) -> Tensor:
        """A forward hook: it reads what the branch reads."""
        found: Tensor = h_BLD + self(given[0])
        return found

    def onto(self, module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """A forward pre-hook of what adds a branch to the stream that it starts from."""
        h_BLD, x_BLD = given
        return h_BLD, x_BLD + self(x_BLD)


def put_in_blocks(model: Any, variant: str, width: int, activation: str) -> None:
    """Bottlenecks in every block of a model, in place; they train.

    Raises:
        NotSupported: a block is built in another way than its family's.
    """
    family = family_of(model)
    assert family.branches is not None, "the method has checked"
    for block in (block for stack in family.stacks(model) for block in stack):
        for name in _places(variant, family.branches):
            _put(model, _inside(block, name), variant, family.branches, width, activation)


def _places(variant: str, branches: Any) -> list[str]:
    """Names of the modules inside a block that get one."""
    return {
        "houlsby": [branches.attention, branches.mlp],
        "pfeiffer": [branches.mlp],
        "parallel": [branches.whole],
    }[variant]


def _put(model: Any, place: nn.Module, variant: str, branches: Any, width: int, activation: str) -> None:
    like, outer = next(model.parameters()), int(model.config.get_text_config().hidden_size)
    bottle = Bottle(like, outer, width, activation, PARALLEL_SCALE if variant == "parallel" else 1.0)
    place.add_module(NAME, bottle)
    if variant != "parallel":
        place.register_forward_hook(bottle.behind)
    elif branches.whole == branches.mlp:
        place.register_forward_hook(bottle.beside)
    else:
        place.register_forward_pre_hook(bottle.onto)


def _inside(block: nn.Module, name: str) -> nn.Module:
    try:
        return block.get_submodule(name)
    except AttributeError:
        problem = f"a {type(block).__name__} has no {name}, where method=bottleneck would put its adapters"
        raise NotSupported(problem, hint="take method=lora") from None
