"""Writes a `Graph` as a `.tflite` file in which every constant exists once.

Loops become `WHILE`, whose body is one subgraph; constants are shared by content. Names, metadata
and everything else that no runtime needs is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import Table, table
from edgegolf.formats.tflite.model import write_tflite
from edgegolf.formats.tflite.schema import number
from edgegolf.ir import Graph, Node, QuantParams, Tensor, ops
from edgegolf.ir.tensor import BITS, Array, Shape

LONGEST_DOUBLING = 30  # times that 1 can be doubled in an int32

_ACTIVATIONS = {
    None: "NONE",
    ops.ReLU(): "RELU",
    ops.ReLU(0.0, 6.0): "RELU6",
    ops.ReLU(-1.0, 1.0): "RELU_N1_TO_1",
}


def unsupported(graph: Graph) -> tuple[str, ...]:
    """Why a graph cannot be written, empty if it can."""
    reasons = []
    for node in graph.walk():
        name = type(node.op).__name__
        if isinstance(node.op, ops.Unsupported):
            reasons.append(node.op.name)
        elif type(node.op) not in _RULES and not isinstance(node.op, ops.Loop):
            reasons.append(name)
    return tuple(dict.fromkeys(reasons))


def write(graph: Graph) -> bytes:
    """The bytes of a file that computes what a graph does.

    Args:
        graph: With tensors in float32, int8 or uint8.

    Raises:
        EdgegolfError: TFLite has no operator for an operation.
    """
    found = unsupported(graph)
    if found:
        raise EdgegolfError(f"TFLite files have no {', '.join(found)} here")
    file = _File()
    main = _Subgraph(file)
    main.add(_legal(graph))
    main.inputs = [main.indices[tensor] for tensor in graph.inputs]
    main.outputs = [main.indices[tensor] for tensor in graph.outputs]
    codes = [number("BuiltinOperator", name) for name in file.operators]
    model = table(
        "Model",
        version=3,
        operator_codes=[table("OperatorCode", deprecated_builtin_code=code) for code in codes],
        subgraphs=[subgraph.table() for subgraph in file.subgraphs],
        buffers=[table("Buffer", data=data or None) for data in file.buffers],
    )
    return write_tflite(model)


# --------------------------------------------------------------------------------- legalization


def _legal(graph: Graph) -> Graph:
    """The graph with what TFLite's operators cannot say in nodes of its own.

    Windows pad as TensorFlow does or not at all; layers that take vectors take them in any shape.
    """
    nodes: list[Node] = []
    flat: dict[Tensor, Tensor] = {}  # vectors that only fully connected layers read
    for node in graph.nodes:
        if _is_flattening(graph, node):
            flat[node.output] = flat.get(node.source, node.source)
            continue
        inputs = tuple(flat.get(t, t) if t is not None else None for t in node.inputs)
        op: Any = node.op
        if isinstance(op, ops.Loop):
            op = ops.Loop(_legal(op.body), op.iterations)
        padding = getattr(op, "padding", ops.NO_PADDING)
        if padding != ops.NO_PADDING and padding != _same_padding(node):
            source = inputs[0]
            assert source is not None
            pad = ops.Pad(((0, 0), *padding, (0, 0)))
            padded = replace(source, shape=pad.shape([source]))
            nodes.append(Node(pad, (source,), (padded,)))
            op, inputs = replace(op, padding=ops.NO_PADDING), (padded, *inputs[1:])
        if isinstance(op, ops.Conv2D | ops.DepthwiseConv2D) and node.inputs[2:] in ((), (None,)):
            # Runtimes refuse convolutions without a bias, and crash on depthwise ones.
            zeros = Tensor.constant(np.zeros(node.output.shape[-1], np.float32))
            inputs = (*inputs[:2], zeros)
        nodes.append(Node(op, inputs, node.outputs))
    return Graph(graph.inputs, graph.outputs, tuple(nodes))


def _is_flattening(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, ops.Reshape) or node.output in graph.outputs:
        return False
    return all(
        isinstance(reader.op, ops.FullyConnected) and not reader.op.keep_dims
        for reader in graph.readers[node.output]
    )


def _same_padding(node: Node) -> ops.Padding:
    """What padding "same" adds for a window."""
    op: Any = node.op
    size = op.size if hasattr(op, "size") else node.filter.shape[1:3]
    _, height, width, _ = node.source.shape
    dilation = getattr(op, "dilation", (1, 1))
    return ops.same_padding((height, width), (size[0], size[1]), op.strides, dilation)


# --------------------------------------------------------------------------------------- writing


@dataclass
class _File:
    """The subgraphs, operator codes and buffers of a file in the making."""

    operators: list[str] = field(default_factory=list)
    buffers: list[bytes] = field(default_factory=lambda: [b""])  # the first one means "no data"
    subgraphs: list[_Subgraph] = field(default_factory=list)

    def operator(self, name: str) -> int:
        if name not in self.operators:
            self.operators.append(name)
        return self.operators.index(name)

    def buffer(self, data: bytes) -> int:
        if data not in self.buffers:
            self.buffers.append(data)
        return self.buffers.index(data)


@dataclass
class _Subgraph:
    """Tensors and operators of one graph in the making."""

    file: _File
    tensors: list[Table] = field(default_factory=list)
    operators: list[Table] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    indices: dict[Tensor, int] = field(default_factory=dict)
    constants: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index = len(self.file.subgraphs)
        self.file.subgraphs.append(self)

    def table(self) -> Table:
        return table(
            "SubGraph",
            tensors=self.tensors,
            inputs=self.inputs,
            outputs=self.outputs,
            operators=self.operators,
        )

    def tensor(
        self, shape: Shape, dtype: str, quant: QuantParams | None = None, buffer: int = 0
    ) -> int:
        self.tensors.append(
            table(
                "Tensor",
                shape=shape or None,  # a scalar
                type=number("TensorType", dtype.upper()),
                buffer=buffer,
                quantization=None if quant is None else _quantization(quant),
            )
        )
        return len(self.tensors) - 1

    def input(self, tensor: Tensor | None) -> int:
        """The index of what an operator reads; constants are added as they are needed."""
        if tensor is None:
            return -1
        if tensor.data is not None:
            return self.constant(tensor.data, tensor.dtype, tensor.quant)
        if tensor not in self.indices:
            self.indices[tensor] = self.tensor(tensor.shape, tensor.dtype, tensor.quant)
        return self.indices[tensor]

    def constant(self, array: Array, dtype: str = "int32", quant: QuantParams | None = None) -> int:
        data = _packed(array, dtype)
        key = (data, array.shape, dtype, quant)
        if key not in self.constants:
            self.constants[key] = self.tensor(array.shape, dtype, quant, self.file.buffer(data))
        return self.constants[key]

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str | None = None,
        **fields: Any,
    ) -> None:
        self.operators.append(
            table(
                "Operator",
                opcode_index=self.file.operator(name),
                inputs=inputs,
                outputs=outputs,
                builtin_options=table(options, **fields)
                if options and any(fields.values())
                else None,
            )
        )

    def add(self, graph: Graph) -> None:
        """Add the nodes of a graph."""
        for tensor in graph.inputs:
            self.input(tensor)
        for node in graph.nodes:
            if isinstance(node.op, ops.Loop):
                self.loop(node, node.op)
                continue
            rule = _RULES[type(node.op)](node.op, node)
            inputs = [*map(self.input, node.inputs), *map(self.constant, rule.constants)]
            outputs = [*map(self.input, node.outputs)]
            self.operator(rule.name, inputs, outputs, rule.options, **rule.fields)

    def loop(self, node: Node, loop: ops.Loop) -> None:
        condition, body = _Subgraph(self.file), _Subgraph(self.file)

        # The counter starts at 1. Doubling it needs no constant in the body.
        doubles = loop.iterations <= LONGEST_DOUBLING
        counter = condition.tensor((), "int32")
        state = [condition.tensor(t.shape, t.dtype, t.quant) for t in node.computed]
        condition.inputs = [counter, *state]
        goes_on = condition.tensor((), "bool")
        last = 2**loop.iterations if doubles else 1 + loop.iterations
        end = condition.constant(np.array(last, np.int32))
        condition.operator("LESS", [counter, end], [goes_on])
        condition.outputs = [goes_on]

        before = body.tensor((), "int32")
        body.add(loop.body)
        after = body.tensor((), "int32")
        step = before if doubles else body.constant(np.array(1, np.int32))
        body.operator("ADD", [before, step], [after])
        body.inputs = [before, *map(body.input, loop.body.inputs)]
        body.outputs = [after, *map(body.input, loop.body.outputs)]

        start = self.constant(np.array(1, np.int32))
        self.operator(
            "WHILE",
            [start, *map(self.input, node.inputs)],
            [self.tensor((), "int32"), *map(self.input, node.outputs)],
            "WhileOptions",
            cond_subgraph_index=condition.index,
            body_subgraph_index=body.index,
        )


def _packed(array: Array, dtype: str) -> bytes:
    """The bytes of a constant; elements of less than a byte share one."""
    if dtype not in ("int4", "int2"):
        return np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).tobytes()
    bits = BITS[dtype]
    numbers = array.ravel().astype(np.uint8) & (2**bits - 1)
    numbers = np.pad(numbers, (0, -len(numbers) % (8 // bits))).reshape(-1, 8 // bits)
    packed = np.bitwise_or.reduce(numbers << np.arange(0, 8, bits, dtype=np.uint8), axis=1)
    return packed.astype(np.uint8).tobytes()


def _quantization(quant: QuantParams) -> Table:
    return table(
        "QuantizationParameters",
        scale=quant.scale,
        zero_point=quant.zero_point,
        quantized_dimension=quant.axis,
    )


# ----------------------------------------------------------------------------------------- rules


@dataclass(frozen=True)
class _Rule:
    """An operator of the file: its options, and what comes behind the node's inputs."""

    name: str
    options: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    constants: tuple[Array, ...] = ()


_Make: TypeAlias = Callable[[Any, Node], _Rule]


def _activation(op: Any) -> dict[str, int]:
    return {
        "fused_activation_function": number("ActivationFunctionType", _ACTIVATIONS[op.activation])
    }


def _window(op: Any, node: Node) -> dict[str, int]:
    # "SAME" is the default, which takes no bytes, and without padding often means the same.
    kind = "SAME" if op.padding == _same_padding(node) else "VALID"
    return {
        "padding": number("Padding", kind),
        "stride_h": op.strides[0],
        "stride_w": op.strides[1],
    }


def _convolution(op: Any, node: Node) -> _Rule:
    fields = _activation(op) | _window(op, node)
    if op.dilation != (1, 1):
        fields |= {"dilation_h_factor": op.dilation[0], "dilation_w_factor": op.dilation[1]}
    if isinstance(op, ops.Conv2D):
        return _Rule("CONV_2D", "Conv2DOptions", fields)
    # A convolution with a group for each channel saves 44 bytes, but where XNNPACK does not
    # compute it (tflite-runtime in int8, or on 32-bit ARM) it takes several times as long.
    fields["depth_multiplier"] = node.filter.shape[3] // node.source.shape[3]
    return _Rule("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", fields)


def _pool(op: Any, node: Node) -> _Rule:
    fields = _activation(op) | _window(op, node)
    fields |= {"filter_height": op.size[0], "filter_width": op.size[1]}
    name = "MAX_POOL_2D" if isinstance(op, ops.MaxPool2D) else "AVERAGE_POOL_2D"
    return _Rule(name, "Pool2DOptions", fields)


def _fully_connected(op: ops.FullyConnected, node: Node) -> _Rule:
    fields = _activation(op) | {"keep_num_dims": op.keep_dims}
    return _Rule("FULLY_CONNECTED", "FullyConnectedOptions", fields)


def _arithmetic(op: Any, node: Node) -> _Rule:
    name = type(op).__name__
    return _Rule(name.upper(), f"{name}Options", _activation(op))


def _relu(op: ops.ReLU, node: Node) -> _Rule:
    if op == ops.ReLU():
        return _Rule("RELU")
    if (op.low, op.high) not in ((0.0, 6.0), (-1.0, 1.0)):
        raise EdgegolfError(f"TFLite has no ReLU from {op.low} to {op.high}")
    return _Rule(_ACTIVATIONS[op])


def _mean(op: ops.Mean, node: Node) -> _Rule:
    axes = np.array(op.axes, np.int32)
    return _Rule("MEAN", "ReducerOptions", {"keep_dims": op.keep_dims}, (axes,))


def _pad(op: ops.Pad, node: Node) -> _Rule:
    if op.value is not None:
        raise EdgegolfError("padding with other numbers than zero is not written")
    return _Rule("PAD", constants=(np.array(op.margins, np.int32),))


def _slice(op: ops.Slice, node: Node) -> _Rule:
    if set(op.steps) != {1} or op.sizes != node.output.shape:
        raise EdgegolfError("slices with steps are not written")
    return _Rule("SLICE", constants=(np.array(op.starts, "<i4"), np.array(op.sizes, "<i4")))


def _simple(name: str, options: str | None = None, *fields: str, **named: str) -> _Make:
    """An operator whose options are fields of the op, under the same names or others."""
    names = dict.fromkeys(fields, "") | named

    def make(op: Any, node: Node) -> _Rule:
        return _Rule(name, options, {k: getattr(op, v or k) for k, v in names.items()})

    return make


_RULES: dict[type, _Make] = {
    ops.Add: _arithmetic,
    ops.AveragePool2D: _pool,
    ops.Concatenate: _simple("CONCATENATION", "ConcatenationOptions", "axis"),
    ops.Conv2D: _convolution,
    ops.DepthwiseConv2D: _convolution,
    ops.Dequantize: _simple("DEQUANTIZE"),
    ops.FullyConnected: _fully_connected,
    ops.HardSwish: _simple("HARD_SWISH"),
    ops.LeakyReLU: _simple("LEAKY_RELU", "LeakyReluOptions", alpha="slope"),
    ops.Logistic: _simple("LOGISTIC"),
    ops.Maximum: _simple("MAXIMUM"),
    ops.MaxPool2D: _pool,
    ops.Mean: _mean,
    ops.Minimum: _simple("MINIMUM"),
    ops.Mul: _arithmetic,
    ops.Pad: _pad,
    ops.Quantize: _simple("QUANTIZE"),
    ops.ReLU: _relu,
    ops.Reshape: lambda op, node: _Rule(
        "RESHAPE", constants=(np.array(node.output.shape, np.int32),)
    ),
    ops.Slice: _slice,
    ops.Softmax: _simple("SOFTMAX", "SoftmaxOptions", "beta"),
    ops.Sub: _arithmetic,
    ops.Tanh: _simple("TANH"),
    ops.Transpose: lambda op, node: _Rule("TRANSPOSE", constants=(np.array(op.axes, np.int32),)),
}
