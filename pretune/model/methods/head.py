"""Only the new head trains; the rest is frozen and in eval mode, so that its dropout is off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pretune.base.errors import NotSupported
from pretune.model.methods.method import Method

if TYPE_CHECKING:
    from torch import nn


class Head(Method):
    """Train the new head alone: fast, and forgets nothing."""

    usual_rate: ClassVar[float] = 1e-3

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        if not heads:
            raise NotSupported("method=head needs a task with a head of its own", hint="use method=lora or method=full")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not set(heads).isdisjoint(name.split(".")))
        return model  # type: ignore[no-any-return]
