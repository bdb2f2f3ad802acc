"""What of each weight lies in this process: a box of it, at a place.

    q_proj.weight [64, 32]     tensor: 2, shard: 2      rank 0  rows  0-15    rank 1  rows 16-31  (their tensor parts
                                                        rank 2  rows 32-47    rank 3  rows 48-63   are cut once more)

All that is done over whole tensors - norms, Muon's matrices, averages that are evaluated, what is saved - goes through
here. Sums with zeros put wholes together, so any mesh can; each box has one owner, whose numbers count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.distributed as dist
from torch import Tensor

from pretune.train.parallel.mesh import BY_ITSELF, Axis

Shape = tuple[int, ...]


def here(tensor: Tensor) -> Tensor:
    """What of a tensor lies in this process; all of a plain one."""
    if not hasattr(tensor, "to_local"):  # torch's DTensor has it, whose module takes seconds to import
        return tensor
    with torch.no_grad():
        found: Tensor = tensor.to_local()
    return found


@dataclass(frozen=True)
class Piece:
    """A box of a tensor.

    Args:
        shape: of the whole.
        start, size: of the box, in each dimension.
        answers: whether this process answers for it among those that hold parts of the same weights: a norm that is
            not cut lies in all of them.
        is_owned: whether it does so among all processes of the run.
    """

    shape: Shape
    start: Shape
    size: Shape
    answers: bool = True
    is_owned: bool = True

    @property
    def box(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))

    def within(self, dim: int, start: int, size: int) -> Piece:
        """A part of this box along one dimension, counted from where the box begins."""
        begins, sizes = list(self.start), list(self.size)
        begins[dim], sizes[dim] = begins[dim] + start, size
        return replace(self, start=tuple(begins), size=tuple(sizes))


def whole_piece(tensor: Tensor) -> Piece:
    """All of a tensor."""
    shape = tuple(tensor.shape)
    return Piece(shape, (0,) * len(shape), shape)


@dataclass(frozen=True)
class Pieces:
    """The boxes that this process holds, by the name of the weight; one of a process alone holds all.

    Args:
        shapes: of all weights of the model, in one order on all processes; empty where nothing is cut.
        apart: the processes that hold parts of the same weights.
        casts: whether the wrapper computes in a narrower type by itself.
        sums: over whom the gradients of which weights are sums of what each of them saw.
    """

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    pieces: Mapping[str, Piece] = field(default_factory=dict)
    apart: Axis = BY_ITSELF
    casts: bool = False
    sums: Sequence[tuple[Axis, frozenset[str]]] = ()

    @property
    def is_cut(self) -> bool:
        return bool(self.shapes)

    def shape(self, name: str, tensor: Tensor) -> Shape:
        """Of the whole weight, of which this process holds `tensor`."""
        return self.shapes[name] if self.is_cut else tuple(tensor.shape)

    def piece(self, name: str, tensor: Tensor) -> Piece:
        """What of a weight lies here, of which that is `tensor`."""
        return self.pieces[name] if self.is_cut else whole_piece(tensor)

    def cut(self, name: str, tensor: Tensor) -> Tensor:
        """What of a whole weight lies here."""
        return tensor[self.pieces[name].box] if self.is_cut else tensor

    def whole(self, parts: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        """All weights of the model, put together in every process, from what each holds. All processes call it."""
        found: dict[str, Tensor] = {}
        for name, shape in self.shapes.items():
            found[name] = torch.zeros(shape, dtype=like.dtype, device=like.device)
            if name in parts and self.pieces[name].is_owned:
                found[name][self.pieces[name].box] = parts[name]
            dist.all_reduce(found[name])
        return found

    def add_up(self, gradients: Mapping[str, Tensor]) -> None:
        """Sum up, in place, the gradients of weights of which several processes saw a part of the work."""
        for axis, names in self.sums:
            for name in sorted(names & gradients.keys()):
                axis.sum(gradients[name])

    def norms(self, named: Sequence[str], norms: Tensor) -> tuple[list[str], Tensor]:
        """(names, norms) of the whole tensors, from the norms of what lies here. All processes call it."""
        if not self.is_cut:
            return list(named), norms
        places = {name: place for place, name in enumerate(self.shapes)}
        told = torch.zeros(2, len(places), dtype=torch.float64, device=norms.device)  # squares, and who moves
        for name, norm in zip(named, norms.tolist(), strict=True):
            if self.pieces[name].is_owned:
                told[0, places[name]], told[1, places[name]] = norm**2, 1.0
        dist.all_reduce(told)
        moved = [name for name, number in zip(places, told[1].tolist(), strict=True) if number]
        return moved, told[0, [places[name] for name in moved]].sqrt()

    def of_wholes(
        self, names: Sequence[str], tensors: Sequence[Tensor], function: Callable[[list[Tensor]], list[Tensor]]
    ) -> list[Tensor]:
        """A function of whole matrices of one shape, each computed in one of the processes that hold parts of them.

        Args:
            tensors: what lies here of each; what comes out is what lies here of each result.
        """
        if self.apart.size == 1 or not self.is_cut:
            return function(list(tensors))
        mine: dict[int, Tensor] = {}
        for number, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
            whole, owner = self._filled(name, tensor), number % self.apart.size
            dist.reduce(whole, group=self.apart.group, group_dst=owner)
            if owner == self.apart.index:
                mine[number] = whole
        if mine:
            mine = dict(zip(mine, function(list(mine.values())), strict=True))
        found = []
        for number, (name, tensor) in enumerate(zip(names, tensors, strict=True)):
            whole = mine.get(number, tensor.new_empty(self.shapes[name])).to(tensor.dtype).contiguous()
            dist.broadcast(whole, group=self.apart.group, group_src=number % self.apart.size)
            found.append(whole[self.pieces[name].box].clone())
        return found

    def _filled(self, name: str, tensor: Tensor) -> Tensor:
        """Zeros but for the box that lies here; nothing but zeros where another process answers for it."""
        piece, whole = self.pieces[name], tensor.new_zeros(self.shapes[name])
        if piece.answers:
            whole[piece.box] = tensor
        return whole


ALL = Pieces()
