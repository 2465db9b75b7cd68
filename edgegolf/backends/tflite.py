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
from edgegolf.ir.interpreter import constant_results
from edgegolf.ir.tensor import Array, Shape, packed
from edgegolf.ir.tflite_names import BINARY, UNARY

_NEEDING_OPTIONS = ("MIRROR_PAD",)  # which have no defaults

_LARGEST_BYTE = 127  # among operator codes it says that the code stands elsewhere

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
        elif type(node.op) not in _RULES and not isinstance(node.op, ops.Loop | ops.While):
            reasons.append(name)
    return tuple(dict.fromkeys(reasons))


def write(graph: Graph) -> bytes:
    """The bytes of a file that computes what a graph does.

    Args:
        graph: With tensors in float32, int8 or uint8; integers and booleans where operators take
            them.

    Raises:
        EdgegolfError: TFLite has no operator for an operation.
    """
    found = unsupported(graph)
    if found:
        raise EdgegolfError(f"TFLite files have no {', '.join(found)} here")
    file = _File()
    main = _Subgraph(file, named=len(graph.inputs) > 1)
    legal = _legal(_with_copies(graph))
    main.add(legal)
    main.inputs = [main.indices[tensor] for tensor in legal.inputs]
    main.outputs = [main.indices[tensor] for tensor in legal.outputs]
    codes = [number("BuiltinOperator", name) for name in file.operators]
    model = table(
        "Model",
        version=3,
        operator_codes=[_operator_code(code) for code in codes],
        subgraphs=[subgraph.table() for subgraph in file.subgraphs],
        buffers=[table("Buffer", data=data or None) for data in file.buffers],
    )
    return write_tflite(model)


def _operator_code(code: int) -> Table:
    if code < _LARGEST_BYTE:
        return table("OperatorCode", deprecated_builtin_code=code)
    return table("OperatorCode", deprecated_builtin_code=_LARGEST_BYTE, builtin_code=code)


# --------------------------------------------------------------------------------- legalization


def _with_copies(graph: Graph) -> Graph:
    """The graph with a node for each output that is a constant, an input or another output."""
    nodes, outputs = list(graph.nodes), list[Tensor]()
    for tensor in graph.outputs:
        if tensor.data is not None or tensor in (*graph.inputs, *outputs):
            outputs.append(replace(tensor, data=None))
            nodes.append(Node(ops.Reshape(), (tensor,), (outputs[-1],)))
        else:
            outputs.append(tensor)
    return Graph(graph.inputs, tuple(outputs), tuple(nodes))


def _legal(graph: Graph) -> Graph:
    """The graph with what TFLite's operators cannot say in nodes of its own.

    Windows pad as TensorFlow does or not at all; layers that take vectors take them in any shape;
    what is decoded from int32, as DEQUANTIZE cannot, is stored as it is decoded.
    """
    nodes: list[Node] = []
    known: dict[Tensor, Tensor] = {}  # what is read in the place of a result
    for node in graph.nodes:
        if _is_flattening(graph, node):
            known[node.output] = known.get(node.source, node.source)
            continue
        if (
            isinstance(node.op, ops.Dequantize)
            and node.source.dtype == "int32"
            and node.constant(0)
        ):
            known[node.output] = Tensor.constant(constant_results(node)[0])
            continue
        inputs = tuple(known.get(t, t) if t is not None else None for t in node.inputs)
        op: Any = node.op
        if isinstance(op, ops.Loop):
            op = ops.Loop(_legal(op.body), op.iterations)
        elif isinstance(op, ops.While):
            op = ops.While(_legal(op.condition), _legal(op.body))
        elif isinstance(op, ops.TransposeConv2D):
            nodes += _legal_transpose(node, inputs)
            continue
        padding = getattr(op, "padding", ops.NO_PADDING)
        if padding != ops.NO_PADDING and padding != _same_padding(node):
            source = inputs[0]
            assert source is not None
            if isinstance(op, ops.AveragePool2D):
                nodes += _legal_average(op, source, node.output)
                continue
            lowest = source.limits[0] if source.is_quantized else float(np.finfo(np.float32).min)
            value = lowest if isinstance(op, ops.MaxPool2D) else None
            pad = ops.Pad(((0, 0), *padding, (0, 0)), value)
            padded = replace(source, shape=pad.shape([source]))
            nodes.append(Node(pad, (source,), (padded,)))
            op, inputs = replace(op, padding=ops.NO_PADDING), (padded, *inputs[1:])
        if isinstance(op, ops.Conv2D | ops.DepthwiseConv2D) and node.inputs[2:] in ((), (None,)):
            # Runtimes refuse convolutions without a bias, and crash on depthwise ones.
            zeros = Tensor.constant(np.zeros(node.output.shape[-1], np.float32))
            inputs = (*inputs[:2], zeros)
        nodes.append(Node(op, inputs, node.outputs))
    return Graph(graph.inputs, graph.outputs, tuple(nodes))


def _legal_average(op: ops.AveragePool2D, source: Tensor, output: Tensor) -> list[Node]:
    """Over zeros, too, then times what makes up for them at the edges."""
    if source.is_quantized:
        raise EdgegolfError("TFLite has no average over int8 images with such a padding")
    counts = [
        [
            min(index * stride - before + length, size) - max(index * stride - before, 0)
            for index in range(wanted)
        ]
        for length, stride, (before, _), size, wanted in zip(
            op.size, op.strides, op.padding, source.shape[1:3], output.shape[1:3], strict=True
        )
    ]
    factors = np.float32(op.size[0] * op.size[1]) / np.outer(*counts).astype(np.float32)
    pad = ops.Pad(((0, 0), *op.padding, (0, 0)))
    padded, mean = replace(source, shape=pad.shape([source])), replace(output)
    plain = ops.AveragePool2D(op.strides, ops.NO_PADDING, op.size)
    scale = Tensor.constant(factors[None, :, :, None])
    return [
        Node(pad, (source,), (padded,)),
        Node(plain, (padded,), (mean,)),
        Node(ops.Mul(op.activation), (mean, scale), (output,)),
    ]


def _legal_transpose(node: Node, inputs: tuple[Tensor | None, ...]) -> list[Node]:
    """Without cuts that differ from TensorFlow's, which a slice makes then."""
    op, result = node.op, node.output
    assert isinstance(op, ops.TransposeConv2D)
    before = (op.padding[0][0], op.padding[1][0])
    if before in ((0, 0), _same_cut(node)):
        return [Node(op, inputs, node.outputs)]
    batch, rows, columns, channels = result.shape
    whole = replace(result, shape=(batch, rows + before[0], columns + before[1], channels))
    uncut = replace(op, padding=((0, op.padding[0][1]), (0, op.padding[1][1])))
    crop = ops.Slice((0, *before, 0), (1, 1, 1, 1), result.shape)
    return [Node(uncut, inputs, (whole,)), Node(crop, (whole,), (result,))]


def _same_cut(node: Node) -> ops.Pair:
    """The rows and columns before the result that padding "same" cuts off."""
    op: Any = node.op
    _, height, width, _ = node.output.shape
    _, rows, columns, _ = node.filter.shape
    found = ops.same_padding((height, width), (rows, columns), op.strides)
    return found[0][0], found[1][0]


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
    named: bool = False  # where there are several inputs, to tell them apart
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
        data = packed(array, dtype)
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
                if options and (any(fields.values()) or name in _NEEDING_OPTIONS)
                else None,
            )
        )

    def add(self, graph: Graph) -> None:
        """Add the nodes of a graph."""
        for tensor in graph.inputs:
            index = self.input(tensor)
            if self.named:
                self.tensors[index] = self.tensors[index].replace(name=tensor.name or None)
        for node in graph.nodes:
            if isinstance(node.op, ops.Loop):
                self.loop(node, node.op)
                continue
            if isinstance(node.op, ops.While):
                self.repeat(node, node.op)
                continue
            rule = _RULES[type(node.op)](node.op, node)
            inputs = [*map(self.input, node.inputs), *map(self.constant, rule.constants)]
            if rule.value is not None:
                value = np.array(rule.value, node.output.dtype)
                inputs.append(self.constant(value, node.output.dtype, node.output.quant))
            if rule.order:
                inputs = [inputs[index] for index in rule.order if index < len(inputs)]
            outputs = [*map(self.input, node.outputs)]
            self.operator(rule.name, inputs, outputs, rule.options, **rule.fields)

    def loop(self, node: Node, loop: ops.Loop) -> None:
        condition, body = _Subgraph(self.file), _Subgraph(self.file)

        # The counter starts at 1. Doubling it needs no constant in the body.
        doubles = loop.iterations <= LONGEST_DOUBLING
        counter = condition.tensor((), "int32")
        state = [condition.tensor(t.shape, t.dtype, t.quant) for t in node.inputs if t]
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

    def repeat(self, node: Node, loop: ops.While) -> None:
        graphs = []
        for graph in (loop.condition, loop.body):
            part = _Subgraph(self.file)
            part.add(graph)
            part.inputs = [*map(part.input, graph.inputs)]
            part.outputs = [*map(part.input, graph.outputs)]
            graphs.append(part.index)
        self.operator(
            "WHILE",
            [*map(self.input, node.inputs)],
            [*map(self.input, node.outputs)],
            "WhileOptions",
            cond_subgraph_index=graphs[0],
            body_subgraph_index=graphs[1],
        )


def _quantization(quant: QuantParams) -> Table:
    return table(
        "QuantizationParameters",
        scale=quant.scale,
        zero_point=(
            quant.zero_point * len(quant.scale) if len(quant.zero_point) == 1 else quant.zero_point
        ),
        quantized_dimension=quant.axis,
    )


# ----------------------------------------------------------------------------------------- rules


@dataclass(frozen=True)
class _Rule:
    """An operator of the file."""

    name: str  # such as `CONV_2D`
    options: str | None = None  # the table of its options
    fields: dict[str, Any] = field(default_factory=dict)  # what it holds
    constants: tuple[Array, ...] = ()  # what comes behind the node's inputs
    value: float | None = None  # A number behind them, in the type and quantization of the output
    # Which of all these comes where, if they are in another order in the file.
    order: tuple[int, ...] = ()


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


def _integers(*numbers: Any) -> Array:
    return np.array(numbers, np.int32)


def _reduction(name: str) -> _Make:
    def make(op: Any, node: Node) -> _Rule:
        return _Rule(name, "ReducerOptions", {"keep_dims": op.keep_dims}, (_integers(*op.axes),))

    return make


def _pad(op: ops.Pad, node: Node) -> _Rule:
    margins = _integers(*op.margins)
    if op.value is None:
        return _Rule("PAD", constants=(margins,))
    return _Rule("PADV2", constants=(margins,), value=op.value)


def _slice(op: ops.Slice, node: Node) -> _Rule:
    if set(op.steps) <= {1} and op.sizes == node.output.shape:
        return _Rule("SLICE", constants=(_integers(*op.starts), _integers(*op.sizes)))
    rank = len(node.output.shape)
    gone = [axis for axis, size in enumerate(op.sizes) if size == 1] if rank < len(op.sizes) else []
    gone = gone[: len(op.sizes) - rank]
    if tuple(n for axis, n in enumerate(op.sizes) if axis not in gone) != node.output.shape:
        raise EdgegolfError(f"TFLite has no slice of sizes {op.sizes} as {node.output.shape}")
    ends, masks = [], {"end_mask": 0, "shrink_axis_mask": sum(1 << axis for axis in gone)}
    for axis, numbers in enumerate(zip(op.starts, op.steps, op.sizes, strict=True)):
        start, step, size = numbers
        last = start + step * (size - 1)
        ends.append(last + (1 if step > 0 else -1))
        if ends[-1] < 0:  # which would count from the end
            masks["end_mask"] |= 1 << axis
    steps = [1 if axis in gone else step for axis, step in enumerate(op.steps)]
    constants = (_integers(*op.starts), _integers(*ends), _integers(*steps))
    return _Rule("STRIDED_SLICE", "StridedSliceOptions", dict(masks), constants)


def _transpose_conv(op: ops.TransposeConv2D, node: Node) -> _Rule:
    before = (op.padding[0][0], op.padding[1][0])
    fields = _activation(op) | {
        "padding": number("Padding", "SAME" if before == _same_cut(node) else "VALID"),
        "stride_h": op.strides[0],
        "stride_w": op.strides[1],
    }
    has_bias = len(node.inputs) > 2
    order = (3, 1, 0, 2) if has_bias else (2, 1, 0)
    shape = _integers(*node.output.shape)
    return _Rule("TRANSPOSE_CONV", "TransposeConvOptions", fields, (shape,), order=order)


def _split(op: ops.Split, node: Node) -> _Rule:
    sizes = [tensor.shape[op.axis] for tensor in node.outputs]
    fields = {"num_splits": len(sizes)}
    axis = np.array(op.axis, np.int32)
    if len(set(sizes)) == 1:
        return _Rule("SPLIT", "SplitOptions", fields, (axis,), order=(1, 0))
    return _Rule("SPLIT_V", "SplitVOptions", fields, (_integers(*sizes), axis))


def _along(name: str, options: str, **fields: str) -> _Make:
    """An operator whose axis is an input."""

    def make(op: Any, node: Node) -> _Rule:
        values: dict[str, Any] = {key: getattr(op, field) for key, field in fields.items()}
        if isinstance(op, ops.ArgMax):
            values["output_type"] = number("TensorType", node.output.dtype.upper())
        return _Rule(name, options, values, (np.array(op.axis, np.int32),))

    return make


def _cast(op: ops.Cast, node: Node) -> _Rule:
    source, result = (number("TensorType", t.dtype.upper()) for t in (node.source, node.output))
    return _Rule("CAST", "CastOptions", {"in_data_type": source, "out_data_type": result})


def _resize(name: str, options: str) -> _Make:
    def make(op: Any, node: Node) -> _Rule:
        fields = {"align_corners": op.align_corners, "half_pixel_centers": op.half_pixel_centers}
        return _Rule(name, options, fields, (_integers(*node.output.shape[1:3]),))

    return make


def _blocks(name: str) -> _Make:
    return lambda op, node: _Rule(name, constants=(_integers(*op.block), _integers(*op.margins)))


def _simple(name: str, options: str | None = None, *fields: str, **named: str) -> _Make:
    """An operator whose options are fields of the op, under the same names or others."""
    names = dict.fromkeys(fields, "") | named

    def make(op: Any, node: Node) -> _Rule:
        return _Rule(name, options, {k: getattr(op, v or k) for k, v in names.items()})

    return make


_RULES: dict[type, _Make] = {
    **{op: _simple(name) for name, op in (UNARY | BINARY).items()},
    ops.Add: _arithmetic,
    ops.ArgMax: _along("ARG_MAX", "ArgMaxOptions"),
    ops.ArgMin: _along("ARG_MIN", "ArgMinOptions"),
    ops.AveragePool2D: _pool,
    ops.BatchMatMul: _simple(
        "BATCH_MATMUL", "BatchMatMulOptions", adj_x="transpose_first", adj_y="transpose_second"
    ),
    ops.BatchToSpace: _blocks("BATCH_TO_SPACE_ND"),
    ops.BroadcastTo: lambda op, node: _Rule(
        "BROADCAST_TO", constants=(_integers(*node.output.shape),)
    ),
    ops.Cast: _cast,
    ops.Concatenate: _simple("CONCATENATION", "ConcatenationOptions", "axis"),
    ops.Conv2D: _convolution,
    ops.CumSum: _along("CUMSUM", "CumsumOptions", exclusive="exclusive", reverse="reverse"),
    ops.DepthToSpace: _simple("DEPTH_TO_SPACE", "DepthToSpaceOptions", block_size="block"),
    ops.DepthwiseConv2D: _convolution,
    ops.Div: _arithmetic,
    ops.FullyConnected: _fully_connected,
    ops.Gather: _simple("GATHER", "GatherOptions", "axis", batch_dims="batch_axes"),
    ops.GELU: _simple("GELU", "GeluOptions", "approximate"),
    ops.L2Normalize: _simple("L2_NORMALIZATION"),
    ops.LeakyReLU: _simple("LEAKY_RELU", "LeakyReluOptions", alpha="slope"),
    ops.MaxPool2D: _pool,
    ops.Mean: _reduction("MEAN"),
    ops.MirrorPad: lambda op, node: _Rule(
        "MIRROR_PAD", "MirrorPadOptions", {"mode": int(op.symmetric)}, (_integers(*op.margins),)
    ),
    ops.Mul: _arithmetic,
    ops.Pad: _pad,
    ops.ReduceAny: _reduction("REDUCE_ANY"),
    ops.ReduceMax: _reduction("REDUCE_MAX"),
    ops.ReduceMin: _reduction("REDUCE_MIN"),
    ops.ReLU: _relu,
    ops.Reshape: lambda op, node: _Rule("RESHAPE", constants=(_integers(*node.output.shape),)),
    ops.ResizeBilinear: _resize("RESIZE_BILINEAR", "ResizeBilinearOptions"),
    ops.ResizeNearest: _resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    ops.Reverse: lambda op, node: _Rule("REVERSE_V2", constants=(_integers(*op.axes),)),
    ops.Select: _simple("SELECT_V2"),
    ops.Slice: _slice,
    ops.Softmax: _simple("SOFTMAX", "SoftmaxOptions", "beta"),
    ops.SpaceToBatch: _blocks("SPACE_TO_BATCH_ND"),
    ops.SpaceToDepth: _simple("SPACE_TO_DEPTH", "SpaceToDepthOptions", block_size="block"),
    ops.Split: _split,
    ops.Stack: lambda op, node: _Rule(
        "PACK", "PackOptions", {"axis": op.axis, "values_count": len(node.inputs)}
    ),
    ops.Sub: _arithmetic,
    ops.Sum: _reduction("SUM"),
    ops.Tile: lambda op, node: _Rule("TILE", constants=(_integers(*op.multiples),)),
    ops.Transpose: lambda op, node: _Rule("TRANSPOSE", constants=(_integers(*op.axes),)),
    ops.TransposeConv2D: _transpose_conv,
    ops.Unstack: lambda op, node: _Rule(
        "UNPACK", "UnpackOptions", {"axis": op.axis, "num": len(node.outputs)}
    ),
}
