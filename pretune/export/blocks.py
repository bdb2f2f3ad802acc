"""Weights in blocks: whole numbers of 4 or 8 bits, with a scale for each block of a row.

    row       0.50 -0.25 0.10 ... | 0.02 0.01 ...        block 32: 32 weights share a scale
    scale     0.50 / -8           | 0.02 / -8            symmetric; otherwise a zero point for each block as well
    int4       0    12   6    ... |  0    4   ...        8 stands for 0

A pass over a finished graph, written by hand or traced: products with a weight become MatMulNBits (com.microsoft), and
the table of the words is unpacked after its rows are picked, so that a tied head and its table are one copy. Routers of
experts stay float32. Whole numbers are found by rounding to the nearest. The scale of a symmetric block of 4 bits is
that of llama.cpp's q4_0 or one near it, whichever loses least in squares; with 4 bits the table of the words and the
head keep 8 (what both win: docs/LOG.md). Where a folder brings its own int8 scales, int8 is exact.

*N outputs, K inputs of a weight, b blocks of a row, B rows, L positions.*
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pretune.base.errors import BadFile
from pretune.export.pooling import FLOAT
from pretune.export.writer import OPSET
from pretune.model.rounding import fitted

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

DOMAIN = "com.microsoft"
HEAD = "lm_head.weight"
ROUTER = ".mlp.gate.weight"
WORDS = "input_ids"
INT8_ACTIVATIONS = 4
"""MatMulNBits' `accuracy_level` of products with activations in int8, a scale for each block; 1: float32."""


@dataclass(frozen=True)
class Blocks:
    """How weights are stored.

    Args:
        bits: 4 or 8; block: weights that share a scale.
        symmetric: without zero points.
        exact: activations stay float32.
    """

    bits: int
    block: int = 32
    symmetric: bool = True
    exact: bool = False

    @property
    def of_words(self) -> Blocks:
        """How the table of the words and the head are stored."""
        return replace(self, bits=8)


@dataclass(frozen=True)
class Stored:
    """A weight [N, K] in blocks.

    Args:
        whole: uint8 [N, b, block], not packed yet; 2 ** (bits - 1) or `zero` stands for 0.
        scale: float32 [N, b]; zero: uint8 [N, b], None where symmetric.
    """

    whole: np.ndarray
    scale: np.ndarray
    zero: np.ndarray | None

    def weight(self, kind: Blocks, inputs: int) -> np.ndarray:
        """The float32 weight [N, K] that these numbers stand for."""
        zero = 2 ** (kind.bits - 1) if self.zero is None else self.zero[..., None].astype(np.float32)
        found: np.ndarray = (self.whole.astype(np.float32) - zero) * self.scale[..., None]
        return found.reshape(len(found), -1)[:, :inputs]


@dataclass(frozen=True)
class Given:
    """What an int4 folder brings for a weight (compress/grid.py): it lies on these steps.

    Args:
        scale: float32 [N, b]; zero: float32 whole numbers [N, b]; block: weights that share them.
    """

    scale: np.ndarray
    zero: np.ndarray
    block: int

    def kind(self, usual: Blocks, *, words: bool) -> Blocks:
        """How the weight is stored; in the table of words 8 bits hold the same steps."""
        symmetric = words or bool((self.zero == 2**3).all())
        return replace(usual, bits=8 if words else 4, block=self.block, symmetric=symmetric)

    def stored(self, x_NbB: np.ndarray, kind: Blocks) -> Stored:
        """The whole numbers of a weight in its blocks; nothing is rounded."""
        half = 2 ** (kind.bits - 1)
        zero = self.zero if kind.bits == 4 else np.full_like(self.zero, half)
        whole = np.rint(x_NbB / self.scale[..., None]) + zero[..., None]
        return Stored(whole.astype(np.uint8), self.scale, None if kind.symmetric else zero.astype(np.uint8))


def stored(
    weight_NK: np.ndarray, kind: Blocks, row_scales: np.ndarray | None = None, given: Given | None = None
) -> Stored:
    """A weight in blocks, rounded to the nearest.

    Args:
        row_scales: of an int8 folder, [N, 1]; the weight lies on their grid, so it is kept as it is.
        given: the same of an int4 folder.
    """
    most, half = 2**kind.bits - 1, 2 ** (kind.bits - 1)
    blocks = -(-weight_NK.shape[1] // kind.block)
    padded = np.pad(weight_NK, [(0, 0), (0, blocks * kind.block - weight_NK.shape[1])])
    x = padded.reshape(len(padded), blocks, kind.block)
    if given is not None:
        return given.stored(x, kind)
    low, high = np.minimum(x.min(2), 0), np.maximum(x.max(2), 0)
    if row_scales is not None and kind.bits == 8:
        scale, zero = np.broadcast_to(row_scales.reshape(-1, 1), low.shape), None
    elif kind.symmetric:
        scale, zero = np.where(-low > high, low, high) / -half, None  # the largest number gets a place of its own
        scale = fitted(x, scale, half) if kind.bits == 4 else scale
    else:
        scale = (high - low) / most
        zero = np.clip(np.rint(-low / np.where(scale == 0, 1, scale)), 0, most).astype(np.uint8)
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    middle = half if zero is None else zero[..., None]
    return Stored(np.clip(np.rint(x / scale[..., None]) + middle, 0, most).astype(np.uint8), scale, zero)


def packed(whole: np.ndarray, bits: int) -> np.ndarray:
    """Two numbers of 4 bits in a byte, the first one low; the last axis is filled up with a 0 where it is odd."""
    if bits == 8:
        return whole
    even = np.pad(whole, [(0, 0)] * (whole.ndim - 1) + [(0, whole.shape[-1] % 2)])
    found: np.ndarray = even[..., 0::2] | (even[..., 1::2] << 4)
    return found


def in_blocks(
    model: ModelProto,
    kind: Blocks | None,
    row_scales: Mapping[str, np.ndarray],
    given: Mapping[str, Given] | None = None,
) -> None:
    """Store the weights of a graph in blocks, in place.

    Args:
        kind: of those that are not given; None: those stay as they are, and products with the others are exact.
        row_scales: of an int8 folder, by parameter name; shaped as `writer.Weights` has them.
        given: what an int4 folder brings, by parameter name.

    Raises:
        BadFile: a given weight does not lie on its steps.
    """
    from onnx import helper

    work = _Pass(model, kind or Blocks(4, exact=True), row_scales, given or {}, all_weights=kind is not None)
    nodes = [new for node in model.graph.node for new in work.replaced(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input} | {value.name for value in model.graph.input}
    kept = [one for one in model.graph.initializer if one.name in used] + work.made
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", work.opset), helper.make_opsetid(DOMAIN, 1)])


class _Pass:
    """One walk over a graph; what it stores is shared by name."""

    def __init__(
        self,
        model: ModelProto,
        kind: Blocks,
        row_scales: Mapping[str, np.ndarray],
        grids: Mapping[str, Given],
        *,
        all_weights: bool,
    ):
        self.kind, self.row_scales, self.grids, self.all_weights = kind, row_scales, grids, all_weights
        self.given = {one.name: one for one in model.graph.initializer}
        self.opset = next((one.version for one in model.opset_import if not one.domain), OPSET)
        self.words = {node.input[0] for node in model.graph.node if node.op_type == "Gather" and node.input[1] == WORDS}
        self.made: list[Any] = []
        self._names: dict[tuple[str, bool], tuple[str, int, int]] = {}

    def replaced(self, node: NodeProto) -> list[NodeProto]:
        """What stands for a node: itself, where it has no weight."""
        settings = {one.name: one for one in node.attribute}
        if node.op_type == "MatMul" and self._is_weight(node.input[1]):
            return [self._product(node.input[0], node.input[1], node.output[0], transposed=True)]
        if node.op_type == "Gemm" and self._is_weight(node.input[1]) and _is_plain(settings):
            transposed = not ("transB" in settings and settings["transB"].i)
            return self._gemm(node, transposed=transposed)
        by_words = node.op_type == "Gather" and node.input[1] == WORDS
        if by_words and self._is_weight(node.input[0]) and not ("axis" in settings and settings["axis"].i):
            return self._rows(node)
        return [node]

    def _is_weight(self, name: str) -> bool:
        one = self.given.get(name)
        is_matrix = one is not None and one.data_type == FLOAT and len(one.dims) == 2
        plain = name.removesuffix(".T")
        return is_matrix and (plain in self.grids or (self.all_weights and not plain.endswith(ROUTER)))

    def _gemm(self, node: NodeProto, *, transposed: bool) -> list[NodeProto]:
        from onnx import helper

        if len(node.input) < 3:
            return [self._product(node.input[0], node.input[1], node.output[0], transposed=transposed)]
        between = f"{node.output[0]}/product"
        product = self._product(node.input[0], node.input[1], between, transposed=transposed)
        return [product, helper.make_node("Add", [between, node.input[2]], list(node.output))]

    def _product(self, x: str, weight: str, out: str, *, transposed: bool) -> NodeProto:
        from onnx import helper

        name, outputs, inputs = self._stored(weight, transposed=transposed)
        kind = self.kind_of(weight)
        parts = [name, f"{name}.scale", *([f"{name}.zero"] if self._has_zeros(weight) else [])]
        sizes = {"N": outputs, "K": inputs, "bits": kind.bits, "block_size": kind.block}
        level = 1 if kind.exact else INT8_ACTIVATIONS
        return helper.make_node("MatMulNBits", [x, *parts], [out], domain=DOMAIN, accuracy_level=level, **sizes)

    def kind_of(self, weight: str) -> Blocks:
        """How a weight is stored."""
        name = weight.removesuffix(".T")
        if name in self.grids:
            return self.grids[name].kind(self.kind, words=name in self.words)
        kept = bool(self.grids) and name in self.row_scales  # what an int4 folder left in int8
        return self.kind.of_words if kept or name in self.words or name.endswith(HEAD) else self.kind

    def _has_zeros(self, weight: str) -> bool:
        return not (self.kind_of(weight).symmetric or self._scales_of(weight) is not None)

    def _scales_of(self, weight: str) -> np.ndarray | None:
        return self.row_scales.get(weight.removesuffix(".T")) if self.kind_of(weight).bits == 8 else None

    def _stored(self, weight: str, *, transposed: bool) -> tuple[str, int, int]:
        """The name of a weight [N, K] in blocks, N and K."""
        from onnx import numpy_helper

        if (weight, transposed) not in self._names:
            array = numpy_helper.to_array(self.given[weight])
            array = array.T if transposed else array
            kind = self.kind_of(weight)
            given = self.grids.get(weight.removesuffix(".T"))
            found = stored(array, kind, self._scales_of(weight), given)
            if given and not np.array_equal(found.weight(kind, array.shape[1]), array):
                hint = "the weights were changed after they were rounded; compress the model again"
                raise BadFile(f"{weight.removesuffix('.T')} does not lie on the int4 grid of its scales", hint=hint)
            name = f"{weight}.blocks"
            self.keep(name, packed(found.whole, kind.bits))
            self.keep(f"{name}.scale", found.scale)
            if found.zero is not None:
                self.keep(f"{name}.zero", packed(found.zero, kind.bits))
            self._names[weight, transposed] = (name, *array.shape)
        return self._names[weight, transposed]

    def keep(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        self.made.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _rows(self, gather: NodeProto) -> list[NodeProto]:
        """Rows of a table [B, L, K]: picked as they are stored, in 8 bits, then made float32."""
        name, _, inputs = self._stored(gather.input[0], transposed=False)
        block, ids, steps = self.kind_of(gather.input[0]).block, gather.input[1], _Steps(self, gather.output[0])
        blocks = -(-inputs // block)
        whole = steps.add("Cast", steps.add("Gather", name, ids), to=FLOAT)
        zero = steps.constant(2**7, np.float32)
        if self._has_zeros(gather.input[0]):
            zeros = steps.add("Cast", steps.add("Gather", f"{name}.zero", ids), to=FLOAT)
            zero = steps.add("Unsqueeze", zeros, steps.constant([-1]))
        scale = steps.add("Unsqueeze", steps.add("Gather", f"{name}.scale", ids), steps.constant([-1]))
        found = steps.add("Mul", steps.add("Sub", whole, zero), scale)
        flat = steps.add("Reshape", found, steps.constant([0, 0, blocks * block]))
        steps.add("Slice", flat, steps.constant([0]), steps.constant([inputs]), steps.constant([-1]))
        steps.nodes[-1].output[0] = gather.output[0]
        return steps.nodes


class _Steps:
    """Nodes that stand for one; their names begin with that of its output."""

    def __init__(self, work: _Pass, out: str):
        self.work, self.out = work, out
        self.nodes: list[NodeProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [f"{self.out}/rows_{len(self.nodes)}"], **attributes))
        return str(self.nodes[-1].output[0])

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        return self.work.keep(f"{self.out}/constant_{len(self.work.made)}", np.asarray(value, dtype))


def _is_plain(settings: Mapping[str, Any]) -> bool:
    """Whether a Gemm is a product and a sum, nothing else."""
    factors = all(name not in settings or settings[name].f == 1 for name in ("alpha", "beta"))
    return factors and not ("transA" in settings and settings["transA"].i)
