"""The two graphs of an encoder-decoder (T5): one reads a source once, the other writes token by token.

    encoder.onnx   input_ids [B, S], attention_mask [B, S]
                   ──▶  present.{i}.encoder.key/.value [B, H, S, D]: what the decoder's layers ask of the source
    model.onnx     input_ids [B, L], attention_mask [B, P + L], encoder_attention_mask [B, S],
                   past_key_values.{i}.decoder.key/.value [B, H, P, D], past_key_values.{i}.encoder.key/.value
                   ──▶  logits [B, K, V], present.{i}.decoder.key/.value [B, H, P + L, D]

Positions count by their distance alone: a table of the bias at every distance stands in each graph, so no logarithm is
taken and rounded there. The table of the words is in both files.

*B rows, S positions of a source, L of an answer, P in the cache, D width of a head, H heads, V vocabulary.*
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.errors import NotSupported
from pretune.export.decoders import causal_mask, check_activation, last_logits
from pretune.export.writer import GraphWriter, Weights
from pretune.infer.ort import PARTS

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

KINDS = ("t5", "mt5")
WORDS = "shared.weight"


def check_written(model: PreTrainedModel) -> None:
    """Raise NotSupported for an encoder-decoder that is not written here."""
    if model.config.model_type not in KINDS:
        hint = f"{', '.join(KINDS)} can; serve the model folder itself, or fine-tune one of these on the same pairs"
        raise NotSupported(f"a {model.config.model_type} encoder-decoder cannot be exported as ONNX", hint=hint)
    check_activation(model.config.dense_act_fn)


def reader_graph(model: Any, weights: Weights, *, dynamic: bool = False) -> GraphWriter:
    """The encoder, up to the keys and values that the decoder's layers make of its states."""
    w, config = GraphWriter(weights, dynamic=dynamic), model.config
    ids, mask = w.input("input_ids", ["batch", "length"]), w.input("attention_mask", ["batch", "length"])
    numbers_L = w.op("Range", w.constant(0), _length(w, ids), w.constant(1))
    sums = w.op("Add", _bias(w, model.encoder, numbers_L, numbers_L), _blocked(w, mask))
    x = w.lookup(WORDS, ids)
    for i in range(config.num_layers):
        at = f"encoder.block.{i}.layer"
        normed = _normed(w, x, f"{at}.0", config)
        query, *pair = (_by_head(w, normed, f"{at}.0.SelfAttention.{part}", config) for part in "qkv")
        x = w.op("Add", x, _mixed(w, query, pair, sums, f"{at}.0.SelfAttention", config))
        x = w.op("Add", x, _feed_forward(w, _normed(w, x, f"{at}.1", config), f"{at}.1", config))
    x = w.rms_norm(x, "encoder.final_layer_norm", config.layer_norm_epsilon)
    for i in range(config.num_decoder_layers):
        for part, name in zip("kv", PARTS, strict=True):
            states = _by_head(w, x, f"decoder.block.{i}.layer.1.EncDecAttention.{part}", config)
            w.output(f"present.{i}.encoder.{name}", states, ["batch", config.num_heads, "length", config.d_kv])
    return w


def writer_graph(model: Any, weights: Weights, *, dynamic: bool = False) -> GraphWriter:
    """The decoder with its cache."""
    w, config = GraphWriter(weights, dynamic=dynamic), model.config
    ids, mask = w.input("input_ids", ["batch", "length"]), w.input("attention_mask", ["batch", "total"])
    read = _blocked(w, w.input("encoder_attention_mask", ["batch", "read"]))
    for side, length in (("decoder", "past"), ("encoder", "read")):
        for name in (f"past_key_values.{i}.{side}.{part}" for i in range(config.num_decoder_layers) for part in PARTS):
            w.input(name, ["batch", config.num_heads, length, config.d_kv], np.float32)
    total = w.op("Squeeze", w.side(mask, 1), w.constant([0]))
    keys_T = w.op("Range", w.constant(0), total, w.constant(1))
    queries_L = w.op("Range", w.op("Sub", total, _length(w, ids)), total, w.constant(1))
    seen = w.op("Add", _bias(w, model.decoder, queries_L, keys_T), causal_mask(w, ids, mask))
    x, present = w.lookup(WORDS, ids), []
    for i in range(config.num_decoder_layers):
        at = f"decoder.block.{i}.layer"
        normed = _normed(w, x, f"{at}.0", config)
        query, *fresh = (_by_head(w, normed, f"{at}.0.SelfAttention.{part}", config) for part in "qkv")
        past = (f"past_key_values.{i}.decoder.{part}" for part in PARTS)
        held = [w.op("Concat", *pair, axis=2) for pair in zip(past, fresh, strict=True)]
        present.append(held)
        x = w.op("Add", x, _mixed(w, query, held, seen, f"{at}.0.SelfAttention", config))
        query = _by_head(w, _normed(w, x, f"{at}.1", config), f"{at}.1.EncDecAttention.q", config)
        source = [f"past_key_values.{i}.encoder.{part}" for part in PARTS]
        x = w.op("Add", x, _mixed(w, query, source, read, f"{at}.1.EncDecAttention", config))
        x = w.op("Add", x, _feed_forward(w, _normed(w, x, f"{at}.2", config), f"{at}.2", config))
    x = w.rms_norm(x, "decoder.final_layer_norm", config.layer_norm_epsilon)
    if config.scale_decoder_outputs:
        x = w.op("Mul", x, w.number(config.d_model**-0.5))
    head = WORDS if model.lm_head.weight is model.shared.weight else "lm_head.weight"
    last_logits(w, x, head, width=config.d_model, words=config.vocab_size)
    for i, held in enumerate(present):
        for part, name in zip(PARTS, held, strict=True):
            w.output(f"present.{i}.decoder.{part}", name, ["batch", config.num_heads, "total", config.d_kv])
    return w


def _length(w: GraphWriter, ids_BL: str) -> str:
    return w.op("Squeeze", w.side(ids_BL, 1), w.constant([0]))


def _blocked(w: GraphWriter, mask_BS: str) -> str:
    return w.lowest_where_not(w.op("Unsqueeze", w.op("Cast", mask_BS, to=9), w.constant([1, 2])))


def _bias(w: GraphWriter, stack: Any, queries_L: str, keys_T: str) -> str:
    """[1, H, L, T]: what the distance of two positions adds, from a table that ends where it stays the same."""
    attention = stack.block[0].layer[0].SelfAttention
    most = attention.relative_attention_max_distance
    table = w.constant(_by_distance(attention, most), np.float32)
    distance_LT = w.op("Sub", keys_T, w.op("Unsqueeze", queries_L, w.constant([1])))
    near = w.op("Min", w.op("Max", distance_LT, w.constant(-most)), w.constant(most))
    found_LTH = w.op("Gather", table, w.op("Add", near, w.constant(most)))
    return w.op("Unsqueeze", w.op("Transpose", found_LTH, perm=[2, 0, 1]), w.constant([0]))


def _by_distance(attention: Any, most: int) -> np.ndarray:
    """[2 * most + 1, H]: the bias at every distance from -most to most, by the model's own rule."""
    import torch

    places = attention._relative_position_bucket(
        torch.arange(-most, most + 1),
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=most,
    )
    found: np.ndarray = attention.relative_attention_bias.weight.detach().float().numpy()[places.numpy()]
    return found


def _normed(w: GraphWriter, x: str, at: str, config: PreTrainedConfig) -> str:
    return w.rms_norm(x, f"{at}.layer_norm", config.layer_norm_epsilon)


def _by_head(w: GraphWriter, x: str, name: str, config: PreTrainedConfig) -> str:
    return w.by_head(w.linear(x, name), config.num_heads, config.d_kv)


def _mixed(w: GraphWriter, query: str, pair: Sequence[str], mask: str, at: str, config: PreTrainedConfig) -> str:
    """T5 does not scale the products."""
    key, value = pair
    mixed = w.attention(query, key, value, mask, heads=config.num_heads, width=config.d_kv, scale=1.0)
    return w.linear(mixed, f"{at}.o")


def _feed_forward(w: GraphWriter, x: str, at: str, config: PreTrainedConfig) -> str:
    at = f"{at}.DenseReluDense"
    if not config.is_gated_act:
        return w.linear(w.activation(w.linear(x, f"{at}.wi"), config.dense_act_fn), f"{at}.wo")
    gate = w.activation(w.linear(x, f"{at}.wi_0"), config.dense_act_fn)
    return w.linear(w.op("Mul", gate, w.linear(x, f"{at}.wi_1")), f"{at}.wo")
