"""A model's ONNX graph and what a reader must know of it.

chat, complete   decoder with a cache      pretune.export.decoders
classify         decoder or encoder        pretune.export.decoders, pretune.export.encoders
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretune.export.decoders import FAMILIES, decoder_graph, family_of, row_graph
from pretune.export.encoders import encoder_graph
from pretune.export.writer import GraphWriter, Weights


@dataclass(frozen=True)
class Graph:
    """The bytes of an .onnx file, and the facts of it that stand in `bundle.json`."""

    content: bytes
    facts: dict[str, Any]


def graph_of(model: Any, scales: Mapping[str, np.ndarray], *, dynamic: bool = False) -> Graph:
    """Write the graph of a float32 torch model.

    Args:
        scales: int8 scales of the weights that lie on an int8 grid; those are stored as int8.
        dynamic: compute linear layers that have scales with int8 activations too.

    Raises:
        NotSupported: a model of a family, or with settings, that no graph is written for; or over 2 GiB.
    """
    weights = Weights(_arrays(model), scales)
    if not type(model).__name__.endswith("ForSequenceClassification"):
        writer = decoder_graph(model, weights, dynamic=dynamic)
        return _with_facts(writer, _decoder_facts(model.config))
    is_decoder = model.config.model_type in FAMILIES
    writer = (row_graph if is_decoder else encoder_graph)(model, weights, dynamic=dynamic)
    return _with_facts(writer, {"architecture": "decoder" if is_decoder else "encoder"})


def _arrays(model: Any) -> dict[str, np.ndarray]:
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in model.state_dict().items()}


def _with_facts(writer: GraphWriter, facts: dict[str, Any]) -> Graph:
    return Graph(writer.serialized(), {**facts, "inputs": writer.input_names, "outputs": writer.output_names})


def _decoder_facts(config: Any) -> dict[str, Any]:
    heads = family_of(config).heads(config)
    sizes = {"num_layers": heads.layers, "num_kv_heads": heads.key, "head_dim": heads.width}
    return {"architecture": "decoder", "logits": "last", **sizes}


def write_graph(graph: Graph, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph.content)
