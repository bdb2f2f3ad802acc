"""A head that does not train, on a body that does: what a model of an earlier task says once its body has moved on.

earlier model  =  body as it was  +  head        ──▶   the body that trains now  +  the same head
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pretune.base.errors import NotSupported
from pretune.model.families import plain_model


@dataclass(frozen=True)
class HeldHead:
    """An earlier head; call it for the module that answers.

    Args:
        module: the transformers model of the earlier task, whose body is the one that trains.
        own: its parameters above that body, which do not train; exact: their values.
    """

    module: Any
    own: Sequence[nn.Parameter]
    exact: Sequence[Tensor]

    def __call__(self, model: Any) -> Any:
        """The module, its head in the type of the body: that is narrow in training, exact while it is looked at."""
        like = next(p for p in plain_model(model).parameters() if p.dim() > 1)
        for parameter, exact in zip(self.own, self.exact, strict=True):
            if parameter.dtype != like.dtype or parameter.device != like.device:
                parameter.data = exact.to(like.device, like.dtype)
        return self.module


def hold_head(earlier: Any, model: Any, *, name: str) -> HeldHead:
    """Put the head of an earlier model, which is changed, on the body of the model that trains.

    Args:
        name: of the earlier task, for messages.

    Raises:
        NotSupported: the two have other bodies, or the earlier model has no head of its own.
    """
    plain, prefix = plain_model(model), earlier.base_model_prefix
    if not hasattr(earlier, prefix):
        raise NotSupported(f"{name} was learnt by the body itself: it has no head to be remembered by")
    if earlier.config.model_type != plain.config.model_type:
        problem = f"{name} was learnt by a {earlier.config.model_type} model, this one is a {plain.config.model_type}"
        raise NotSupported(problem, hint="begin with the model that learnt it, or with one that was made from it")
    setattr(earlier, prefix, _as(getattr(earlier, prefix), plain.base_model))
    earlier.tie_weights()
    shared = {id(p) for p in plain.base_model.parameters()}
    own = [p.requires_grad_(False) for p in earlier.parameters() if id(p) not in shared]
    return HeldHead(earlier, own, [p.detach().clone() for p in own])


def _as(other: Any, body: Any) -> Any:
    """The body with the parts that the other one has: a pooler belongs to the head that reads it."""
    parts = {name: body._modules.get(name) or part for name, part in other._modules.items()}
    if parts.keys() == body._modules.keys():
        return body
    found = copy.copy(body)
    found._modules = parts
    for name in {*parts, *body._modules}:
        vars(found).pop(name, None)  # what is None is no module, and would be found first
    for name in body._modules.keys() - parts.keys():
        setattr(found, name, None)
    return found
