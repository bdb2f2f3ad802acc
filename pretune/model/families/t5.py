"""T5 (arXiv:1910.10683): an encoder that reads, a decoder that writes, positions by their distance alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pretune.model.families.family import Family, plain_model

if TYPE_CHECKING:
    from torch import nn


class T5Family(Family):
    """Two stacks of blocks; no limit of a row (`n_positions` in old configs is that of its pretraining)."""

    def stacks(self, model: Any) -> list[list[nn.Module]]:
        core = plain_model(model)
        return [list(core.encoder.block), list(core.decoder.block)]

    def longest(self, config: Mapping[str, Any]) -> int | None:
        return None


T5 = T5Family()
