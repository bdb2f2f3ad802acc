"""The graphs of causal models: Llama, Qwen2, Qwen3, Qwen3-MoE, Mistral, Gemma 3 (rotary positions), GPT-2 (learned).

One graph reads a prompt and goes on token by token, so there is one copy of the weights:

    input_ids [B, L], attention_mask [B, P + L], position_ids [B, L], past_key_values.{i}.key/.value [B, Hkv, P, D]
        ──▶  logits [B, K, V] of the last K positions, present.{i}.key/.value [B, Hkv, P + L, D]

P may be 0. K is 1 unless `num_logits` is given, an input with a default, which other programs need not know. The mask
is part of the graph: rows padded on the left give what they give alone. A classifier on a decoder reads whole rows
(input_ids, attention_mask) and scores the last position that is not padding; for tags and spans every one is scored.

*B rows, L positions, P positions in the cache, T = P + L, D width of a head, H heads, V vocabulary, N tokens.*
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import NotSupported
from pretune.export.adapters import num_virtual, virtual_pairs
from pretune.export.pooling import pooled
from pretune.export.writer import ACTIVATIONS, GraphWriter, Weights
from pretune.infer.ort import NUM_LOGITS
from pretune.infer.pooling import KEPT
from pretune.model.families import SEES_ALL, SEES_WINDOW, tops

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Heads:
    """The attention of a causal model: layers, query and key heads, width of a head."""

    layers: int
    query: int
    key: int
    width: int


@dataclass(frozen=True)
class Family:
    """How one kind of causal model is written.

    Args:
        heads: sizes from the config.
        prefix: where the trunk's parameters lie.
        trunk: (writer, model, ids, positions, attend) -> hidden [B, L, D].
        embedding: the name of the token embedding.
        check: raises NotSupported for a config that the trunk does not write.
    """

    prefix: str
    embedding: str
    heads: Callable[[PreTrainedConfig], Heads]
    trunk: Callable[[GraphWriter, PreTrainedModel, str, str, Attend], str]
    check: Callable[[PreTrainedConfig], None]


class Attend:
    """Attention with its mask and, if there is one, its cache.

    Args:
        mask: [B, 1, L, T] as 0 or the lowest float32; near: the same of layers that see a window only.
        cached: whether the graph has a cache; then `present` collects (key, value) of every layer.
        ahead: [B, Hkv, n, D] of each layer: keys and values of virtual tokens, which are in the mask and in no cache.
    """

    def __init__(
        self, writer: GraphWriter, heads: Heads, mask: str, near: str, *, cached: bool, ahead: Sequence[Sequence[str]]
    ):
        self.writer, self.heads, self.cached, self.ahead = writer, heads, cached, ahead
        groups = heads.query // heads.key
        kinds = dict.fromkeys((mask, near))
        grouped = {one: writer.op("Concat", *[one] * groups, axis=2) if groups > 1 else one for one in kinds}
        self.mask, self.near = grouped[mask], grouped[near]
        self.present: list[tuple[str, str]] = []

    def __call__(self, query: str, key: str, value: str, *, layer: int, scale: float, near: bool = False) -> str:
        """query [B, H, L, D], key and value [B, Hkv, L, D] to [B, L, H * D]."""
        w, heads = self.writer, self.heads
        if self.cached:
            key, value = (
                w.op("Concat", past, new, axis=2) for past, new in zip(cache_names(layer), (key, value), strict=True)
            )
            self.present.append((key, value))
        if self.ahead:
            key, value = (w.op("Concat", *pair, axis=2) for pair in zip(self.ahead[layer], (key, value), strict=True))
        grouped = w.reshape(query, [0, heads.key, -1, heads.width])
        mask = self.near if near else self.mask
        return w.attention(grouped, key, value, mask, heads=heads.query, width=heads.width, scale=scale)


def cache_names(layer: int, *, present: bool = False) -> tuple[str, str]:
    """The names of a layer's cache, as every exporter writes them."""
    before = "present" if present else "past_key_values"
    return f"{before}.{layer}.key", f"{before}.{layer}.value"


def causal_mask(w: GraphWriter, ids_BL: str, mask_BT: str, window: int | None = None) -> str:
    """[B, 1, L, T]: a position sees itself and what stands before it, of a window of so many tokens, but no padding."""
    one, zero = w.constant(1), w.constant(0)
    length, total = (w.op("Squeeze", w.side(x, 1), w.constant([0])) for x in (ids_BL, mask_BT))
    keys_T = w.op("Range", zero, total, one)
    queries_L1 = w.op("Unsqueeze", w.op("Range", w.op("Sub", total, length), total, one), w.constant([1]))
    before_LT = w.op("LessOrEqual", keys_T, queries_L1)
    if window is not None:
        near_LT = w.op("Less", w.op("Sub", queries_L1, keys_T), w.constant(window))
        before_LT = w.op("And", before_LT, near_LT)
    text_B11T = w.op("Unsqueeze", w.op("Cast", mask_BT, to=9), w.constant([1, 2]))
    return w.lowest_where_not(w.op("And", before_LT, text_B11T))


# ---- rotary families ----------------------------------------------------------------------------


def _rotary_trunk(w: GraphWriter, model: PreTrainedModel, ids: str, positions: str, attend: Attend) -> str:
    config, trunk = model.config, model.base_model
    angles = _rotation(w, trunk.rotary_emb.inv_freq, trunk.rotary_emb.attention_scaling, positions)
    windows = _windows(config)
    x = w.lookup("model.embed_tokens.weight", ids)
    for i in range(config.num_hidden_layers):
        at = f"model.layers.{i}"
        normed = w.rms_norm(x, f"{at}.input_layernorm", config.rms_norm_eps)
        kind = _Turned(config.rms_norm_eps, near=windows[i])
        x = w.op("Add", x, _rotary_attention(w, normed, at, i, angles, attend, kind))
        normed = w.rms_norm(x, f"{at}.post_attention_layernorm", config.rms_norm_eps)
        mixed = _experts if f"{at}.mlp.gate.weight" in w.weights else _gated
        x = w.op("Add", x, mixed(w, normed, f"{at}.mlp", config))
    return w.rms_norm(x, "model.norm", config.rms_norm_eps)


@dataclass(frozen=True)
class _Turned:
    """What differs between attentions with rotary positions; `scale` None: by the width of a head."""

    epsilon: float
    above: float = 0.0
    scale: float | None = None
    near: bool = False


def _rotary_attention(
    w: GraphWriter, x: str, at: str, layer: int, angles: tuple[str, str], attend: Attend, kind: _Turned
) -> str:
    heads, found = attend.heads, {}
    for part, count in (("q", heads.query), ("k", heads.key), ("v", heads.key)):
        y = w.reshape(w.linear(x, f"{at}.self_attn.{part}_proj"), [0, 0, count, heads.width])
        if f"{at}.self_attn.{part}_norm.weight" in w.weights:
            y = w.rms_norm(y, f"{at}.self_attn.{part}_norm", kind.epsilon, above=kind.above)
        found[part] = w.op("Transpose", y, perm=[0, 2, 1, 3])
    query, key = (_rotated(w, found[part], angles) for part in ("q", "k"))
    mixed = attend(query, key, found["v"], layer=layer, scale=kind.scale or heads.width**-0.5, near=kind.near)
    return w.linear(mixed, f"{at}.self_attn.o_proj")


def _gemma_trunk(w: GraphWriter, model: PreTrainedModel, ids: str, positions: str, attend: Attend) -> str:
    """Gemma 3: norms before and behind each branch, their factors counted from 1; windows; large embeddings."""
    config, turning = model.config, model.base_model.rotary_emb
    angles = {
        name: _rotation(
            w, getattr(turning, f"{name}_inv_freq"), getattr(turning, f"{name}_attention_scaling"), positions
        )
        for name in sorted(set(config.layer_types))
    }
    epsilon = config.rms_norm_eps
    x = w.op("Mul", w.lookup("model.embed_tokens.weight", ids), w.number(config.hidden_size**0.5))
    for i, name in enumerate(config.layer_types):
        at, near = f"model.layers.{i}", name == SEES_WINDOW
        kind = _Turned(epsilon, 1.0, config.query_pre_attn_scalar**-0.5, near)
        normed = w.rms_norm(x, f"{at}.input_layernorm", epsilon, above=1.0)
        branch = _rotary_attention(w, normed, at, i, angles[name], attend, kind)
        x = w.op("Add", x, w.rms_norm(branch, f"{at}.post_attention_layernorm", epsilon, above=1.0))
        normed = w.rms_norm(x, f"{at}.pre_feedforward_layernorm", epsilon, above=1.0)
        branch = _gated(w, normed, f"{at}.mlp", config)
        x = w.op("Add", x, w.rms_norm(branch, f"{at}.post_feedforward_layernorm", epsilon, above=1.0))
    return w.rms_norm(x, "model.norm", epsilon, above=1.0)


def _gated(w: GraphWriter, x: str, at: str, config: PreTrainedConfig) -> str:
    gate = w.activation(w.linear(x, f"{at}.gate_proj"), _activation_of(config))
    y = w.linear(w.op("Mul", gate, w.linear(x, f"{at}.up_proj")), f"{at}.down_proj")
    return w.bottled(y, x, at)


def _experts(w: GraphWriter, x_BLD: str, at: str, config: PreTrainedConfig) -> str:
    """The tokens of each expert are picked, pass it, and are added up with their shares."""
    x_ND = w.reshape(x_BLD, [-1, config.hidden_size])
    chances = w.op("Softmax", w.op("MatMul", x_ND, w.matrix(f"{at}.gate.weight", transposed=True)), axis=-1)
    shares_Nk, chosen_Nk = w.ops("TopK", 2, chances, w.constant([config.num_experts_per_tok]), axis=-1)
    if config.norm_topk_prob:
        shares_Nk = w.op("Div", shares_Nk, w.op("ReduceSum", shares_Nk, w.constant([-1]), keepdims=1))
    found_ND = w.op("ConstantOfShape", w.op("Shape", x_ND))
    for e in range(config.num_experts):
        places_n2 = w.op("Transpose", w.op("NonZero", w.op("Equal", chosen_Nk, w.constant(e))), perm=[1, 0])
        tokens_n1, _ = w.ops("Split", 2, places_n2, axis=1)
        gate, up = w.ops(
            "Split", 2, w.stacked(w.op("GatherND", x_ND, tokens_n1), f"{at}.experts.gate_up_proj", e), axis=-1
        )
        inner = w.op("Mul", w.activation(gate, config.hidden_act), up)
        share_n1 = w.op("Unsqueeze", w.op("GatherND", shares_Nk, places_n2), w.constant([1]))
        given = w.op("Mul", w.stacked(inner, f"{at}.experts.down_proj", e), share_n1)
        found_ND = w.op("ScatterND", found_ND, tokens_n1, given, reduction="add")
    return w.bottled(w.op("Reshape", found_ND, w.op("Shape", x_BLD)), x_BLD, at)


def _activation_of(config: PreTrainedConfig) -> str:
    return str(config.hidden_activation if config.model_type == "gemma3_text" else config.hidden_act)


def _windows(config: PreTrainedConfig) -> list[bool]:
    """Of each layer, whether it sees a window only; where no kinds are named, `sliding_window` counts for all."""
    said = getattr(config, "layer_types", None)
    every = config.model_type in ("mistral", "qwen3_moe") and config.sliding_window is not None
    return [one == SEES_WINDOW for one in said] if said else [every] * config.num_hidden_layers


def _rotation(w: GraphWriter, pace: Tensor, factor: float, positions_BL: str) -> tuple[str, str]:
    """cos and sin [B, 1, L, D / 2] of the model's own frequencies, times a factor."""
    frequencies = w.constant(pace.numpy(), np.float32)
    wide = w.op("Unsqueeze", w.op("Cast", positions_BL, to=1), w.constant([1, 3]))
    angles = w.op("Mul", wide, frequencies)
    cos, sin = w.op("Cos", angles), w.op("Sin", angles)
    return (cos, sin) if factor == 1 else (w.op("Mul", cos, w.number(factor)), w.op("Mul", sin, w.number(factor)))


def _rotated(w: GraphWriter, x: str, angles: tuple[str, str]) -> str:
    """Halves turned against each other, as Llama's weights expect (not neighbouring pairs)."""
    cos, sin = angles
    low, high = w.ops("Split", 2, x, axis=-1)
    turned_low = w.op("Sub", w.op("Mul", low, cos), w.op("Mul", high, sin))
    turned_high = w.op("Add", w.op("Mul", high, cos), w.op("Mul", low, sin))
    return w.op("Concat", turned_low, turned_high, axis=-1)


def _rotary_heads(config: PreTrainedConfig) -> Heads:
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Heads(config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads, width)


def _check_rotary(config: PreTrainedConfig) -> None:
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise NotSupported(f"rotary positions of kind {rope!r} change with the length and cannot be exported")
    if odd := sorted(set(getattr(config, "layer_types", None) or ()) - {SEES_ALL, SEES_WINDOW}):
        raise NotSupported(f"layers of kind {odd[0]!r} ({config.model_type}) cannot be exported")
    check_activation(_activation_of(config))


def _check_gemma(config: PreTrainedConfig) -> None:
    ropes = {rope.get("rope_type", "default") for rope in config.rope_parameters.values()}
    if odd := sorted(ropes & {"dynamic", "longrope"}):
        raise NotSupported(f"rotary positions of kind {odd[0]!r} change with the length and cannot be exported")
    if config.final_logit_softcapping is not None or config.use_bidirectional_attention:
        raise NotSupported("a Gemma 3 whose logits are capped, or that sees both sides, cannot be exported")
    check_activation(_activation_of(config))


def check_activation(kind: str) -> None:
    """Raise NotSupported for an activation that is not written."""
    if kind not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise NotSupported(f"the activation {kind!r} cannot be exported", hint=f"these can: {known}")


# ---- GPT-2 --------------------------------------------------------------------------------------


def _gpt2_trunk(w: GraphWriter, model: PreTrainedModel, ids: str, positions: str, attend: Attend) -> str:
    config = model.config
    x = w.op("Add", w.lookup("transformer.wte.weight", ids), w.lookup("transformer.wpe.weight", positions))
    for i in range(config.num_hidden_layers):
        at = f"transformer.h.{i}"
        normed = w.layer_norm(x, f"{at}.ln_1", config.layer_norm_epsilon)
        x = w.op("Add", _gpt2_attention(w, config, normed, at, i, attend), x)
        normed = w.layer_norm(x, f"{at}.ln_2", config.layer_norm_epsilon)
        inner = w.activation(w.linear(normed, f"{at}.mlp.c_fc", columns=True), config.activation_function)
        y = w.linear(inner, f"{at}.mlp.c_proj", columns=True)
        x = w.op("Add", x, w.bottled(y, normed, f"{at}.mlp"))
    return w.layer_norm(x, "transformer.ln_f", config.layer_norm_epsilon)


def _gpt2_attention(w: GraphWriter, config: PreTrainedConfig, x: str, at: str, layer: int, attend: Attend) -> str:
    heads = attend.heads
    parts = w.ops("Split", 3, w.linear(x, f"{at}.attn.c_attn", columns=True), axis=-1)
    query, key, value = (w.by_head(part, heads.query, heads.width) for part in parts)
    scale = heads.width**-0.5 if config.scale_attn_weights else 1.0
    scale /= layer + 1 if config.scale_attn_by_inverse_layer_idx else 1
    mixed = attend(query, key, value, layer=layer, scale=scale)
    return w.linear(mixed, f"{at}.attn.c_proj", columns=True)


def _gpt2_heads(config: PreTrainedConfig) -> Heads:
    count = config.num_attention_heads
    return Heads(config.num_hidden_layers, count, count, config.hidden_size // count)


def _check_gpt2(config: PreTrainedConfig) -> None:
    if config.add_cross_attention:
        raise NotSupported("GPT-2 with cross attention cannot be exported")
    check_activation(config.activation_function)


_ROTARY = Family("model", "model.embed_tokens.weight", _rotary_heads, _rotary_trunk, _check_rotary)
FAMILIES = {
    "llama": _ROTARY,
    "mistral": _ROTARY,
    "qwen2": _ROTARY,
    "qwen3": _ROTARY,
    "qwen3_moe": _ROTARY,
    "gemma3_text": Family("model", "model.embed_tokens.weight", _rotary_heads, _gemma_trunk, _check_gemma),
    "gpt2": Family("transformer", "transformer.wte.weight", _gpt2_heads, _gpt2_trunk, _check_gpt2),
}
"""Causal models by the `model_type` of their config."""


# ---- whole graphs -------------------------------------------------------------------------------


def family_of(config: PreTrainedConfig) -> Family:
    """How this model is written; raises NotSupported."""
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise NotSupported(
            f"a {config.model_type} decoder cannot be exported", hint=f"these can: {', '.join(FAMILIES)}"
        )
    family.check(config)
    return family


def decoder_graph(model: PreTrainedModel, weights: Weights, *, dynamic: bool = False) -> GraphWriter:
    """The graph of a causal language model, with its cache."""
    family, w = family_of(model.config), GraphWriter(weights, dynamic=dynamic)
    heads = family.heads(model.config)
    ids = w.input("input_ids", ["batch", "length"])
    mask = w.input("attention_mask", ["batch", "total"])
    positions = w.input("position_ids", ["batch", "length"])
    for name in (name for i in range(heads.layers) for name in cache_names(i)):
        w.input(name, ["batch", heads.key, "past", heads.width], np.float32)
    attend = _attend(w, model, heads, ids, mask, cached=True)
    hidden = family.trunk(w, model, ids, _behind(w, model, positions), attend)
    head = _head_name(family, weights, model)
    last_logits(w, hidden, head, width=model.config.hidden_size, words=model.config.vocab_size)
    _outputs_of_cache(w, attend, heads)
    return w


def last_logits(w: GraphWriter, hidden_BLD: str, head: str, *, width: int, words: int) -> None:
    """The output `logits` of the last K positions; `head`: the name of a weight [V, D]."""
    first = w.op("Neg", w.optional(NUM_LOGITS, [1]))
    last_BKD = w.op("Slice", hidden_BLD, first, w.constant([2**31]), w.constant([1]))
    logits_ND = w.scores(w.reshape(last_BKD, [-1, width]), head)
    sides = w.op("Concat", w.side(last_BKD, 0), w.side(last_BKD, 1), w.constant([-1]), axis=0)
    w.output("logits", w.op("Reshape", logits_ND, sides), ["batch", "kept", words])


def _attend(w: GraphWriter, model: PreTrainedModel, heads: Heads, ids: str, mask: str, *, cached: bool) -> Attend:
    config, number = model.config, num_virtual(model)
    whole = causal_mask(w, ids, mask)
    if not number:
        near = causal_mask(w, ids, mask, config.sliding_window) if any(_windows(config)) else whole
        return Attend(w, heads, whole, near, cached=cached, ahead=())
    # Every position sees the virtual tokens. Models with windows have none.
    seen = w.op("Pad", whole, w.constant([0, 0, 0, number, 0, 0, 0, 0]))
    sides = w.op("Concat", w.side(ids, 0), w.constant([1, 1, 1]), axis=0)
    ahead = [[w.op("Expand", w.constant(one, np.float32), sides) for one in pair] for pair in virtual_pairs(model)]
    return Attend(w, heads, seen, seen, cached=cached, ahead=ahead)


def _behind(w: GraphWriter, model: PreTrainedModel, positions: str) -> str:
    """The text begins behind the virtual tokens."""
    number = num_virtual(model)
    return w.op("Add", positions, w.constant(number)) if number else positions


def _head_name(family: Family, weights: Weights, model: PreTrainedModel) -> str:
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return family.embedding if tied else "lm_head.weight"


def _outputs_of_cache(w: GraphWriter, attend: Attend, heads: Heads) -> None:
    for i, pair in enumerate(attend.present):
        for name, x in zip(cache_names(i, present=True), pair, strict=True):
            w.output(name, x, ["batch", heads.key, "total", heads.width])


def row_graph(model: PreTrainedModel, weights: Weights, head: str, *, dynamic: bool = False) -> GraphWriter:
    """The graph of a classifier on a decoder (head `label`): the last position that is not padding is scored; for
    `tags` and `span` every position is; of a body alone (`vector`) the states are pooled."""
    family, w = family_of(model.config), GraphWriter(weights, dynamic=dynamic)
    ids, mask = w.input("input_ids", ["batch", "length"]), w.input("attention_mask", ["batch", "length"])
    counted = w.op("Sub", w.op("CumSum", mask, w.constant(1)), w.constant(1))
    positions = w.op("Max", counted, w.constant(0))
    attend = _attend(w, model, family.heads(model.config), ids, mask, cached=False)
    hidden = family.trunk(w, model, ids, _behind(w, model, positions), attend)
    if head == "vector":
        w.output("vectors", pooled(w, hidden, mask, getattr(model.config, KEPT)), ["batch", model.config.hidden_size])
        return w
    scored, sides = hidden, ["batch", "length"]
    if head == "label":
        scored = w.op("GatherND", hidden, _last_text(w, ids, mask, model.config.pad_token_id), batch_dims=1)
        sides = ["batch"]
    (name,) = tops(model)
    w.output("logits", w.linear(scored, name), [*sides, len(weights[f"{name}.weight"])])
    return w


def _last_text(w: GraphWriter, ids_BL: str, mask_BL: str, pad_id: int | None) -> str:
    """int64 [B, 1]: the last position that is not padding, which transformers tells by the pad token's id."""
    length = w.op("Squeeze", w.side(mask_BL, 1), w.constant([0]))
    numbers_L = w.op("Range", w.constant(0), length, w.constant(1))
    if pad_id is not None:
        other = w.op("Cast", w.op("Not", w.op("Equal", ids_BL, w.constant(pad_id))), to=7)
        mask_BL = w.op("Mul", mask_BL, other)
    return w.op("ReduceMax", w.op("Mul", mask_BL, numbers_L), axes=[1], keepdims=1)
