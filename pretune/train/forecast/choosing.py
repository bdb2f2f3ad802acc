"""Rules by which a run chooses: precision, attention, compiled or eager. Nothing is tried out for them.

precision     what multiplies faster here, bfloat16 or float32 (speed.py)
attention     by the device
compiled      runs of twenty minutes and more in a narrow type, or as asked
"""

from __future__ import annotations

import shutil

import torch

from pretune.base.errors import NotSupported
from pretune.base.log import Log
from pretune.model.attention import register_attention
from pretune.train.forecast.speed import QUIET, best_precision, matrix_speed, narrow_gain
from pretune.train.loop.state import DTYPES

LONG_SECONDS = 1200.0
"""From here on compiling is by rule: it costs 15 to 60 s once and wins a tenth to a third of the time (docs/LOG.md)."""
COMPILE_SECONDS, COMPILE_GAIN = 60.0, 1.09
"""What compiling is reckoned to cost and to win in a budget of minutes; 1.08 to 1.37 were measured (docs/LOG.md)."""


def attention_for(device: torch.device) -> str:
    """How packed rows attend: on a CPU by ours, elsewhere by torch's own (sdpa)."""
    return register_attention() if device.type == "cpu" else "sdpa"


def usual_speed(precision: str, device: torch.device, log: Log = QUIET) -> float:
    """Operations per second that training is reckoned with before anything was built: a third of the product."""
    return matrix_speed(DTYPES[precision], device, log) * 0.35


def resolved_precision(asked: str, device: torch.device, log: Log) -> str:
    """The precision that is meant; a line is logged where the one asked for is slow here.

    Raises:
        NotSupported: the device cannot compute in it.
    """
    if device.type == "mps":
        log.warn("device=mps: torch trains here in float32; pretune was not tested on such a machine")
    if asked == "auto":
        return best_precision(device, log)
    if asked == "float64" and device.type == "mps":
        raise NotSupported("device=mps has no float64", hint="device=cpu")
    if asked == "float16":
        _check_float16(device, log)
    if asked != "bfloat16":
        return asked
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise NotSupported("this GPU does not compute in bfloat16", hint="precision=float16, or float32")
    if device.type == "cpu" and (gain := narrow_gain(device, log)) < 0.9:
        share = f"its matrix product has {gain:.0%} of the speed of float32"
        slow = share if gain else "the processor has no such product"
        log.warn(
            f"precision=bfloat16 is slow here: {slow}; bfloat16 is used as asked, precision=auto would take float32"
        )
    return asked


def _check_float16(device: torch.device, log: Log) -> None:
    """Raise NotSupported where float16 is slower than float32: 40-55 GFLOP/s on a CPU (AMD Zen 5) against 160-195."""
    if device.type != "cuda":
        problem = f"precision=float16 is for GPUs with CUDA; device={device.type} multiplies in it more slowly than in"
        raise NotSupported(f"{problem} float32", hint="precision=auto takes what is fastest here")
    if torch.cuda.is_bf16_supported():
        log.warn("this GPU computes in bfloat16, which is as fast as float16 and needs no loss scaling: precision=auto")


def compiles(asked: str, seconds: float, precision: str, log: Log) -> bool:
    """Whether the blocks are compiled: as asked, or where the steps take long, `seconds`, and their type is narrow.

    In float32 the products take nearly all of a step, and compiling wins nothing (docs/LOG.md).
    """
    if asked != "auto":
        return asked == "yes"
    if precision not in ("bfloat16", "float16") or seconds < LONG_SECONDS:
        return False
    if not has_compiler():
        log.info("    no C++ compiler is on the path: the steps stay eager")
    return has_compiler()


def has_compiler() -> bool:
    """Is there a C++ compiler, which compiling on a CPU needs (and triton's launchers on a GPU)?"""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
