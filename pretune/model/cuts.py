"""A smaller model of the same class: fewer units, heads or blocks, in a config that any program opens.

    units     rows of the matrices that give them, columns of the one that reads them
    heads     key heads with all query heads that ask them, so that groups stay whole
    blocks    the others move together

What a cut model says is what the whole one says when the outputs of what is cut are 0; without a block its branches add
nothing (and a norm behind them, as BERT has it, does not happen either).

O outputs, I inputs, F units of the feed-forward part, K key heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.model.families import family_of
from pretune.model.families.family import Cuts
from pretune.model.folder import without_pooler
from pretune.model.layers import config_of_taken, renumbered
from pretune.model.rounded import is_turned

Kept = Sequence[Tensor]
"""Of each block, the numbers of what is kept, in rising order."""


def cuts_of(model: Any) -> Cuts:
    """What a narrower block has less of. Raises NotSupported for a family that nobody said it of."""
    found = family_of(model).cuts
    if found is None:
        problem = f"a {model.config.model_type} model cannot be cut: which of its matrices belong together is not known"
        raise NotSupported(problem, hint="take method=prune method.what=weights, or int8, int4, low-rank")
    return found


def blocks_of(model: Any) -> dict[str, nn.Module]:
    """The blocks by their names, those of all stacks."""
    names = {id(module): name for name, module in model.named_modules()}
    return {names[id(block)]: block for stack in family_of(model).stacks(model) for block in stack}


def inside(at: str, block: nn.Module, names: Sequence[str]) -> Iterator[str]:
    """The full names of those of the modules `names` that a block has; `at` is the block's."""
    there = dict(block.named_modules())
    yield from (f"{at}.{name}" for name in names if name in there)


def num_units(model: Any) -> int:
    """Units of the feed-forward part."""
    config, cuts = model.config, cuts_of(model)
    return int(getattr(config, cuts.hidden_size) or 4 * config.hidden_size)  # GPT-2 leaves it out


def head_sizes(model: Any) -> tuple[int, int, int]:
    """Key heads, query heads of each, and the width of a head.

    Raises:
        NotSupported: transformers' config cannot say fewer heads of the same width.
    """
    config, cuts = model.config, cuts_of(model)
    if not cuts.queries:
        problem = f"heads of a {config.model_type} model cannot be cut: the width of a head is width / heads there"
        raise NotSupported(problem, hint="take method.what=ffn or layers")
    keys = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(keys), config.num_attention_heads // keys, int(width)


def may_have(model: Any, query_heads: int) -> bool:
    """Whether transformers opens a config with so many query heads: some refuse what does not divide the width."""
    checks = hasattr(type(model.config), "validate_architecture")
    return not checks or model.config.hidden_size % query_heads == 0


def rows_of(kept: Tensor, each: int) -> Tensor:
    """The rows of parts that lie one after the other, `each` rows a part."""
    return (kept[:, None] * each + torch.arange(each)).flatten()


def without_units(model: Any, kept: Kept) -> Any:
    """The model with these units in the feed-forward part of each block."""
    cuts, state, total = cuts_of(model), dict(model.state_dict()), num_units(model)
    for (at, block), units in zip(blocks_of(model).items(), kept, strict=True):
        gives = torch.cat([units + part * total for part in range(cuts.gated)])
        for name in inside(at, block, cuts.hidden):
            _take_outputs(model, state, name, gives)
        for name in inside(at, block, cuts.hidden_out):
            _take_inputs(model, state, name, units)
    return _made(model, state, _with(model, **{cuts.hidden_size: len(kept[0])}))


def without_heads(model: Any, kept: Kept) -> Any:
    """The model with these key heads in each block, and the query heads that ask them."""
    cuts, state, (_, group, width) = cuts_of(model), dict(model.state_dict()), head_sizes(model)
    for (at, block), heads in zip(blocks_of(model).items(), kept, strict=True):
        for names, each in ((cuts.queries, group * width), (cuts.keys, width)):
            for name in inside(at, block, names):
                _take_outputs(model, state, name, rows_of(heads, each))
        _take_inputs(model, state, f"{at}.{cuts.heads_out}", rows_of(heads, group * width))
    number = len(kept[0])
    heads = _with(model, num_attention_heads=number * group, num_key_value_heads=number, head_dim=width)
    return _made(model, state, heads)


def without_blocks(model: Any, kept: Sequence[int]) -> Any:
    """The model with these of its blocks (of each stack, where it has two), of which the first must be one: it may
    hold what no other has.

    Raises:
        NotSupported: two stacks of different depth.
    """
    assert kept[0] == 0, "the first block may hold what no other has"
    settings, blocks = config_of_taken(model.config.to_dict(), kept)
    state = {new: tensor for name, tensor in model.state_dict().items() if (new := renumbered(name, blocks))}
    return _made(model, state, family_of(model).config(settings))


def _take_outputs(model: Any, state: dict[str, Tensor], name: str, kept: Tensor) -> None:
    state[f"{name}.weight"] = state[f"{name}.weight"].index_select(
        1 if is_turned(model.get_submodule(name)) else 0, kept
    )
    if f"{name}.bias" in state:
        state[f"{name}.bias"] = state[f"{name}.bias"][kept]


def _take_inputs(model: Any, state: dict[str, Tensor], name: str, kept: Tensor) -> None:
    state[f"{name}.weight"] = state[f"{name}.weight"].index_select(
        0 if is_turned(model.get_submodule(name)) else 1, kept
    )


def _with(model: Any, **settings: Any) -> Any:
    config = deepcopy(model.config)
    for name, value in settings.items():
        setattr(config, name, value)
    return config


def _made(model: Any, state: Mapping[str, Tensor], config: Any) -> Any:
    made = type(model)(config)
    if getattr(model, "pooler", True) is None:
        made = without_pooler(made)
    made.load_state_dict(state)
    if model.can_generate():
        made.generation_config = model.generation_config
    return made.eval()
