"""A decoder's sizes and weights as llama.cpp wants them: its keys, its names, its order of rows.

    model.layers.0.self_attn.q_proj.weight  ->  blk.0.attn_q.weight       the table of names is the package gguf's
    llama, mistral     rows of queries and keys by pairs that turn together, not by halves
    gemma3             norms count from 0, not from 1
    gpt2               Conv1D's matrices turned, [in, out] -> [out, in]
    qwen3_moe          the experts of a block in one tensor for each matrix, [experts, out, in]

What llama.cpp computes otherwise than the model (a window it does not have, positions that it turns by another rule)
is refused here: its file would be read without an error and answer something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.model.families import SEES_ALL, SEES_WINDOW

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Weight:
    """One tensor of the file.

    Args:
        array: float32, the last axis is that of the inputs.
        scales: of weights on a grid, [rows, 1] of int8, [rows, groups] of int4: array is whole numbers times these.
        bits: of those whole numbers, 8 or 4.
    """

    name: str
    array: np.ndarray
    scales: np.ndarray | None = None
    bits: int = 8


Change = Callable[[str, np.ndarray, "PreTrainedConfig"], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """How models of one type are written.

    Args:
        architecture: llama.cpp's name.
        keys: (config) -> what is written under the architecture's name besides what all share.
        change: (name, array, config) -> the array as llama.cpp wants it; int8 scales go the same way.
        near: how far its logits may be; llama.cpp computes GELU from a table in 16 bits.
    """

    architecture: str
    keys: Callable[[PreTrainedConfig], Json]
    change: Change
    near: float = 1e-3


def kind_of(config: PreTrainedConfig) -> Kind:
    """Raises NotSupported for a type of model that is not written."""
    if config.model_type not in KINDS:
        known = ", ".join(KINDS)
        raise NotSupported(f"a {config.model_type} model cannot be written as GGUF", hint=f"these can: {known}")
    return KINDS[config.model_type]


def weights_of(
    model: PreTrainedModel, scales: Mapping[str, np.ndarray], steps: Mapping[str, np.ndarray]
) -> Iterator[Weight]:
    """The tensors of a model in the order of its own weights.

    Args:
        scales: of weights on an int8 grid, by the model's own names; steps: of those on an int4 grid.

    Raises:
        NotSupported: a weight that llama.cpp has no name for.
    """
    from gguf import get_tensor_name_map
    from gguf.constants import MODEL_ARCH_NAMES

    config, kind = model.config, kind_of(model.config)
    architecture = next(one for one, name in MODEL_ARCH_NAMES.items() if name == kind.architecture)
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    for full, array in _split(model):
        if full in tied:
            continue
        name = names.get_name(full, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise NotSupported(f"llama.cpp's {kind.architecture} has no place for {full}")
        found = scales.get(full, steps.get(full))
        changed = kind.change(full, array, config)
        bits = 4 if full in steps else 8
        yield Weight(name, changed, None if found is None else kind.change(full, found, config), bits)
    if (factors := _frequencies(model)) is not None:
        yield Weight("rope_freqs.weight", factors)


def _split(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """Weights by name; stacked experts under the names that gguf's table knows."""
    for name, tensor in model.state_dict().items():
        array = tensor.detach().float().cpu().numpy()
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            yield name, array
        elif name.endswith("down_proj"):
            yield f"{name}.weight", array
        else:
            stem = name.removesuffix("gate_up_proj")
            for part, half in zip(("gate_proj", "up_proj"), np.split(array, 2, axis=1), strict=True):
                yield f"{stem}{part}.weight", half


def _as_it_is(name: str, array: np.ndarray, config: PreTrainedConfig) -> np.ndarray:
    return array


def _by_pairs(name: str, array: np.ndarray, config: PreTrainedConfig) -> np.ndarray:
    """Rows of a head in the order 0, D/2, 1, D/2 + 1 ...: llama.cpp turns neighbours against each other, not halves."""
    found = re.search(r"self_attn\.([qk])_proj", name)
    if not found:
        return array
    heads = config.num_attention_heads if found[1] == "q" else config.num_key_value_heads
    halves = array.reshape(heads, 2, -1, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def _turned(name: str, array: np.ndarray, config: PreTrainedConfig) -> np.ndarray:
    is_conv = re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name)
    return np.ascontiguousarray(array.T) if is_conv else array


def _from_one(name: str, array: np.ndarray, config: PreTrainedConfig) -> np.ndarray:
    """Norms as factors. llama.cpp divides queries by the root of a head's width; their norm makes good the rest."""
    if not name.endswith("norm.weight"):
        return array
    wider = (width_of(config) / config.query_pre_attn_scalar) ** 0.5 if name.endswith("q_norm.weight") else 1.0
    return np.asarray((array + np.float32(1)) * np.float32(wider))


# ---- keys ---------------------------------------------------------------------------------------


def keys_of(model: PreTrainedModel, max_length: int) -> Json:
    """What the file says of a model's shape, under its architecture's name.

    Raises:
        NotSupported: llama.cpp would compute something else.
    """
    config = model.config
    shared = {
        "context_length": max_length,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "attention.head_count": config.num_attention_heads,
        "vocab_size": config.vocab_size,
    }
    return shared | kind_of(config).keys(config)


def width_of(config: PreTrainedConfig) -> int:
    """Of one head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _rotary(config: PreTrainedConfig) -> Json:
    _check_activation(config.hidden_act, "silu")
    return _sizes(config) | _positions(config.rope_parameters)


def _sizes(config: PreTrainedConfig) -> Json:
    width = width_of(config)
    return {
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "feed_forward_length": config.intermediate_size,
        "rope.dimension_count": width,
    }


def _positions(rope: Any) -> Json:
    rope = rope or {}
    kind, base = rope.get("rope_type", "default"), {"rope.freq_base": float(rope.get("rope_theta", 10_000.0))}
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise NotSupported("a model that turns a part of each head is not written as GGUF", hint="to=onnx may hold it")
    if kind == "linear":
        return base | {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if kind not in ("default", "llama3"):
        raise NotSupported(f"rotary positions of kind {kind!r} are not written as GGUF", hint="to=onnx may hold them")
    return base


def _plain(config: PreTrainedConfig) -> Json:
    """Of decoders that see everything, and have no factors of their own for the turning."""
    window, kinds = getattr(config, "sliding_window", None), set(getattr(config, "layer_types", None) or [SEES_ALL])
    by_config = config.model_type in ("mistral", "qwen3_moe")  # of others `layer_types` says it
    near = by_config and window is not None and window < config.max_position_embeddings
    if near or kinds != {SEES_ALL}:
        raise NotSupported(f"llama.cpp's {KINDS[config.model_type].architecture} sees everything, this model a window")
    if (config.rope_parameters or {}).get("rope_type") == "llama3" and KINDS[config.model_type].architecture != "llama":
        raise NotSupported(f"llama.cpp's {config.model_type} turns positions by the default rule, not by llama3's")
    return _rotary(config)


def _moe(config: PreTrainedConfig) -> Json:
    if config.decoder_sparse_step != 1 or config.mlp_only_layers or not config.norm_topk_prob:
        raise NotSupported("llama.cpp's qwen3moe has experts in all blocks, and shares that sum to one")
    return _plain(config) | {
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
    }


def _gemma(config: PreTrainedConfig) -> Json:
    from pretune.model.families.gemma3 import kinds_of

    types, layers = list(config.layer_types), config.num_hidden_layers
    every = next((n for n in range(1, layers + 2) if types == kinds_of(layers, n, first_full=False)), None)
    if every is None or config.final_logit_softcapping is not None or config.use_bidirectional_attention:
        raise NotSupported("llama.cpp's gemma3 has one layer in so many that sees all, and no cap on its logits")
    if len(set(types)) == 1:  # it ends the process
        raise NotSupported(
            "llama.cpp's gemma3 has layers that see a window and layers that see all, this model one kind"
        )
    _check_activation(config.hidden_activation, "gelu_pytorch_tanh")
    near, far = (config.rope_parameters[name] for name in (SEES_WINDOW, SEES_ALL))
    if near.get("rope_type", "default") != "default":
        raise NotSupported("llama.cpp's gemma3 turns positions of layers with a window by the default rule")
    if far.get("rope_type") == "llama3":
        raise NotSupported("llama.cpp's gemma3 has no factors of its own for the turning, as llama3's rule has them")
    window = {"attention.sliding_window": config.sliding_window, "attention.sliding_window_pattern": every}
    turning = _positions(far) | {"rope.freq_base_swa": float(near["rope_theta"])}
    return _sizes(config) | window | turning


def _gpt2(config: PreTrainedConfig) -> Json:
    _check_activation(config.activation_function, "gelu_new")
    if not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx:
        raise NotSupported("llama.cpp's gpt2 divides queries by the root of a head's width alone")
    inner = config.n_inner or 4 * config.n_embd
    return {"feed_forward_length": inner, "attention.layer_norm_epsilon": float(config.layer_norm_epsilon)}


def _check_activation(kind: str, known: str) -> None:
    if kind not in (known, {"silu": "swish", "gelu_new": "gelu_pytorch_tanh"}.get(known)):
        raise NotSupported(f"llama.cpp computes {known} in this architecture, and the model has {kind}")


def _frequencies(model: PreTrainedModel) -> np.ndarray | None:
    """By what llama3's rule divides each frequency, float32 [D / 2]; None of other rules."""
    rope = getattr(model.config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "llama3":
        return None
    width = width_of(model.config)
    plain = float(rope["rope_theta"]) ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    turning: Any = model.base_model
    return np.asarray(plain / turning.rotary_emb.inv_freq.numpy(), np.float32)


KINDS = {
    "qwen3": Kind("qwen3", _plain, _as_it_is),
    "qwen2": Kind("qwen2", _plain, _as_it_is),
    "llama": Kind("llama", _plain, _by_pairs),
    "mistral": Kind("llama", _plain, _by_pairs),
    "gemma3_text": Kind("gemma3", _gemma, _from_one, near=1e-2),
    "qwen3_moe": Kind("qwen3moe", _moe, _as_it_is),
    "gpt2": Kind("gpt2", _gpt2, _turned, near=1e-2),
}
"""transformers' `model_type` -> how it is written."""
