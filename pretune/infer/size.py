"""What a model's weights need in memory, by its files alone: nothing is loaded, and no torch is imported.

A bundle's graph is computed as it is stored; a model folder is opened in float32, an adapter on its base.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from pretune.base.errors import BadFile
from pretune.infer.load import ENGINES

FLOAT32 = 4


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights, once opened. Raises BadFile."""
    if (folder / "bundle.json").is_file():
        parts = (folder / name for name in ENGINES)
        return sum(file.stat().st_size for part in parts if part.is_dir() for file in part.rglob("*"))
    numbers = sum(map(_numbers, sorted(folder.rglob("*.safetensors"))))
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        base = Path(json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
        return FLOAT32 * numbers + (weight_bytes(base) if base.is_dir() else 0)
    return FLOAT32 * numbers


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file has; its head is 8 bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            head = json.loads(file.read(min(length, path.stat().st_size)))
        return sum(math.prod(one["shape"]) for name, one in head.items() if name != "__metadata__")
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise BadFile(f"{path.as_posix()} is no readable safetensors file: {error!r}") from None
