"""What each token added to an output of a model: integrated gradients over its input embeddings.

Between a row x and its baseline x0 (the same control tokens, every other token blank) lies a straight path of
embeddings. What token t added is its step along the path times the mean gradient of the output f on the path:

    a_t = (x_t - x0_t) . integral from 0 to 1 of df/dx_t (x0 + s (x - x0)) ds         and  sum a_t = f(x) - f(x0)

Blank is the embedding of the mask, or the mean of all where there is none: an embedding of zero, which a pad may have,
is where RMSNorm jumps, and no rule is near there (64 nodes of a tiny Qwen3: an error of 1, at the mean 7e-7). What is
left of the jump lies at the start of the path, so nodes crowd there: Gauss and Legendre's in t, s = t^2 (an embedding a
hundredth of the others': 5e-4, with s = t 4e-3; by the trapezoid rule a Qwen3 has 7e-3 at the mean).

How far the sum is from that is the completeness error. Leaving out one word after the other (its tokens blank, the
others as they are) asks the same without gradients.

*S steps, L positions, D width, C outputs of a row.*

Source: Sundararajan et al. 2017, arXiv:1703.01365.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretune.infer.engine import ROWS_AT_ONCE, Attribution
from pretune.model.families import scores_of

STEPS = 64


def attribution(
    model: Any,
    inputs: Mapping[str, Tensor],
    words: Sequence[Sequence[int]],
    direction_C: Sequence[float],
    *,
    blank: int | None = None,
    steps: int = STEPS,
) -> Attribution:
    """What the tokens of one row added to f = direction . logits.

    Args:
        inputs: of the model, `input_ids` [1, L] among them.
        words: positions of the tokens of each word; all other positions are the same in the baseline.
        blank: the token whose embedding stands for nothing; None: the mean of all of them does.
        steps: nodes of the path.
    """
    ids_L, weights = inputs["input_ids"][0], model.get_input_embeddings().weight.detach()
    full_LD, free = weights[ids_L], sorted({position for word in words for position in word})
    blank_D = weights.mean(0, dtype=torch.float32).to(weights) if blank is None else weights[blank]
    empty_LD = blanked(full_LD, free, blank_D)
    direction = torch.as_tensor(direction_C, dtype=weights.dtype, device=weights.device)
    score = _Score(model, inputs, direction)
    gradient_LD = torch.zeros_like(full_LD, dtype=torch.float64)
    parts = (torch.split(each, ROWS_AT_ONCE) for each in path_rule(steps))
    for nodes, shares in zip(*parts, strict=True):
        path_SLD = empty_LD + nodes[:, None, None].to(full_LD) * (full_LD - empty_LD)
        slopes_SLD = score.slopes(path_SLD)
        gradient_LD += (shares[:, None, None].to(gradient_LD) * slopes_SLD).sum(0)
    added_L = ((full_LD - empty_LD) * gradient_LD).sum(1).cpu().numpy()
    left = (blanked(full_LD, word, blank_D) for word in words)
    scores = score.values(chain([full_LD, empty_LD], left))
    whole, nothing = scores[0], scores[1]
    return Attribution(added_L, float(abs(added_L.sum() - (whole - nothing))), whole - scores[2:])


def path_rule(steps: int) -> tuple[Tensor, Tensor]:
    """Places t^2 on [0, 1], t of Gauss and Legendre, and the weight of each, float64; the weights add up to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy(((nodes + 1) / 2) ** 2), torch.from_numpy(weights * (nodes + 1) / 2)


def blanked(rows_LD: Tensor, positions: Sequence[int], blank_D: Tensor) -> Tensor:
    """A row's embeddings with those at some positions blank."""
    found = rows_LD.clone()
    found[list(positions)] = blank_D
    return found


class _Score:
    """f of rows that differ from one row in their embeddings alone."""

    def __init__(self, model: Any, inputs: Mapping[str, Tensor], direction_C: Tensor):
        self.model, self.inputs, self.direction_C = model, inputs, direction_C

    def _of(self, rows_SLD: Tensor) -> Tensor:
        # The ids are those of the row: positions, padding and the place that is scored are found by them.
        repeated = {name: value.expand(len(rows_SLD), *value.shape[1:]) for name, value in self.inputs.items()}
        with _embedded(self.model, rows_SLD):
            return scores_of(self.model(**repeated)) @ self.direction_C

    def slopes(self, rows_SLD: Tensor) -> Tensor:
        """df/dx of each row, float64 [S, L, D]."""
        with torch.enable_grad():
            rows_SLD = rows_SLD.detach().requires_grad_()
            (found,) = torch.autograd.grad(self._of(rows_SLD).sum(), rows_SLD)
        return found.double()

    def values(self, rows: Iterator[Tensor]) -> np.ndarray:
        """f of each row [L, D], float64; few rows are in memory at once."""
        found: list[Tensor] = []
        while part := [*islice(rows, ROWS_AT_ONCE)]:
            with torch.no_grad():
                found.append(self._of(torch.stack(part)).double().cpu())
        return np.asarray(torch.cat(found).numpy())


@contextmanager
def _embedded(model: Any, rows_SLD: Tensor) -> Iterator[None]:
    """These embeddings of tokens, whatever the ids are."""
    hook = model.get_input_embeddings().register_forward_hook(lambda module, given, found: rows_SLD)
    try:
        yield
    finally:
        hook.remove()
