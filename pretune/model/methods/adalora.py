"""AdaLoRA (arXiv:2303.10512): low-rank changes whose rank goes where it matters, by PEFT.

    W + B diag(E) A      begins with `first_rank` everywhere; those entries of E that matter least become zero, until
                         the ranks of all layers are `rank` on average, and stay zero while the rest learns on

A and B are drawn towards orthogonal rows and columns. That penalty knows no data, so its gradient is added once a step,
to that of the whole step: how a step is cut changes nothing. What is known of importance lies with the optimizer's
moments, so that a run that goes on decides as one that was left alone. The reported loss is without the penalty.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pretune.model.methods.lora import LowRank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

PREFIX = "base_model.model."
"""PEFT's allocator names weights without it."""
KINDS = {"importance": "exp_avg_ipt", "uncertainty": "exp_avg_unc"}
"""Kinds of moments -> where PEFT's allocator has them."""


class AdaLora(LowRank):
    """Train low-rank changes of the linear layers whose ranks are shared out; the base stays as it is."""

    usual_rate: ClassVar[float] = 2e-3

    rank: int = Field(8, gt=0)
    """Rank of the changes in the end, on average."""
    first_rank: int = Field(12, gt=0)
    """Rank of each change at first."""
    before: float = Field(0.1, ge=0, lt=1)
    """Share of the steps before the first rank goes."""
    after: float = Field(0.3, ge=0, lt=1)
    """Share of the steps after the last one has gone."""
    every: int = Field(10, gt=0)
    """Steps between two decisions."""
    orthogonal: float = Field(0.5, ge=0)
    """Weight of the penalty."""

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.rank >= self.first_rank:
            raise ValueError(f"rank={self.rank} is not below first_rank={self.first_rank}, from which it falls")
        if self.before + self.after >= 1:
            raise ValueError(f"before={self.before} and after={self.after} leave no steps in between")
        return self

    def config(self, model: Any, *, heads: tuple[str, ...]) -> Any:
        from peft import AdaLoraConfig

        return AdaLoraConfig(
            **self.of_layers(model, heads),
            init_r=self.first_rank,
            target_r=self.rank,
            orth_reg_weight=self.orthogonal,
            total_step=1,  # known when the run is, in `around`
        )

    @contextmanager
    def around(self, state: Any) -> Iterator[None]:
        update, taken = state.update, state.updates
        names = [name for name in update.weights if ".lora_" in name]
        gone = {name: update.masters[name] == 0 for name in names if ".lora_E." in name}
        self._pull(update, names)
        grads = {name: update.weights[name].grad.clone() for name in names}
        step = state.step
        yield
        if state.updates == taken:
            return  # the step was refused
        config = self._scheduled(state)
        if step > config.total_step - config.tfinal:
            _zero(update, gone)
        elif config.tinit < config.total_step - config.tfinal:
            _share_out(state.model.base_model, update, grads, step)

    def _scheduled(self, state: Any) -> Any:
        """PEFT's config with the steps of this run."""
        config, total = state.model.peft_config["default"], state.total
        config.total_step, config.deltaT = total, self.every
        config.tinit, config.tfinal = int(self.before * total), int(self.after * total)
        return config

    def _pull(self, update: Any, names: list[str]) -> None:
        """Add the gradient of the penalty: the mean over all A and B of |A A' - 1| and |B' B - 1| (Frobenius)."""
        import torch

        tall = [name for name in names if ".lora_E." not in name]
        for name in tall if self.orthogonal else ():
            weight = update.masters[name].detach().clone().requires_grad_()
            rows = weight if ".lora_A." in name else weight.T
            off = torch.linalg.matrix_norm(rows @ rows.T - torch.eye(len(rows)).to(rows))
            (slope,) = torch.autograd.grad(self.orthogonal / len(tall) * off, weight)
            update.weights[name].grad += update.grad_scale * slope.to(update.weights[name].grad)


def _share_out(adapted: Any, update: Any, grads: dict[str, Tensor], step: int) -> None:
    """Let PEFT's allocator weigh the entries, and zero those of E that matter least."""
    allocator = adapted.rankallocator
    for name, grad in grads.items():
        update.weights[name].grad = grad
        for kind, place in KINDS.items():
            if kind in update.moments[name]:
                allocator.ipt[name.removeprefix(PREFIX)] = grad  # that it is there says that the averages are
                getattr(allocator, place)[name.removeprefix(PREFIX)] = update.moments[name].pop(kind)
    adapted.update_and_allocate(step)
    adapted.peft_config["default"].rank_pattern = None  # else PEFT leaves the zeros out of the file, and cannot open it
    for name in grads:
        update.weights[name].grad = None
        for kind, place in KINDS.items():
            if (kept := getattr(allocator, place).get(name.removeprefix(PREFIX))) is not None:
                update.moments[name][kind] = kept
    _zero(update, {name: update.weights[name] == 0 for name in grads if ".lora_E." in name})


def _zero(update: Any, gone: dict[str, Tensor]) -> None:
    """These entries of E are zero, in the weights and in the masters."""
    for name, mask in gone.items():
        for held in (update.masters[name], update.weights[name].data):
            held.masked_fill_(mask.to(held.device), 0.0)
