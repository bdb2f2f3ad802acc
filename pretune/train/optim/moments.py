"""How the optimizer's moments are kept between two steps: as they are, in eight bits, or away from the device.

    8bit     blocks of 256 numbers share one float32 scale; each number is the nearest of 256 values between -1 and 1
             that lie close together near 0 (Dettmers et al. 2022, arXiv:2110.02861, dynamic tree quantisation):
             1.02 bytes a number instead of 4. Of second moments the root is kept, so that small ones do not vanish.
    disk     files that are mapped into memory: the system writes out what is not in use
    cpu      in the computer's memory while a GPU trains

A rule of update_rules.py sees float32 (or float64) on the device, whatever is kept.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

BLOCK = 256
LEAST = 4096
"""Smaller tensors are kept in full: they weigh nothing and matter most."""
SIGNED, ROOTS = ("first", "momentum"), ("second", "squares")
CODES, SCALES = ".codes", ".scales"


@cache
def _values(*, signed: bool) -> Tensor:
    """The 256 values, rising: 10 ** -k times the middles of equal parts of 0.1 ... 1, more parts nearer to 1."""
    found = [0.0, 1.0]
    for k in range(7):
        parts = 2 ** (k + (not signed))
        middles = [0.1 + 0.9 * (i + 0.5) / parts for i in range(parts)]
        found += [sign * 10.0 ** (k - 6) * m for m in middles for sign in ((1, -1) if signed else (1,))]
    return torch.tensor(sorted(found))


def is_packed(kind: str, like: Tensor) -> bool:
    """Whether a moment is one that eight bits can hold."""
    return kind in (*SIGNED, *ROOTS) and like.numel() >= LEAST


def pack(moment: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """(codes uint8 [blocks, 256], scales float32 [blocks]) of a moment; its last block is filled up with zeros."""
    values = _values(signed=kind in SIGNED).to(moment.device)
    flat = (moment.sqrt() if kind in ROOTS else moment).flatten().float()
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(dim=1)
    middles = (values[1:] + values[:-1]) / 2
    codes = torch.bucketize(blocks / scales.clamp(min=1e-38)[:, None], middles)
    return codes.to(torch.uint8), scales


def unpack(codes: Tensor, scales: Tensor, kind: str, like: Tensor) -> Tensor:
    """The moment again, in the shape and type of `like`."""
    values = _values(signed=kind in SIGNED).to(codes.device)
    flat = (values[codes.int()] * scales[:, None]).flatten()[: like.numel()]
    moment = flat.view(like.shape).to(like.dtype)
    return moment.square_() if kind in ROOTS else moment


class Files:
    """Tensors that lie in files of a folder, which is scratch: a new run writes them again.

    Args:
        folder: None: a temporary one, dropped with this object.
    """

    def __init__(self, folder: Path | None):
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="pretune-")
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self.folder.mkdir(parents=True, exist_ok=True)

    def keep(self, tensor: Tensor, name: str) -> Tensor:
        """A copy of a tensor, in the file of this name."""
        if not tensor.numel():
            return tensor.clone()
        path = self.folder / f"{name}.bin"
        path.unlink(missing_ok=True)  # a tensor that still lies in an older file of this name keeps it
        mapped = torch.from_file(str(path), shared=True, size=tensor.numel(), dtype=tensor.dtype)
        return mapped.view(tensor.shape).copy_(tensor)
