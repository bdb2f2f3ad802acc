"""Where a run happens: which device, how many ranks, in which precision."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pretune.base.digest import cache_folder
from pretune.base.errors import NotSupported
from pretune.train.loop.ranks import team_here
from pretune.train.parallel.mesh import Axis, Mesh, mesh_of
from pretune.train.parallel.probe import measured_factor
from pretune.train.parallel.settings import Parallel
from pretune.train.parallel.shard import shard

ALONE = Parallel()


def device_of(setting: str = "auto") -> torch.device:
    """The device that a setting means: cpu, cuda, mps, or auto, which takes a GPU with CUDA where there is one.

    Raises:
        NotSupported: torch finds no such device here.
    """
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(setting)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise NotSupported(f"device={setting}: torch finds no such device here", hint="device=auto takes what is there")
    return device


def own_device(kind: str) -> torch.device:
    """The device of this process, one of several on its machine.

    A GPU becomes the one that torch takes where none is named: else each process would save the random state of the
    first one, whose numbers it does not draw.
    """
    if kind != "cuda":
        return torch.device(kind)
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    torch.cuda.set_device(device)
    return device


@dataclass(frozen=True)
class Runtime:
    """One process, or one of many started by torchrun.

    Args:
        mesh: how they stand to each other; None where each holds the whole model.
        factor: what exchanged gradients are multiplied with to be sums over the processes; None: their number.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1
    mesh: Mesh | None = None
    factor: float | None = None

    @classmethod
    def start(cls, device: str = "auto", parallel: Parallel = ALONE) -> Runtime:
        """On a device, as one of the processes that were started together, if any; gloo on CPUs, nccl on GPUs.

        Raises:
            WrongValue: the mesh does not fit the processes.
            NotSupported: gradients are neither summed nor averaged here.
        """
        kind = device_of(device).type
        keep_freed_memory()
        # Compiled code must outlive a restart of the machine: what is kept in /tmp would be compiled again. Several
        # machines may have one home, and torch 2.13 takes code of one with AVX-512 on one with AVX2: NaN (docs/LOG.md).
        capability = torch.backends.cpu.get_cpu_capability().lower()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor" / capability))
        team = team_here()
        if team.world == 1:
            return cls(torch.device(kind))
        found = cls(own_device(kind), team.rank, team.world)
        if parallel.is_cut:
            found = replace(found, mesh=mesh_of(parallel, team.world, found.device))
        return replace(found, factor=found.measured())

    @property
    def rows(self) -> Axis:
        """The processes that read rows of their own, and the place of this one among them."""
        return self.mesh.rows if self.mesh is not None else Axis(self.world, self.rank)

    @property
    def is_cut(self) -> bool:
        """Whether a process holds less than the whole model."""
        return self.mesh is not None

    @property
    def sizes(self) -> list[int]:
        """Processes along data, pipeline, shard and tensor."""
        if self.mesh is None:
            return [self.world, 1, 1, 1]
        return [axis.size for axis in (self.mesh.data, self.mesh.pipeline, self.mesh.shard, self.mesh.tensor)]

    def fitting(self, micro: int, batch: int) -> int:
        """Rows of a micro-batch: so few that every stage of a pipeline has one in hand."""
        stages = self.mesh.pipeline.size if self.mesh is not None else 1
        return min(micro, max(1, batch // self.rows.size // stages))

    @property
    def undo(self) -> float:
        """What makes sums over the processes of the gradients that the wrapper exchanges."""
        return self.factor if self.factor is not None else float(self.world)

    def measured(self) -> float:
        """What exchanged gradients must be multiplied with, by the wrapper that is used (parallel/probe.py)."""

        def wrap(module: nn.Module, blocks: list[nn.Module]) -> nn.Module:
            if self.mesh is not None and self.mesh.shard.size > 1:
                shard(module, blocks, self.mesh, None)
            return self.wrap(module)

        return measured_factor(wrap, self.finish, self.rows, self.device)

    def wrap(self, scored: nn.Module) -> nn.Module:
        """The module that is called: with several ranks, the one whose backward exchanges gradients."""
        if self.rows.size == 1 or (self.mesh is not None and max(self.mesh.shard.size, self.mesh.pipeline.size) > 1):
            return scored
        return nn.parallel.DistributedDataParallel(scored, process_group=self.rows.group)

    def finish(self, gradients: Sequence[torch.Tensor]) -> None:
        """Add up over the processes what no wrapper has, in place, after the last backward pass of a step."""
        if self.mesh is not None and self.mesh.pipeline.size > 1:
            for gradient in gradients:
                self.rows.sum(gradient)

    def exchange(self, module: nn.Module, *, now: bool) -> contextlib.AbstractContextManager[Any]:
        """Hold the exchange of gradients back until the last micro-batch of a step."""
        if now or not isinstance(module, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return module.no_sync()

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over the processes that read rows of their own."""
        if self.rows.size == 1:
            return dict(values)
        tensor = torch.tensor([values[k] for k in sorted(values)], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, group=self.rows.group)
        return dict(zip(sorted(values), tensor.tolist(), strict=True))

    def all_said(self, said: Mapping[str, bool]) -> dict[str, bool]:
        """Whether one of the processes says so, for each name."""
        if self.world == 1:
            return dict(said)
        numbers = torch.tensor([float(said[name]) for name in sorted(said)], device=self.device)
        dist.all_reduce(numbers)
        return {name: number > 0 for name, number in zip(sorted(said), numbers.tolist(), strict=True)}

    def any(self, said: bool) -> bool:
        """Whether one of the ranks says so."""
        return self.all_said({"it": said})["it"]

    def gather(self, tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
        """The rows [n, ...] of all ranks one after the other, and how many of them come before this rank's."""
        if self.rows.size == 1:
            return dict(tensors), 0
        mine = len(next(iter(tensors.values())))
        sizes = [int(n) for n in self._every(torch.tensor([mine], device=self.device))]
        found = {}
        for name in sorted(tensors):
            padded = tensors[name].new_zeros(max(sizes), *tensors[name].shape[1:])
            padded[:mine] = tensors[name]
            found[name] = torch.cat([part[:n] for part, n in zip(self._every(padded), sizes, strict=True)])
        return found, sum(sizes[: self.rows.index])

    def _every(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensor of each rank; all have one shape."""
        found = [torch.empty_like(tensor) for _ in range(self.rows.size)]
        dist.all_gather(found, tensor, group=self.rows.group)
        return found

    def put(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.device.type == "cpu":
            return batch
        if self.device.type == "cuda":
            # From pinned memory a copy goes on while the GPU computes; from ordinary memory both would wait.
            batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees, instead of giving it back and faulting it in again at the next step.

    Worth a fifth of an eager step on two cores (docs/LOG.md). Elsewhere than on Linux with glibc: nothing.
    Under a limit on the address space (ulimit -v) large tensors are given back at once instead: the gaps of a heap
    that never shrinks would count against the limit.
    """
    m_trim_threshold, m_top_pad, m_mmap_threshold, m_mmap_max = -1, -2, -3, -4  # from malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        if limited():
            libc.mallopt(m_mmap_threshold, 2**20)
            return
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
        libc.mallopt(m_top_pad, 256 * 2**20)


def give_freed_memory_back() -> None:
    """Let glibc give large blocks back as they are freed: where memory is short, gaps are worse than time.

    Eight blocks that are computed again lived in 283 MB and held 1,245 with freed memory kept (docs/LOG.md).
    """
    m_mmap_threshold, m_mmap_max = -3, -4
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_max, 65536)
        libc.mallopt(m_mmap_threshold, 2**20)


def limited() -> bool:
    """Whether the address space of this process has a limit (ulimit -v or -d)."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    return any(
        resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    )


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradient, and eager: the modes of all modules are restored.

    Compiled blocks would be compiled again for each shape that is evaluated, which takes longer than evaluating it.
    """
    modes = {module: module.training for module in model.modules()}
    is_compiled = any(module._compiled_call_impl is not None for module in modes)
    model.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
