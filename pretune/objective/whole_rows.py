"""What the objectives of whole rows share: a label, labels or a number for a text, or for two that are compared.

B rows, L positions, C outputs of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pretune.infer.engine import padded
from pretune.tokens.rows import Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


def rows_batch(rows: Sequence[Row], vocabulary: Vocabulary, labels: NDArray[Any]) -> Batch:
    """Rows of their own lengths, padded on the right to the longest; token types where a row has `parts`."""
    import torch

    ids_BL, mask_BL = padded([row["ids"] for row in rows], vocabulary.pad)
    batch = {"input_ids": ids_BL, "attention_mask": mask_BL, "labels": labels}
    if any("parts" in row for row in rows):
        batch["token_type_ids"] = types_BL = np.zeros_like(ids_BL)
        for number, row in enumerate(rows):
            parts = row.get("parts", ())
            types_BL[number, : len(parts)] = parts
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def row_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits [B, C], or the vectors of a model without a head, in float32 (float64 stays)."""
    import torch

    from pretune.model.pooling import said

    names = ("input_ids", "attention_mask", "token_type_ids")
    output = model(**{name: batch[name] for name in names if name in batch})
    logits_BC = said(model, output, batch["attention_mask"])
    return logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()


def last_inputs(model: nn.Module, batch: Batch) -> Tensor:
    """What the last layer of a classifier reads of each row, [B, D], in float32 (float64 stays); of a decoder at the
    row's end. That layer has a gradient, of zeros: DDP and the first step look for one."""
    import torch

    from pretune.model.families.family import last_linear

    heard: list[Tensor] = []
    with last_linear(model).register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0])):
        nothing = 0.0 * row_logits(model, batch).sum()
    (found,) = heard
    if found.dim() == 3:
        found = found[torch.arange(len(found), device=found.device), batch["attention_mask"].sum(1) - 1]
    return (found if found.dtype == torch.float64 else found.float()) + nothing
