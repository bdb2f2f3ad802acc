"""All weights train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pretune.model.methods.method import HEAD_PACE, NEW, Method

if TYPE_CHECKING:
    from torch import nn


class Full(Method):
    """Train every weight."""

    usual_width: ClassVar[float] = 768
    head_pace: ClassVar[float] = HEAD_PACE

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        model.requires_grad_(True)
        setattr(model, NEW, heads)
        return model  # type: ignore[no-any-return]
