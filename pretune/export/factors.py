"""Weights of low rank: a product with W becomes one with R, then one with L, where a folder brings W = L R.

    x ──MatMul W' [I, O]──▶ y          x ──MatMul R' [I, R]──▶ ──MatMul L' [R, O]──▶ y

A pass over a finished graph. What is stored and computed shrinks from I O to R (I + O).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

Factors: TypeAlias = "tuple[np.ndarray, np.ndarray]"
"""L [O, R] and R [R, I] of a weight [O, I]."""


def in_factors(model: ModelProto, factors: Mapping[str, Factors]) -> None:
    """Put two products where a graph multiplies with a weight that is one of two factors, in place."""
    from onnx import helper, numpy_helper

    graph, nodes = model.graph, []
    for node in list(graph.node):
        name = node.input[1].removesuffix(".T") if node.op_type == "MatMul" else ""
        if name not in factors:
            nodes.append(node)
            continue
        left_OR, right_RI = factors[name]
        between = f"{node.output[0]}/ranks"
        for side, array in (("right", right_RI.T), ("left", left_OR.T)):
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{name}.{side}"))
        nodes.append(helper.make_node("MatMul", [node.input[0], f"{name}.right"], [between]))
        nodes.append(helper.make_node("MatMul", [between, f"{name}.left"], list(node.output)))
    used = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    for field, content in ((graph.node, nodes), (graph.initializer, kept)):
        del field[:]
        field.extend(content)
