"""Packed rows: several documents in one, which do not see each other; targets at some of the places.

B rows, L positions, N targets, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.errors import NotSupported
from pretune.model.families import SEES_ALL, SEES_WINDOW, States, family_of, plain_model
from pretune.objective.objective import StepWide
from pretune.objective.routing import LOADS, chosen_by_row, router_sums
from pretune.tokens.rows import IGNORE, Batch, Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def block_mask(
    segments_BL: Tensor,
    *,
    causal: bool,
    dtype: torch.dtype,
    window: int | None = None,
    asking_BT: Tensor | None = None,
) -> Tensor:
    """Additive mask [B, 1, L, L]: a position sees its own document only (and, if causal, no later position).

    Padding (segment -1) sees itself and its like, so that no row of the softmax is empty.

    Args:
        window: how far a position sees: if causal itself and the window - 1 before it, else so many on either side
            (transformers counts like that: `masking_utils.py`).
        asking_BT: segments of the row that looks, where it is another one: then the mask is [B, 1, T, L].
    """
    import torch

    asking = segments_BL if asking_BT is None else asking_BT
    same = asking[:, :, None] == segments_BL[:, None, :]
    near = torch.ones(same.shape[1:], dtype=torch.bool, device=segments_BL.device)
    if causal:
        near = near.tril()
    if window is not None:
        near = near.triu(1 - window) if causal else near.tril(window).triu(-window)
    same = same & near
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


def packed_judged(
    model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
) -> dict[str, Tensor]:
    """Summed cross-entropy in float32 of the next (or hidden) token at the labelled places of packed rows, as `loss`;
    and the terms that the body adds.

    Args:
        states: what `packed_states` gave.
        step_wide: what `packed_loads` gave for the whole step; None where these rows are all of it.
    """
    found = {"loss": target_sum(states, batch), **states.extra}
    if states.routers_SNE is not None:
        loads_SE = step_wide.tensors[LOADS].sum(0) if step_wide else None
        found |= router_sums(states.routers_SNE, batch["segments"] >= 0, _passed(model), loads_SE)
    return found


def packed_loads(model: nn.Module, batch: Batch, *, causal: bool) -> dict[str, Tensor]:
    """How many tokens of each row chose each expert, for the terms of the routers."""
    routers_SNE = packed_states(model, batch, causal=causal).routers_SNE
    assert routers_SNE is not None, "a family that routes gives what its routers say"
    return {LOADS: chosen_by_row(routers_SNE, batch["segments"] >= 0, _passed(model))}


def _passed(model: nn.Module) -> int:
    return int(plain_model(model).config.num_experts_per_tok)


def target_sum(states: States, batch: Batch) -> Tensor:
    """Summed cross-entropy in float32 at the labelled places of a packed batch."""
    from pretune.objective.cross_entropy import loss_sum

    at, labels_N = batch.get("at"), batch["labels"].flatten()
    return loss_sum(states, labels_N if at is None else labels_N[at])


def packed_states(model: nn.Module, batch: Batch, *, causal: bool, **inputs: Tensor) -> States:
    """What a model says of a packed batch; `inputs`: what it reads besides tokens, mask and positions."""
    core: Any = plain_model(model)
    family = family_of(core)
    dtype = next(p for p in core.parameters() if p.dim() > 1).dtype
    usual = {
        "input_ids": batch["input_ids"],
        "attention_mask": attention_mask(core, batch["segments"], causal=causal, dtype=dtype),
        "position_ids": batch["positions"],
    }
    if not causal and family.architecture_of(core.config.model_type) == "decoder":
        usual["is_causal"] = False  # its attention would leave out what a causal mask hides
    return family.states(core, usual | inputs, batch.get("at"))


def attention_mask(core: Any, segments_BL: Tensor, *, causal: bool, dtype: torch.dtype) -> Any:
    """Which positions see each other, in the form that the model's attention reads; where some of its layers see a
    window only, one for each kind of layer.

    Raises:
        NotSupported: the model has layers that no mask keeps documents apart in.
    """

    def mask(window: int | None) -> Any:
        if core.config._attn_implementation == "flex_attention":
            return sparse_mask(segments_BL, causal=causal, window=window)
        return block_mask(segments_BL, causal=causal, dtype=dtype, window=window)

    kinds, window = set(getattr(core.config, "layer_types", None) or ()), getattr(core.config, "sliding_window", None)
    if odd := sorted(kinds - {SEES_ALL, SEES_WINDOW}):
        problem = f"a {core.config.model_type} model has layers of kind {odd[0]}, in which packed documents would mix"
        raise NotSupported(problem, hint="take a model whose layers are of full or sliding attention")
    if SEES_WINDOW in kinds:
        return {SEES_ALL: mask(None), SEES_WINDOW: mask(window)}
    return mask(None if kinds else window)


def sparse_mask(segments_BL: Tensor, *, causal: bool, window: int | None = None) -> Any:
    """The mask of `block_mask` for flex_attention, which leaves out blocks that nobody sees."""
    from torch.nn.attention.flex_attention import create_block_mask

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = segments_BL[row, query] == segments_BL[row, key]
        if causal:
            same = same & (query >= key)
        if window is None:
            return same
        return same & (query - key < window) if causal else same & ((query - key).abs() <= window)

    rows, length = segments_BL.shape
    return create_block_mask(seen, rows, None, length, length, device=segments_BL.device)
