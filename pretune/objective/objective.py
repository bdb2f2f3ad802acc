"""What a model is asked to predict. An objective gives sums and counts, never means.

The loop owns the denominator: it adds the counts of a whole step, over all micro-batches and ranks,
before the first backward pass. So how a step is cut changes nothing.

    row    prepare (what is random, row by row)   ->  row  ->  collate (padding only)  ->  batch
    batch  counts (before the forward pass), sums (the loss, summed over targets)

B rows, L positions, V vocabulary, D width, N targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pretune.base.config import Choice, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Batch = dict[str, Tensor]
else:
    Batch = dict

IGNORE = -100
Row = dict[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """What an objective needs to know of the tokenizer."""

    size: int
    pad: int
    mask: int | None = None
    cls: int | None = None
    specials: tuple[int, ...] = ()


class Objective(Variant):
    """Settings of what is predicted."""

    weights: ClassVar[Mapping[str, float]] = {"loss": 1.0}
    """Loss term -> its weight in the sum."""

    def prepare(self, row: Row, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        """Everything random, row by row, so that it does not depend on how a step is cut."""
        return row

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows as tensors; padding only."""
        raise AssertionError("an objective has collate()")

    def counts(self, batch: Batch) -> dict[str, float]:
        """Weight of the targets of each term; runs before the forward pass."""
        return {"loss": float((batch["labels"] != IGNORE).sum())}

    def sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Summed (not averaged) loss of each term, float32 scalars with gradient."""
        raise AssertionError("an objective has sums()")


OBJECTIVE = Choice(
    Objective,
    {"causal": "pretune.objective.causal:Causal", "masked": "pretune.objective.masked:Masked"},
    group="pretune.objectives",
    default="causal",
)


def block_mask(segments_BL: Tensor, *, causal: bool, dtype: torch.dtype) -> Tensor:
    """Additive mask [B, 1, L, L]: a position sees its own document only (and, if causal, no later position).

    Padding (segment -1) sees itself and its like, so that no row of the softmax is empty.
    """
    import torch

    same = segments_BL[:, :, None] == segments_BL[:, None, :]
    if causal:
        length = segments_BL.shape[1]
        same = same & torch.ones(length, length, dtype=torch.bool, device=segments_BL.device).tril()
    zero = torch.zeros((), dtype=dtype, device=segments_BL.device)
    return torch.where(same, zero, torch.finfo(dtype).min)[:, None]


def document_positions(segments_BL: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Position of every token within its document (as far as the row holds it), from 0; shape [B, L]."""
    places = np.broadcast_to(np.arange(segments_BL.shape[1]), segments_BL.shape)
    starts = np.ones(segments_BL.shape, dtype=bool)
    starts[:, 1:] = segments_BL[:, 1:] != segments_BL[:, :-1]
    return places - np.maximum.accumulate(np.where(starts, places, 0), axis=1)


def packed_batch(rows: Sequence[Row], labels_BL: np.ndarray[Any, Any], pad: int) -> Batch:
    """Tensors of packed rows: input_ids, labels, segments, positions (all [B, L] int64), and `at`, the flat
    places of the targets, when they are so few that logits are worth computing only there."""
    import torch

    segments_BL = np.stack([row["segments"] for row in rows]).astype(np.int64)
    ids_BL = np.where(segments_BL < 0, pad, np.stack([row["ids"] for row in rows]).astype(np.int64))
    batch = {
        "input_ids": torch.from_numpy(ids_BL),
        "labels": torch.from_numpy(labels_BL.astype(np.int64)),
        "segments": torch.from_numpy(segments_BL),
        "positions": torch.from_numpy(document_positions(segments_BL)),
    }
    places = np.flatnonzero(labels_BL != IGNORE)
    if len(places) < 0.6 * labels_BL.size:
        batch["at"] = torch.from_numpy(places)
    return batch


_DIRECT_HEADS = ("qwen3", "qwen2", "llama", "mistral", "gpt2", "bert")
"""Families whose logits are exactly head(last hidden state): computed only where there is a target."""


def packed_loss_sum(model: nn.Module, batch: Batch, *, causal: bool) -> Tensor:
    """Summed cross-entropy in float32 of the next (or hidden) token at the labelled places of packed rows."""
    core = plain_model(model)
    dtype = next(p for p in core.parameters() if p.dim() > 1).dtype
    inputs = {
        "input_ids": batch["input_ids"],
        "attention_mask": attention_mask(core, batch["segments"], causal=causal, dtype=dtype),
        "position_ids": batch["positions"],
    }
    labels_N = batch["labels"].flatten()
    labels_N = labels_N[batch["at"]] if "at" in batch else labels_N
    if core.config.model_type not in _DIRECT_HEADS:
        logits_NV = core(**inputs, use_cache=False).logits.flatten(0, 1)
        return _loss_sum(logits_NV[batch["at"]] if "at" in batch else logits_NV, labels_N)
    cached = {"use_cache": False} if causal else {}
    hidden_ND = core.base_model(**inputs, **cached).last_hidden_state.flatten(0, 1)
    return _loss_from(core, hidden_ND[batch["at"]] if "at" in batch else hidden_ND, labels_N)


def _loss_from(core: Any, hidden_ND: Tensor, labels_N: Tensor) -> Tensor:
    """Of the last hidden states: chunk by chunk where the head ends in a plain matrix."""
    from torch import nn

    from pretune.objective.cross_entropy import head_loss_sum

    if core.config.model_type == "bert":
        hidden_ND, head = core.cls.predictions.transform(hidden_ND), core.cls.predictions.decoder
    else:
        head = core.lm_head
    if type(head) is not nn.Linear:  # an adapter stands there
        return _loss_sum(head(hidden_ND), labels_N)
    return head_loss_sum(head, hidden_ND, labels_N)


def _loss_sum(logits_NV: Tensor, labels_N: Tensor) -> Tensor:
    import torch
    import torch.nn.functional as F

    wide = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
    return F.cross_entropy(wide, labels_N, ignore_index=IGNORE, reduction="sum")


def attention_mask(core: Any, segments_BL: Tensor, *, causal: bool, dtype: torch.dtype) -> Any:
    """Which positions see each other, in the form that the model's attention reads."""
    if core.config._attn_implementation == "flex_attention":
        return sparse_mask(segments_BL, causal=causal)
    return block_mask(segments_BL, causal=causal, dtype=dtype)


def sparse_mask(segments_BL: Tensor, *, causal: bool) -> Any:
    """The mask of `block_mask` for flex_attention, which leaves out blocks that nobody sees."""
    from torch.nn.attention.flex_attention import create_block_mask

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = segments_BL[row, query] == segments_BL[row, key]
        return same & (query >= key) if causal else same

    rows, length = segments_BL.shape
    return create_block_mask(seen, rows, None, length, length, device=segments_BL.device)


def plain_model(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper (adapters live in its layers), or the model itself."""
    return model.get_base_model() if hasattr(model, "peft_config") else model
