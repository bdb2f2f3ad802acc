"""Model folders: plain Hugging Face layout, read and written.

Weights are safetensors with the one metadata entry {"format": "pt"} (more entries are written in random
order: the same tensors, other bytes). The tokenizer lies in the model's own folder and is taken from there.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pretune.base.errors import BadFile, DoesNotFit, NotSupported
from pretune.base.json import Json
from pretune.base.limits import memory
from pretune.infer.load import head_of
from pretune.infer.pooling import KEPT, write_pooling
from pretune.infer.searching import Search
from pretune.infer.trusted import check_folder, read_json, shapes_in
from pretune.model.families import Head, family_named, family_of, tops
from pretune.report.numbers import size
from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

BODIES = {"model": "transformer", "transformer": "model"}
"""Names of the body in one and the other class of a family."""
GENERATION = "generation_config.json"
TORTURE = (
    "Hello world  \t two spaces\n\n    indent\n你好，世界 🙂👩‍👩‍👧 naïve café Ｆｕｌｌ ２ ① C++ 3.14 don't\r\n"
    "Привет مرحبا こんにちは 안녕 <|endoftext|> [MASK] <s> a < b and c > d"
)


def quiet_transformers() -> None:
    """Keep transformers' own chatter (new heads, progress bars) off the console."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("torch").setLevel(logging.ERROR)


def weight_bytes(folder: Path, *, bytes_per_parameter: int = 4) -> int:
    """Memory of the weights, in float32 unless said otherwise."""
    return sum(math.prod(shape) for shape in weight_shapes(folder).values()) * bytes_per_parameter


def weight_shapes(folder: Path) -> dict[str, list[int]]:
    """The shape of each weight by its name, read from the files' headers alone. Raises BadFile."""
    return {n: shape for path in sorted(folder.glob("*.safetensors")) for n, shape in shapes_in(path).items()}


def check_memory(needed: float, what: str) -> None:
    """Raise DoesNotFit if `needed` bytes are more than what is free."""
    free = memory().free
    if needed > free:
        problem = f"{what} needs {size(needed)} of memory, {size(free)} are free"
        raise DoesNotFit(problem, hint="take a smaller model, or method=lora, or a machine with more memory")


def load_model(folder: Path, head: Head, *, attention: str | None = None, **config: Any) -> PreTrainedModel:
    """A float32 model from a folder.

    Args:
        head: what it shall predict.
        config: changes to the model's config (num_labels, id2label ...).

    Raises:
        NotSupported: no safetensors, or the family has no such head; DoesNotFit: more than the memory that is free.
    """
    return load_with_new(folder, head, attention=attention, **config)[0]


def load_with_new(
    folder: Path, head: Head, *, attention: str | None = None, **config: Any
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """A float32 model, and the modules that its folder has no weights for: they are random and must be trained.

    `classifier` and `score` are such heads, but also the `pooler` of an encoder that was pretrained without one:
    an adapter that did not save it would come back with another random pooler.
    """
    quiet_transformers()
    check_folder(folder)
    if not any(folder.glob("*.safetensors")):
        raise NotSupported(f"{folder.as_posix()} has no safetensors weights", hint="name the folder that has them")
    check_memory(weight_bytes(folder), f"loading {folder.as_posix()}")
    extra = {"attn_implementation": attention} if attention else {}
    kind = model_type_of(folder)
    family = family_named(kind)
    maker = family.class_for(head, kind)
    model, info = maker.from_pretrained(
        folder,
        output_loading_info=True,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        key_mapping=_renamed(folder, maker, kind),
        **family.made_with(),
        **extra,
        **config,
    )
    prefix = f"{model.base_model_prefix}."
    new = {key.removeprefix(prefix).split(".")[0] for key in info["missing_keys"]}
    if head == "vector":
        return without_pooler(model), tuple(sorted(new - {"pooler"}))
    return model, tuple(sorted(new))


def without_pooler(model: Any) -> Any:
    """BERT's pooler was pretrained for something else, is often not in a folder, and no vector comes from it."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def _renamed(folder: Path, maker: Any, kind: str) -> dict[str, str] | None:
    """New names of weights whose body is called otherwise in the folder than in the class (Qwen3's for spans)."""
    from transformers import CONFIG_MAPPING

    wanted = maker._model_mapping[CONFIG_MAPPING[kind]].base_model_prefix
    there = {name.partition(".")[0] for name in weight_shapes(folder)}
    other = BODIES.get(wanted)
    return {rf"^{other}\.": f"{wanted}."} if other in there and wanted not in there else None


def load_labelled(
    folder: Path,
    head: Head,
    labels: Sequence[str],
    *,
    tokenizer: Path | None = None,
    problem: str | None = None,
    kept: Mapping[str, Any] | None = None,
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """A float32 model with a head for these labels, and its modules that must be trained: what is new, and the head.

    Args:
        tokenizer: the folder of its tokenizer, by default its own.
        problem: transformers' `problem_type`, where it is not one of several labels.
        kept: what is written under KEPT.

    Raises:
        NotSupported: the tokenizer has no token to pad with.
    """
    source = tokenizer or folder
    named: Json = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }
    model, new = load_with_new(folder, head, num_labels=len(labels), ignore_mismatched_sizes=True, **named)
    model.config.problem_type = problem
    keep(model.config, kept)
    pad_with(model.config, source)
    return model, tuple(sorted({*new, *tops(model)}))


def begin_at(model: PreTrainedModel, logits: NDArray[np.float64]) -> None:
    """The bias of the head becomes these logits, [labels]; a head without a bias begins as it is.

    Where one label is much more frequent than another the first steps would otherwise push every text the same way:
    the tanh of BERT's pooler then saturates, and nothing behind it learns any more (docs/LOG.md).
    Source: Lin et al. 2017, arXiv:1708.02002, section 4.1.
    """
    wanted, heads = torch.as_tensor(logits, dtype=torch.float32), tops(model)
    named = [bias for name, bias in model.named_parameters() if name.split(".")[0] in heads and name.endswith("bias")]
    with torch.no_grad():
        for bias in [bias for bias in named if bias.shape == wanted.shape][-1:]:
            bias.copy_(wanted)


def load_body(folder: Path, kept: Mapping[str, Any], *, tokenizer: Path | None = None) -> Any:
    """The pretrained model without a head, in float32; `kept`: what is written under KEPT."""
    model, _ = load_with_new(folder, "vector")
    keep(model.config, kept)
    pad_with(model.config, tokenizer or folder)
    return model


def pad_with(config: Any, tokenizer: Path) -> None:
    """Name the token to pad with in a config that has none. Raises NotSupported where the tokenizer has none either."""
    if config.pad_token_id is None:
        specials = special_ids(tokenizer)
        config.pad_token_id = specials.pad if specials.pad is not None else specials.eos
    if config.pad_token_id is None:
        raise NotSupported(f"the tokenizer of {tokenizer.as_posix()} has neither a pad nor an end token")


def keep(config: Any, kept: Mapping[str, Any] | None) -> None:
    """Put under KEPT what a head needs; what an earlier head needed goes."""
    vars(config).pop(KEPT, None)
    if kept:
        setattr(config, KEPT, dict(kept))


def config_of(folder: Path) -> Json:
    """The config of a model that is to be trained further. Raises NotSupported: an adapter; BadFile."""
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        hint = "begin with its base, which adapter_config.json names"
        raise NotSupported(f"{folder.as_posix()} is an adapter, and training begins with a whole model", hint=hint)
    return dict(read_json(folder / "config.json"))


def model_type_of(folder: Path) -> str:
    """transformers' name of a model folder's architecture; raises BadFile."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError) as error:
        raise BadFile(f"{folder.as_posix()}/config.json names no model_type: {error!r}") from None


def save_model(model: nn.Module, out: Path, *, tokenizer: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write a model folder: float32 weights, config, tokenizer; the tokenizer's ids are checked afterwards.

    Args:
        weights: float32 masters by parameter name, where they are finer than the model's own weights.

    Raises:
        NotSupported: the model is more than its class, by an adapter that cannot be merged.
    """
    core: Any = model
    check_plain(core)
    state = {name: tensor.detach().float() for name, tensor in core.state_dict().items()}
    state |= {name: tensor.detach().float() for name, tensor in (weights or {}).items()}
    write_safetensors(family_of(core).in_files(core, _untied(core, state)), out / "model.safetensors")
    _write_config(core, out)
    if head_of([type(core).__name__]) == "vector" and hasattr(core.config, KEPT):
        write_pooling(out, getattr(core.config, KEPT), core.config.hidden_size)
    copy_tokenizer(tokenizer, out)


def check_plain(model: Any) -> None:
    """Raise NotSupported for a model with weights that transformers' class has not: other programs would drop them."""
    with torch.device("meta"):
        known = type(model)(model.config).state_dict().keys()
    if more := [name for name in model.state_dict() if name not in known]:
        problem = f"a {type(model).__name__} has no {more[0]}: its adapter cannot be merged into it"
        raise NotSupported(problem, hint="use the adapter's folder as it is, or train with method=lora")


def _untied(model: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the second name of shared tensors (a tied head), as `save_pretrained` does."""
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    return {name: tensor for name, tensor in state.items() if name not in tied}


def write_safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Tensors in the order of their names, with no metadata but the format, synced to the disk."""
    from safetensors.torch import save_file

    save_file({n: tensors[n].detach().cpu().contiguous() for n in sorted(tensors)}, path, metadata={"format": "pt"})
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _write_config(model: Any, out: Path) -> None:
    config = {**model.config.to_dict(), "dtype": "float32", "architectures": [type(model).__name__]}
    for key in ("_name_or_path", "transformers_version", "_attn_implementation", "_experts_implementation"):
        config.pop(key, None)
    write_json(out / "config.json", config)
    generation = getattr(model, "generation_config", None)
    if generation is not None and model.can_generate():
        kept = {k: v for k, v in generation.to_diff_dict().items() if k.endswith("_token_id") and v is not None}
        write_json(out / GENERATION, kept | search_of(generation).generation())


def search_of(generation: Any) -> Search:
    """How answers are looked for, by a transformers generation config."""
    return Search.of(vars(generation))


def write_search(model: Any, out: Path) -> None:
    """How answers are looked for, into a folder without the model; nothing where that is by the likeliest token."""
    if search := search_of(model.generation_config).generation() if model.can_generate() else {}:
        write_json(out / GENERATION, search)


def read_search(model: Any, folder: Path) -> None:
    """What `write_search` wrote, into a model's generation config."""
    if (folder / GENERATION).is_file():
        model.generation_config.update(**read_json(folder / GENERATION))


def write_json(path: Path, tree: Any) -> None:
    """A file of a model folder: two blanks deep, keys sorted."""
    path.write_text(json.dumps(tree, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copy a tokenizer so that AutoTokenizer and tokenizers agree on its ids.

    Without `tokenizer_class: PreTrainedTokenizerFast` transformers 5 rebuilds it by its model's class, with
    other ids; padding and truncation that lie in `tokenizer.json` are taken out.
    """
    if not (source / "tokenizer.json").is_file():
        hint = "convert the tokenizer to tokenizer.json (transformers does: AutoTokenizer(...).save_pretrained)"
        raise NotSupported(f"{source.as_posix()} has no tokenizer.json", hint=hint)
    tree = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    _write_json_compact(out / "tokenizer.json", {**tree, "padding": None, "truncation": None})
    config = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    config |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.pop("auto_map", None)
    write_json(out / "tokenizer_config.json", config)
    for name in ("chat_template.jinja", "special_tokens_map.json"):
        if (source / name).is_file():
            (out / name).write_bytes((source / name).read_bytes())
    check_tokenizer(out)


def _write_json_compact(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")


def check_tokenizer(folder: Path) -> None:
    """Assert that AutoTokenizer and the tokenizers library give equal ids on a torture text."""
    from transformers import AutoTokenizer

    quiet_transformers()
    ours: list[int] = load_tokenizer(folder).encode(TORTURE, add_special_tokens=False).ids
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True).encode(TORTURE, add_special_tokens=False)
    if list(ours) != list(theirs):
        raise NotSupported(
            f"AutoTokenizer reads {folder.as_posix()} with other ids than its tokenizer.json",
            hint="use a folder whose tokenizer.json is complete",
        )


def set_model_length(folder: Path, max_length: int) -> None:
    """Write into the folder how many tokens an input may have (`model_max_length`)."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**config, "model_max_length": max_length})
