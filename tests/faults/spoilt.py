"""What is no number, in the data, the weights, the gradients or the loss of a small run: it must not reach the weights."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import torch

from pretune.tokens.rows import Row
from tests.faults.small import Portions, finished, session

PLACES = ("data", "weights", "gradients", "loss")
VALUES = (math.nan, math.inf, -math.inf)
STEPS = 10


def survives(folder: Path, place: str, seed: int) -> tuple[bool, str]:
    """A run with one to three values that are none, at random steps behind its first checkpoint."""
    random = Random(f"{place} {seed}")
    value, first, times = random.choice(VALUES), random.randrange(4, 8), random.randint(1, 3)
    at = set(range(first, first + times))

    def bad(rows: list[Row]) -> list[Row]:
        return [{**rows[0], "score": value}, *rows[1:]]

    changed = dict.fromkeys(at, bad) if place == "data" else {}
    one = session(
        folder, steps=STEPS, save_every=2, refuse={"goes_back_after": random.randint(2, 3)},
        stream=lambda plain: Portions(plain, changed=changed),
    )  # fmt: skip
    names = list(one.state.update.weights)
    name, done = random.choice(names), set[int]()

    def now() -> bool:
        if one.state.step not in at or one.state.step in done:
            return False
        done.add(one.state.step)
        return True

    if place == "gradients":
        weight = one.state.update.weights[name]
        weight.register_hook(lambda grad: grad * value if now() else grad)
    if place == "loss":
        one.state.model.register_forward_hook(lambda module, given, out: _spoilt(out, value) if now() else None)

    def after(report: Any) -> bool:
        if place == "weights" and report.step == first and now():
            one.state.update.weights[name].data.view(-1)[0] = value
        return False

    found = finished(one, after)
    told = " | ".join(one.context.log.warnings)
    named = "step " in told and "training rows" in told and ("the loss 'loss'" in told or "gradient" in told)
    named = named or (place == "weights" and f"the weight {name} holds" in told)
    fine = all(bool(torch.isfinite(weight).all()) for weight in found.values()) and one.state.step == STEPS
    return fine and named, told[:160]


def _spoilt(out: Any, value: float) -> Any:
    out.logits = out.logits * value
    return out
