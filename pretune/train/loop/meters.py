"""What a run uses, where the machine tells it: memory of the process and of the GPU, energy. Absent otherwise.

    memory_bytes          the process's resident memory now; peak_memory_bytes the most it was
    gpu_memory_bytes      the most that torch held on the GPU
    energy_joules         since the run was started or went on: processor packages (Linux, RAPL) and the GPU (NVML)

Energy of a processor is that of the whole package, whoever uses it; most machines let only root read it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
Counter = Callable[[], float]
"""Joules since some moment."""


@dataclass
class Meters:
    """Reads what there is to read.

    Args:
        counters: of energy; each only grows.
    """

    counters: list[Counter] = field(default_factory=list)
    _begun: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, powercap: Path = POWERCAP) -> Meters:
        counters = [*packages(powercap), *gpus()]
        return cls(counters, [read() for read in counters])

    def read(self) -> dict[str, float]:
        """What can be read now, by the names above."""
        found = {**memory(), **gpu_memory()}
        with suppress(OSError, ValueError):
            if self.counters:
                used = (read() - begun for read, begun in zip(self.counters, self._begun, strict=True))
                found["energy_joules"] = round(sum(used), 1)
        return found


def memory() -> dict[str, float]:
    """Resident bytes of this process, now and at most."""
    import psutil

    info = psutil.Process().memory_info()
    try:
        import resource
    except ImportError:  # Windows
        return {"memory_bytes": info.rss, "peak_memory_bytes": getattr(info, "peak_wset", info.rss)}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"memory_bytes": info.rss, "peak_memory_bytes": most if sys.platform == "darwin" else most * 1024}


def gpu_memory() -> dict[str, float]:
    """The most that torch held on the current GPU, in bytes."""
    import torch

    most = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {"gpu_memory_bytes": most} if most else {}


def packages(powercap: Path) -> Iterable[Counter]:
    """Counters of the processor packages, `intel-rapl:0` and so on, where they can be read."""
    for zone in sorted(powercap.glob("intel-rapl:*")):
        if zone.name.count(":") == 1:  # the others are parts of a package
            with suppress(OSError, ValueError):
                yield Package(zone, int((zone / "max_energy_range_uj").read_text(encoding="ascii"))).read


@dataclass
class Package:
    """A counter that begins again at its end: whoever reads it at least once a round misses none."""

    zone: Path
    round: int
    _last: int = -1
    _whole: int = 0

    def read(self) -> float:
        now = int((self.zone / "energy_uj").read_text(encoding="ascii"))
        self._whole += (now - self._last) % self.round if self._last >= 0 else 0
        self._last = now
        return self._whole / 1e6


def gpus() -> Iterable[Counter]:
    """The counter of the current GPU, by NVML (Volta and later)."""
    import torch

    if not (torch.cuda.is_available() and torch.version.cuda):
        return
    with suppress(OSError, AttributeError):
        nvml = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        handle, used = ctypes.c_void_p(), ctypes.c_ulonglong()
        uuid = f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}".encode()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)):
            return
        if not nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(used)):
            yield lambda: _millijoules(nvml, handle) / 1e3


def _millijoules(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> float:
    used = ctypes.c_ulonglong()
    nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(used))
    return float(used.value)
