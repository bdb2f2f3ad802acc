"""Writing an ONNX graph by hand: nodes, constants, and weights that may be stored as int8.

A graph of our own is written in under a second, its bytes depend on nothing but the weights, and its
initializers keep the names of the model's parameters; tracing the same model takes 17 s (docs/LOG.md).

    float32 weight    initializer
    int8 weight       int8 initializer ──Cast──▶ float32 ──Mul scales──▶ exactly the rounded weight

onnxruntime folds the second form when it opens the graph, so an int8 file computes at float32's speed and
gives the float32 answers of the rounded model, from a quarter of the bytes. With `dynamic` the activations
of linear layers are int8 as well (MatMulInteger): another function, compared by thresholds.

*B rows, L positions, P positions in the cache, T = P + L, D width, H heads, V vocabulary.*
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pretune.base.errors import BadFile, NotSupported

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET = 17
IR_VERSION = 8
LARGEST_BYTES = 2**31 - 2**20
"""A protobuf file ends at 2 GiB."""

Shape = Sequence[str | int]


class Weights:
    """A model's parameters by name, and the int8 scales of those that lie on an int8 grid.

    Args:
        scales: shaped like the weight with one axis left: [out, 1] for rows, [1, out] for columns.
        bottles: names of modules with a bottleneck (model/methods/in_blocks.py) -> its activation and scale.
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        scales: Mapping[str, np.ndarray],
        bottles: Mapping[str, tuple[str, float]] | None = None,
    ):
        self.tensors, self.scales, self.bottles = tensors, scales, bottles or {}

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[name]

    def grid(self, name: str) -> np.ndarray:
        """The int8 numbers of a rounded weight: weight == grid * scale, bit for bit.

        Raises:
            BadFile: the scales are not those of these weights.
        """
        found = np.rint(self.tensors[name] / self.scales[name]).astype(np.int8)
        if not np.array_equal(found * self.scales[name], self.tensors[name]):
            hint = "the weights were changed after they were rounded; compress the model again"
            raise BadFile(f"{name} does not lie on the int8 grid of its scales", hint=hint)
        return np.asarray(found)


class GraphWriter:
    """Collects nodes and initializers; every method returns the name of what it computes."""

    def __init__(self, weights: Weights, *, dynamic: bool = False):
        self.weights, self.dynamic = weights, dynamic
        self._nodes: list[NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._defaults: list[ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    # ---- nodes ----------------------------------------------------------------------------------

    def op(self, kind: str, *inputs: str, **attributes: int | float | str | Sequence[int]) -> str:
        """One node with one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(
        self, kind: str, num_outputs: int, *inputs: str, **attributes: int | float | str | Sequence[int]
    ) -> list[str]:
        from onnx import helper

        outputs = [f"{kind}_{len(self._nodes)}" + (f"_{k}" if k else "") for k in range(num_outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return outputs

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.int64) -> str:
        """A small constant; equal ones are stored once."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._store(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def number(self, value: float) -> str:
        return self.constant(value, np.float32)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """0 keeps a side, -1 is what is left."""
        return self.op("Reshape", x, self.constant(list(shape)))

    def side(self, x: str, axis: int) -> str:
        """The length of one axis, int64 [1]."""
        return self.op("Gather", self.op("Shape", x), self.constant([axis]))

    def _store(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        self._initializers[name] = numpy_helper.from_array(array.copy(order="C"), name)
        return name

    # ---- weights --------------------------------------------------------------------------------

    def vector(self, name: str) -> str:
        """A parameter as it is."""
        return name if name in self._initializers else self._store(name, self.weights[name])

    def matrix(self, name: str, *, transposed: bool = False) -> str:
        """A weight as float32; stored as int8 where it lies on an int8 grid."""
        stored = f"{name}.T" if transposed else name
        if name not in self.weights.scales:
            array = self.weights[name]
            return stored if stored in self._initializers else self._store(stored, array.T if transposed else array)
        grid, scale = self._grid(name, transposed=transposed)
        return self.op("Mul", self.op("Cast", grid, to=_float()), scale)

    def _grid(self, name: str, *, transposed: bool) -> tuple[str, str]:
        stored = f"{name}.T.int8" if transposed else f"{name}.int8"
        if stored not in self._initializers:
            grid, scale = self.weights.grid(name), self.weights.scales[name]
            self._store(stored, grid.T if transposed else grid)
            self._store(f"{stored}.scale", scale.T if transposed else scale)
        return stored, f"{stored}.scale"

    def lookup(self, name: str, ids: str) -> str:
        """Rows of an embedding; int8 rows are widened after they are picked."""
        if name not in self.weights.scales:
            return self.op("Gather", self.vector(name), ids)
        grid, scale = self._grid(name, transposed=False)
        rows = self.op("Cast", self.op("Gather", grid, ids), to=_float())
        return self.op("Mul", rows, self.op("Gather", scale, ids))

    def linear(self, x: str, name: str, *, columns: bool = False) -> str:
        """x @ W.T + b of `name.weight` [out, in]; with `columns` x @ W + b of [in, out] (GPT-2's Conv1D)."""
        weight = f"{name}.weight"
        if self.dynamic and weight in self.weights.scales:
            y = self._integer_product(x, *self._grid(weight, transposed=not columns))
        else:
            y = self.op("MatMul", x, self.matrix(weight, transposed=not columns))
        y = self.op("Add", y, self.vector(f"{name}.bias")) if f"{name}.bias" in self.weights else y
        return self.bottled(y, x, name)

    def bottled(self, y: str, x: str, name: str) -> str:
        """What a module gives, with its bottleneck if it has one: that reads y, or x if it is parallel."""
        if name not in self.weights.bottles:
            return y
        activation, scale = self.weights.bottles[name]
        narrow = self.activation(self.linear(y if scale == 1 else x, f"{name}.bottleneck.down"), activation)
        added = self.linear(narrow, f"{name}.bottleneck.up")
        return self.op("Add", y, added if scale == 1 else self.op("Mul", added, self.number(scale)))

    def _integer_product(self, x: str, grid: str, scale: str) -> str:
        whole, step, zero = self.ops("DynamicQuantizeLinear", 3, x)
        product = self.op("Cast", self.op("MatMulInteger", whole, grid, zero), to=_float())
        flat = self.op("Reshape", scale, self.constant([-1]))
        return self.op("Mul", product, self.op("Mul", step, flat))

    def stacked(self, x: str, name: str, number: int) -> str:
        """x @ W.T of one of the matrices [out, in] that lie on each other in a parameter."""
        stored = f"{name}.{number}.T"
        if stored not in self._initializers:
            self._store(stored, self.weights[name][number].T)
        return self.op("MatMul", x, stored)

    def scores(self, x_BD: str, name: str) -> str:
        """x @ W.T of a head [V, D] that may also be the embedding: one copy serves both."""
        if self.dynamic and name in self.weights.scales:
            return self._integer_product(x_BD, *self._grid(name, transposed=True))
        return self.op("Gemm", x_BD, self.matrix(name), transB=1)

    # ---- layers ---------------------------------------------------------------------------------

    def rms_norm(self, x: str, name: str, epsilon: float, *, above: float = 0.0) -> str:
        """x by its root mean square, times a factor that is counted from `above` (Gemma's from 1)."""
        square = self.op("ReduceMean", self.op("Pow", x, self.number(2.0)), axes=[-1], keepdims=1)
        root = self.op("Sqrt", self.op("Add", square, self.number(epsilon)))
        weight = self.vector(f"{name}.weight")
        return self.op("Mul", self.op("Div", x, root), self.op("Add", weight, self.number(above)) if above else weight)

    def layer_norm(self, x: str, name: str, epsilon: float) -> str:
        bias = [self.vector(f"{name}.bias")] if f"{name}.bias" in self.weights else []
        weight = self.vector(f"{name}.weight")
        return self.op("LayerNormalization", x, weight, *bias, axis=-1, epsilon=epsilon)

    def activation(self, x: str, kind: str) -> str:
        """An activation of transformers by its name; `ACTIVATIONS` are known."""
        return ACTIVATIONS[kind](self, x)

    def attention(self, query: str, key: str, value: str, mask: str, *, heads: int, width: int, scale: float) -> str:
        """softmax(Q K' scale + mask) V, for `heads` query heads of `width`.

        Args:
            query: [B, Hkv, G * L, width]: the G query heads of one key head stand under each other, so that
                keys are never copied for grouped attention.
            key, value: [B, Hkv, T, width].
            mask: 0 or the lowest float32, broadcasting to [B, Hkv, G * L, T].

        Returns:
            [B, L, heads * width].
        """
        product = self.op("MatMul", query, self.op("Transpose", key, perm=[0, 1, 3, 2]))
        weights = self.op("Add", self.op("Mul", product, self.number(scale)), mask)
        mixed = self.op("MatMul", self.op("Softmax", weights, axis=-1), value)
        by_head = self.op("Transpose", self.reshape(mixed, [0, heads, -1, width]), perm=[0, 2, 1, 3])
        return self.reshape(by_head, [0, 0, heads * width])

    def by_head(self, x: str, heads: int, width: int) -> str:
        """[B, L, heads * width] to [B, heads, L, width]."""
        return self.op("Transpose", self.reshape(x, [0, 0, heads, width]), perm=[0, 2, 1, 3])

    def lowest_where_not(self, seen: str) -> str:
        """0 where a position may be seen, else the lowest float32; -inf would make a row that sees nothing NaN."""
        return self.op("Where", seen, self.number(0.0), self.number(float(np.finfo(np.float32).min)))

    # ---- the whole ------------------------------------------------------------------------------

    def input(self, name: str, shape: Shape, dtype: DTypeLike = np.int64) -> str:
        self._inputs.append(_value(name, shape, dtype))
        return name

    def optional(self, name: str, default: ArrayLike) -> str:
        """An int64 input that need not be given."""
        array = np.asarray(default, dtype=np.int64)
        self._defaults.append(_value(self._store(name, array), array.shape, np.int64))
        return name

    def output(self, name: str, x: str, shape: Shape) -> None:
        """What a node has made is an output under this name: an Identity would copy it at every run, a cache too."""
        assert any(x in node.output for node in self._nodes), "an output is made by a node"
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [name if one == x else one for one in names]
        self._outputs.append(_value(name, shape, np.float32))

    @property
    def input_names(self) -> list[str]:
        return [value.name for value in self._inputs]

    @property
    def output_names(self) -> list[str]:
        return [value.name for value in self._outputs]

    def model(self) -> ModelProto:
        """The graph as ONNX has it."""
        from onnx import helper

        initializers = list(self._initializers.values())
        inputs = [*self._inputs, *self._defaults]
        graph = helper.make_graph(self._nodes, "pretune", inputs, self._outputs, initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, producer_name="pretune", opset_imports=opsets, ir_version=IR_VERSION)


def serialized(model: ModelProto) -> bytes:
    """The bytes of the .onnx file: the same weights give the same bytes. Raises NotSupported past 2 GiB."""
    if sum(len(one.raw_data) for one in model.graph.initializer) > LARGEST_BYTES:
        raise NotSupported("an ONNX file ends at 2 GiB and this model is larger", hint="use precision=int8 or int4")
    return bytes(model.SerializeToString(deterministic=True))


def _gelu(w: GraphWriter, x: str) -> str:
    erf = w.op("Erf", w.op("Div", x, w.number(2.0**0.5)))
    return w.op("Mul", w.op("Mul", x, w.op("Add", erf, w.number(1.0))), w.number(0.5))


def _gelu_tanh(w: GraphWriter, x: str) -> str:
    cube = w.op("Mul", w.op("Pow", x, w.number(3.0)), w.number(0.044715))
    inner = w.op("Tanh", w.op("Mul", w.op("Add", x, cube), w.number((2 / np.pi) ** 0.5)))
    return w.op("Mul", w.op("Mul", x, w.number(0.5)), w.op("Add", inner, w.number(1.0)))


def _silu(w: GraphWriter, x: str) -> str:
    return w.op("Mul", x, w.op("Sigmoid", x))


ACTIVATIONS: dict[str, Callable[[GraphWriter, str], str]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": lambda w, x: w.op("Relu", x),
    "silu": _silu,
    "swish": _silu,
    "tanh": lambda w, x: w.op("Tanh", x),
}


def _float() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)


def _value(name: str, shape: Shape, dtype: DTypeLike) -> ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
