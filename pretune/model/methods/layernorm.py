"""Only the norms train, and the new head: one or two vectors for each norm, a thousandth of the weights.

Source: Zhao et al. 2023, arXiv:2312.11420 (tuning the norms alone comes close to tuning all).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pretune.model.methods.method import Method

if TYPE_CHECKING:
    from torch import nn


class LayerNorm(Method):
    """Train the weights (and biases) of the norms, and the new head."""

    usual_rate: ClassVar[float] = 4e-3

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        from pretune.model.families import family_of
        from pretune.model.methods.own import train_only

        family = family_of(model)
        return train_only(model, heads, lambda name: family.part_of(name) == "norms")  # type: ignore[no-any-return]
