"""Every process holds some of the blocks and hands states on, micro-batch after micro-batch.

    stage 0   table, blocks 0-3      F0 F1 F2 F3          B0    B1    B2 B3        F forward, B backward
    stage 1   blocks 4-7, head          F0 B0 F1 B1 F2 B2 F3 B3                    of a micro-batch

The model stays the class that it is, with its own masks and positions: foreign blocks pass on what they are given, the
one before a stage gives the states that came in, the one behind it takes them out. So every family whose blocks turn
states into states can be cut, and no objective knows of it. The table is held twice where it is the head's matrix too.
Source: Huang et al. 2019, arXiv:1811.06965; Narayanan et al. 2021, arXiv:2104.04473 (1F1B), by torch's pipelining.

B rows, L positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.model.families import family_of, plain_model
from pretune.train.parallel.mesh import Axis, Mesh
from pretune.train.parallel.settings import Parallel, check_model

Batch = Mapping[str, Tensor]


class Handed(Exception):
    """The states behind the last block of a stage."""

    def __init__(self, states_BLD: Tensor):
        super().__init__()
        self.states_BLD = states_BLD


class Passes(nn.Module):
    """In the place of a block that another process holds."""

    def forward(self, states_BLD: Tensor, *rest: Any, **others: Any) -> Tensor:
        return states_BLD


class Enters(nn.Module):
    """In the place of the block before a stage: gives the states that came in."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[Tensor] = []

    def forward(self, *rest: Any, **others: Any) -> Tensor:
        return self.states.pop()


class Leaves(nn.Module):
    """In the place of the block behind a stage."""

    def forward(self, states_BLD: Tensor, *rest: Any, **others: Any) -> Tensor:
        raise Handed(states_BLD)


class NoTable(nn.Module):
    """In the place of a table that another process holds: states of the right shape, which nobody reads."""

    def __init__(self, table: nn.Embedding):
        super().__init__()
        self.width = table.embedding_dim
        self.register_buffer("like", torch.zeros((), dtype=table.weight.dtype, device=table.weight.device), False)

    def forward(self, ids: Tensor) -> Tensor:
        zeros: Tensor = self.like.new_zeros(*ids.shape, self.width)  # type: ignore[operator]
        return zeros


@dataclass
class Line:
    """The stage of this process, and those next to it.

    Args:
        scored: model and objective, of which foreign blocks are gone.
        enters: where states come in; None in the first stage.
        twice: names of the weights that the first and the last stage both hold.
        ends: the two of them.
    """

    scored: nn.Module
    axis: Axis
    width: int
    dtype: torch.dtype
    device: torch.device
    enters: Enters | None
    twice: frozenset[str] = frozenset()
    ends: Axis = field(default_factory=Axis)

    def step(
        self, batches: Sequence[Batch], weigh: Callable[[Mapping[str, Tensor]], Tensor], terms: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """Forward and backward of all micro-batches; the summed terms of each, in every stage.

        Args:
            weigh: of summed terms, the loss whose gradient is taken.
        """
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

        number, last = len(batches), self.axis.index == self.axis.size - 1
        turns = _Turns(self, batches, weigh)
        states = torch.empty(*turns.most, self.width, dtype=self.dtype, device="meta").requires_grad_()
        numbers = torch.arange(number, device=self.device)
        given = numbers[:1].to("meta") if self.enters is None else states
        gives = torch.empty((), dtype=self.dtype, device="meta").requires_grad_() if last else states
        stage = PipelineStage(
            turns, self.axis.index, self.axis.size, self.device, (given,), (gives,), group=self.axis.group
        )
        kind = Schedule1F1B if number >= self.axis.size else ScheduleGPipe
        schedule = kind(stage, number, loss_fn=lambda loss, _: loss, scale_grads=False)
        arguments = (numbers,) if self.enters is None else ()
        schedule.step(*arguments, target=numbers if last else None, return_outputs=False)
        told = torch.zeros(number, len(terms), dtype=torch.float64, device=self.device)
        for row, sums in zip(told, turns.sums, strict=False):
            row.copy_(torch.stack([sums[term].double() for term in terms]))
        return [dict(zip(terms, row, strict=True)) for row in self.axis.from_last(told)]


class _Turns(nn.Module):
    """What a stage does with one micro-batch after the other, padded to one size on the way between stages."""

    def __init__(self, line: Line, batches: Sequence[Batch], weigh: Callable[[Mapping[str, Tensor]], Tensor]):
        super().__init__()
        self.line, self.batches, self.weigh, self.number = line, batches, weigh, 0
        self.most = [max(batch["input_ids"].shape[dim] for batch in batches) for dim in (0, 1)]
        self.sums: list[Mapping[str, Tensor]] = []

    def forward(self, given: Tensor) -> Tensor:
        batch, self.number = self.batches[self.number], self.number + 1
        rows, length = batch["input_ids"].shape
        if self.line.enters is not None:
            self.line.enters.states.append(given[:rows, :length])
        try:
            sums: Mapping[str, Tensor] = self.line.scored(batch)
        except Handed as handed:
            return F.pad(handed.states_BLD, (0, 0, 0, self.most[1] - length, 0, self.most[0] - rows))
        self.sums.append({term: value.detach() for term, value in sums.items()})
        return self.weigh(sums)


def cut(scored: Any, mesh: Mesh, narrow: torch.dtype | None) -> Line:
    """Leave of a scored model the stage of this process, in place.

    Args:
        narrow: the type of the states on their way, where it is narrower than the weights'.

    Raises:
        NotSupported: the family's blocks cannot be taken apart; WrongValue: there are fewer blocks than stages.
    """
    model, axis = plain_model(scored.model), mesh.pipeline
    family, kind = family_of(model), model.config.model_type
    if not can_stage(model):
        problem = f"parallel.pipeline: a {kind} model's blocks do more than turn states into states"
        raise NotSupported(problem, hint="parallel.shard takes any model")
    blocks = family.stacks(model)[0]
    check_model({"layers": len(blocks)}, Parallel(pipeline=axis.size))
    first, behind = (len(blocks) * k // axis.size for k in (axis.index, axis.index + 1))
    width = int(model.config.get_text_config().hidden_size)
    dtype = narrow or next(p for p in blocks[first].parameters() if p.dim() > 1).dtype
    twice = _leave_ends(model, axis)
    enters = Enters() if first else None
    place = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) and m[0] is blocks[0])
    for number, block in enumerate(blocks):
        if not first <= number < behind:
            stands = enters if number == first - 1 else Leaves() if number == behind else Passes()
            assert stands is not None, "only the first stage has no block before it"
            _look_like(stands, block)
            place[number] = stands
    device = next(model.parameters()).device
    return Line(scored, axis, width, dtype, device, enters, frozenset(twice), _ends(mesh) if twice else Axis())


def can_stage(model: Any) -> bool:
    """Whether the blocks of this family turn states into states, one after the other."""
    core = plain_model(model)
    family = family_of(core)
    return bool(family.keeps) and len(family.stacks(core)) == 1


def _look_like(stands: nn.Module, block: nn.Module) -> None:
    """Facts that a model asks its blocks for (which kind of attention they have)."""
    for name, value in vars(block).items():
        if isinstance(value, str | int | float) and name != "training":
            setattr(stands, name, value)


def _leave_ends(model: Any, axis: Axis) -> list[str]:
    """Take away what lies below the blocks in all but the first stage, and above them in all but the last.

    Returns:
        Names of the weights that stand at both ends (a table that is the head's matrix).
    """
    family = family_of(model)
    inside = {id(m) for block in family.stacks(model)[0] for m in block.modules()}
    low: dict[str, nn.Module] = {}
    high: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        own = next(iter(module._parameters), None)
        if own is not None and id(module) not in inside:
            (high if family.level_of(f"{name}.{own}") is None else low)[name] = module
    above = {id(p) for module in high.values() for p in module.parameters()}
    tied = {name for name, module in low.items() if any(id(p) in above for p in module.parameters())}
    gone = dict(high) if axis.index < axis.size - 1 else {}
    if axis.index:
        keeps = tied if axis.index == axis.size - 1 else set()
        gone |= {name: module for name, module in low.items() if name not in keeps}
    for name, module in sorted(gone.items(), key=lambda one: -one[0].count(".")):  # what is inside goes first
        parent, _, leaf = name.rpartition(".")
        stands = NoTable(module) if isinstance(module, nn.Embedding) else nn.Identity()
        setattr(model.get_submodule(parent), leaf, stands)
    return [f"{name}.{leaf}" for name in tied for leaf, _ in low[name].named_parameters(recurse=False)]


def _ends(mesh: Mesh) -> Axis:
    """The first and the last stage of this line; every process makes the groups of all lines."""
    if mesh.pipeline.size == 2:
        return mesh.pipeline
    ranks = mesh.devices.mesh.movedim(1, 0).flatten(1)  # [stages, lines]
    found = Axis()
    for pair in zip(ranks[0].tolist(), ranks[-1].tolist(), strict=True):
        group = dist.new_group(list(pair))
        if dist.get_rank() in pair:
            found = Axis(2, pair.index(dist.get_rank()), group)
    return found
