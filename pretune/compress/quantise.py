"""int8 weights: every weight of a row is a whole number from -127 to 127 times the row's scale.

    row        0.50  -0.25   0.10      scale = 0.50 / 127 = 0.00394
    int8        127    -64      25
    rounded    0.500 -0.252  0.098     what the model computes with from now on

The folder stays plain Hugging Face in float32 with the rounded weights, so any reader gives the int8
model's answers; `int8-scales.safetensors` holds the scales from which an exporter stores a quarter of the bytes.

One scale per output channel: rows of linear layers and embeddings, columns of GPT-2's Conv1D. Norms, biases
and other vectors stay. Nothing is calibrated, and activations stay float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.json import Json
from pretune.compress.compressor import Compressed, Compressor, Work
from pretune.model.rounding import on_grid, scales_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


SCALES = "int8-scales.safetensors"
INT4_SCALES, INT4_ZEROS = "int4-scales.safetensors", "int4-zeros.safetensors"
"""Of groups of inputs (compress/grid.py)."""


class Int8(Compressor):
    """Weights rounded to int8, one scale per output channel."""

    def compress(self, work: Work) -> Compressed:
        """Round every matrix in place; a tied head and its embedding are one matrix.

        Returns:
            The scales by parameter name, and: bytes as int8 and as float32, share of the weights on the grid, the
            largest change of a weight in scales (at most 0.5).
        """
        import torch

        scales: dict[str, Tensor] = {}
        largest = 0.0
        for name, parameter, axis in matrices(work.model):
            weight = parameter.detach().cpu().numpy()
            scale = scales_of(weight, axis)
            rounded = on_grid(weight, scale)
            largest = max(largest, float(np.max(np.abs(rounded.astype(np.float64) - weight) / scale)))
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(rounded))
            scales[name] = torch.from_numpy(scale)
        sizes = _sizes(work.model, scales)
        metrics = {**sizes, "largest_change_in_scales": largest}
        return Compressed({SCALES: scales}, metrics, stored=sizes["bytes_int8"])


def matrices(model: PreTrainedModel) -> list[tuple[str, Tensor, int]]:
    """(name, parameter, axis of the output channels) of every matrix of linear layers and embeddings, each once."""
    from torch import nn

    from pretune.model.rounded import is_turned

    found: list[tuple[str, Tensor, int]] = []
    seen: set[int] = set()
    for at, module in model.named_modules():
        is_matrix = isinstance(module, nn.Linear | nn.Embedding) or is_turned(module)
        if is_matrix and id(module.weight) not in seen:
            seen.add(id(module.weight))
            found.append((f"{at}.weight", module.weight, int(is_turned(module))))
    return found


def _sizes(model: PreTrainedModel, scales: dict[str, Tensor]) -> Json:
    every = dict(model.named_parameters())
    total = sum(p.numel() for p in every.values())
    whole = sum(every[name].numel() for name in scales)
    stored = whole + 4 * (total - whole) + 4 * sum(s.numel() for s in scales.values())
    return {"bytes_float32": 4 * total, "bytes_int8": stored, "share_of_weights": whole / total}


def read_scales(folder: Path) -> dict[str, np.ndarray]:
    """The scales of an int8 model folder by parameter name; empty for any other folder."""
    return _read(folder, SCALES)


def read_steps(folder: Path) -> dict[str, np.ndarray]:
    """The scales of an int4 model folder whose zeros are all 8, as they lie there; empty for any other folder."""
    return {} if (folder / INT4_ZEROS).is_file() else _read(folder, INT4_SCALES)


def _read(folder: Path, name: str) -> dict[str, np.ndarray]:
    if not (folder / name).is_file():
        return {}
    from safetensors.numpy import load_file

    return dict(load_file(folder / name))
