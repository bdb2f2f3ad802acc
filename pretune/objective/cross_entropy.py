"""Cross-entropy of a linear head, chunk by chunk: the logits of all targets never lie in memory at once.

    hidden [N, D]  --chunk of C rows-->  logits [C, V]  -->  loss, and at once the gradient of these C rows

The usual way keeps logits [N, V] in the model's type, in float32, and the gradient of both: 0.5 GB for 4,096
targets and 8,192 words. Here the logits of a chunk live in the cache and become their own gradient there; no
product is made twice, so it costs no time.

N targets, D width, V vocabulary, C rows of a chunk. What comes out is a sum, in float32 (float64 stays float64).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretune.model.families import States
from pretune.tokens.rows import IGNORE

CHUNK_BYTES = {"cpu": 2**25, "cuda": 2**29}
"""Logits of one chunk in float32: what suits the cache of a processor (docs/LOG.md), and a GPU's many cores."""


def loss_sum(states: States, labels_N: Tensor) -> Tensor:
    """Summed cross-entropy in float32 (float64 stays) of what a model says at N places."""
    hidden_ND, last = states.hidden_ND, states.last
    if type(last) is nn.Linear:  # else an adapter stands there, or these are logits already
        return head_loss_sum(last, hidden_ND, labels_N)
    logits_NV = hidden_ND if last is None else last(hidden_ND)
    wide = torch.promote_types(logits_NV.dtype, torch.float32)
    return F.cross_entropy(logits_NV.to(wide), labels_N, ignore_index=IGNORE, reduction="sum")


def logits_of(states: States) -> Iterator[Tensor]:
    """The logits at the places that are asked, [C, V] each, in float32 (float64 stays), as many at once as suit."""
    hidden_ND, last = states.hidden_ND, states.last
    for hidden_CD in torch.split(hidden_ND, places_at_once(states)):
        logits_CV = hidden_CD if last is None else last(hidden_CD)
        yield logits_CV.to(torch.promote_types(logits_CV.dtype, torch.float32))


def places_at_once(states: States) -> int:
    """Places whose logits suit the device in float32 at one time."""
    outputs = states.last.out_features if isinstance(states.last, nn.Linear) else states.hidden_ND.shape[-1]
    return max(64, CHUNK_BYTES.get(states.hidden_ND.device.type, 2**27) // (4 * outputs))


@torch.no_grad()
def num_right(states: States, labels_N: Tensor) -> tuple[float, float]:
    """At how many places the label is the likeliest, and how many have one."""
    guesses_N = torch.cat([logits_CV.argmax(-1) for logits_CV in logits_of(states)])
    return float((guesses_N == labels_N).sum()), float((labels_N != IGNORE).sum())


@torch.no_grad()
def drawn_ids(states: States, numbers_N: Tensor) -> Tensor:
    """A token of each place's distribution, [N]: the one in whose part of the cumulative sum its number in [0, 1)
    falls. So what is drawn depends on nothing but the number and the distribution."""
    size, found = places_at_once(states), [numbers_N.new_zeros(0, dtype=torch.int64)]
    for logits_CV, numbers_C in zip(logits_of(states), torch.split(numbers_N, size), strict=True):
        ends_CV = logits_CV.softmax(-1).cumsum(-1)
        wanted_C = numbers_C.to(ends_CV.dtype) * ends_CV[:, -1]
        found.append(torch.searchsorted(ends_CV, wanted_C[:, None], right=True)[:, 0].clamp(max=ends_CV.shape[-1] - 1))
    return torch.cat(found)


def label_log_probs(states: States, labels_N: Tensor) -> Tensor:
    """The log-probability of each label [N], in float32 (float64 stays), each with a gradient of its own; 0 for IGNORE.

    Here no gradient is known in the forward pass: the logits of a chunk are made again in the backward pass.
    """
    from torch.utils.checkpoint import checkpoint

    hidden_ND, last, size = states.hidden_ND, states.last, places_at_once(states)
    chunks = zip(torch.split(hidden_ND, size), torch.split(labels_N, size), strict=True)
    return torch.cat([checkpoint(_log_probs, last, *chunk, use_reentrant=False) for chunk in chunks])


def _log_probs(last: nn.Module | None, hidden_CD: Tensor, labels_C: Tensor) -> Tensor:
    logits_CV = hidden_CD if last is None else last(hidden_CD)
    wide = torch.promote_types(logits_CV.dtype, torch.float32)
    return -F.cross_entropy(logits_CV.to(wide), labels_C, ignore_index=IGNORE, reduction="none")


def head_loss_sum(head: nn.Linear, hidden_ND: Tensor, labels_N: Tensor, *, chunk: int | None = None) -> Tensor:
    """Summed cross-entropy of `head(hidden)` against labels, of which IGNORE does not count.

    Args:
        chunk: rows whose logits are in memory at once; by default what suits the device.
    """
    size = chunk or max(64, CHUNK_BYTES.get(hidden_ND.device.type, 2**27) // (4 * head.out_features))
    inputs = hidden_ND, head.weight, head.bias, labels_N
    found: Tensor = _HeadLoss.apply(*inputs, size, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return found


class _HeadLoss(torch.autograd.Function):
    """Loss and gradient in one pass; the backward pass only multiplies with the gradient of the sum."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        labels_N: Tensor,
        size: int,
        is_training: bool,
    ) -> Tensor:
        wide = torch.promote_types(hidden_ND.dtype, torch.float32)
        ctx.dtypes = hidden_ND.dtype, weight_VD.dtype
        wants = [is_training and needed for needed in ctx.needs_input_grad[:3]]
        ctx.grads = [
            torch.zeros_like(t, dtype=wide) if wanted and t is not None else None
            for t, wanted in zip((hidden_ND, weight_VD, bias_V), wants, strict=True)
        ]
        loss = hidden_ND.new_zeros((), dtype=wide)
        for start in range(0, len(labels_N), size):
            part = slice(start, start + size)
            loss += _chunk(hidden_ND[part], weight_VD, bias_V, labels_N[part], ctx.grads, part)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_sum: Tensor) -> Any:
        narrow = *ctx.dtypes, ctx.dtypes[1]
        scaled = [None if g is None else (g * of_sum).to(t) for g, t in zip(ctx.grads, narrow, strict=True)]
        return *scaled, None, None, None


def _chunk(
    hidden_CD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    labels_C: Tensor,
    grads: list[Tensor | None],
    part: slice,
) -> Tensor:
    """The loss of one chunk; its gradient is written into (hidden) and added to (weight, bias) `grads`."""
    of_hidden, of_weight, of_bias = grads
    logits_CV = F.linear(hidden_CD, weight_VD, bias_V)
    is_target = labels_C != IGNORE
    places = labels_C.masked_fill(~is_target, 0)[:, None]
    log_CV = F.log_softmax(logits_CV, dim=-1, dtype=torch.promote_types(logits_CV.dtype, torch.float32))
    loss = -(log_CV.gather(1, places)[:, 0] * is_target).sum()
    if all(g is None for g in grads):
        return loss
    # The gradient of the logits is softmax minus one at the label. Rows without a target are left out on the side of D,
    # which is narrow, instead of that of V.
    slope = log_CV.exp_()
    slope.scatter_add_(1, places, slope.new_full((), -1.0).expand(places.shape))
    slope, shown = slope.to(hidden_CD.dtype), is_target[:, None].to(hidden_CD.dtype)
    if of_hidden is not None:
        of_hidden[part] = (slope @ weight_VD) * shown
    if of_weight is not None:
        _add_product(of_weight, slope.mT, hidden_CD * shown)
    if of_bias is not None:
        _add_product(of_bias[:, None], slope.mT, shown)
    return loss


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b; the sum over chunks is kept wide."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
