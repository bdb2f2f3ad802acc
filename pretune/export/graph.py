"""A model's ONNX graph and what a reader must know of it.

chat, complete   decoder with a cache      pretune.export.decoders
classify, tag    decoder or encoder        pretune.export.decoders, pretune.export.encoders
embed            decoder or encoder        the same, pooled by pretune.export.pooling
answer           decoder or encoder        the same
seq2seq          T5                        pretune.export.two_stacks: two graphs
bag, cnn, lstm   with a classifier         pretune.export.small
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.export.adapters import bottles_of, num_virtual
from pretune.export.blocks import Blocks, Given, in_blocks
from pretune.export.decoders import FAMILIES, decoder_graph, family_of, row_graph
from pretune.export.encoders import SCORED, encoder_graph, is_written
from pretune.export.factors import Factors, in_factors
from pretune.export.small import STATES, small_graph
from pretune.export.traced import OUTPUTS, inputs_of, traced_encoder
from pretune.export.two_stacks import check_written, reader_graph, writer_graph
from pretune.export.writer import GraphWriter, Weights, serialized
from pretune.infer.load import head_of

if TYPE_CHECKING:
    from onnx import ModelProto
    from transformers import PreTrainedConfig, PreTrainedModel


T = TypeVar("T")
READER = "encoder.onnx"
OLD = ".original_module."


@dataclass(frozen=True)
class Graph:
    """The bytes of an .onnx file, the facts of it for `bundle.json`, and files next to it."""

    content: bytes
    facts: Json
    more: Mapping[str, bytes] = field(default_factory=dict)


def graph_of(
    model: PreTrainedModel,
    scales: Mapping[str, np.ndarray],
    *,
    dynamic: bool = False,
    blocks: Blocks | None = None,
    steps: Mapping[str, Given] | None = None,
    factors: Mapping[str, Factors] | None = None,
) -> Graph:
    """Write the graph of a float32 torch model.

    Args:
        scales: int8 scales of the weights that lie on an int8 grid; those are stored as int8.
        dynamic: compute linear layers that have scales with int8 activations too.
        blocks: store the weights in blocks.
        steps: of an int4 folder; those weights are stored in blocks whatever `blocks` says.
        factors: of a low-rank folder; those products become two.

    Raises:
        NotSupported: a model of a family, or with settings, that no graph is written for; or over 2 GiB.
    """
    head = head_of([type(model).__name__])
    named = _named(model, scales, head)
    bottles = _named(model, bottles_of(model), head)
    weights = Weights(_named(model, _arrays(model), head), {} if blocks else named, bottles)
    written, facts = _written(model, head, weights, dynamic=dynamic)
    more = {READER: reader_graph(model, weights, dynamic=dynamic).model()} if head == "text" else {}
    for one in (written, *more.values()):
        if factors:
            in_factors(one, _named(model, factors, head))
        if blocks or steps:
            in_blocks(one, blocks, named, _named(model, steps or {}, head))
    return Graph(serialized(written), facts, {name: serialized(one) for name, one in more.items()})


def _written(model: PreTrainedModel, head: str | None, weights: Weights, *, dynamic: bool) -> tuple[ModelProto, Json]:
    kind = model.config.model_type
    if head == "next":
        return _with_facts(decoder_graph(model, weights, dynamic=dynamic), _decoder_facts(model.config))
    if head == "text":
        check_written(model)
        config = model.config
        sizes = {"num_layers": config.num_decoder_layers, "num_kv_heads": config.num_heads, "head_dim": config.d_kv}
        facts = {"logits": "last", "encoder": READER, **sizes}
        return _with_facts(writer_graph(model, weights, dynamic=dynamic), facts)
    if head not in (*SCORED, "vector"):
        raise NotSupported(f"a {type(model).__name__} cannot be exported as ONNX yet")
    if kind in FAMILIES:
        return _with_facts(row_graph(model, weights, head, dynamic=dynamic), {})
    if kind in STATES:
        return _with_facts(small_graph(model, weights, head, dynamic=dynamic), {})
    if is_written(model.config) and not num_virtual(model):
        return _with_facts(encoder_graph(model, weights, head, dynamic=dynamic), {})
    return _traced(model, weights, dynamic=dynamic)


def _traced(model: PreTrainedModel, weights: Weights, *, dynamic: bool) -> tuple[ModelProto, Json]:
    """Any other encoder."""
    from pretune.model.generate import architecture_of

    kind = model.config.model_type
    if architecture_of(kind) != "encoder":
        raise NotSupported(f"a {kind} decoder cannot be exported", hint=f"these can: {', '.join(FAMILIES)}")
    if dynamic:
        raise NotSupported(f"precision=dynamic is not written for {kind}", hint="use precision=int8 or weights")
    return traced_encoder(model, weights), {"inputs": inputs_of(model), "outputs": OUTPUTS}


def _arrays(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """All weights by name; of a head that PEFT keeps twice, the one that was learnt."""
    learnt = ((n.replace(".modules_to_save.default", ""), t) for n, t in model.state_dict().items() if OLD not in n)
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in learnt}


def _named(model: PreTrainedModel, arrays: Mapping[str, T], head: str | None) -> dict[str, T]:
    """By the names of the graphs: a body alone leaves its own name out, and some heads give it another."""
    own = "" if head == "vector" else f"{model.base_model_prefix}."
    kind = model.config.model_type
    at = f"{FAMILIES[kind].prefix if kind in FAMILIES else model.base_model_prefix}."
    return {at + name[len(own) :] if name.startswith(own) else name: array for name, array in arrays.items()}


def _with_facts(writer: GraphWriter, facts: Json) -> tuple[ModelProto, Json]:
    return writer.model(), {**facts, "inputs": writer.input_names, "outputs": writer.output_names}


def _decoder_facts(config: PreTrainedConfig) -> Json:
    heads = family_of(config).heads(config)
    sizes = {"num_layers": heads.layers, "num_kv_heads": heads.key, "head_dim": heads.width}
    return {"logits": "last", **sizes}
