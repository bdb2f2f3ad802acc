"""Hidden states to one vector of a row, inside the graph: as pretune.model.pooling does it.

*B rows, L positions, D width.*
"""

from __future__ import annotations

import numpy as np

from pretune.base.json import JsonMap
from pretune.export.writer import GraphWriter

FLOAT = 1
"""ONNX's number of float32."""


def pooled(w: GraphWriter, hidden_BLD: str, mask_BL: str, how: JsonMap) -> str:
    """The vectors [B, D] of rows that are padded on the right; `how`: as `infer.pooling.pooling_of` gives it."""
    found = _mean(w, hidden_BLD, mask_BL) if how["pooling"] == "mean" else _one(w, hidden_BLD, mask_BL, how["pooling"])
    if not how["normalize"]:
        return found
    length = w.op("ReduceL2", found, axes=[1], keepdims=1)
    return w.op("Div", found, w.op("Max", length, w.constant(np.float32(1e-12), "float32")))


def _mean(w: GraphWriter, hidden_BLD: str, mask_BL: str) -> str:
    there = w.op("Cast", w.op("Unsqueeze", mask_BL, w.constant([2])), to=FLOAT)
    total = w.op("ReduceSum", w.op("Mul", hidden_BLD, there), w.constant([1]), keepdims=0)
    return w.op("Div", total, w.op("ReduceSum", there, w.constant([1]), keepdims=0))


def _one(w: GraphWriter, hidden_BLD: str, mask_BL: str, pooling: str) -> str:
    if pooling == "cls":
        return w.op("Gather", hidden_BLD, w.constant(0), axis=1)
    last = w.op("Sub", w.op("ReduceSum", mask_BL, w.constant([1]), keepdims=1), w.constant([1]))
    return w.op("GatherND", hidden_BLD, last, batch_dims=1)
