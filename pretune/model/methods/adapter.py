"""Adapter folders: what was trained lies apart from its base, which is named by path and id.

adapter_config.json          which method (`peft_type`), which head (`task_type`), where the base is, the method's own
adapter_model.safetensors    what was trained
labels.json                  names of the labels, where there are any
base.json                    digest of the base's weights: no other base is taken; `precision` of one that was rounded
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

import torch

from pretune.base.artifact import CARD, Artifact
from pretune.base.digest import digest, file_digests
from pretune.base.errors import Changed, NoSuchFile, NotSupported
from pretune.base.json import Json
from pretune.infer.load import head_of
from pretune.infer.pooling import KEPT
from pretune.infer.trusted import read_json
from pretune.model.families import LABELLED, Head, plain_model
from pretune.model.folder import (
    copy_tokenizer,
    keep,
    load_body,
    load_labelled,
    load_model,
    read_search,
    save_model,
    weight_shapes,
    write_json,
    write_safetensors,
    write_search,
)
from pretune.model.methods.method import METHOD
from pretune.model.rounded import PLAIN, precision_of, put_on_grid

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


def write_next_to(
    model: Any,
    out: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    base: str,
    tokenizer: Path,
    has_heads: bool,
    plain: Callable[[Any], Any] | None = None,
) -> None:
    """Write an adapter folder with all that is needed to open it next to its base.

    Args:
        model: the transformers model that was adapted; has_heads: whether `tensors` has a new head of it.
        base, tokenizer: as of `write_adapter`; the tokenizer's folder is that of the base.
        plain: makes JSON of what is none in the config.
    """
    labels = model.config.id2label if has_heads else None
    facts: dict[str, Any] = {"labels": labels, "head": head_facts(model.config), "plain": plain}
    write_adapter(out, tensors, config, base=base, tokenizer=tokenizer, **facts)
    write_base(out, tokenizer, precision_of(model))
    write_search(model, out)


def write_base(out: Path, base: Path, precision: str = PLAIN) -> None:
    """Write which weights the adapter was trained next to, and how they were rounded, if they were."""
    rounding = {} if precision == PLAIN else {"precision": precision}
    write_json(out / BASE, {"weights": weights_digest(base), **rounding})


def weights_digest(folder: Path) -> str:
    """A digest of the weights of a model folder: of its safetensors files in the order of their names."""
    files = sorted(folder.glob("*.safetensors"))
    return digest(file_digests({path.name: path for path in files}))


def check_base(folder: Path, base: Path) -> None:
    """Raise Changed for an adapter that was trained next to other weights than those of the folder `base`."""
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


def write_merged(folder: Path, out: Path) -> bool:
    """Write the model of an adapter folder, merged into its base, as a model folder. Raises as `check_merges`."""
    check_merges(folder)
    out.mkdir(exist_ok=True)
    save_model(open_adapter(folder), out, tokenizer=folder)
    if (folder / "labels.json").is_file():
        (out / "labels.json").write_bytes((folder / "labels.json").read_bytes())
    return True


def open_base(folder: Path) -> Any:
    """The base model of an adapter folder as it was before, in float32, with the head the adapter was trained with."""
    return _base_model(folder, read_json(folder / "adapter_config.json"))


def open_next_to(folder: Path, base: Path, body: Any) -> Any:
    """The model of an adapter folder around weights that are in memory already, not merged, in float32.

    It has modules of its own; of the base's weights it has those of `body`, which nobody may change.

    Args:
        base: the folder of the base; body: a transformers model of it, with whatever head.

    Raises:
        Changed: the adapter was trained next to other weights; UnknownKind: no method writes such adapters.
    """
    config = read_json(folder / "adapter_config.json")
    method, model = _method(config), _base_model(folder, config, base)
    # What the adapter writes into the model must not be written into what all share.
    own = weight_shapes(folder).keys()
    kept = {id(parameter) for name, parameter in model.named_parameters() if name in own}
    for mine, held in ((model, body), (model.base_model, body.base_model)):
        there = dict(held.named_parameters())
        for name, parameter in mine.named_parameters():
            if name in there and id(parameter) not in kept and torch.equal(there[name], parameter):
                parameter.data = there[name].data
    return method.load(model, folder)


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


def _base_model(folder: Path, config: Json, at: Path | None = None) -> Any:
    """With the head, the labels and the rounding that the adapter was trained with.

    Args:
        at: where it is, if that is known.
    """
    base = at or _base(folder, config)
    check_base(folder, base)
    said = read_json(folder / BASE) if (folder / BASE).is_file() else {}
    return put_on_grid(_with_head(folder, config, base), said.get("precision", PLAIN))


def _with_head(folder: Path, config: Json, base: Path) -> Any:
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
