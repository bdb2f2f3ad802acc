"""The graph of any other encoder that scores rows or tokens, traced by torch.onnx.export: slower and larger, but of any
family.

    input_ids, attention_mask (, token_type_ids), all [B, L]  ──▶  logits [B, labels], [B, L, tags] or [B, L, 2],
                                                              or vectors [B, D]

Tracing records Python's call stack (absolute paths) in the file; that is taken out, so that the same weights
give the same bytes everywhere. It numbers the weights that it turns (`val_84`); they get their names again, by which
whoever stores them in fewer bytes finds them.

*B rows, L positions.*
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import NotSupported
from pretune.model.families import family_named
from pretune.model.pooling import said

if TYPE_CHECKING:
    from onnx import ModelProto
    from transformers import PreTrainedModel

    from pretune.export.writer import Weights

INPUTS, OUTPUTS = ["input_ids", "attention_mask", "token_type_ids"], ["logits"]


def inputs_of(model: PreTrainedModel) -> list[str]:
    """The inputs of the graph, in their order."""
    has_types = family_named(model.config.model_type).has_token_types(model.config.to_dict())
    return INPUTS if has_types else INPUTS[:2]


def traced_encoder(model: PreTrainedModel, weights: Weights) -> ModelProto:
    """The graph of an encoder with a head for labels, tags or spans. Raises NotSupported: it cannot be traced.

    Args:
        weights: the model's, by the names that those of the graph shall have; its int8 scales.
    """
    model.config._attn_implementation = "eager"
    try:
        with _quiet():
            proto = _traced(model)
    except Exception as error:  # the exporter raises whatever it stumbles upon
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise NotSupported(f"a {model.config.model_type} encoder cannot be exported: {why}") from error
    _strip(proto)
    _name(proto, weights.tensors)
    in_int8(proto, weights)
    return proto


def _name(proto: ModelProto, weights: Mapping[str, np.ndarray]) -> None:
    """Call every matrix as the parameter that it is, `NAME.T` where it lies turned; equal ones become one."""
    from onnx import numpy_helper

    known: dict[object, str] = {}
    for name, array in weights.items():
        if array.ndim == 2:
            known.setdefault(_content(array), name)
            known.setdefault(_content(array.T), f"{name}.T")
    graph = proto.graph
    matrices = (one for one in graph.initializer if len(one.dims) == 2)
    names = {one.name: known.get(_content(numpy_helper.to_array(one)), one.name) for one in matrices}
    kept = {names.get(one.name, one.name): one for one in graph.initializer}
    for name, one in kept.items():
        one.name = name
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    whole = list(kept.values())
    del graph.initializer[:]
    graph.initializer.extend(whole)


def in_int8(proto: ModelProto, weights: Weights) -> None:
    """Store the weights of a graph that lie on an int8 grid as int8, in place; they are widened when it is opened."""
    from onnx import TensorProto, helper, numpy_helper

    graph, nodes, kept = proto.graph, [], []
    for one in graph.initializer:
        plain, name = one.name.removesuffix(".T"), one.name
        if plain not in weights.scales:
            kept.append(one)
            continue
        for array, stored in ((weights.grid(plain), f"{name}.int8"), (weights.scales[plain], f"{name}.int8.scale")):
            array = array.T if name != plain else array
            kept.append(numpy_helper.from_array(np.ascontiguousarray(array), stored))
        nodes.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.wide"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}.wide", f"{name}.int8.scale"], [name]))
    for field, content in ((graph.node, [*nodes, *graph.node]), (graph.initializer, kept)):
        del field[:]
        field.extend(content)


def _content(array: np.ndarray) -> object:
    return array.shape, array.dtype.str, hashlib.blake2b(np.ascontiguousarray(array).data).digest()


def _traced(model: PreTrainedModel) -> ModelProto:
    import torch

    class Logits(torch.nn.Module):
        """The model with tensors in and a tensor out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
        ) -> torch.Tensor:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            output = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
            return said(self.model, output, attention_mask)

    # Two rows of different lengths: an all-ones mask, or a side of 0 or 1, would be baked into the graph.
    ids = torch.full((2, 5), 2, dtype=torch.int64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    names = inputs_of(model)
    inputs = (ids, mask, torch.zeros_like(ids))[: len(names)]
    program = torch.onnx.export(
        Logits().eval(), inputs, dynamo=True, verbose=False, dynamic_shapes=(free,) * len(inputs),
        input_names=names, output_names=OUTPUTS, external_data=False,
    )  # fmt: skip
    assert program is not None, "the dynamo exporter returns a program"
    return program.model_proto


def _strip(proto: ModelProto) -> None:
    """Take out what belongs to the machine: stack traces, notes, and names of shapes."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *proto.functions):
        if part.DESCRIPTOR.fields_by_name.get("metadata_props") is not None:
            del part.metadata_props[:]
        if part.DESCRIPTOR.fields_by_name.get("doc_string") is not None:
            part.ClearField("doc_string")
    del graph.value_info[:]
    proto.ClearField("producer_version")
    for value in (*graph.input, *graph.output):
        for name, side in zip(("batch", "length"), value.type.tensor_type.shape.dim, strict=False):
            if side.dim_param:
                side.dim_param = name


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own future; nobody here can act on that."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
