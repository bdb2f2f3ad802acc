"""Making good by learning: a compressed model says again what the float one said.

    weights W = f(few numbers)        int4: scales times whole numbers; low rank: a product; pruned: zeros stay zeros
    loss      what the model says of the train split's text, next to what its teacher says (objective/divergence.py)

The numbers learn by the gradient of W, which is put through f; the model itself stays plain, tied weights too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pretune.infer.load import head_of
from pretune.objective.divergence import apart
from pretune.objective.objective import Outputs

if TYPE_CHECKING:
    from pretune.compress.calibration import Calibration, Given

ROWS = 4
"""Rows of a step."""


@dataclass(frozen=True)
class Made:
    """A weight that is a function of few numbers.

    Args:
        weight: of the model, set to what `make` gives.
        numbers: leaf tensors, which learn.
    """

    weight: Tensor
    numbers: tuple[Tensor, ...]
    make: Callable[..., Tensor]

    def put(self) -> None:
        with torch.no_grad():
            self.weight.copy_(self.make(*self.numbers))


def far(model: Any, teacher: Any, given: Given) -> Tensor:
    """How far a model is from its teacher on a row, in nats (or squares) a place; a scalar."""
    from pretune.compress.calibration import said_of

    with torch.no_grad():
        wanted = said_of(teacher, given)
    said = said_of(model, given)
    places = said.numel() // said.shape[-1]
    return apart(said.reshape(places, -1), wanted.reshape(places, -1), of=_outputs(model)).mean()


def _outputs(model: Any) -> Outputs:
    """Chances of one label or token, of each of several labels, or numbers (vectors, scores, places of spans)."""
    head = head_of([type(model).__name__])
    if head not in ("next", "masked", "label", "tags") or (head == "label" and model.config.num_labels == 1):
        return "score"
    several = getattr(model.config, "problem_type", None) == "multi_label_classification"
    return "labels" if several else "label"


@torch.no_grad()
def distance(model: Any, teacher: Any, text: Calibration) -> float:
    """The mean of `far` over rows."""
    return sum(float(far(model, teacher, given)) for given in text.rows) / len(text.rows)


def learn(
    model: Any, teacher: Any, made: Mapping[str, Made], text: Calibration, *, steps: int, rate: float, seed: int = 0
) -> None:
    """Let the numbers of weights learn by AdamW without decay, the rate falling to 0; other weights stay.

    Args:
        text: rows that a step draws ROWS of.
    """
    numbers = [number.requires_grad_() for one in made.values() for number in one.numbers]
    optimizer = torch.optim.AdamW(numbers, lr=rate, weight_decay=0.0)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / max(1, steps))
    draw = torch.Generator().manual_seed(seed)
    learns = {id(one.weight) for one in made.values()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learns)
    for _ in range(steps):
        for row in torch.randint(len(text.rows), (ROWS,), generator=draw).tolist():
            torch.autograd.backward(far(model, teacher, text.rows[row]) / ROWS)
        for one in made.values():
            if one.weight.grad is not None:
                torch.autograd.backward(one.make(*one.numbers), one.weight.grad)
                one.weight.grad = None
        optimizer.step()
        optimizer.zero_grad()
        falling.step()
        for one in made.values():
            one.put()
    for number in numbers:
        number.requires_grad_(False)
    model.requires_grad_(True)
