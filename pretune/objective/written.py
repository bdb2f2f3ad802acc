"""A text that is made of another: an encoder reads one row, a decoder writes the other, of which every token counts.

Both rows may hold several texts (`segments`, and `written` of the labels): then each is written from its own alone.

*B rows, L positions of the source, T of the target, V vocabulary.*
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pretune.base.errors import NotSupported
from pretune.infer.engine import padded
from pretune.model.families import Head, States, num_positions, plain_model
from pretune.objective.objective import Objective, StepWide
from pretune.objective.packed import block_mask
from pretune.tokens.rows import IGNORE, Batch, Row, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor, nn


class Written(Objective):
    """Predict each token of a target from its source and those before it."""

    head: ClassVar[Head] = "text"

    def blank(self, length: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Row:
        ids = np.full(length, vocabulary.size - 1, dtype=np.int64)
        return {"ids": ids, "labels": ids}

    def collate(self, rows: Sequence[Row], vocabulary: Vocabulary) -> Batch:
        """Rows of `ids`, the source, and `labels`, the target; both padded on the right to the longest, and so are
        `segments` and `written` where rows hold several texts."""
        import torch

        ids, mask = map(torch.from_numpy, padded([row["ids"] for row in rows], vocabulary.pad))
        labels, _ = padded([row["labels"] for row in rows], IGNORE)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.from_numpy(labels)}
        if "written" in rows[0]:
            of = {"segments": [row["segments"] for row in rows], "written": [row["written"] for row in rows]}
            batch |= {name: torch.from_numpy(padded(numbers, -1)[0]) for name, numbers in of.items()}
        return batch

    @property
    def read_once(self) -> bool:
        return True

    def asked(self, model: nn.Module, batch: Batch) -> States:
        core: Any = plain_model(model)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        inputs["decoder_input_ids"] = core.prepare_decoder_input_ids_from_labels(batch["labels"])
        if "written" in batch:
            inputs = _apart(core, inputs, batch)
        logits_BTV = model(**inputs, use_cache=False).logits
        return States(logits_BTV.flatten(0, 1))

    def judged(
        self, model: nn.Module, states: States, batch: Batch, step_wide: StepWide | None = None
    ) -> dict[str, Tensor]:
        """The loss that transformers gives the same labels, times their number."""
        from pretune.objective.cross_entropy import loss_sum

        return {"loss": loss_sum(states, batch["labels"].flatten())}


def _apart(core: Any, inputs: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """Inputs of rows of several texts: each begins with the decoder's start token, and they do not see each other.

    The encoder runs first, by itself, since transformers knows one mask of what is read, not one for each stack.

    Raises:
        NotSupported: the model counts positions along a row, not by their distance as T5.
    """
    import torch

    if batch["written"].max() > 0 and num_positions(core.config.to_dict()) is not None:
        problem = f"a {core.config.model_type} model counts positions along a row, so several texts cannot share one"
        raise NotSupported(problem, hint="packing=document gives each a row of its own")
    read_BL, written_BT = batch["segments"], batch["written"]
    dtype = next(p for p in core.parameters() if p.dim() > 1).dtype
    ids_BT, is_first = inputs["decoder_input_ids"], torch.ones_like(written_BT, dtype=torch.bool)
    is_first[:, 1:] = written_BT[:, 1:] != written_BT[:, :-1]
    mask = block_mask(read_BL, causal=False, dtype=dtype)
    return {
        "encoder_outputs": core.get_encoder()(input_ids=inputs["input_ids"], attention_mask=mask),
        "attention_mask": block_mask(read_BL, causal=False, dtype=dtype, asking_BT=written_BT),
        "decoder_input_ids": torch.where(is_first, core.config.decoder_start_token_id, ids_BT),
        "decoder_attention_mask": block_mask(written_BT, causal=True, dtype=dtype),
    }
