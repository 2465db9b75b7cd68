"""From a `.tflite` file to a `Graph`: integers as they are stored, loops as loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, log2, prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import MAXIMUM_DEPTH, Table
from edgegolf.formats.tflite.model import TfliteModel, read_tflite, type_name
from edgegolf.formats.tflite.schema import ENUMERATIONS, TABLES, number
from edgegolf.frontends.constants import Constants
from edgegolf.frontends.tflite_rows import with_rows
from edgegolf.ir import Graph, Node, Op, QuantParams, Tensor, ops
from edgegolf.ir.interpreter import constant_results
from edgegolf.ir.kernels.call import MAXIMUM_ELEMENTS
from edgegolf.ir.tensor import BITS, COMPUTED_BITS, Array, Shape
from edgegolf.ir.tflite_names import BINARY, UNARY

_FEW_BYTES = 512  # of what is computed from constants

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
    """An operator of the file."""

    name: str  # such as `CONV_2D`
    inputs: tuple[Tensor | None, ...]  # its inputs, None for one that is left out
    outputs: tuple[Tensor, ...]  # its results
    options: Any  # its options; an empty table if the file has none

    @property
    def output(self) -> Tensor:
        """The first result."""
        return self.outputs[0]

    def integers(self, index: int) -> tuple[int, ...]:
        """A constant input such as a shape or axes, flattened."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None or tensor.data is None or tensor.data.dtype.kind not in "iu":
            raise _NotCoveredError(f"an input {index} that is no constant")
        return tuple(int(n) for n in tensor.data.ravel())

    def integer(self, index: int) -> int:
        """A constant input that is one number."""
        numbers = self.integers(index)
        if len(numbers) != 1:
            raise EdgegolfError(f"{self.name} has {len(numbers)} numbers where one is needed")
        return numbers[0]

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

    def axes(self, index: int) -> tuple[int, ...]:
        """A constant input of axes of the first one, counted from 0."""
        return tuple(self.axis(axis, len(self.shape())) for axis in self.integers(index))

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
        self.open: set[Tensor | None] = set()
        self.constants = Constants()

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
        computed = {*subgraph.inputs}
        nodes: list[Node] = []
        for operator in subgraph.operators:
            inputs = tuple(tensors[i] if i >= 0 else None for i in operator.inputs)
            if not operator.outputs or min(operator.outputs) < 0:
                raise EdgegolfError("an operator has no output")
            outputs = tuple(tensors[i] for i in operator.outputs)
            missing = {i for i in operator.inputs if i >= 0 and tensors[i].data is None} - computed
            if missing:
                raise EdgegolfError("an operator reads what no operator before it has computed")
            computed.update(operator.outputs)
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
        dtype = _TYPES[kind]
        quant = _quantization(table.quantization, shape, dtype)
        content = self.model.buffer_data(table.buffer)
        if not content and count:
            tensor = Tensor(shape, dtype, quant, name=table.name)
            if min((*table.shape, *table.shape_signature), default=0) < 0:
                self.open.add(tensor)
            return tensor
        return self.constants.tensor(
            content, shape, dtype, lambda: _stored(content, shape, dtype), quant, table.name
        )

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
        expected = _options_of(name)
        options = operator.builtin_options or Table(expected, {})
        if expected and options.table_name != expected:
            raise EdgegolfError(f"{name} has options of another operator, {options.table_name}")
        if len(outputs) != 1 and not name.startswith(("SPLIT", "UNPACK")):
            raise EdgegolfError(f"{name} does not have {len(outputs)} outputs")
        try:
            op, chosen = _OPERATORS[name](_Call(name, inputs, outputs, options))
            positions = range(min(chosen, len(inputs))) if isinstance(chosen, int) else chosen
            if any(position >= len(inputs) for position in positions):
                raise EdgegolfError(f"{name} lacks an input")
            node = Node(op, tuple(inputs[position] for position in positions), outputs)
            shape = op.shape(node.inputs)
            if shape is not None and shape != outputs[0].shape:
                raise EdgegolfError(f"{name} gives {list(shape)}, not {list(outputs[0].shape)}")
        except _NotCoveredError as error:
            return Node(ops.Unsupported(name, str(error)), inputs, outputs), {}
        except EdgegolfError:
            if self.open.isdisjoint((*inputs, *outputs)):
                raise
            return Node(ops.Unsupported(name, "shapes that only a run tells"), inputs, outputs), {}
        if _is_known(node):
            return None, dict(enumerate(constant_results(node)))
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
        gone = {counter.position for counter in counted.dropped}

        def rest(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return tuple(tensor for index, tensor in enumerate(tensors) if index not in gone)

        increments = [counter.increment for counter in counted.dropped]
        nodes = tuple(node for node in body.nodes if node not in increments)
        inner = Graph(rest(body.inputs), rest(body.outputs), nodes)
        inner = with_rows(inner, rest(state), counted.iterations)
        node = Node(ops.Loop(inner, counted.iterations), rest(state), rest(outputs))
        return node, {c.position: np.array(c.after(counted.iterations)) for c in counted.dropped}


def _quantization(table: Table | None, shape: Shape, dtype: str) -> QuantParams | None:
    if table is None or not (table.scale or table.details):
        return None
    if table.details is not None:
        raise EdgegolfError("custom and blockwise quantization are not covered")
    scale = tuple(float(np.float32(number)) for number in table.scale)
    zero_point = tuple(table.zero_point) or (0,)
    if len(zero_point) not in (1, len(scale)):
        raise EdgegolfError("a tensor has not as many zero points as scales")
    quant = QuantParams(scale, zero_point, table.quantized_dimension)
    tensor = Tensor(shape, dtype, quant)
    if tensor.is_quantized:  # converters are careless with the others
        low, high = tensor.limits
        if not low <= min(zero_point) <= max(zero_point) <= high:
            raise EdgegolfError(f"a tensor has a zero point that no {dtype} holds")
        if quant.is_per_channel and shape[quant.axis : quant.axis + 1] != (len(scale),):
            raise EdgegolfError(f"a tensor of shape {list(shape)} has {len(scale)} scales")
    return quant


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


def _is_known(node: Node) -> bool:
    """Whether it computes from constants what takes no more bytes, as converters compute shapes."""
    inputs = [tensor for tensor in node.inputs if tensor is not None]
    decodes = isinstance(node.op, ops.Dequantize | ops.Quantize)
    size = sum(tensor.size_bytes for tensor in inputs)
    return (
        not decodes
        and all(tensor.data is not None for tensor in inputs)
        and sum(tensor.size_bytes for tensor in node.outputs) <= max(size, _FEW_BYTES)
    )


# ------------------------------------------------------------------------------------- loops


@dataclass(frozen=True)
class _Counter:
    """What a loop counts with."""

    position: int  # among the loop's inputs and outputs
    increment: Node  # the node of the body that counts
    start: float  # the number before the loop
    step: float | None  # what is added each time; None if it doubles
    end: float  # the loop goes on while it is below

    @property
    def iterations(self) -> int | None:
        """How often it is below the end; None if for ever."""
        if self.start >= self.end:
            return 0
        if self.step is not None:
            return ceil((self.end - self.start) / self.step) if self.step > 0 else None
        return ceil(log2(self.end / self.start)) if self.start > 0 else None

    def after(self, iterations: int) -> float:
        """The number after the loop."""
        if self.step is None:
            return self.start * 2**iterations
        return self.start + iterations * self.step


@dataclass(frozen=True)
class _Counted:
    """A loop of known length, and its counters that are used for nothing else."""

    iterations: int
    dropped: tuple[_Counter, ...]


def _counted(condition: Graph, body: Graph, state: tuple[Tensor, ...]) -> _Counted | None:
    """A loop that ends when a counter reaches a constant, or one of several does."""
    comparisons = [node for node in condition.nodes if isinstance(node.op, ops.Less)]
    joined = [node for node in condition.nodes if isinstance(node.op, ops.LogicalAnd)]
    if len(comparisons) + len(joined) != len(condition.nodes) or len(joined) != (
        len(comparisons) - 1
    ):
        return None
    counters = [_counter(node, condition, body, state) for node in comparisons]
    known = [counter for counter in counters if counter is not None]
    lengths = [counter.iterations for counter in known if counter.iterations is not None]
    is_last = [condition.outputs[0] in node.outputs for node in (joined or comparisons)]
    if len(known) < len(counters) or not lengths or not any(is_last):
        return None
    return _Counted(min(lengths), tuple(c for c in known if _counts_only(c, body)))


def _counter(
    comparison: Node, condition: Graph, body: Graph, state: tuple[Tensor, ...]
) -> _Counter | None:
    """The counter that a condition compares with a constant."""
    count, limit = comparison.inputs
    position = next((i for i, t in enumerate(condition.inputs) if t is count), None)
    if position is None:
        return None
    counter, counted = body.inputs[position], body.outputs[position]
    increment = next((node for node in body.nodes if counted in node.outputs), None)
    if increment is None or not isinstance(increment.op, ops.Add):
        return None
    steps = [tensor for tensor in increment.inputs if tensor is not counter]
    start, end, step = (
        _number(state[position]),
        _number(limit),
        _number(steps[0] if steps else None),
    )
    if len(steps) == 2 or start is None or end is None or (steps and step is None):
        return None
    return _Counter(position, increment, start, step, end)


def _counts_only(counter: _Counter, body: Graph) -> bool:
    """Whether nothing but its increment reads a counter."""
    place = counter.position
    others = [t for node in body.nodes if node is not counter.increment for t in node.inputs]
    others += [t for index, t in enumerate(body.outputs) if index != place]
    return not {body.inputs[place], body.outputs[place]} & {*others}


def _number(tensor: Tensor | None) -> float | None:
    if tensor is None or tensor.data is None or tensor.elements != 1:
        return None
    value = float(tensor.data.ravel()[0])
    return value if abs(value) < 2**31 else None


# --------------------------------------------------------------------------------- operators

# How many of the file's inputs the node has, or which: the others became attributes.
_Made = tuple[Op, "int | tuple[int, ...]"]


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
    kind = {"ADD": ops.Add, "DIV": ops.Div, "MUL": ops.Mul, "SUB": ops.Sub}[call.name]
    return kind(call.activation), 2


def _reduction(kind: Callable[[tuple[int, ...], bool], Op]) -> Callable[[_Call], _Made]:
    def make(call: _Call) -> _Made:
        axes = tuple(sorted(set(call.axes(1))))
        return kind(axes, bool(call.options.keep_dims)), 1

    return make


def _pad(call: _Call) -> _Made:
    margins = _pairs(call.integers(1))
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


def _unpack(call: _Call) -> _Made:
    shape, axis = call.shape(), call.axis(call.options.axis, len(call.shape()))
    rest = (*shape[:axis], *shape[axis + 1 :])
    if [tensor.shape for tensor in call.outputs] != [rest] * shape[axis]:
        raise EdgegolfError(f"UNPACK of {list(shape)} along axis {axis}")
    return ops.Unstack(axis), 1


def _split(call: _Call) -> _Made:
    data, where = (0, 2) if call.name == "SPLIT_V" else (1, 0)
    shape = call.shape(data)
    axis = call.axis(call.integer(where), len(shape))
    parts = [tensor.shape for tensor in call.outputs]
    others = {(*part[:axis], *part[axis + 1 :]) for part in parts}
    if others != {(*shape[:axis], *shape[axis + 1 :])} or (
        sum(part[axis] for part in parts if len(part) == len(shape)) != shape[axis]
    ):
        raise EdgegolfError(f"{call.name} of {list(shape)} along axis {axis}")
    return ops.Split(axis), (data,)


def _transpose_conv(call: _Call) -> _Made:
    filters, image, result = call.shape(1), call.shape(2), call.output.shape
    if not len(filters) == len(image) == len(result) == 4 or call.integers(0) != result:
        raise EdgegolfError(f"{call.name} has an impossible shape")
    strides = (call.options.stride_h, call.options.stride_w)
    before = (0, 0)
    if call.options.padding == number("Padding", "SAME") and min(strides) > 0:
        rows, columns = ops.same_padding((result[1], result[2]), (filters[1], filters[2]), strides)
        before = rows[0], columns[0]
    rows, columns = (
        (first, (image[axis] - 1) * stride + filters[axis] - result[axis] - first)
        for axis, stride, first in zip((1, 2), strides, before, strict=True)
    )
    op = ops.TransposeConv2D(strides, (rows, columns), call.activation)
    return op, (2, 1, 3) if len(call.inputs) > 3 else (2, 1)


def _resize(call: _Call) -> _Made:
    kind = ops.ResizeBilinear if call.name == "RESIZE_BILINEAR" else ops.ResizeNearest
    if call.integers(1) != call.output.shape[1:3] or call.shape()[3:] != call.output.shape[3:]:
        raise EdgegolfError(f"{call.name} of {call.shape()} is {call.output.shape}")
    options = call.options
    return kind(bool(options.align_corners), bool(options.half_pixel_centers)), 1


def _gather(call: _Call) -> _Made:
    axis = call.axis(call.options.axis, len(call.shape()))
    batch = call.options.batch_dims
    return ops.Gather(axis, batch + len(call.shape(1)) if batch < 0 else batch), 2


def _cumsum(call: _Call) -> _Made:
    axis = call.axis(call.integer(1), len(call.shape()))
    return ops.CumSum(axis, bool(call.options.exclusive), bool(call.options.reverse)), 1


def _extreme(call: _Call) -> _Made:
    kind = ops.ArgMax if call.name == "ARG_MAX" else ops.ArgMin
    return kind(call.axis(call.integer(1), len(call.shape()))), 1


def _pairs(numbers: Sequence[int]) -> tuple[ops.Pair, ...]:
    return tuple(zip(numbers[::2], numbers[1::2], strict=False))


def _space_to_batch(call: _Call) -> _Made:
    kind = ops.SpaceToBatch if call.name == "SPACE_TO_BATCH_ND" else ops.BatchToSpace
    return kind(call.integers(1), _pairs(call.integers(2))), 1


def _broadcast_to(call: _Call) -> _Made:
    try:
        shape = np.broadcast_shapes(call.shape(), call.output.shape)
    except ValueError:
        shape = ()
    if shape != call.output.shape:
        raise EdgegolfError(f"{call.name} of {call.shape()} is {call.output.shape}")
    return ops.BroadcastTo(), (1,) if call.name == "FILL" else 1


def _l2_normalization(call: _Call) -> _Made:
    if call.options.fused_activation_function:
        raise _NotCoveredError("a fused activation")
    return ops.L2Normalize(), 1


def _simple(op: Op, inputs: int = 1) -> Callable[[_Call], _Made]:
    return lambda call: (op, inputs)


#: The tables of options that are not called as their operators are.
_OTHER_OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MINIMUM": "MaximumMinimumOptions",
    **dict.fromkeys(("MEAN", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "SUM"), "ReducerOptions"),
}
_OPTIONS = {table.removesuffix("Options").upper(): table for table in TABLES}


def _options_of(name: str) -> str:
    """The table of an operator's options, empty if it has none."""
    return _OTHER_OPTIONS.get(name) or _OPTIONS.get(name.replace("_", ""), "")


#: How each operator becomes one of `ops`.
_OPERATORS: dict[str, Callable[[_Call], _Made]] = {
    **{name: _simple(op()) for name, op in UNARY.items()},
    **{name: _simple(op(), 2) for name, op in BINARY.items()},
    "ADD": _arithmetic,
    "ARG_MAX": _extreme,
    "ARG_MIN": _extreme,
    "AVERAGE_POOL_2D": _pool,
    "BATCH_MATMUL": lambda call: (
        ops.BatchMatMul(bool(call.options.adj_x), bool(call.options.adj_y)),
        2,
    ),
    "BATCH_TO_SPACE_ND": _space_to_batch,
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenate,
    "CONV_2D": _conv_2d,
    "CUMSUM": _cumsum,
    "DEPTHWISE_CONV_2D": _conv_2d,
    "DEPTH_TO_SPACE": lambda call: (ops.DepthToSpace(call.options.block_size), 1),
    "DIV": _arithmetic,
    "EXPAND_DIMS": _reshape,
    "FILL": _broadcast_to,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "GELU": lambda call: (ops.GELU(bool(call.options.approximate)), 1),
    "L2_NORMALIZATION": _l2_normalization,
    "LEAKY_RELU": lambda call: (ops.LeakyReLU(call.options.alpha), 1),
    "MAX_POOL_2D": _pool,
    "MEAN": _reduction(ops.Mean),
    "MIRROR_PAD": lambda call: (
        ops.MirrorPad(_pairs(call.integers(1)), None, bool(call.options.mode)),
        1,
    ),
    "MUL": _arithmetic,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "REDUCE_ANY": _reduction(ops.ReduceAny),
    "REDUCE_MAX": _reduction(ops.ReduceMax),
    "REDUCE_MIN": _reduction(ops.ReduceMin),
    "RELU": _simple(ops.ReLU()),
    "RELU6": _simple(ops.ReLU(high=6.0)),
    "RELU_N1_TO_1": _simple(ops.ReLU(-1.0, 1.0)),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "REVERSE_V2": lambda call: (ops.Reverse(call.axes(1)), 1),
    "SELECT": _simple(ops.Select(), 3),
    "SELECT_V2": _simple(ops.Select(), 3),
    "SLICE": _slice,
    "SOFTMAX": lambda call: (ops.Softmax(call.options.beta), 1),
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SPACE_TO_DEPTH": lambda call: (ops.SpaceToDepth(call.options.block_size), 1),
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _arithmetic,
    "SUM": _reduction(ops.Sum),
    "TILE": lambda call: (ops.Tile(call.integers(1)), 1),
    "TRANSPOSE": lambda call: (ops.Transpose(call.axes(1)), 1),
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": _unpack,
}
