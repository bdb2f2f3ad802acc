"""Where a run happens: which device, how many ranks, in which precision."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pretune.base.digest import cache_folder
from pretune.base.extras import versions

PROBE_SIZES = (512, 1024, 2048)


@dataclass(frozen=True)
class Runtime:
    """One process, or one of many started by torchrun."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1

    @classmethod
    def start(cls, device: str = "auto") -> Runtime:
        """Join the process group that torchrun described, if any; gloo on CPUs, nccl on GPUs."""
        kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        keep_freed_memory()
        if "RANK" not in os.environ:
            return cls(torch.device(kind))
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
        local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if kind == "cuda" else kind
        return cls(torch.device(local), dist.get_rank(), dist.get_world_size())

    def wrap(self, scored: nn.Module) -> nn.Module:
        """The module that is called: with several ranks, the one whose backward exchanges gradients."""
        return nn.parallel.DistributedDataParallel(scored) if self.world > 1 else scored

    def exchange(self, module: nn.Module, *, now: bool) -> contextlib.AbstractContextManager[Any]:
        """Hold the exchange of gradients back until the last micro-batch of a step."""
        if self.world == 1 or now:
            return contextlib.nullcontext()
        return module.no_sync()  # type: ignore[no-any-return, operator]

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over all ranks."""
        if self.world == 1:
            return dict(values)
        tensor = torch.tensor([values[k] for k in sorted(values)], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return dict(zip(sorted(values), tensor.tolist(), strict=True))

    def put(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.device.type == "cpu":
            return batch
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
        if _limited():
            libc.mallopt(m_mmap_threshold, 2**20)
            return
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
        libc.mallopt(m_top_pad, 256 * 2**20)


def _limited() -> bool:
    import resource

    return any(
        resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    )


def matrix_speed(dtype: torch.dtype, device: torch.device) -> float:
    """Best floating-point operations per second of products of 512, 1024 and 2048 squared; remembered per machine."""
    key = f"matrix {device.type} {dtype} {torch.get_num_threads()}"
    return float(remembered(key, lambda: max(_product_speed(n, dtype, device) for n in PROBE_SIZES)))


def _product_speed(size: int, dtype: torch.dtype, device: torch.device) -> float:
    a = torch.ones(size, size, dtype=dtype, device=device)
    best = 0.0
    for _ in range(4):
        started, repeats = time.perf_counter(), 8 if size <= 1024 else 2
        for _ in range(repeats):
            b = a @ a
        float(b[0, 0])  # waits for a GPU
        best = max(best, repeats * 2 * size**3 / (time.perf_counter() - started))
    return best


def best_precision(device: torch.device) -> str:
    """bfloat16 where its matrix product is at least half as fast again as float32's, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = matrix_speed(torch.bfloat16, device) > 1.5 * matrix_speed(torch.float32, device)
    return "bfloat16" if fast else "float32"


def remembered(key: str, measure: Callable[[], Any]) -> Any:
    """A measurement, cached per machine and versions, so that two runs of one command take the same path."""
    path = cache_folder() / "probes.json"
    known = _read(path)
    full = f"{_machine()} | {key}"
    if full not in known:
        value = measure()
        known = _read(path) | {full: value}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(json.dumps(known, indent=1), encoding="utf-8")
            partial.replace(path)
    return known[full]


def _read(path: Any) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


def _machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    threads = torch.get_num_threads()
    return f"{torch.backends.cpu.get_cpu_capability()} x{threads} {gpu} torch {versions().get('torch')}"


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradient; the modes of all modules are restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
