"""What goes on inside two models' blocks, side by side: states, and attention.

    student  block 0   block 1   block 2
    teacher     block 1   block 3   block 5     evenly spread, the last at the last

The blocks' terms are those of TinyBERT (Jiao et al. 2020, arXiv:1909.10351, equations 7 and 8), but for the attention,
which is compared as chances: not every attention of transformers tells its scores. A student that is narrower learns a
projection with it, which is dropped at the end.

B rows, L positions, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pretune.base.errors import NotSupported, WrongValue
from pretune.model.families import family_of, plain_model

if TYPE_CHECKING:
    from torch import Tensor

PROJECTION = "distil_projection"
"""The module of a student that makes its states as wide as the teacher's, while it learns."""


@contextmanager
def listening(model: Any, heard: dict[str, list[Tensor]], names: Mapping[str, float]) -> Iterator[None]:
    """Notes what the blocks of a model give while it reads: their `hidden` states [B, L, D], their `attention` as
    chances [B, H, L, L], each a list from the first block to the last.

    Raises:
        NotSupported: its attention does not tell what it looked at.
    """
    handles = []
    for name in names:
        heard[name] = []
        handles += [module.register_forward_hook(_note(heard[name], name)) for module in _heard(model, name)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note(heard: list[Tensor], name: str) -> Any:
    def note(module: Any, inputs: Any, output: Any) -> None:
        found = output if hasattr(output, "shape") else output[name == "attention"]
        if found is None:
            raise NotSupported("this model's attention does not tell what it looked at", hint="leave out attention")
        heard.append(found)

    return note


def _heard(model: Any, name: str) -> list[Any]:
    """The blocks of a model with one stack, or what in them attends, as transformers marks it.

    Raises:
        NotSupported: an encoder-decoder.
    """
    stacks = family_of(model).stacks(model)
    if len(stacks) > 1:
        problem = f"a {plain_model(model).config.model_type} model has two stacks of blocks, of which none is compared"
        raise NotSupported(problem, hint="leave out hidden and attention")
    if name == "hidden":
        return stacks[0]
    marks = plain_model(model)._can_record_outputs or {}
    kind = getattr(marks.get("attentions"), "target_class", marks.get("attentions"))
    return [m for block in stacks[0] for m in block.modules() if kind and isinstance(m, kind)]


def block_map(mine: int, theirs: int, layers: Sequence[int] | None = None) -> list[int]:
    """For each of the student's blocks the teacher's that it is compared with: evenly spread, the last with the last.

    Raises:
        WrongValue: there are fewer than the student has, or `layers` does not name one for each.

    Source: Jiao et al. 2020, arXiv:1909.10351, section 4.2 (uniform).
    """
    if layers is None:
        if theirs < mine:
            problem = f"the teacher has {theirs} blocks, fewer than the student's {mine}"
            raise WrongValue(problem, hint="name a block for each: objective.layers=[...]")
        return [(k + 1) * theirs // mine - 1 for k in range(mine)]
    if len(layers) != mine or not all(0 <= k < theirs for k in layers):
        told = f"objective.layers={list(layers)} does not name one of the teacher's {theirs} blocks for each of {mine}"
        raise WrongValue(told, hint=f"name {mine} numbers from 0 to {theirs - 1}")
    return list(layers)


def inside(name: str, mine: Tensor, theirs: Tensor, there_BL: Tensor, project: Any = None) -> Tensor:
    """The squared distance of one block's states (mean over the width) or attention (sum over what is looked at, mean
    over heads), summed over tokens, in float32 (float64 stays).

    Raises:
        NotSupported: the two have other numbers of heads.
    """
    import torch

    if name == "attention" and mine.shape[1] != theirs.shape[1]:
        problem = f"the student's blocks have {mine.shape[1]} heads, the teacher's {theirs.shape[1]}"
        raise NotSupported(problem, hint="leave out attention, or take a student with as many heads")
    mine = mine if project is None or name == "attention" else project(mine)
    wide = torch.promote_types(mine.dtype, torch.float32)
    far = (mine.to(wide) - theirs.to(wide)).square()
    far_BL = far.sum(-1).mean(1) if name == "attention" else far.mean(-1)
    return (far_BL * there_BL).sum()


def projected(student: Any, teacher: Any) -> Any:
    """The student with a projection to the teacher's width, where it has another."""
    import torch

    core = plain_model(student)
    mine, theirs = (int(plain_model(one).config.hidden_size) for one in (student, teacher))
    if mine != theirs:
        core.add_module(PROJECTION, torch.nn.Linear(mine, theirs, bias=False, device=core.device, dtype=core.dtype))
    return student


def drop_projection(student: Any) -> None:
    """The student as it was built."""
    plain_model(student)._modules.pop(PROJECTION, None)


def projection_of(student: Any) -> Any:
    """What `projected` added; None where nothing."""
    return plain_model(student)._modules.get(PROJECTION)
