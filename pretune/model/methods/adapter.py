"""Adapter folders: what was trained lies apart from its base, which is named by path and id.

adapter_config.json          which method (`peft_type`), which head (`task_type`), where the base is, the method's own
adapter_model.safetensors    what was trained
labels.json                  names of the labels, where there are any
base.json                    digest of the base's weights: no other base is taken
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
from pretune.base.digest import digest, file_digests
from pretune.base.errors import Changed, NoSuchFile, NotSupported
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
    write_json,
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
KINDS = {"prefix_tuning": "prefix", "prompt_tuning": "prompt", "p_tuning": "p-tuning"}
"""PEFT's names of methods that we call otherwise."""
BASE = "base.json"


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


def write_base(out: Path, base: Path) -> None:
    """Write which weights the adapter was trained next to."""
    write_json(out / BASE, {"weights": weights_digest(base)})


def weights_digest(folder: Path) -> str:
    """A digest of the weights of a model folder: of its safetensors files in the order of their names."""
    files = sorted(folder.glob("*.safetensors"))
    return digest(file_digests({path.name: path for path in files}))


def _check_base(folder: Path, base: Path) -> None:
    if not (folder / BASE).is_file() or weights_digest(base) == read_json(folder / BASE)["weights"]:
        return
    problem = f"the adapter {folder.as_posix()} was trained next to other weights than those in {base.as_posix()}"
    raise Changed(
        problem, hint="put the base back that it was trained with; next to another one its answers mean nothing"
    )


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
    base, method = _base_model(folder, config), _method(config)
    return method.merge(method.load(base, folder))


def check_merges(folder: Path) -> None:
    """Raise NotSupported for the folder of an adapter of which no plain model can be made; nothing is loaded."""
    if not (folder / "adapter_config.json").is_file():
        return
    method = _method(read_json(folder / "adapter_config.json"))
    if not method.merges:
        problem = f"{folder.as_posix()} was learnt with method={method.kind}, which cannot be merged into its base"
        raise NotSupported(problem, hint="serve and evaluate the folder as it is, or train with method=lora")


def _method(config: Json) -> Any:
    said = str(config.get("peft_type", "")).lower()
    kind = KINDS.get(said, said)
    return METHOD.find(kind)(kind=kind)


def _base_model(folder: Path, config: Json) -> Any:
    """With the head, and the labels, that the adapter was trained with."""
    base = _base(folder, config)
    _check_base(folder, base)
    head = TASK_TYPES.get(config.get("task_type") or "CAUSAL_LM", "next")
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
