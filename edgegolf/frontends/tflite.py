"""From a `.tflite` file to a `Graph`: integers as they are stored, loops as loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import MAXIMUM_DEPTH, Table
from edgegolf.formats.tflite.model import TfliteModel, read_tflite, type_name
from edgegolf.formats.tflite.schema import ENUMERATIONS, number
from edgegolf.ir import Graph, Node, Op, QuantParams, Tensor, ops
from edgegolf.ir.interpreter import constant_result
from edgegolf.ir.kernels.call import MAXIMUM_ELEMENTS
from edgegolf.ir.tensor import BITS, COMPUTED_BITS, Array, Shape

_TYPES = {name.upper(): name for name in COMPUTED_BITS}

_ACTIVATIONS = {
    "NONE": None,
    "RELU": ops.ReLU(),
    "RELU_N1_TO_1": ops.ReLU(-1.0, 1.0),
    "RELU6": ops.ReLU(0.0, 6.0),
}

Inputs: TypeAlias = tuple[Tensor | None, ...]


def read_graph(path: Path) -> Graph:
    """The main graph of a `.tflite` file.

    Shapes must be known; an open dimension counts as 1. What is computed from constants and shapes
    alone becomes a constant. Operators that are not covered become `ops.Unsupported`.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, its subgraphs call themselves, or a
            tensor has a type that is not covered.
    """
    model = read_tflite(path)
    try:
        if not model.root.subgraphs:
            raise EdgegolfError("it has no graph")
        return _Reader(model).graph(0, 0)
    except EdgegolfError as error:
        raise EdgegolfError(f"{path}: {error.message}", error.hint) from None


@dataclass(frozen=True)
class _Call:
    """An operator of the file.

    Attributes:
        name: Such as `CONV_2D`.
        inputs: Its inputs, None for one that is left out.
        output: Its first result.
        options: Its options; an empty table if the file has none.
    """

    name: str
    inputs: tuple[Tensor | None, ...]
    output: Tensor
    options: Any

    def integers(self, index: int) -> tuple[int, ...]:
        """A constant input such as a shape or axes, flattened."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None or tensor.data is None or tensor.data.dtype.kind not in "iu":
            raise _NotCoveredError(f"an input {index} that is no constant")
        return tuple(int(n) for n in tensor.data.ravel())

    def shape(self, index: int = 0) -> Shape:
        """The shape of an input that must be there."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise EdgegolfError(f"{self.name} lacks its input {index}")
        return tensor.shape

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from 0."""
        if not -rank <= axis < rank:
            raise EdgegolfError(f"{self.name} along axis {axis} of {rank}")
        return axis % rank

    @property
    def activation(self) -> ops.ReLU | None:
        """The fused activation."""
        names = ENUMERATIONS["ActivationFunctionType"]
        code = self.options.fused_activation_function
        name = names[code] if 0 <= code < len(names) else str(code)
        if name not in _ACTIVATIONS:
            raise _NotCoveredError(f"the fused activation {name}")
        return _ACTIVATIONS[name]

    def window(self, size: ops.Pair, dilation: ops.Pair = (1, 1)) -> dict[str, Any]:
        """Strides and padding of a window of some size."""
        strides = (self.options.stride_h, self.options.stride_w)
        shape = self.shape()
        padding = ops.NO_PADDING
        if min(*strides, *dilation, *size) < 1 or len(shape) != 4:
            raise EdgegolfError(f"{self.name} has an impossible window")
        if self.options.padding == number("Padding", "SAME"):
            padding = ops.same_padding((shape[1], shape[2]), size, strides, dilation)
        return {"strides": strides, "padding": padding}


class _NotCoveredError(Exception):
    """An operator does something that `ops` cannot say."""


class _Reader:
    def __init__(self, model: TfliteModel) -> None:
        self.model = model
        self.building: set[int] = set()
        self.graphs: dict[int, Graph] = {}
        self.stored: dict[tuple[bytes, Shape, str], Array] = {}
        self.constants: dict[tuple[int, QuantParams | None], Tensor] = {}

    def graph(self, index: int, depth: int) -> Graph:
        """A subgraph, read once."""
        if index in self.building or depth > MAXIMUM_DEPTH or index < 0:
            raise EdgegolfError("its subgraphs call themselves")
        if index not in self.graphs:
            self.building.add(index)
            self.graphs[index] = self.build(self.model.root.subgraphs[index], depth)
            self.building.discard(index)
        return self.graphs[index]

    def build(self, subgraph: Table, depth: int) -> Graph:
        tensors = [self.tensor(table) for table in subgraph.tensors]
        nodes: list[Node] = []
        for operator in subgraph.operators:
            inputs = tuple(tensors[i] if i >= 0 else None for i in operator.inputs)
            if not operator.outputs or min(operator.outputs) < 0:
                raise EdgegolfError("an operator has no output")
            outputs = tuple(tensors[i] for i in operator.outputs)
            node, known = self.node(operator, inputs, outputs, depth)
            if node is not None:
                nodes.append(node)
            for position, data in known.items():
                tensor = outputs[position]
                data = data.astype(tensor.dtype).reshape(tensor.shape)
                tensors[operator.outputs[position]] = replace(tensor, data=data)
        return Graph(
            tuple(tensors[i] for i in subgraph.inputs),
            tuple(tensors[i] for i in subgraph.outputs),
            tuple(nodes),
        )

    def tensor(self, table: Table) -> Tensor:
        kind = type_name(table)
        if kind not in _TYPES or table.sparsity or table.is_variable:
            what = "sparse" if table.sparsity else "variable" if table.is_variable else kind
            raise EdgegolfError(f"{what} tensors are not covered")
        shape: Shape = tuple(1 if size < 0 else size for size in table.shape)
        count = prod(shape)  # type: ignore[arg-type]
        if count > MAXIMUM_ELEMENTS:
            raise EdgegolfError(f"a tensor has the impossible shape {list(shape)}")
        dtype, quant = _TYPES[kind], _quantization(table.quantization)
        content = self.model.buffer_data(table.buffer)
        if not content and count:
            return Tensor(shape, dtype, quant, name=table.name)
        stored = (content, shape, dtype)
        if stored not in self.stored:
            self.stored[stored] = _stored(content, shape, dtype)
        key = (id(self.stored[stored]), quant)
        if key not in self.constants:
            self.constants[key] = Tensor(shape, dtype, quant, self.stored[stored], table.name)
        return self.constants[key]

    def node(
        self, operator: Table, inputs: Inputs, outputs: tuple[Tensor, ...], depth: int
    ) -> tuple[Node | None, dict[int, Array]]:
        """The node of an operator, if it needs one, and those of its results that are known."""
        name = self.model.operator_name(operator)
        if name == "SHAPE" and inputs and inputs[0] is not None:
            return None, {0: np.array(inputs[0].shape)}
        if name == "WHILE":
            return self.loop(operator, inputs, outputs, depth)
        if name not in _OPERATORS:
            return Node(ops.Unsupported(name), inputs, outputs), {}
        make, expected = _OPERATORS[name]
        options = operator.builtin_options or Table(expected, {})
        if expected and options.table_name != expected:
            raise EdgegolfError(f"{name} has options of another operator, {options.table_name}")
        if len(outputs) != 1:
            raise EdgegolfError(f"{name} does not have {len(outputs)} outputs")
        try:
            op, count = make(_Call(name, inputs, outputs[0], options))
        except _NotCoveredError as error:
            return Node(ops.Unsupported(name, str(error)), inputs, outputs), {}
        node = Node(op, inputs[:count], outputs)
        shape = op.shape(node.inputs)
        if shape is not None and shape != node.output.shape:
            raise EdgegolfError(f"{name} gives {list(shape)}, not {list(node.output.shape)}")
        if _computes_a_shape(node):
            return None, {0: constant_result(node)}
        return node, {}

    def loop(
        self, operator: Table, inputs: Inputs, outputs: tuple[Tensor, ...], depth: int
    ) -> tuple[Node, dict[int, Array]]:
        """WHILE as a loop of known length, without its counter, where it counts."""
        options = operator.builtin_options or Table("WhileOptions", {})
        if options.table_name != "WhileOptions":
            raise EdgegolfError(f"WHILE has options of another operator, {options.table_name}")
        condition = self.graph(options.cond_subgraph_index, depth + 1)
        body = self.graph(options.body_subgraph_index, depth + 1)
        state = tuple(tensor for tensor in inputs if tensor is not None)
        lengths = {len(g) for g in (state, outputs, condition.inputs, body.inputs, body.outputs)}
        if len(lengths) != 1 or len(condition.outputs) != 1:
            raise EdgegolfError("a WHILE has not as many results as inputs")
        counted = _counted(condition, body, state)
        if counted is None:
            return Node(ops.While(condition, body), state, outputs), {}
        position = counted.position

        def rest(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return (*tensors[:position], *tensors[position + 1 :])

        nodes = tuple(node for node in body.nodes if node is not counted.increment)
        inner = Graph(rest(body.inputs), rest(body.outputs), nodes)
        node = Node(ops.Loop(inner, counted.iterations), rest(state), rest(outputs))
        return node, {position: np.array(counted.end)}


def _quantization(table: Table | None) -> QuantParams | None:
    if table is None or not (table.scale or table.details):
        return None
    if table.details is not None:
        raise EdgegolfError("custom and blockwise quantization are not covered")
    scale = tuple(float(np.float32(number)) for number in table.scale)
    zero_point = tuple(table.zero_point) or (0,)
    if len(zero_point) not in (1, len(scale)):
        raise EdgegolfError("a tensor has not as many zero points as scales")
    return QuantParams(scale, zero_point, table.quantized_dimension)


def _stored(content: bytes, shape: Shape, dtype: str) -> Array:
    """The elements in a buffer; those of less than a byte unpacked."""
    count = prod(shape)
    if dtype in ("int4", "int2"):
        bits = BITS[dtype]
        packed = np.frombuffer(content, np.uint8)
        if len(packed) != ceil(count * bits / 8):
            raise EdgegolfError(f"a constant of shape {list(shape)} has {len(content)} bytes")
        places = np.arange(0, 8, bits, dtype=np.uint8)
        unsigned = (packed[:, None] >> places & (2**bits - 1)).ravel()[:count].astype(np.int8)
        signed = np.where(unsigned >> (bits - 1), unsigned - 2**bits, unsigned)
        return signed.astype(np.int8).reshape(shape)
    stored = np.dtype(dtype).newbyteorder("<")
    if len(content) != stored.itemsize * count:
        raise EdgegolfError(f"a constant of shape {list(shape)} has {len(content)} bytes")
    return np.frombuffer(content, stored).astype(dtype).reshape(shape)


def _computes_a_shape(node: Node) -> bool:
    """Whether it computes from a few integer constants, as converters compute shapes."""
    tensors = [*(tensor for tensor in node.inputs if tensor is not None), node.output]
    return all(t.dtype in ("int32", "int64") and t.elements <= 64 for t in tensors) and all(
        tensor.data is not None for tensor in tensors[:-1]
    )


# ------------------------------------------------------------------------------------- loops


@dataclass(frozen=True)
class _Counter:
    """What a loop counts with.

    Attributes:
        position: Of the counter among the loop's inputs and outputs.
        increment: The node of the body that counts.
        iterations: How often the body runs.
        end: The counter after the loop.
    """

    position: int
    increment: Node
    iterations: int
    end: float


def _counted(condition: Graph, body: Graph, state: tuple[Tensor, ...]) -> _Counter | None:
    """The counter of a loop that ends when it reaches a constant and is used for nothing else."""
    (comparison,) = condition.nodes if len(condition.nodes) == 1 else (None,)
    if comparison is None or not isinstance(comparison.op, ops.Less):
        return None
    count, limit = comparison.inputs
    position = next((i for i, t in enumerate(condition.inputs) if t is count), None)
    if position is None or comparison.output is not condition.outputs[0]:
        return None
    counter, counted = body.inputs[position], body.outputs[position]
    increment = next((node for node in body.nodes if counted in node.outputs), None)
    others = [tensor for node in body.nodes if node is not increment for tensor in node.inputs]
    others += [t for index, t in enumerate(body.outputs) if index != position]
    if increment is None or not isinstance(increment.op, ops.Add) or {counter, counted} & {*others}:
        return None
    steps = [tensor for tensor in increment.inputs if tensor is not counter]
    start, end, step = (
        _number(state[position]),
        _number(limit),
        _number(steps[0] if steps else None),
    )
    if len(steps) == 2 or start is None or end is None or (steps and step is None):
        return None
    found = _run_out(start, end, step)
    return None if found is None else _Counter(position, increment, *found)


def _run_out(count: float, end: float, step: float | None) -> tuple[int, float] | None:
    """How often a counter is below an end, and where it then is; without a step it doubles."""
    if step is not None:
        trips = ceil((end - count) / step) if step > 0 else 0 if count >= end else None
        return None if trips is None else (max(0, trips), count + max(0, trips) * step)
    if count <= 0 and count < end:
        return None
    trips = 0
    while count < end:
        count *= 2
        trips += 1
    return trips, count


def _number(tensor: Tensor | None) -> float | None:
    if tensor is None or tensor.data is None or tensor.elements != 1:
        return None
    value = float(tensor.data.ravel()[0])
    return value if abs(value) < 2**31 else None


# --------------------------------------------------------------------------------- operators

# How many of the file's inputs the node has: the others became attributes.
_Made = tuple[Op, int]


def _conv_2d(call: _Call) -> _Made:
    filters = call.shape(1)
    if len(filters) != 4:
        raise EdgegolfError(f"{call.name} has filters of {len(filters)} axes")
    dilation = (call.options.dilation_h_factor, call.options.dilation_w_factor)
    window = call.window((filters[1], filters[2]), dilation)
    kind = ops.Conv2D if call.name == "CONV_2D" else ops.DepthwiseConv2D
    return kind(**window, dilation=dilation, activation=call.activation), 3


def _fully_connected(call: _Call) -> _Made:
    if call.options.weights_format:
        raise _NotCoveredError("shuffled weights")
    return ops.FullyConnected(bool(call.options.keep_num_dims), call.activation), 3


def _pool(call: _Call) -> _Made:
    size = (call.options.filter_height, call.options.filter_width)
    kind = ops.MaxPool2D if call.name == "MAX_POOL_2D" else ops.AveragePool2D
    return kind(**call.window(size), size=size, activation=call.activation), 1


def _arithmetic(call: _Call) -> _Made:
    kind = {"ADD": ops.Add, "SUB": ops.Sub, "MUL": ops.Mul}[call.name]
    return kind(call.activation), 2


def _mean(call: _Call) -> _Made:
    rank = len(call.shape())
    axes = sorted({call.axis(axis, rank) for axis in call.integers(1)})
    return ops.Mean(tuple(axes), bool(call.options.keep_dims)), 1


def _pad(call: _Call) -> _Made:
    numbers = call.integers(1)
    margins = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    value = call.inputs[2] if len(call.inputs) > 2 else None
    if value is None:
        return ops.Pad(margins), 1
    if value.data is None or value.elements != 1:
        raise _NotCoveredError("a value that is no constant")
    return ops.Pad(margins, value.data.item()), 1


def _slice(call: _Call) -> _Made:
    starts, sizes, shape = call.integers(1), call.integers(2), call.shape()
    lengths = tuple(
        length - start if size == -1 else size
        for start, size, length in zip(starts, sizes, shape, strict=False)
    )
    return _checked_slice(call, starts, (1,) * len(starts), lengths)


def _strided_slice(call: _Call) -> _Made:
    options = call.options
    if options.ellipsis_mask or options.new_axis_mask or options.offset:
        raise _NotCoveredError("an ellipsis or a new axis")
    starts, steps, sizes = [], [], []
    numbers = zip(call.integers(1), call.integers(2), call.integers(3), call.shape(), strict=False)
    for axis, (begin, end, stride, length) in enumerate(numbers):
        bit = 1 << axis
        if options.shrink_axis_mask & bit:
            first = 0 if options.begin_mask & bit else begin
            chosen = range(first + length if first < 0 else first, length)[:1]
        elif not stride:
            raise EdgegolfError("STRIDED_SLICE with steps of 0")
        else:
            chosen = range(length)[
                None if options.begin_mask & bit else begin : None
                if options.end_mask & bit
                else end : stride
            ]
        starts.append(chosen.start if chosen else 0)
        steps.append(chosen.step)
        sizes.append(len(chosen))
    return _checked_slice(call, tuple(starts), tuple(steps), tuple(sizes))


def _checked_slice(call: _Call, starts: Shape, steps: Shape, sizes: Shape) -> _Made:
    if prod(sizes) != call.output.elements:
        raise EdgegolfError(f"{call.name} gives {prod(sizes)} elements, not {call.output.elements}")
    return ops.Slice(starts, steps, sizes), 1


def _reshape(call: _Call) -> _Made:
    wanted: Shape = call.output.shape
    if call.name == "RESHAPE":
        has_input = len(call.inputs) > 1 and call.inputs[1] is not None
        wanted = call.integers(1) if has_input else tuple(call.options.new_shape)
    fits = len(wanted) == len(call.output.shape) and all(
        size in (-1, length) for size, length in zip(wanted, call.output.shape, strict=True)
    )
    if not fits or prod(call.shape()) != call.output.elements:
        raise EdgegolfError(f"{call.name} of {call.shape()} to {wanted} is {call.output.shape}")
    return ops.Reshape(), 1


def _concatenate(call: _Call) -> _Made:
    if call.options.fused_activation_function:
        raise _NotCoveredError("a fused activation")
    return ops.Concatenate(call.axis(call.options.axis, len(call.shape()))), len(call.inputs)


def _pack(call: _Call) -> _Made:
    return ops.Stack(call.axis(call.options.axis, len(call.shape()) + 1)), len(call.inputs)


def _simple(op: Op, inputs: int = 1) -> Callable[[_Call], _Made]:
    return lambda call: (op, inputs)


def _leaky_relu(call: _Call) -> _Made:
    return ops.LeakyReLU(call.options.alpha), 1


def _softmax(call: _Call) -> _Made:
    return ops.Softmax(call.options.beta), 1


def _transpose(call: _Call) -> _Made:
    rank = len(call.shape())
    return ops.Transpose(tuple(call.axis(axis, rank) for axis in call.integers(1))), 1


#: How each operator becomes one of `ops`, and the table of its options.
_OPERATORS: dict[str, tuple[Callable[[_Call], _Made], str]] = {
    "ADD": (_arithmetic, "AddOptions"),
    "AVERAGE_POOL_2D": (_pool, "Pool2DOptions"),
    "CAST": (_simple(ops.Cast()), "CastOptions"),
    "CONCATENATION": (_concatenate, "ConcatenationOptions"),
    "CONV_2D": (_conv_2d, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": (_conv_2d, "DepthwiseConv2DOptions"),
    "DEQUANTIZE": (_simple(ops.Dequantize()), "DequantizeOptions"),
    "EXPAND_DIMS": (_reshape, "ExpandDimsOptions"),
    "FULLY_CONNECTED": (_fully_connected, "FullyConnectedOptions"),
    "GREATER": (_simple(ops.Greater(), 2), "GreaterOptions"),
    "HARD_SWISH": (_simple(ops.HardSwish()), "HardSwishOptions"),
    "LEAKY_RELU": (_leaky_relu, "LeakyReluOptions"),
    "LESS": (_simple(ops.Less(), 2), "LessOptions"),
    "LOGISTIC": (_simple(ops.Logistic()), ""),
    "MAXIMUM": (_simple(ops.Maximum(), 2), "MaximumMinimumOptions"),
    "MAX_POOL_2D": (_pool, "Pool2DOptions"),
    "MEAN": (_mean, "ReducerOptions"),
    "MINIMUM": (_simple(ops.Minimum(), 2), "MaximumMinimumOptions"),
    "MUL": (_arithmetic, "MulOptions"),
    "PACK": (_pack, "PackOptions"),
    "PAD": (_pad, "PadOptions"),
    "PADV2": (_pad, "PadV2Options"),
    "QUANTIZE": (_simple(ops.Quantize()), "QuantizeOptions"),
    "RELU": (_simple(ops.ReLU()), ""),
    "RELU6": (_simple(ops.ReLU(high=6.0)), ""),
    "RELU_N1_TO_1": (_simple(ops.ReLU(-1.0, 1.0)), ""),
    "RESHAPE": (_reshape, "ReshapeOptions"),
    "SLICE": (_slice, "SliceOptions"),
    "SOFTMAX": (_softmax, "SoftmaxOptions"),
    "SQUEEZE": (_reshape, "SqueezeOptions"),
    "STRIDED_SLICE": (_strided_slice, "StridedSliceOptions"),
    "SUB": (_arithmetic, "SubOptions"),
    "TANH": (_simple(ops.Tanh()), ""),
    "TRANSPOSE": (_transpose, "TransposeOptions"),
}
