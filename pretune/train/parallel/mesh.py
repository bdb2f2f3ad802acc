"""The mesh of a run: which processes exchange what with which (torch's device mesh underneath)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from pretune.train.parallel.settings import Parallel

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

NAMES = ("data", "pipeline", "shard", "tensor")


@dataclass(frozen=True)
class Axis:
    """Processes along one direction of the mesh.

    Args:
        index: the place of this one among them.
    """

    size: int = 1
    index: int = 0
    group: Any = None

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over them, in place."""
        if self.size > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def from_last(self, tensor: torch.Tensor) -> torch.Tensor:
        """What the last of them has, in place."""
        if self.size > 1:
            dist.broadcast(tensor, group=self.group, group_src=self.size - 1)
        return tensor


BY_ITSELF = Axis()


@dataclass(frozen=True)
class Mesh:
    """The directions, seen from this process.

    Args:
        rows: those that read rows of their own: data and shard together.
        apart: those that hold parts of the same weights: shard and tensor together.
        devices: the mesh itself.
    """

    data: Axis
    pipeline: Axis
    shard: Axis
    tensor: Axis
    rows: Axis
    apart: Axis
    devices: DeviceMesh


def mesh_of(parallel: Parallel, world: int, device: torch.device) -> Mesh:
    """The mesh; every process of the run makes it at the same time.

    Raises:
        WrongValue: it does not fit so many processes.
    """
    from torch.distributed.device_mesh import init_device_mesh  # it takes a second, which others need not wait

    devices = init_device_mesh(device.type, parallel.sizes(world), mesh_dim_names=NAMES)
    axes = {name: _axis(devices[name]) for name in NAMES}
    rows, apart = (_axis(devices[pair]._flatten("-".join(pair))) for pair in (("data", "shard"), ("shard", "tensor")))
    return Mesh(**axes, rows=rows, apart=apart, devices=devices)


def _axis(line: DeviceMesh) -> Axis:
    return Axis(line.size(), line.get_local_rank(), line.get_group())
