"""A model from a shape, with weights drawn from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretune.base.json import JsonMap
from pretune.model.families import Head, Topped, family_named, tops
from pretune.model.rounded import Rounded
from pretune.model.shape import Decoder, Shape
from pretune.tokens.encode.tokenizer import Specials

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build_model(
    shape: Shape,
    head: Head,
    *,
    vocab_size: int,
    max_length: int,
    specials: Specials,
    seed: int,
    attention: str = "eager",
) -> PreTrainedModel:
    """A float32 model of this shape, the same for the same seed.

    Args:
        head: what it predicts.
        max_length: positions that the model will ever see.
        attention: transformers' attention implementation.

    Raises:
        NotSupported: the family has no such head.
    """
    settings = shape.config(vocab_size=vocab_size, max_length=max_length, specials=specials)
    return build_from({"model_type": shape.family, **settings}, head, shape, seed=seed, attention=attention)


def build_from(settings: JsonMap, head: Head, shape: Shape, *, seed: int, attention: str = "eager") -> PreTrainedModel:
    """The same from the config.json that the shape made.

    Raises:
        NotSupported: the family has no such head; UnknownKind: transformers has no such model.
    """
    kind = str(settings["model_type"])
    family = family_named(kind)
    config = family.config(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        maker = family.class_for(head, kind)
        also = family.made_with()
        model: PreTrainedModel = maker.from_config(config, attn_implementation=attention, dtype=torch.float32, **also)
        if isinstance(shape, Decoder) and shape.zero_init:
            zero(model, family.zero_init)
        shape.complete(model, head)
    if family.dropped and (share := getattr(shape, "dropout", 0.0)):
        drop_outputs(model, family.dropped, share)
    return model


def outline_with(config: Any, head: Head, *, outputs: int | None = None) -> Topped:
    """A model of a transformers config with a new head, any weights, and the names of what is above its body.

    Args:
        outputs: of the head; None: as the config says.
    """
    if outputs is not None:
        config.num_labels = outputs
    config.pad_token_id = config.pad_token_id or 0
    family = family_named(config.model_type)
    model = family.class_for(head, config.model_type).from_config(config, **family.made_with())
    return model, tops(model)


@torch.no_grad()
def zero(model: nn.Module, ends: tuple[str, ...]) -> None:
    """Zero the weights whose names end so: the last matrix of every branch, so that each block begins as the identity.

    Source: Fixup (arXiv:1901.09321), muP (arXiv:2203.03466, zero-initialised output layers), modded-nanogpt.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(ends):
            parameter.zero_()


def drop_outputs(model: nn.Module, ends: tuple[str, ...], share: float) -> None:
    """Dropout of what these modules give (embeddings, what each branch adds) while training; nothing of it is saved.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 5.4. Families that have settings of their own use those.
    """

    def drop(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return F.dropout(output, share, module.training)

    for name, module in model.named_modules():
        if name.endswith(ends):
            module.register_forward_hook(drop)


def num_parameters(model: nn.Module) -> int:
    """Weights of a model; those that are rounded count too."""
    whole = (m.in_features * m.out_features for m in model.modules() if isinstance(m, Rounded))
    return sum(p.numel() for p in model.parameters()) + sum(whole)
