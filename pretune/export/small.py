"""The graphs of the small baselines: bag, CNN and LSTM, with a classifier on top or without.

    input_ids, attention_mask [B, L]  ──▶  logits [B, labels], or vectors [B, D]

ONNX has an LSTM that reads from both sides and knows where each text ends, so padding is read by neither.

*B rows, L positions, E width of an embedding, H of a state in one direction.*
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pretune.export.pooling import FLOAT, pooled
from pretune.export.writer import GraphWriter, Weights
from pretune.infer.pooling import KEPT

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

INT32, BOOL = 6, 9
"""ONNX's numbers of types."""
AT = "body.states"
ORDER = (0, 3, 1, 2)
"""torch stacks the gates as i f g o, ONNX as i o f g."""


def small_graph(model: PreTrainedModel, weights: Weights, head: str, *, dynamic: bool = False) -> GraphWriter:
    """The graph of one of the models in STATES."""
    w, config = GraphWriter(weights, dynamic=dynamic), model.config
    ids, mask = w.input("input_ids", ["batch", "length"]), w.input("attention_mask", ["batch", "length"])
    hidden = STATES[config.model_type](w, config, w.lookup("body.embeddings.weight", ids), mask)
    if head == "vector":
        w.output("vectors", pooled(w, hidden, mask, getattr(config, KEPT)), ["batch", config.hidden_size])
        return w
    mean = {"pooling": "mean", "normalize": False}
    row = pooled(w, hidden, mask, mean) if config.pooling == "mean" else _largest(w, hidden, mask)
    w.output("logits", w.linear(row, "classifier"), ["batch", config.num_labels])
    return w


def _largest(w: GraphWriter, hidden_BLD: str, mask_BL: str) -> str:
    there = w.op("Cast", w.op("Unsqueeze", mask_BL, w.constant([2])), to=BOOL)
    return w.op("ReduceMax", w.op("Add", hidden_BLD, w.lowest_where_not(there)), axes=[1], keepdims=0)


def _words(w: GraphWriter, config: PreTrainedConfig, x_BLE: str, mask_BL: str) -> str:
    return x_BLE


def _windows(w: GraphWriter, config: PreTrainedConfig, x_BLE: str, mask_BL: str) -> str:
    there = w.op("Cast", w.op("Unsqueeze", mask_BL, w.constant([2])), to=FLOAT)
    x_BEL, found = w.op("Transpose", w.op("Mul", x_BLE, there), perm=[0, 2, 1]), []
    for i, size in enumerate(config.windows):
        filters = (w.vector(f"{AT}.filters.{i}.{part}") for part in ("weight", "bias"))
        found.append(w.op("Relu", w.op("Conv", x_BEL, *filters, pads=[(size - 1) // 2, size // 2])))
    return w.op("Transpose", w.op("Concat", *found, axis=1), perm=[0, 2, 1])


def _both_ways(w: GraphWriter, config: PreTrainedConfig, x_BLE: str, mask_BL: str) -> str:
    lengths = w.op("Cast", w.op("ReduceSum", mask_BL, w.constant([1]), keepdims=0), to=INT32)
    parts = [_gates(w, "weight_ih_l0"), _gates(w, "weight_hh_l0")]
    bias = np.concatenate([_stacked(w, "bias_ih_l0"), _stacked(w, "bias_hh_l0")], axis=1)
    given = [w.op("Transpose", x_BLE, perm=[1, 0, 2]), *parts, w.constant(bias, np.float32), lengths]
    state_L2BH = w.op("LSTM", *given, direction="bidirectional", hidden_size=config.hidden_size // 2)
    return w.reshape(w.op("Transpose", state_L2BH, perm=[2, 0, 1, 3]), [0, 0, config.hidden_size])


def _gates(w: GraphWriter, name: str) -> str:
    return w.constant(_stacked(w, name), np.float32)


def _stacked(w: GraphWriter, name: str) -> np.ndarray:
    """A weight of both directions [2, 4 H, ...], its gates in ONNX's order."""
    both = (np.split(w.weights[f"{AT}.{way}.{name}"], 4) for way in ("ahead", "back"))
    return np.stack([np.concatenate([gates[k] for k in ORDER]) for gates in both])


STATES = {"pretune-bag": _words, "pretune-cnn": _windows, "pretune-lstm": _both_ways}
"""model_type -> what writes the states [B, L, D] of the tokens."""
