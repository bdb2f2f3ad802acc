"""How fast this machine multiplies and trains: asked of the processor first, measured from small sizes on, remembered.

    matrix_speed     operations per second of its best matrix product
    best_precision   bfloat16 or float32, by which product is faster
    training_speed   operations per second of a real training step

No measurement takes more than two seconds, on the slowest machine either: each begins with a size that is next to
nothing and grows only as long as the next size is forecast to be quick. A processor without bfloat16 is never asked
to multiply in it: torch falls back to a plain loop there, 1.3 GFLOP/s where float32 has 100 (docs/LOG.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from pretune.base import measurements
from pretune.base.log import Log

PRODUCTS = ((256, 8), (512, 4), (1024, 2), (2048, 2))
"""(side of a product, how often it is made); the best counts."""
PATIENCE = 0.5
"""Seconds that the next size of a measurement may take."""
ROWS, LENGTH, WORDS = 16, 256, 8192
"""What the training step is measured on: qwen3-nano, up to so many rows of so many tokens, so many words."""
TRAINING = "training operations per second"
QUIET = Log(quiet=True)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has products in bfloat16 at all, as torch and oneDNN see it (both can be held back)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu" or not torch._C._has_mkldnn:  # torch for Macs is built without oneDNN
        return False
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def matrix_speed(dtype: torch.dtype, device: torch.device, log: Log = QUIET) -> float:
    """Best floating-point operations per second of products of 256 to 2,048 squared; remembered per machine."""
    name = str(dtype).removeprefix("torch.")
    key = f"matrix {device.type} {dtype}"
    return float(remembered(key, lambda: product_speed(dtype, device), log, f"matrix product in {name}"))


def product_speed(dtype: torch.dtype, device: torch.device, products: Iterable[tuple[int, int]] = PRODUCTS) -> float:
    """Best operations per second of products of these sides, each made so often, as far as they are quick."""
    best = 0.0
    for size, repeats in products:
        if best and 2 * size**3 / best > PATIENCE:  # of one: on a busy machine small ones wait for their threads
            break
        a = torch.ones(size, size, dtype=dtype, device=device)
        for _ in range(repeats):
            started = time.perf_counter()
            float((a @ a)[0, 0])  # waits for a GPU
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def best_precision(device: torch.device, log: Log = QUIET) -> str:
    """bfloat16 where its matrix product is at least half as fast again as float32's, else float32."""
    if device.type == "cuda":
        return "bfloat16" if multiplies_bfloat16(device) else "float32"
    return "bfloat16" if narrow_gain(device, log) > 1.5 else "float32"


def narrow_gain(device: torch.device, log: Log = QUIET) -> float:
    """How many times faster the matrix product is in bfloat16 than in float32; 0 where the device has none."""
    if not multiplies_bfloat16(device):
        return 0.0
    return matrix_speed(torch.bfloat16, device, log) / matrix_speed(torch.float32, device, log)


def training_speed(precision: str, device: torch.device, log: Log = QUIET) -> float:
    """Floating-point operations per second of a real training step, eager: qwen3-nano, rows of 256, AdamW."""
    key = f"{TRAINING} {device.type} {precision}"
    return float(remembered(key, lambda: _training_speed(precision, device), log, "a small training step"))


def _training_speed(precision: str, device: torch.device) -> float:
    import numpy as np

    from pretune.model.attention import register_attention
    from pretune.model.build import build_model
    from pretune.model.shape import SHAPE
    from pretune.objective.objective import OBJECTIVE
    from pretune.tokens.encode.tokenizer import Specials
    from pretune.tokens.rows import Row, Vocabulary
    from pretune.train.loop.runtime import Runtime
    from pretune.train.loop.state import compute_dtype_of
    from pretune.train.loop.step import Scored, TrainState, take_step
    from pretune.train.optim.settings import OPTIM
    from pretune.train.optim.update import Update

    runtime, attention = Runtime.start(device.type), register_attention()
    specials = Specials(None, 0, 1, None, None, None, None)
    shape, objective = SHAPE("qwen3-nano"), OBJECTIVE("causal")
    model = build_model(
        shape, "next", vocab_size=WORDS, max_length=LENGTH, specials=specials, seed=0, attention=attention
    )
    update = Update(model.to(device), OPTIM("adamw"), compute_dtype=compute_dtype_of(precision))
    state = TrainState(model, Scored(model, objective), update, total=10)
    ids = np.random.default_rng(0).integers(2, WORDS, (ROWS, LENGTH + 1))
    rows: list[Row] = [{"ids": row, "segments": np.zeros(LENGTH + 1, int)} for row in ids]

    def step(number: int) -> float:
        batch = objective.collate(rows[:number], Vocabulary(WORDS, pad=1))
        return take_step(state, objective, [batch], runtime).seconds

    times = grown(step, ROWS)
    tokens = max(times) * LENGTH
    return float(tokens * shape.layout().flops_per_token(WORDS, LENGTH) / times[max(times)])


def grown(step: Callable[[int], float], most: int, patience: float = PATIENCE) -> dict[int, float]:
    """Seconds of `step(size)` for sizes 1, 2, 4 ... `most`, as far as the next one is forecast to take `patience`.

    The first and the last size are taken twice, for what runs first is slow, the others once. One comes out at least.
    """
    found: dict[int, float] = {}
    for size in [*(1 << k for k in range((most - 1).bit_length())), most]:
        # Two sizes tell what every step costs, whatever its rows: for the second one there is a little more time.
        limit = patience if len(found) > 1 else patience * 4 / 3
        if found and found[max(found)] * size / max(found) > limit:
            break
        found[size] = step(size) if found else min(step(size), step(size))
    last = max(found)
    if len(found) > 1:
        found[last] = min(found[last], step(last))
    return found


# ---- what is remembered --------------------------------------------------------------------------


def remembered(key: str, measure: Callable[[], Any], log: Log = QUIET, title: str = "") -> Any:
    """A measurement, kept per machine, device, threads and versions: two runs of one command take the same path.

    Args:
        title: what is measured, for a line that is shown while it is.
    """
    if (found := recalled(key)) is not None:
        return found
    if title:
        log.info(f"    measuring once, for this machine: {title}")
    with log.timing("measuring"):
        found = measure()
    measurements.keep(_here(key), found)
    return found


def recalled(key: str) -> Any | None:
    """What `remembered` keeps under this key, or None."""
    return measurements.recalled(_here(key))


def _here(key: str) -> str:
    """What torch may use of the processor is part of the machine: an environment variable can hold it back."""
    has = f"{torch.backends.cpu.get_cpu_capability()} {'bf16' if multiplies_bfloat16(torch.device('cpu')) else ''}"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return f"{has} {gpu} {torch.get_num_threads()} threads | {key}"
