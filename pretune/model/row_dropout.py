"""Dropout that is drawn row by row: what is hidden of a row is the same in whatever batch it is read.

torch draws one mask for a whole batch, so two cuts of a step hide different things. Here whether a number is hidden is
a hash of the row's own number, of which dropout of the model this is, and of the place in the row: no draw depends on
the rows next to it, nor on how far they are padded.

    with RowDropout(draws_B): model(...)

The price is about ten integer operations for each number that may be hidden, and attention that keeps its L x L shares.
The hash is lowbias32 (C. Wellons, "Prospecting for hash functions", 2018).

B rows, H heads, L positions, D width of a head.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pretune.base.errors import NotSupported

WORD = 0xFFFFFFFF


class RowDropout(TorchFunctionMode):
    """Within it, the dropout of models is drawn by row.

    Args:
        draws_B: a number for each row of the batch, int64 in [0, 2^32).
        calls: dropouts of the model that came before.
    """

    active: ClassVar[RowDropout | None] = None

    def __init__(self, draws_B: Tensor, calls: int = 0):
        super().__init__()
        self.draws_B, self.calls = draws_B, calls

    def __enter__(self) -> Self:
        self.outer, RowDropout.active = RowDropout.active, self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        RowDropout.active = self.outer
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.dropout:
            return self._dropout(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or not p:
            return input
        if len(input) != len(self.draws_B):
            problem = f"this model drops out tensors of {len(input)} parts where there are {len(self.draws_B)} rows"
            raise NotSupported(problem, hint="leave out task.r_drop: what is dropped cannot be drawn by row")
        self.calls += 1
        keeps = numbers(self.draws_B, self.calls, input.shape[1:]) >= int(p * (WORD + 1))
        return input * keeps.to(input.dtype) / (1 - p)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **how: Any,
    ) -> Tensor:
        if not dropout_p:
            return F.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, **how)
        groups = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(groups, 1) if groups > 1 else one for one in (key, value))
        scores_BHLL = query @ key.mT * (how.get("scale") or 1 / math.sqrt(query.shape[-1]))
        if is_causal:
            attn_mask = torch.ones(scores_BHLL.shape[-2:], dtype=torch.bool, device=query.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores_BHLL = scores_BHLL.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores_BHLL = scores_BHLL + attn_mask
        return self._dropout(scores_BHLL.softmax(-1), dropout_p) @ value


def forward_and_again() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Of a block that is computed again in the backward pass: around each time; the second draws what the first did."""
    now = RowDropout.active
    return nullcontext(), RowDropout(now.draws_B, now.calls) if now else nullcontext()


def numbers(draws_B: Tensor, call: int, shape: torch.Size) -> Tensor:
    """A number in [0, 2^32) for each place of rows of this shape, int64 [B, *shape]; evenly spread, not secret."""
    places = torch.full((), call, dtype=torch.int64, device=draws_B.device)
    for size in shape:
        places = _mixed((places[..., None] + torch.arange(size, device=draws_B.device) * 0x9E3779B1) & WORD)
    return _mixed(_mixed(draws_B).reshape(-1, *[1] * len(shape)) ^ places)


def _mixed(words: Tensor) -> Tensor:
    """Each 32-bit word to another, one to one, so that words that are alike become unlike."""
    words = ((words ^ (words >> 16)) * 0x7FEB352D) & WORD
    words = ((words ^ (words >> 15)) * 0x846CA68B) & WORD
    return words ^ (words >> 16)
