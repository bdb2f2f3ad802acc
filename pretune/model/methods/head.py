"""Only the new head trains; the rest is frozen and in eval mode, so that its dropout is off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pretune.model.methods.method import Keep, Method

if TYPE_CHECKING:
    from torch import nn


class Head(Method):
    """Train the new head alone: fast, and forgets nothing."""

    usual_rate: ClassVar[float] = 1e-3
    only_heads: ClassVar[bool] = True
    eval_frozen: ClassVar[bool] = True

    keep: Keep = "auto"
    """Whether what the body gives is kept on disk, so that later epochs compute the head alone: auto, where rows are
    read more than once and are the same each time; or no."""

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        from pretune.model.methods.own import train_only

        assert heads, "a task without a head of its own is refused with the settings"
        return train_only(model, heads, lambda name: False)  # type: ignore[no-any-return]

    def keeps(self) -> bool:
        return self.keep == "auto"

    def load(self, model: Any, folder: Path) -> Any:
        """The base with the weights of a head, as folders of several tasks keep them (model/several.py)."""
        from safetensors.torch import load_file

        unknown = model.load_state_dict(load_file(folder / "adapter_model.safetensors"), strict=False).unexpected_keys
        assert not unknown, f"{folder} has weights that a {type(model).__name__} has not: {unknown}"
        return model
