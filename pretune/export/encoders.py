"""The graphs of heads on BERT: [CLS] through the pooler to labels; every token to its tags, or to a start and an end.

    input_ids [B, L], attention_mask [B, L], token_type_ids [B, L]  ──▶  logits [B, labels], [B, L, tags] or [B, L, 2]
                                                                         vectors [B, D] of a body without a head

A model with one token type has no input of them.

*B rows, L positions, D width.*
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pretune.export.pooling import pooled
from pretune.export.writer import ACTIVATIONS, GraphWriter, Weights
from pretune.infer.pooling import KEPT

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def encoder_graph(model: PreTrainedModel, weights: Weights, head: str, *, dynamic: bool = False) -> GraphWriter:
    """The graph of a BERT with one of the heads in SCORED that `is_written`."""
    assert is_written(model.config), "graph_of asks first"
    w = GraphWriter(weights, dynamic=dynamic)
    ids, mask = w.input("input_ids", ["batch", "length"]), w.input("attention_mask", ["batch", "length"])
    seen = w.op("Unsqueeze", w.op("Cast", mask, to=9), w.constant([1, 2]))
    blocked = w.lowest_where_not(seen)
    types = w.input("token_type_ids", ["batch", "length"]) if model.config.type_vocab_size > 1 else None
    x = _embedded(w, model.config, ids, types)
    for i in range(model.config.num_hidden_layers):
        x = _block(w, model.config, x, f"bert.encoder.layer.{i}", blocked)
    if head == "vector":
        w.output("vectors", pooled(w, x, mask, getattr(model.config, KEPT)), ["batch", model.config.hidden_size])
        return w
    last, read = SCORED[head]
    scored, sides = read(w, x)
    w.output("logits", w.linear(scored, last), [*sides, model.config.num_labels])
    return w


def _first_token(w: GraphWriter, hidden_BLD: str) -> tuple[str, list[str]]:
    first_BD = w.op("Gather", hidden_BLD, w.constant(0), axis=1)
    return w.op("Tanh", w.linear(first_BD, "bert.pooler.dense")), ["batch"]


def _every_token(w: GraphWriter, hidden_BLD: str) -> tuple[str, list[str]]:
    return hidden_BLD, ["batch", "length"]


SCORED = {
    "label": ("classifier", _first_token),
    "tags": ("classifier", _every_token),
    "span": ("qa_outputs", _every_token),
}
"""Head -> its last layer, what that reads, and the sides of that but the last."""


def is_written(config: PreTrainedConfig) -> bool:
    """Whether `encoder_graph` writes this config; any other encoder is traced."""
    plain = config.model_type == "bert" and not getattr(config, "is_decoder", False)
    return plain and config.hidden_act in ACTIVATIONS


def _embedded(w: GraphWriter, config: PreTrainedConfig, ids: str, types: str | None) -> str:
    at = "bert.embeddings"
    length = w.op("Squeeze", w.side(ids, 1), w.constant([0]))
    positions = w.op("Range", w.constant(0), length, w.constant(1))
    of_types = f"{at}.token_type_embeddings.weight"
    kinds = w.lookup(of_types, types) if types else w.constant(w.weights[of_types][0], "float32")
    x = w.op("Add", w.lookup(f"{at}.word_embeddings.weight", ids), kinds)
    x = w.op("Add", x, w.lookup(f"{at}.position_embeddings.weight", positions))
    return w.layer_norm(x, f"{at}.LayerNorm", config.layer_norm_eps)


def _block(w: GraphWriter, config: PreTrainedConfig, x: str, at: str, blocked: str) -> str:
    heads = config.num_attention_heads
    width = config.hidden_size // heads
    query, key, value = (
        w.by_head(w.linear(x, f"{at}.attention.self.{part}"), heads, width) for part in ("query", "key", "value")
    )
    mixed = w.attention(query, key, value, blocked, heads=heads, width=width, scale=width**-0.5)
    mixed = w.linear(mixed, f"{at}.attention.output.dense")
    x = w.layer_norm(w.op("Add", mixed, x), f"{at}.attention.output.LayerNorm", config.layer_norm_eps)
    inner = w.activation(w.linear(x, f"{at}.intermediate.dense"), config.hidden_act)
    out = w.bottled(w.linear(inner, f"{at}.output.dense"), x, f"{at}.output")
    return w.layer_norm(w.op("Add", out, x), f"{at}.output.LayerNorm", config.layer_norm_eps)
