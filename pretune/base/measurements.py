"""What was measured on this machine, kept so that it is measured once: `measurements.json` in the cache. No torch.

Two runs of one command must take the same path, so a choice made by timing is made once per machine and versions.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pretune.base.digest import cache_folder
from pretune.base.extras import versions
from pretune.base.json import Json
from pretune.base.limits import usable_cores

T = TypeVar("T")


def remembered(key: str, measure: Callable[[], T]) -> T:
    """A measurement (JSON), taken once per machine and versions."""
    found = recalled(key)
    if found is None:
        found = measure()
        keep(key, found)
    return found


def recalled(key: str) -> Any | None:
    """What was measured under this key, or None."""
    return _read(_path()).get(_full(key))


def keep(key: str, value: object) -> None:
    """Remember a measurement; where no cache folder can be written, it is forgotten."""
    path = _path()
    known = _read(path) | {_full(key): value}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(known, indent=1), encoding="utf-8")
        partial.replace(path)


def _path() -> Path:
    return cache_folder() / "measurements.json"


def _full(key: str) -> str:
    return f"{processor()} x{usable_cores()} torch {versions().get('torch')} | {key}"


def _read(path: Path) -> Json:
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


@cache
def processor() -> str:
    """Name, family and model: one name may stand for processors of which one multiplies bfloat16 twice as fast."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    lines = info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    return (
        f"{facts.get('model name', platform.machine())}, family {facts.get('cpu family')}, model {facts.get('model')}"
    )
