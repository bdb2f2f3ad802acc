"""Bottleneck adapters: two small matrices with a bend between them, inside every block of a base that stays as it is.

    houlsby    h + up(bend(down(h)))       behind attention and behind the feed-forward part   arXiv:1902.00751
    pfeiffer   the same                    behind the feed-forward part alone                  arXiv:2005.00247
    parallel   h + 4 up(bend(down(x)))     next to the feed-forward part, whose input is x     arXiv:2110.04366

h is what a branch is about to add to the stream. `up` begins at zero, so training begins with the base itself, bit for
bit. Price: because of the bend nothing can be merged, so every answer passes the adapters too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pretune.base.errors import NotSupported
from pretune.model.methods.method import Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

Variant = Literal["houlsby", "pfeiffer", "parallel"]


class Bottleneck(Method):
    """Train small bottlenecks inside every block; the base stays as it is, and is needed to answer."""

    usual_rate: ClassVar[float] = 1e-3
    keeps_base: ClassVar[bool] = True
    merges: ClassVar[bool] = False

    variant: Variant = "pfeiffer"
    """houlsby (behind attention and feed-forward part), pfeiffer (behind the feed-forward part), parallel (next to
    it)."""
    width: int = Field(64, gt=0)
    """Width of the bottleneck."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    """What bends between the two matrices."""

    def check(self, config: Any) -> None:
        from pretune.model.families import family_named

        if family_named(config.model_type).branches is None:
            problem = f"where the branches of a {config.model_type} model end is not known, as method=bottleneck must"
            hint = "bert, roberta, electra, modernbert, gpt2, llama, qwen and gemma take it; this one takes method=lora"
            raise NotSupported(problem, hint=hint)

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        from pretune.model.methods.in_blocks import put_in_blocks

        self.check(model.config)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not set(heads).isdisjoint(name.split(".")))
        put_in_blocks(model, self.variant, self.width, self.activation)
        return model  # type: ignore[no-any-return]

    def load(self, model: Any, folder: Path) -> Any:
        from safetensors.torch import load_file

        from pretune.infer.trusted import read_json
        from pretune.model.methods.in_blocks import put_in_blocks

        config, tensors = read_json(folder / "adapter_config.json"), load_file(folder / "adapter_model.safetensors")
        put_in_blocks(model, config["variant"], config["width"], config["activation"])
        unknown = model.load_state_dict(tensors, strict=False).unexpected_keys
        assert not unknown, f"{folder} has weights that a {type(model).__name__} has not: {unknown}"
        return model

    def save(self, model: Any, out: Path, *, base: str, tokenizer: Path, weights: Mapping[str, Tensor]) -> None:
        from pretune.model.methods.adapter import task_type_of, write_next_to

        trained = {name: weights.get(name, p) for name, p in model.named_parameters() if p.requires_grad}
        own = {"variant": self.variant, "width": self.width, "activation": self.activation}
        config = {"peft_type": "BOTTLENECK", "task_type": task_type_of(model), **own}
        has_heads = any(".bottleneck." not in name for name in trained)
        write_next_to(model, out, trained, config, base=base, tokenizer=tokenizer, has_heads=has_heads)
