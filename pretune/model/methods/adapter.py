"""Adapter folders: what was trained lies apart from its base, which is named by path and id.

adapter_config.json          which method (`peft_type`), which head (`task_type`), where the base is, the method's own
adapter_model.safetensors    what was trained
labels.json                  names of the labels, where there are any
head.json                    what config.json says of a head (`problem_type`, KEPT), if it says something
generation_config.json       how answers are looked for, where that is not always by the likeliest token
tokenizer.json ...           the tokenizer

PEFT's layout, which a method of ours writes as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.artifact import CARD, Artifact
from pretune.base.errors import NoSuchFile
from pretune.base.json import Json
from pretune.infer.load import head_of
from pretune.infer.pooling import KEPT
from pretune.model.families import LABELLED, Head, plain_model
from pretune.model.folder import (
    copy_tokenizer,
    keep,
    load_body,
    load_labelled,
    load_model,
    read_json,
    read_search,
    write_safetensors,
)
from pretune.model.methods.method import METHOD

if TYPE_CHECKING:
    from torch import Tensor

TASK_TYPES: Mapping[str, Head] = {
    "CAUSAL_LM": "next",
    "SEQ_CLS": "label",
    "TOKEN_CLS": "tags",
    "QUESTION_ANS": "span",
    "SEQ_2_SEQ_LM": "text",
    "FEATURE_EXTRACTION": "vector",
}
"""PEFT's name of what an adapted model does -> its head."""


def task_type_of(model: Any) -> str | None:
    """PEFT's name of what a model does; None where it has none."""
    head = head_of([type(plain_model(model)).__name__])
    return next((name for name, one in TASK_TYPES.items() if one == head), None)


def write_adapter(
    out: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    base: str,
    tokenizer: Path,
    labels: Mapping[int, str] | None,
    head: Mapping[str, Any] | None = None,
    plain: Callable[[Any], Any] | None = None,
) -> None:
    """Write an adapter folder: float32 tensors, and the config, which names its method and its head.

    Args:
        base: path of the pretrained model, relative to where the folder will lie; tokenizer: the folder of its own.
        head: what is written into head.json, if anything.
        plain: makes JSON of what is none in the config.
    """
    write_safetensors({name: tensor.float() for name, tensor in tensors.items()}, out / "adapter_model.safetensors")
    text = json.dumps({**config, "base_model_name_or_path": base}, indent=2, sort_keys=True, default=plain)
    (out / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    copy_tokenizer(tokenizer, out)
    if labels:
        named = json.dumps([labels[i] for i in range(len(labels))], ensure_ascii=False)
        (out / "labels.json").write_text(named + "\n", encoding="utf-8")
    if head:
        (out / "head.json").write_text(json.dumps(head, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def head_facts(config: Any) -> Json:
    """What head.json says of a model's head."""
    found = {"problem_type": getattr(config, "problem_type", None), KEPT: getattr(config, KEPT, None)}
    return {name: value for name, value in found.items() if value}


def open_adapter(folder: Path) -> Any:
    """The base model of an adapter folder with what was trained merged into it, or kept in it, in float32.

    (In bf16 merging moves logits by 1e-2, trap 12.)

    Raises:
        NoSuchFile: the base model is gone; UnknownKind: no method writes such adapters.
    """
    config = read_json(folder / "adapter_config.json")
    base, kind = _base_model(folder, config), str(config.get("peft_type", "")).lower()
    method: Any = METHOD.find(kind)(kind=kind)
    return method.merge(method.load(base, folder))


def _base_model(folder: Path, config: Json) -> Any:
    """With the head, and the labels, that the adapter was trained with."""
    base, head = _base(folder, config), TASK_TYPES.get(config.get("task_type") or "CAUSAL_LM", "next")
    more = read_json(folder / "head.json") if (folder / "head.json").is_file() else {}
    if head in LABELLED:
        said = {"problem": more.get("problem_type"), "kept": more.get(KEPT)}
        return load_labelled(base, head, read_json(folder / "labels.json"), tokenizer=folder, **said)[0]
    if head == "vector":
        return load_body(base, more[KEPT], tokenizer=folder)
    model = load_model(base, head)
    keep(model.config, more.get(KEPT))
    read_search(model, folder)
    return model


def _base(folder: Path, config: Json) -> Path:
    """Where the base model lies: as the adapter says, or, when it was moved, by the id on the card."""
    said = config.get("base_model_name_or_path") or ""
    near = folder / said
    if said and (near / "config.json").is_file():
        return near
    if (folder / CARD).is_file():
        found = Artifact.open(folder)
        for place, one in found.card.inputs.items():
            if one["kind"] == "model" and (base := found.source(place)):
                return base.path
    hint = "put the base model back; the path is counted from the adapter's folder"
    raise NoSuchFile(f"the base model {said!r} of the adapter {folder.as_posix()} is not there", hint=hint)
