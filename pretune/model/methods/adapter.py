"""Adapter folders: what was trained lies apart from its base, which is named by path and id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretune.base.artifact import CARD, Artifact
from pretune.base.errors import NoSuchFile
from pretune.model.folder import load_model, read_json
from pretune.model.methods.method import METHOD
from pretune.tokens.encode.tokenizer import special_ids


def open_adapter(folder: Path) -> Any:
    """The base model of an adapter folder with what was trained merged into it, in float32.

    (In bf16 merging moves logits by 1e-2, trap 12.)

    Raises:
        NoSuchFile: the base model is gone; UnknownKind: no method writes such adapters.
    """
    config = read_json(folder / "adapter_config.json")
    base, kind = _base_model(folder, config), str(config.get("peft_type", "")).lower()
    method: Any = METHOD.find(kind)(kind=kind)
    return method.merge(method.load(base, folder))


def _base_model(folder: Path, config: dict[str, Any]) -> Any:
    """With the head, and the labels, that the adapter was trained with."""
    base = _base(folder, config)
    if config.get("task_type") != "SEQ_CLS":
        return load_model(base, "next")
    labels = dict(enumerate(read_json(folder / "labels.json")))
    numbers = {name: k for k, name in labels.items()}
    model: Any = load_model(base, "label", num_labels=len(labels), id2label=labels, label2id=numbers)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = special_ids(folder).pad
    return model


def _base(folder: Path, config: dict[str, Any]) -> Path:
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
