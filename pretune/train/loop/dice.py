"""Random numbers of the processes of a run (dropout): who draws the same, and who draws others.

    data, shard     rows of their own      others, or row 0 of each process would lose the same units
    pipeline        blocks of their own    others, or block 0 of each stage would
    tensor          the same rows          the same: what is not split lies in all of them, and must stay one

A run that goes on with the same mesh draws on where it was. With another one the process at place 0 draws on, and the
others begin new series, which no earlier process had.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import torch
from torch import Tensor

from pretune.train.loop.runtime import Runtime


def place_of(runtime: Runtime) -> int:
    """The place of this process among those that draw numbers of their own."""
    if runtime.mesh is None:
        return runtime.rank
    return runtime.rows.index * runtime.mesh.pipeline.size + runtime.mesh.pipeline.index


def draw_apart(seed: int, runtime: Runtime) -> None:
    """Begin the series of this process, of several; one alone draws on as it does."""
    if runtime.world > 1:
        place = place_of(runtime)
        torch.manual_seed(_seed(seed.to_bytes(16, "big", signed=True), place) if place else seed)


def draw_on(states: Mapping[str, Tensor], runtime: Runtime, *, same: bool) -> None:
    """Go on from the random states [ranks, ...] of a checkpoint.

    Args:
        same: whether it is of the same mesh.
    """
    place = place_of(runtime)
    if place and not same:
        torch.manual_seed(_seed(states["rng/cpu"][0].numpy().tobytes(), place))
        return
    # torch reads a state from the beginning of its storage, wherever the tensor begins in it.
    mine = {name: of_ranks[runtime.rank if same else 0].clone() for name, of_ranks in states.items()}
    torch.set_rng_state(mine["rng/cpu"])
    if "rng/cuda" in mine and torch.cuda.is_available():
        torch.cuda.set_rng_state(mine["rng/cuda"])


def _seed(known: bytes, place: int) -> int:
    return int.from_bytes(sha256(known + place.to_bytes(8, "big")).digest()[:8], "big") >> 1
