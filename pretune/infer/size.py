"""What a model's weights need in memory, by its files alone: nothing is loaded, and no torch is imported.

A bundle's graph is computed as it is stored; a model folder is opened in float32, an adapter on its base.
"""

from __future__ import annotations

import math
from pathlib import Path

from pretune.infer.load import ENGINES
from pretune.infer.trusted import read_json, shapes_in

FLOAT32 = 4


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights, once opened. Raises BadFile."""
    if (folder / "bundle.json").is_file():
        parts = (folder / name for name in ENGINES)
        return sum(file.stat().st_size for part in parts if part.is_dir() for file in part.rglob("*"))
    numbers = sum(map(_numbers, sorted(folder.rglob("*.safetensors"))))
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        base = Path(read_json(adapter).get("base_model_name_or_path") or "")
        return FLOAT32 * numbers + (weight_bytes(base) if base.is_dir() else 0)
    return FLOAT32 * numbers


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file has."""
    return sum(math.prod(shape) for shape in shapes_in(path).values())
