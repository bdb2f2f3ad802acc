"""BitFit (arXiv:2106.10199): only the biases train, and the new head: a thousandth of the weights.

The paper's point is that fine-tuning on small data mostly brings out what a model knows: for that, moving where its
neurons begin to answer is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pretune.base.errors import NotSupported
from pretune.model.methods.method import Method

if TYPE_CHECKING:
    from torch import nn


class BitFit(Method):
    """Train the biases, and the new head."""

    usual_rate: ClassVar[float] = 4e-3

    def check(self, config: Any) -> None:
        from pretune.model.methods.own import body_weights

        if not any(map(_is_bias, body_weights(config))):
            problem = f"a {config.model_type} model has no biases, and method=bitfit trains nothing else"
            raise NotSupported(problem, hint="method=layernorm or method=lora train as few weights")

    def apply(self, model: Any, *, heads: tuple[str, ...]) -> nn.Module:
        from pretune.model.methods.own import train_only

        return train_only(model, heads, _is_bias)  # type: ignore[no-any-return]


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"
