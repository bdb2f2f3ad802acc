"""Several models that share one body, and the folder that holds them: the body, and an adapter folder for each head.

config.json model.safetensors tokenizer.json     the body, an ordinary model folder
NAME/                                            an adapter folder with the weights of one head; its base is `..`
several.json                                     the names, in order
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pretune.infer.several import FILE
from pretune.model.folder import keep, save_model, write_json
from pretune.model.methods.adapter import head_facts, task_type_of, write_adapter


class ManyHeads(nn.Module):
    """Models of one family whose body is one and the same: that of the model with the largest body.

    (Some classes keep a pooler in their body, which others do not read.)
    """

    def __init__(self, models: Mapping[str, Any]):
        super().__init__()
        body = max(
            (body_of(model) for model in models.values()), key=lambda one: sum(p.numel() for p in one.parameters())
        )
        for model in models.values():
            setattr(model, model.base_model_prefix, body)
        self.heads = nn.ModuleDict(models)

    def get_base_model(self) -> Any:
        """One of the models: of its config and its blocks, what holds for one holds for all."""
        return next(iter(self.heads.values()))


def body_of(model: Any) -> Any:
    """What a model with a head shares with models with other heads."""
    return getattr(model, model.base_model_prefix)


def own_weights(model: Any) -> dict[str, Tensor]:
    """The weights of a model above its body, by name."""
    inside = {id(parameter) for parameter in body_of(model).parameters()}
    return {name: p for name, p in model.named_parameters() if id(p) not in inside}


def save_many(many: ManyHeads, out: Path, *, tokenizer: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the folder.

    Args:
        tokenizer: the folder of the tokenizer.
        weights: exact float32 values by parameter name.
    """
    first = many.get_base_model()
    exact = {id(p): weights[name] for name, p in many.named_parameters() if name in weights}
    body = body_of(first)
    body.config = deepcopy(body.config)
    keep(body.config, None)  # what a head needs stands next to its weights
    save_model(body, out, tokenizer=tokenizer, weights={n: exact.get(id(p), p) for n, p in body.named_parameters()})
    for name, model in many.heads.items():
        (out / name).mkdir()
        config: Any = model.config
        write_adapter(
            out / name,
            {n: exact.get(id(p), p) for n, p in own_weights(model).items()},
            {"peft_type": "HEAD", "task_type": task_type_of(model)},
            base="..",
            tokenizer=tokenizer,
            labels=config.id2label,
            head=head_facts(config),
        )
    write_json(out / FILE, list(many.heads))
