"""Activation checkpointing: some blocks keep their input alone and compute the rest again in the backward pass.

    none       every block keeps what its backward pass needs                        fastest
    full       no block does: about a third more arithmetic                          least memory
    in part    the first k blocks do not, as many as are needed to fit

The gradients are the same: dropout draws the same numbers again.
"""

from __future__ import annotations

from typing import Any

from pretune.base.errors import NotSupported


def checkpoint_blocks(model: Any, number: int | None = None) -> int:
    """Let the first `number` blocks (None: all) be computed again; returns how many there are.

    Raises:
        NotSupported: the architecture has no blocks that can be.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    blocks: list[Any] = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not blocks:
        problem = f"{type(model).__name__} has no blocks whose activations could be computed again"
        raise NotSupported(problem, hint="set checkpointing=none")
    for block in blocks[:number]:
        # By hand: the model's own switch has two names in the versions that are supported, and turns all of them.
        block.gradient_checkpointing = True
        block._gradient_checkpointing_func = _computed_again
    return len(blocks)


def _computed_again(block: Any, *args: Any, **kwargs: Any) -> Any:
    from torch.utils.checkpoint import checkpoint

    from pretune.model.row_dropout import RowDropout, forward_and_again

    how: dict[str, Any] = {"context_fn": forward_and_again} if RowDropout.active else {}
    return checkpoint(block, *args, use_reentrant=False, **how, **kwargs)
