"""Qwen3-MoE: a Qwen3 with several feed-forward parts in each block (experts), of which each token passes a few.

    router    logits [E] of a token  ->  softmax in float32  ->  the k likeliest experts, with shares that sum to one
    experts   sum over these k of  share * SwiGLU_e(token)

So a model has many parameters and a token is multiplied with few of them. The price: memory for all of them, and a
router that must be kept from sending every token to the same experts (objective/routing.py).

S blocks, N tokens, E experts, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pretune.base.json import Json
from pretune.model.families.family import Family, States
from pretune.model.families.llama import TABLE_PACE, Rotary
from pretune.model.shape import Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pretune.tokens.encode.tokenizer import Specials

Z_LOSS = "router_z_loss_coef"
"""Where a config keeps the weight of the z-loss: Qwen3's has no place of its own for it; the name is that of Switch."""


class Qwen3MoeFamily(Family):
    """Routing is in float32, whatever the rest computes in; experts are stacked, [E, out, in]."""

    def made_with(self) -> Mapping[str, Any]:
        from pretune.model.experts import register_experts

        return {"experts_implementation": register_experts()}

    def states(self, model: Any, inputs: Mapping[str, Any], at: Tensor | None = None) -> States:
        import torch

        found = model.base_model(**inputs, use_cache=False, output_router_logits=True)
        hidden_ND = found.last_hidden_state.flatten(0, 1)
        routers_SNE = torch.stack(found.router_logits)
        return States(hidden_ND if at is None else hidden_ND[at], model.lm_head, routers_SNE=routers_SNE)

    def extras(self, model: Any) -> Mapping[str, float]:
        """The terms of objective/routing.py with the weights that the config names; those of weight 0 are left out."""
        config = model.config
        weights = {"balance": config.router_aux_loss_coef, "router_z": getattr(config, Z_LOSS, 0.0)}
        return {name: float(weight) for name, weight in weights.items() if weight}

    def narrow(self, model: Any, dtype: torch.dtype) -> None:
        """Routers keep their weights, and are given wide states: two experts of nearly equal logits must not change
        places by rounding. Source: Fedus et al. 2021, arXiv:2101.03961, section 2.4 (selective precision)."""
        routers = [module for module in model.modules() if type(module).__name__ == "Qwen3MoeTopKRouter"]
        wide = {router.weight for router in routers}
        for parameter in model.parameters():
            if parameter not in wide:
                parameter.data = parameter.data.to(dtype)
        for router in routers:
            router.register_forward_pre_hook(_as_wide_as_the_weight)

    def stacked(self, name: str) -> int:
        return 2 if name.endswith("gate_up_proj") else 1

    def in_files(self, model: Any, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Each expert by itself, as transformers writes them and other readers know them."""
        from transformers.core_model_loading import revert_weight_conversion

        found: dict[str, Tensor] = revert_weight_conversion(model, dict(weights))
        return found

    def compiled(self, model: Any) -> list[nn.Module]:
        """Attention alone: how many tokens an expert gets is another number in every step."""
        blocks: list[Any] = [block for stack in self.stacks(model) for block in stack]
        return [block.self_attn for block in blocks]


def _as_wide_as_the_weight(router: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(states.to(router.weight.dtype) for states in inputs)


QWEN3_MOE = Qwen3MoeFamily(
    architecture="decoder",
    paces={"embed_tokens.weight": TABLE_PACE},
    routes=True,
    zero_init=("o_proj.weight", "experts.down_proj"),
    dropped=("embed_tokens", "o_proj", "mlp"),
)


class Qwen3Moe(Rotary):
    """Qwen3-MoE: a Qwen3 whose feed-forward part is several experts, of which each token passes a few
    (arXiv:2505.09388)."""

    family: ClassVar[str] = "qwen3_moe"

    hidden: int = Field(384, gt=0)
    """Width of one expert."""
    experts: int = Field(8, gt=0)
    """Experts in each block."""
    experts_per_token: int = Field(2, gt=0)
    """Experts that a token passes, at most `experts`."""
    balance: float = Field(0.01, ge=0)
    """Weight of the balance loss, which sends tokens to all experts alike (arXiv:2101.03961, equations 4-6; 0.01
    there)."""
    router_z: float = Field(0.001, ge=0)
    """Weight of the z-loss, which keeps the router's logits small (arXiv:2202.08906, equation 5; 0.001 there)."""

    @model_validator(mode="after")
    def _are_there(self) -> Self:
        if self.experts_per_token > self.experts:
            raise ValueError(f"experts_per_token is {self.experts_per_token}, and experts is {self.experts}")
        return self

    def layout(self) -> Layout:
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        expert, router = 3 * self.width * self.hidden, self.width * self.experts
        active = attention + router + self.experts_per_token * expert
        return Layout(
            layers=self.layers,
            width=self.width,
            matrix_parameters=self.layers * active,
            idle_parameters=self.layers * (self.experts - self.experts_per_token) * expert,
        )

    def config(self, *, vocab_size: int, max_length: int, specials: Specials) -> Json:
        plain = super().config(vocab_size=vocab_size, max_length=max_length, specials=specials)
        return plain | {
            "moe_intermediate_size": self.hidden,
            "num_experts": self.experts,
            "num_experts_per_tok": self.experts_per_token,
            "decoder_sparse_step": 1,
            "norm_topk_prob": True,
            "router_aux_loss_coef": self.balance,
            Z_LOSS: self.router_z,
        }


class Qwen3MoeNano(Qwen3Moe):
    """About 12 million parameters with a vocabulary of 8,192, of which a token passes 5 million."""

    layers: int = Field(4, gt=0)
    hidden: int = Field(352, gt=0)
