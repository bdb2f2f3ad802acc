"""Reading a training state that several processes wrote in parts, for a process that holds other parts, or all.

    state-0-of-2   rows  0-31 of a weight [64, 32]          of 4 processes the second reads rows 16-31 of the first file
    state-1-of-2   rows 32-63                               and nothing else

A part says of each weight where its box begins and how large it is; tensors of other sizes (counters) are whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretune.base.errors import Damaged
from pretune.base.json import Json
from pretune.train.parallel.pieces import Piece

RANDOM = "rng/"


def read_parts(folder: Path, parts: Mapping[str, Json], held: Mapping[str, Piece]) -> dict[str, Tensor]:
    """Tensors by `kind/name`: of weights what this process holds, all else as it is; random states [ranks, ...].

    Args:
        parts: file -> name of a weight -> [start, size] of its box; one that is not named lies there whole.
        held: what this process holds of each weight.

    Raises:
        Damaged: the files do not hold all of it.
    """
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    filled: dict[str, int] = {}
    random: dict[str, list[Tensor]] = {}
    for file, boxes in parts.items():
        with safe_open(folder / file, "pt") as opened:
            for key in opened.keys():  # noqa: SIM118  (it is no mapping)
                kind, _, name = key.partition("/")
                stored = opened.get_slice(key)
                if key.startswith(RANDOM):
                    random.setdefault(key, []).append(stored[:])
                elif name not in held or not _is_box(stored, held[name], boxes.get(name)):
                    if name in held or kind == "buffer":
                        found[key] = opened.get_tensor(key)
                else:
                    _fill(found, filled, key, stored, held[name], boxes.get(name))
    if short := [key for key, number in filled.items() if number != found[key].numel()]:
        raise Damaged(f"the parts in {folder.name} do not hold all of {short[0]}", hint="delete this checkpoint")
    return found | {key: torch.cat(of_ranks) for key, of_ranks in random.items()}


def _is_box(stored: Any, piece: Piece, box: Any) -> bool:
    return tuple(stored.get_shape()) == (tuple(box[1]) if box else piece.shape)


def _fill(found: dict[str, Tensor], filled: dict[str, int], key: str, stored: Any, piece: Piece, box: Any) -> None:
    """Copy what of a stored box lies in the box of this process."""
    starts = box[0] if box else [0] * len(piece.shape)
    low = [max(a, b) for a, b in zip(starts, piece.start, strict=True)]
    sizes = zip(starts, stored.get_shape(), piece.start, piece.size, strict=True)
    high = [min(a + n, b + m) for a, n, b, m in sizes]
    if key not in found:
        first = stored[tuple(slice(0, 0) for _ in low)] if low else stored[...]
        found[key], filled[key] = torch.zeros(piece.size, dtype=first.dtype), 0
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return
    there = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, starts, strict=True))
    mine = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, piece.start, strict=True))
    found[key][mine] = stored[there] if low else stored[...]
    filled[key] += prod(b - a for a, b in zip(low, high, strict=True))
