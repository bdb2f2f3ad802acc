"""What the methods share that train some of the base's own weights, and what follows for the rest of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pretune.base.errors import NotSupported
from pretune.model.methods.method import NEW

if TYPE_CHECKING:
    from torch import nn


def train_only(model: Any, heads: tuple[str, ...], chosen: Callable[[str], bool]) -> Any:
    """The model with `requires_grad` on the new heads and on the weights that are chosen by name.

    Raises:
        NotSupported: they are none.
    """
    setattr(model, NEW, heads)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not set(heads).isdisjoint(name.split(".")) or chosen(name))
    if not any(p.requires_grad for p in model.parameters()):
        problem = f"nothing of a {type(model).__name__} would train by this method"
        raise NotSupported(problem, hint="a task without a head of its own needs blocks that train")
    return model


def num_blocks(config: Any) -> int:
    """The blocks that a model of this transformers config has. Raises NotSupported: it has none."""
    if not (number := getattr(config.get_text_config(), "num_hidden_layers", 0)):
        raise NotSupported(f"a {config.model_type} model has no blocks of which some could be frozen")
    return int(number)


def body_weights(config: Any) -> list[str]:
    """Names of the weights of the body of a model of this transformers config; none of them is made."""
    import torch

    from pretune.model.families import family_named

    with torch.device("meta"):
        body = family_named(config.model_type).class_for("vector", config.model_type).from_config(config)
        return [name for name, _ in body.named_parameters()]


def frozen_blocks(model: Any) -> int:
    """How many blocks from the bottom up have no weight that trains; 0 where the embeddings below them do."""
    from pretune.model.families import family_of, plain_model

    core = plain_model(model)
    family = family_of(core)
    if any(p.requires_grad and family.level_of(name) == 0 for name, p in core.named_parameters()):
        return 0
    blocks = next(iter(family.stacks(core)), [])
    train = [any(p.requires_grad for p in block.parameters()) for block in blocks]
    return train.index(True) if True in train else len(train)


def frozen_modules(model: Any) -> list[nn.Module]:
    """The modules of the body in which nothing trains; what lies in a block that trains is none of them.

    They are kept in eval mode: dropout is there to keep weights that learn from leaning on each other. In front of
    weights that stay as they are it is noise only, and what they give for a row would be another thing each time.
    """
    from pretune.model.families import family_of, plain_model

    core = plain_model(model)
    stacks = family_of(core).stacks(core)
    learning = [b for stack in stacks for b in stack if any(p.requires_grad for p in b.parameters())]
    inside = {id(module) for block in learning for module in block.modules()}
    still = (m for m in core.base_model.modules() if id(m) not in inside)
    return [m for m in still if not any(p.requires_grad for p in m.parameters())]
