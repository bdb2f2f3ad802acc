"""What a method is: it marks what trains and how fast, and knows how to save, load and merge that."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pretune.base.config import Choice, Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from torch import Tensor, nn


Keep = Literal["auto", "no"]
"""Whether outputs of frozen blocks are kept."""


NEW = "new_modules"
"""Where a model that a method was applied to says which of its modules are new."""
HEAD_PACE = 10.0
"""Of a new head over a body that moves slowly: banking77 with MiniLM in four epochs, validation .923 against .876 at 1,
and nothing lost on sst2 (docs/LOG.md, 2026-11-30)."""


class Method(Variant):
    """Settings of how a pretrained model is adapted."""

    usual_rate: ClassVar[float] = 5e-5
    """Peak rate of AdamW when none is given; what it gives on SST-2 is in docs/LOG.md."""

    only_heads: ClassVar[bool] = False
    """Whether nothing but new heads trains."""
    keeps_base: ClassVar[bool] = False
    """Whether it writes what it added alone, next to a base that stays as it was."""
    merges: ClassVar[bool] = True
    """Whether a plain model can be made of what it gives."""

    eval_frozen: ClassVar[bool] = False
    """Whether modules in which nothing trains are in eval mode, so that their dropout is off."""

    usual_width: ClassVar[float] = 0
    """Width of a model that learns at this rate; one that is k times as narrow learns at k times the rate, at most at
    AdamW's own (arXiv:2203.03466, table 3; ours: docs/LOG.md). 0: the rate does not depend on the width."""

    head_pace: ClassVar[float] = 1.0
    """How many times as fast new heads learn as the rest: what is random has a longer way to go."""

    def rate_for(self, optim: Any, width: int) -> float | None:
        """The usual peak rate of this method with an optimizer, for a model of a width; None: the optimizer's own."""
        if optim.kind != "adamw":
            return None
        faster = self.usual_rate * max(1.0, self.usual_width / width) if width else self.usual_rate
        return max(self.usual_rate, min(faster, float(optim.usual_rate)))

    def check(self, config: Any) -> None:
        """Raise a PretuneError where it cannot adapt a model of this transformers config."""

    def keeps_start(self) -> bool:
        """Whether what it added, switched off, leaves the model that training began with."""
        return self.keeps_base

    def taken(self) -> int:
        """Positions of a row that it needs for itself, so that they are not left for text."""
        return 0

    def keeps(self) -> bool:
        """Whether what frozen blocks give is kept on disk, where it can be (model/kept.py)."""
        return False

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        """Return the model with `requires_grad` set on what trains.

        Args:
            heads: names of new modules (a classifier), which always train.
        """
        raise AssertionError("a method has apply()")

    def scales(self, model: Any, layer_decay: float) -> dict[str, float] | None:
        """What the rate of each weight that trains is multiplied with; None: nothing.

        Args:
            layer_decay: factor from each layer to the one below it.
        """
        from pretune.model.families import family_of, plain_model

        trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        found = {} if layer_decay == 1 else dict(family_of(model).layer_scales(trained, layer_decay))
        if self.head_pace != 1:
            body, new = {id(p) for p in plain_model(model).base_model.parameters()}, set(getattr(model, NEW, ()))
            above = [name for name, p in model.named_parameters() if id(p) not in body and new & {*name.split(".")}]
            found |= {name: self.head_pace * found.get(name, 1.0) for name in above}
        return found or None

    def trained_at(self, names: Collection[str], step: int, total: int) -> Collection[str]:
        """Which of the weights that train move at a step (from 0): all; or a set that grows (gradual unfreezing)."""
        return names

    @contextmanager
    def around(self, state: Any) -> Iterator[None]:
        """What it does to the gradients of a whole step before weights move, and to the weights after: here nothing.

        Args:
            state: train.loop.step.TrainState.
        """
        yield

    def load(self, model: Any, folder: Path) -> Any:
        """A base model with what `save` wrote into an adapter folder."""
        raise AssertionError("a method that writes adapters has load()")

    def merge(self, model: Any) -> Any:
        """A plain transformers model that gives what the adapted one gives; the adapted one, where none does."""
        return model

    def save(self, model: Any, out: Path, *, base: str, tokenizer: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a model folder, or an adapter folder that names its base.

        Args:
            base: path of the pretrained model, relative to where the folder will lie.
            weights: exact float32 values by parameter name.
        """
        from pretune.model.folder import save_model

        save_model(model, out, tokenizer=tokenizer, weights=weights)


METHOD = Choice(
    Method,
    {
        "full": "pretune.model.methods.full:Full",
        "head": "pretune.model.methods.head:Head",
        "freeze": "pretune.model.methods.freeze:Freeze",
        "unfreeze": "pretune.model.methods.unfreeze:Unfreeze",
        "bitfit": "pretune.model.methods.bitfit:BitFit",
        "layernorm": "pretune.model.methods.layernorm:LayerNorm",
        "lora": "pretune.model.methods.lora:Lora",
        "adalora": "pretune.model.methods.adalora:AdaLora",
        "ia3": "pretune.model.methods.ia3:Ia3",
        "prefix": "pretune.model.methods.prefix:Prefix",
        "prompt": "pretune.model.methods.prompt:Prompt",
        "p-tuning": "pretune.model.methods.p_tuning:PTuning",
    },
    group="pretune.methods",
    default="full",
)
