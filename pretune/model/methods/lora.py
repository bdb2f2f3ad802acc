"""LoRA (arXiv:2106.09685): a low-rank change next to every linear layer, by PEFT.

    plain    W + (alpha / r) B A          B begins at zero, so training begins with the base itself
    rslora   W + (alpha / sqrt r) B A     a high rank learns as fast as a low one (arXiv:2312.03732)
    dora     m * (W + s B A) / |...|      length and direction of each output apart (arXiv:2402.09353)
    pissa    A, B begin with the largest singular values of W, which go out of W (arXiv:2404.02948)
    lora+    plain, with B at a multiple of A's rate (arXiv:2402.12354)

Each of them can be merged: what is served is as fast as the base. Price: DoRA takes the norm of every row of every
layer at each step, PiSSA the singular values of every layer once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pretune.base.errors import WrongValue
from pretune.model.methods.by_peft import ByPeft

if TYPE_CHECKING:
    from torch import Tensor

STARTED = "pretune_start"
"""Where a PiSSA model keeps its first A and B: PEFT has no place for them but a folder."""


class LowRank(ByPeft):
    """Settings of low-rank changes next to linear layers."""

    alpha: float = Field(32.0, gt=0)
    """A change is scaled by alpha over its rank (of adalora its first one; of rslora over the root of the rank)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in front of the change."""
    target: str = "all-linear"
    """Which layers: `all-linear`, or a regular expression over module names."""

    def of_layers(self, model: Any, heads: tuple[str, ...]) -> dict[str, Any]:
        """What PEFT's configs of these methods have in common; heads are trained themselves."""
        from pretune.model.methods.adapter import task_type_of

        return {
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "target_modules": self.target,
            "task_type": task_type_of(model),
            "modules_to_save": list(heads) or None,
            "exclude_modules": rf".*\b({'|'.join(heads)})\b.*" if heads else None,
        }


class Lora(LowRank):
    """Train low-rank changes of the linear layers; the base stays as it is."""

    usual_rate: ClassVar[float] = 5e-4

    rank: int = Field(16, gt=0)
    """Rank of the change."""
    variant: Literal["plain", "rslora", "dora", "pissa", "lora+"] = "plain"
    """plain; rslora (scaled for high ranks); dora (length and direction apart); pissa (begins with the base's largest
    singular values); lora+ (B learns faster than A)."""
    plus_ratio: float = Field(16.0, ge=1)
    """Of lora+: the rate of B in multiples of A's, which is the learning rate."""

    def config(self, model: Any, *, heads: tuple[str, ...]) -> Any:
        from peft import LoraConfig

        return LoraConfig(
            **self.of_layers(model, heads),
            r=self.rank,
            use_rslora=self.variant == "rslora",
            use_dora=self.variant == "dora",
            init_lora_weights="pissa" if self.variant == "pissa" else True,
        )

    def placed(self, adapted: Any) -> Any:
        if adapted.peft_config["default"].init_lora_weights == "pissa":
            setattr(adapted, STARTED, {name: tensor.clone() for name, tensor in _pairs(adapted).items()})
        return adapted

    def learnt(self, model: Any, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
        """Of PiSSA the change from its start, a plain LoRA of twice the rank next to the base as it was.

        W + B A - B0 A0 = W + [B, -B0] [A; A0]: section 3 of arXiv:2404.02948, appendix C.
        """
        if self.variant != "pissa":
            return
        import torch

        start = getattr(model, STARTED)
        for name in start:
            first = start[name].to(tensors[name])
            down = "lora_A" in name
            tensors[name] = torch.cat([tensors[name], first if down else -first], dim=0 if down else 1)
        config |= {"r": 2 * self.rank, "lora_alpha": 2 * self.alpha, "init_lora_weights": True}

    def rate_for(self, optim: Any, width: int) -> float | None:
        """Of lora+ lower, so that the rates of A and B lie around that of the others (their geometric mean)."""
        found = super().rate_for(optim, width)
        return found / self.plus_ratio**0.5 if found and self.variant == "lora+" else found

    def keeps_start(self) -> bool:
        return self.variant != "pissa"

    def scales(self, model: Any, layer_decay: float) -> dict[str, float] | None:
        found = super().scales(model, layer_decay)
        if self.variant != "lora+":
            return found
        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        pace = {name: self.plus_ratio if "lora_B" in name else 1.0 for name in trained}
        return {name: factor * (found or {}).get(name, 1.0) for name, factor in pace.items()}


def _pairs(adapted: Any) -> dict[str, Tensor]:
    """The A and B of each layer by their names in a folder. Raises WrongValue for a rank above a layer's own."""
    from peft import get_peft_model_state_dict

    found: dict[str, Tensor] = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    rank = adapted.peft_config["default"].r
    pairs = {name: tensor.detach() for name, tensor in found.items() if "lora_" in name}
    if low := [name for name, tensor in pairs.items() if min(tensor.shape) < rank]:
        layer = low[0].partition(".lora_")[0].removeprefix("base_model.model.")
        raise WrongValue(f"{layer} has {min(pairs[low[0]].shape)} singular values, method.rank={rank} is more")
    return pairs
