"""From a `Graph` to ONNX nodes on float32 tensors.

Images become [batch, channels, height, width], the layout that ONNX and onnxruntime compute in, and
so does every other tensor of 4 axes where an operator does not ask for the graph's own order. Only
operators of opset 9 are used where they do: it has fewer inputs where later ones moved attributes
into them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from math import inf, pi, prod, sqrt
from typing import Any

import numpy as np

from edgegolf.backends.onnx.calls import (
    DATA_TYPES,
    AttributeValue,
    Call,
    Constants,
    constant,
    value_info,
)
from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.protobuf import message
from edgegolf.ir import Graph, Node, Op, Tensor, ops
from edgegolf.ir.interpreter import run
from edgegolf.ir.tensor import Array, Shape

OPSET, NEWER_OPSET = 9, 12
# Those that have constants of so few bits. https://onnx.ai/onnx/operators/onnx__Cast.html
_OPSETS = {"int4": 21, "int2": 25}
NHWC, NCHW = (0, 2, 3, 1), (0, 3, 1, 2)

# Operators of one node of the same inputs, by what ONNX calls them.
_NAMES: dict[type[Op], str] = {
    ops.Abs: "Abs", ops.Add: "Add", ops.Ceil: "Ceil", ops.Cos: "Cos", ops.Div: "Div",
    ops.ELU: "Elu", ops.Equal: "Equal", ops.Exp: "Exp", ops.Floor: "Floor",
    ops.Greater: "Greater", ops.GreaterEqual: "GreaterOrEqual", ops.Less: "Less",
    ops.LessEqual: "LessOrEqual", ops.Log: "Log", ops.LogicalAnd: "And", ops.LogicalNot: "Not",
    ops.LogicalOr: "Or", ops.Logistic: "Sigmoid", ops.Maximum: "Max", ops.Minimum: "Min",
    ops.Mul: "Mul", ops.Neg: "Neg", ops.Pow: "Pow", ops.PReLU: "PRelu", ops.Round: "Round",
    ops.Select: "Where", ops.Sign: "Sign", ops.Sin: "Sin", ops.Sqrt: "Sqrt", ops.Sub: "Sub",
    ops.Tanh: "Tanh",
}  # fmt: skip
_REDUCTIONS: dict[type[Op], str] = {
    ops.Mean: "ReduceMean", ops.Sum: "ReduceSum", ops.ReduceAny: "ReduceMax",
    ops.ReduceMax: "ReduceMax", ops.ReduceMin: "ReduceMin",
}  # fmt: skip

# Those that ONNX defines for channels first, and those that are the same either way.
_CHANNELS_FIRST = (
    ops.Conv2D, ops.DepthwiseConv2D, ops.MaxPool2D, ops.AveragePool2D, ops.TransposeConv2D,
    ops.ResizeBilinear, ops.SpaceToDepth, ops.DepthToSpace,
)  # fmt: skip
_EITHER = (
    *_NAMES, *_REDUCTIONS, ops.Cast, ops.Concatenate, ops.CumSum, ops.Dequantize, ops.GELU,
    ops.HardSwish, ops.L2Normalize, ops.LeakyReLU, ops.Loop, ops.NotEqual, ops.Pad, ops.Quantize,
    ops.ReLU, ops.ResizeNearest, ops.Reverse, ops.Rsqrt, ops.Slice, ops.Split, ops.Square,
    ops.SquaredDifference, ops.Tile,
)  # fmt: skip
_NEWER = (
    ops.CumSum, ops.Equal, ops.GreaterEqual, ops.LessEqual, ops.NotEqual, ops.ResizeBilinear,
    ops.Reverse, ops.Round,
)  # fmt: skip

# What onnxruntime does not take for zeros, and changes no sum.
_NEXT_TO_NOTHING = 1e-37


class NotInOnnxError(EdgegolfError):
    """ONNX, or onnxruntime, has no way to compute this."""


@dataclass(frozen=True)
class Weight:
    """A trained array as the nodes take it."""

    array: Array  # float32, or integers that stand for it
    dtype: str  # their type in the file
    scale: Array | None = None  # what integers are multiplied by, None for float32
    is_flat: bool = False  # whether any shape will do, because all that read it give it one


@dataclass(frozen=True)
class End:
    """An input or output of the file."""

    name: str  # what it is called
    dtype: str  # the type of its elements
    shape: Shape  # with its batch; of 4 axes the channels come first


@dataclass(frozen=True, eq=False)
class Lowered:
    """ONNX nodes and the arrays that they use."""

    inputs: tuple[End, ...]  # in the graph's order
    outputs: tuple[End, ...]  # in the graph's order
    calls: tuple[Call, ...]  # the nodes
    weights: dict[str, Weight]  # trained arrays by the name of their tensor, each once
    constants: Constants  # all other arrays
    renamed: dict[str, str]  # the tensors that have another name in the end
    opset: int  # the version of ONNX's operators


def to_channels_first(shape: Shape) -> Shape:
    """The shape of an image, or any other shape as it is."""
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape


def opset_of(graph: Graph, packed: bool = True) -> int:
    """The oldest version that has what a graph needs.

    Args:
        graph: To be written.
        packed: Whether its integers of less than a byte are the version's own.
    """
    dtypes = {tensor.dtype for node in graph.walk() for tensor in node.inputs if tensor}
    if packed and (low := max((_OPSETS.get(dtype, 0) for dtype in dtypes), default=0)):
        return low
    for node in graph.walk():
        numbers = {t.dtype for t in node.outputs} - {"float32"}
        steps = node.op.steps if isinstance(node.op, ops.Slice) else ()
        if numbers or isinstance(node.op, _NEWER) or set(steps) > {1}:
            return NEWER_OPSET
    return OPSET


def _ends(graph: Graph) -> tuple[tuple[End, ...], tuple[End, ...]]:
    """The inputs and outputs under the graph's names where they tell several apart."""
    sides = (("input", graph.inputs), ("output", graph.outputs))
    own = [t.name if len(tensors) > 1 else kind for kind, tensors in sides for t in tensors]
    # Names of other tensors have a blank.
    clear = len(set(own)) == len(own) and all(name and " " not in name for name in own)
    found = []
    for kind, tensors in sides:
        ends = []
        for index, tensor in enumerate(tensors):
            name = kind if len(tensors) == 1 else tensor.name if clear else f"{kind}_{index}"
            dtype = "float32" if tensor.is_quantized else tensor.dtype
            ends.append(End(name, dtype, to_channels_first(tensor.shape)))
        found.append(tuple(ends))
    return found[0], found[1]


@dataclass
class FloatLowering:
    """Collects nodes; a subclass may compute in other numbers."""

    opset: int = OPSET
    # What tensors are called, those of 4 axes with their channels first, and as the graph has them.
    names: dict[Tensor, str] = field(default_factory=dict)
    plain: dict[Tensor, str] = field(default_factory=dict)
    # Whether the node that is being lowered has its channels last.
    channels_last: bool = False
    calls: list[Call] = field(default_factory=list)
    weights: dict[str, Weight] = field(default_factory=dict)
    constants: Constants = field(default_factory=Constants)
    # Vectors that were images, in the order of channels first.
    flattened: dict[Tensor, Shape] = field(default_factory=dict)
    weight_names: dict[tuple[Tensor, object], str] = field(default_factory=dict)
    # Of weights and products, as the body of the loop that is being written has them.
    inner_names: dict[tuple[Tensor, object], str] | None = None
    read_as_they_are: set[str] = field(default_factory=set)
    # What decoded weights are decoded from, and what products of weights are products of.
    decoded: dict[Tensor, Tensor] = field(default_factory=dict)
    products: dict[Tensor, tuple[Tensor, ...]] = field(default_factory=dict)
    # Results of `Pad` before pooling, which onnxruntime must not merge.
    not_merged: set[Tensor] = field(default_factory=set)
    made: int = 0

    def lower_graph(self, graph: Graph) -> Lowered:
        """A graph as ONNX nodes."""
        inputs, outputs = _ends(graph)
        for tensor, end in zip(graph.inputs, inputs, strict=True):
            self.enter(tensor, end.name)
        self.add_nodes(graph)
        self.channels_last = False
        renamed: dict[str, str] = {}
        for tensor, end in zip(graph.outputs, outputs, strict=True):
            renamed[self.result(self.leave(tensor), renamed)] = end.name  # which may add nodes
        return Lowered(
            inputs,
            outputs,
            tuple(self.calls),
            {
                name: replace(weight, is_flat=name not in self.read_as_they_are)
                for name, weight in self.weights.items()
            },
            self.constants,
            renamed,
            self.opset,
        )

    def enter(self, source: Tensor, name: str) -> None:
        """Name an input of the graph."""
        self.names[source] = name

    def leave(self, result: Tensor) -> str:
        """The tensor with an output of the graph in float32."""
        return self.name(result)

    def add_nodes(self, graph: Graph) -> None:
        """Add the nodes of a graph whose inputs have names."""
        for_dense = _dense_only(graph)
        self.not_merged |= _wrongly_merged(graph)
        for node in graph.nodes:
            self.channels_last = self.takes_channels_last(node)
            if isinstance(node.op, ops.Loop):
                self.add_loop(node.op, node)
            elif isinstance(node.op, ops.Dequantize) and node.source.data is not None:
                self.decoded[node.output] = node.source
            elif isinstance(node.op, ops.Mul) and all(map(self.is_weight, node.inputs)):
                self.products[node.output] = tuple(tensor for tensor in node.inputs if tensor)
            elif node.outputs[0] in for_dense and node.source in self.names:
                self.flattened[node.output] = node.source.shape
                self.names[node.output] = self.call("Flatten", self.names[node.source])
            else:
                results = self.computed(node)
                for tensor, name in zip(
                    node.outputs, [results] if isinstance(results, str) else results, strict=True
                ):
                    self.put(tensor, name)

    def put(self, tensor: Tensor, name: str) -> None:
        """Name a result in the layout of the node that is being lowered."""
        self.names.pop(tensor, None)
        self.plain.pop(tensor, None)
        is_plain = self.channels_last and len(tensor.shape) == 4
        (self.plain if is_plain else self.names)[tensor] = name

    def name(self, tensor: Tensor) -> str:
        """What a tensor is called in the layout of the node that is being lowered."""
        is_image = len(tensor.shape) == 4
        if self.is_constant(tensor):
            if is_image and not self.channels_last:
                return self.constant(tensor, lambda values: values.transpose(NCHW), NCHW)
            return self.constant(tensor, lambda values: values, "as it is")
        if not is_image:
            return self.names[tensor]
        there, other = self.names, self.plain
        if self.channels_last:
            there, other = other, there
        if tensor not in there:
            order = NHWC if self.channels_last else NCHW
            there[tensor] = self.call("Transpose", other[tensor], perm=order)
        return there[tensor]

    def operand(self, tensor: Tensor, rank: int) -> str:
        """The same for one that broadcasts to so many axes."""
        missing = rank - len(tensor.shape)
        if self.channels_last or rank != 4 or missing <= 0 or tensor.elements == 1:
            return self.name(tensor)
        wide = (*(1,) * missing, *tensor.shape)
        if self.is_constant(tensor):
            return self.constant(tensor, lambda v: v.reshape(wide).transpose(NCHW), "wide")
        return self.call("Transpose", self.reshape(self.name(tensor), wide), perm=NCHW)

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether nothing computes it but the weights."""
        return tensor in self.products or self.is_weight(tensor)

    def constant(self, tensor: Tensor, arrange: Any, form: object) -> str:
        """The name of a constant, arranged in one form or another."""
        if tensor.dtype == "float32":
            return self.weight(tensor, arrange, form)
        return self.constants.name(np.asarray(arrange(tensor.values), order="C"))

    def takes_channels_last(self, node: Node) -> bool:
        """Whether an operation is lowered in the graph's order of axes."""
        op, rank = node.op, len(node.outputs[0].shape)
        if isinstance(op, _CHANNELS_FIRST):
            return False
        if isinstance(op, ops.FullyConnected):
            return not (rank == len(node.source.shape) == 4 and self.is_constant(node.filter))
        if not isinstance(op, _EITHER):
            return True
        axes: set[int] = set(getattr(op, "axes", ()))
        if isinstance(op, tuple(_REDUCTIONS)) and rank < 4 and not (axes & {3} or axes >= {1, 2}):
            return True
        if rank != 4 and not isinstance(op, tuple(_REDUCTIONS)):
            return True
        computed = [t for t in node.computed if not self.is_constant(t)]
        return not any(len(t.shape) == 4 and t in self.names for t in computed)

    def axis(self, axis: int, rank: int) -> int:
        """Where an axis of a tensor of so many is in the file."""
        return NHWC[axis] if rank == 4 and not self.channels_last else axis

    def ordered(self, numbers: Any) -> tuple[Any, ...]:
        """What the graph has for each axis, in the file's order."""
        if len(numbers) == 4 and not self.channels_last:
            return to_channels_first(tuple(numbers))
        return tuple(numbers)

    def computed(self, node: Node) -> str | list[str]:
        """The results of a node after its fused activation."""
        results = self.lower(node.op, node)
        return self.activated(node, results) if isinstance(results, str) else results

    def activated(self, node: Node, tensor: str) -> str:
        """The result of a node after its fused activation."""
        activation = getattr(node.op, "activation", None)
        return tensor if activation is None else self.rectified(activation, tensor)

    def rectified(self, relu: ops.ReLU, tensor: str) -> str:
        """Add a ReLU."""
        if (relu.low, relu.high) == (0.0, inf):
            return self.call("Relu", tensor)
        if self.opset == OPSET:
            return self.call("Clip", tensor, min=float(relu.low), max=float(relu.high))
        bounds = (self.constants.name(np.float32(bound)) for bound in (relu.low, relu.high))
        return self.call("Clip", tensor, *bounds)

    def add_loop(self, loop: ops.Loop, node: Node) -> None:
        """Add a node that runs a body again and again."""
        if self.inner_names is not None:
            raise NotInOnnxError("a loop in a loop")
        self.channels_last = False
        entries = [self.name(tensor) for tensor in node.inputs if tensor is not None]
        outside, self.calls, self.inner_names = self.calls, [], {}
        for tensor in loop.body.inputs:
            self.put(tensor, self.fresh())
        starts = [self.names[tensor] for tensor in loop.body.inputs]
        self.add_nodes(loop.body)
        self.channels_last = False
        ends: list[str] = []
        for tensor in loop.body.outputs:
            ends.append(self.result(self.name(tensor), ends))
        calls, self.calls, self.inner_names = self.calls, outside, None
        # OpenVINO wants the axes of what is carried, onnxruntime those of the scalars; and that the
        # loop goes on, each time, OpenVINO does not take from its input.
        number, condition, always = self.fresh(), self.fresh(), self.fresh()
        carried = [
            value_info(name, tensor.dtype, to_channels_first(tensor.shape))
            for name, tensor in zip(starts, loop.body.inputs, strict=True)
        ]
        last = zip(ends, loop.body.outputs, strict=True)
        body = message(
            "GraphProto",
            name="g",
            node=[call.to_message() for call in calls],
            initializer=[constant(always, np.array(True))],
            input=[value_info(number, "int64", ()), value_info(condition, "bool", ()), *carried],
            output=[
                value_info(always, "bool"),
                *(value_info(name, tensor.dtype) for name, tensor in last),
            ],
        )
        times = self.constants.name(np.int64(loop.iterations))
        outputs = tuple(self.fresh() for _ in node.outputs)
        self.calls.append(Call("Loop", (times, "", *entries), outputs, (("body", body),)))
        for tensor, name in zip(node.outputs, outputs, strict=True):
            self.put(tensor, name)

    def result(self, name: str, others: Any) -> str:
        """A tensor that may be one of the outputs of a graph: one that a node there computes."""
        if name in others or not any(name in call.outputs for call in self.calls):
            return self.call("Identity", name)
        return name

    def call(self, operator: str, *inputs: str, **attributes: AttributeValue) -> str:
        """Add a node; returns the name of its output."""
        output = self.fresh()
        self.calls.append(Call(operator, inputs, (output,), tuple(attributes.items())))
        return output

    def fresh(self) -> str:
        """A name that no tensor has."""
        self.made += 1
        return f"tensor {self.made}"

    def is_weight(self, tensor: Tensor | None) -> bool:
        """Whether a tensor is a constant, or decoded from one."""
        return tensor is not None and self.decoded.get(tensor, tensor).data is not None

    def weight(self, tensor: Tensor, arrange: Any, form: object = None) -> str:
        """The name of a weight, arranged in one form or another."""
        names = self.weight_names if self.inner_names is None else self.inner_names
        if tensor in self.products:
            key = (tensor, form)
            if key not in names:
                factors = (self.weight(factor, arrange, form) for factor in self.products[tensor])
                names[key] = self.call("Mul", *factors)
            return names[key]
        stored = self.decoded.get(tensor, tensor)
        if stored.data is None:
            raise NotInOnnxError("the model has weights that are computed")
        key = (stored, form)
        if key not in self.weight_names:
            name = self.weight_names[key] = self.fresh()
            values = stored.values
            if stored.quant is not None and any(stored.quant.zero_point):
                values = values.astype(np.int16) - stored.zero_point
            array = np.asarray(arrange(values), order="C")
            dtype = stored.dtype if values is stored.values else array.dtype.name
            self.weights[name] = Weight(array, dtype, _arranged_scale(stored, arrange))
        name = self.weight_names[key]
        if self.inner_names is None:
            self.read_as_they_are.add(name)
        elif key not in names:
            # What a node of the body makes of constants, onnxruntime takes for a constant of the
            # body, and only filters that are one it lays out for its fast kernels.
            names[key] = self.reshape(name, self.weights[name].array.shape)
        return names[key]

    def bias(self, node: Node) -> list[str]:
        """The name of its bias, if it has one."""
        if len(node.inputs) < 3 or node.inputs[2] is None:
            return []
        return [self.weight(node.inputs[2], np.ravel)]

    def reshape(self, tensor: str, shape: Shape) -> str:
        """Add a reshape."""
        return self.call("Reshape", tensor, self.constants.integers(*shape))

    @singledispatchmethod
    def lower(self, op: Op, node: Node) -> str | list[str]:
        """Add the nodes of one operation; returns the name of its result, or a list of names."""
        if type(op) in _NAMES:
            return self.call(_NAMES[type(op)], *self.tensors(node))
        if type(op) in _REDUCTIONS:
            return self.reduction(op, node)
        if type(op) in _RULES:
            return _RULES[type(op)](self, op, node, *self.tensors(node))
        name = op.name if isinstance(op, ops.Unsupported) else type(op).__name__
        raise NotInOnnxError(f"{name} cannot be written as ONNX")

    def arranged_matrix(self, node: Node) -> tuple[Any, object]:
        """How a dense layer's matrix is laid out for its input, and what tells this form.

        The matrix is [units, inputs]; ONNX takes [inputs, units], for images a 1×1 filter.
        """
        source = node.source
        if not self.channels_last:
            return lambda matrix: matrix[:, :, None, None], 4
        image = self.flattened.get(source)
        if image is None:
            return np.transpose, 2

        def in_order(matrix: Array) -> Array:
            found = matrix.T.reshape(*image[1:], -1).transpose(2, 0, 1, 3)
            return found.reshape(-1, len(matrix))

        return in_order, image

    def tensors(self, node: Node) -> list[str]:
        """The names of a node's inputs, which broadcast."""
        rank = max(len(t.shape) for t in (*node.inputs, *node.outputs) if t is not None)
        return [self.operand(t, rank) for t in node.inputs if t is not None]

    def squared(self, tensor: str) -> str:
        """Add a square."""
        return self.call("Mul", tensor, tensor)

    def number(self, number: float) -> str:
        """The name of a float32 scalar."""
        return self.constants.name(np.float32(number))

    # ---------------------------------------------------------------------------- operations

    @lower.register(ops.Conv2D)
    @lower.register(ops.DepthwiseConv2D)
    def _(self, op: ops.Conv2D | ops.DepthwiseConv2D, node: Node) -> str:
        name = self.weight(node.filter, _arrangement(op))
        inputs = (self.name(node.source), name, *self.bias(node))
        return self.call("Conv", *inputs, **convolution_attributes(op, node))

    @lower.register
    def _(self, op: ops.TransposeConv2D, node: Node) -> str:
        pads = np.array(op.padding).T
        extra = np.maximum(-pads[1], 0)  # rows and columns that no window reaches
        if pads[0].min() < 0 or any(extra >= np.array(op.strides)):
            raise NotInOnnxError("a transposed convolution with such a padding")
        attributes: dict[str, AttributeValue] = {"strides": op.strides}
        if pads.any():
            attributes["pads"] = tuple(map(int, np.maximum(pads, 0).ravel()))
        if extra.any():
            attributes["output_padding"] = tuple(map(int, extra))
        name = self.weight(node.filter, lambda values: values.transpose(3, 0, 1, 2), "transposed")
        inputs = (self.name(node.source), name, *self.bias(node))
        return self.call("ConvTranspose", *inputs, **attributes)

    @lower.register
    def _(self, op: ops.FullyConnected, node: Node) -> str:
        tensor, source = self.name(node.source), node.source
        rows = (*node.output.shape[:-1], node.filter.shape[1])
        if rows != source.shape:
            tensor = self.reshape(tensor, rows)
        if self.is_constant(node.filter):
            matrix = self.weight(node.filter, *self.arranged_matrix(node))
        else:
            matrix = self.call("Transpose", self.name(node.filter), perm=(1, 0))
        bias = self.bias(node)
        if not self.channels_last:
            return self.call("Conv", tensor, matrix, *bias)
        if bias and len(rows) == 2:
            return self.call("Gemm", tensor, matrix, *bias)
        product = self.call("MatMul", tensor, matrix)
        return self.call("Add", product, *bias) if bias else product

    @lower.register
    def _(self, op: ops.BatchMatMul, node: Node) -> str:
        factors = []
        for tensor, turns in zip(
            node.inputs, (op.transpose_first, op.transpose_second), strict=True
        ):
            assert tensor is not None
            rank = len(tensor.shape)
            order = (*range(rank - 2), rank - 1, rank - 2)
            if not turns:
                factors.append(self.name(tensor))
            elif self.is_constant(tensor):
                factors.append(self.constant(tensor, lambda v: v.swapaxes(-1, -2), "turned"))
            else:
                factors.append(self.call("Transpose", self.name(tensor), perm=order))
        return self.call("MatMul", *factors)

    @lower.register
    def _(self, op: ops.LeakyReLU, node: Node) -> str:
        # With its slope as a tensor, which several nodes can share, it takes fewer bytes.
        return self.call("PRelu", *self.tensors(node), self.constants.name(np.float32(op.slope)))

    @lower.register
    def _(self, op: ops.Softmax, node: Node) -> str:
        (tensor,) = self.tensors(node)
        if op.beta != 1:
            tensor = self.call("Mul", tensor, self.number(op.beta))
        return self.along_last("Softmax", node, tensor)

    def normalized(self, node: Node, tensor: str) -> str:
        """Add the nodes that divide by a norm."""
        rank = len(node.output.shape)
        norm = self.call("ReduceL2", tensor, axes=(self.axis(rank - 1, rank),))
        return self.call("Div", tensor, self.call("Max", norm, self.number(1e-6)))

    def along_last(self, operator: str, node: Node, tensor: str) -> str:
        """Before opset 13, it is over all axes from one on, which by default is the second."""
        rank = len(node.output.shape)
        return self.call(operator, tensor, **({} if rank == 2 else {"axis": rank - 1}))

    @lower.register
    def _(self, op: ops.GELU, node: Node) -> str:
        """In the form that onnxruntime computes in one kernel."""
        (tensor,) = self.tensors(node)
        if op.approximate:
            cube = self.call("Mul", tensor, self.call("Mul", tensor, tensor))
            small = self.call("Mul", cube, self.number(0.044715))
            inner = self.call("Mul", self.call("Add", tensor, small), self.number(sqrt(2 / pi)))
            curve = self.call("Tanh", inner)
        else:
            curve = self.call("Erf", self.call("Div", tensor, self.number(sqrt(2))))
        product = self.call("Mul", tensor, self.call("Add", curve, self.number(1)))
        return self.call("Mul", product, self.number(0.5))

    @lower.register
    def _(self, op: ops.Dequantize, node: Node) -> str:
        if node.source.dtype != "float16":
            raise NotInOnnxError("integers that are decoded among floats")
        return self.call("Cast", *self.tensors(node), to=DATA_TYPES["float32"])

    def pool(
        self, operator: str, op: ops.MaxPool2D | ops.AveragePool2D, node: Node, image: str
    ) -> str:
        """Add a pooling node, of the short form where the window is the whole image."""
        if op.size == node.source.shape[1:3] and op.padding == ops.NO_PADDING:
            return self.call(f"Global{operator}", image)
        return self.call(operator, image, **pooling_attributes(op))

    def reduction(self, op: Any, node: Node) -> str:
        """Add a node that summarises along axes."""
        rank = len(node.source.shape)
        axes = tuple(sorted(self.axis(axis, rank) for axis in op.axes))
        (tensor,) = self.tensors(node)
        if not axes:
            return tensor
        if isinstance(op, ops.Mean) and op.keep_dims and rank == 4 and axes == (2, 3):
            return self.call("GlobalAveragePool", tensor)
        keep: dict[str, AttributeValue] = {} if op.keep_dims else {"keepdims": 0}
        if isinstance(op, ops.ReduceAny):  # which ONNX has of numbers only
            tensor = self.call("Cast", tensor, to=DATA_TYPES["float32"])
        tensor = self.call(_REDUCTIONS[type(op)], tensor, axes=axes, **keep)
        if isinstance(op, ops.ReduceAny):
            return self.call("Cast", tensor, to=DATA_TYPES["bool"])
        return tensor

    @lower.register
    def _(self, op: ops.ArgMax, node: Node) -> str:
        name = type(op).__name__
        found = self.call(name, *self.tensors(node), axis=op.axis, keepdims=0)
        if node.output.dtype == "int64":
            return found
        return self.call("Cast", found, to=DATA_TYPES[node.output.dtype])

    @lower.register
    def _(self, op: ops.CumSum, node: Node) -> str:
        axis = self.constants.name(np.int64(self.axis(op.axis, len(node.output.shape))))
        options = {"exclusive": int(op.exclusive), "reverse": int(op.reverse)}
        return self.call("CumSum", *self.tensors(node), axis, **options)

    @lower.register
    def _(self, op: ops.Slice, node: Node) -> str:
        ranges = list(zip(op.starts, op.steps, op.sizes, node.source.shape, strict=True))
        ends = [start + step * (size - 1) + (1 if step > 0 else -1)
                for start, step, size, _ in ranges]  # fmt: skip
        # Negative numbers count from the end.
        ends = [end if end >= 0 else -length - 1
                for end, (_, _, _, length) in zip(ends, ranges, strict=True)]  # fmt: skip
        cut = self.cut(self.name(node.source), op.starts, tuple(ends), op.steps)
        return cut if op.sizes == node.output.shape else self.reshape(cut, node.output.shape)

    def cut(self, tensor: str, starts: Shape, ends: Shape, steps: Shape) -> str:
        """Add a slice of all axes, because naming two of them takes more bytes."""
        corners = self.ordered(starts), self.ordered(ends)
        if self.opset == OPSET:
            return self.call("Slice", tensor, starts=corners[0], ends=corners[1])
        names = [self.constants.integers(*corner) for corner in corners]
        if set(steps) > {1}:
            names.append(self.constants.integers(*range(len(steps))))
            names.append(self.constants.integers(*self.ordered(steps)))
        return self.call("Slice", tensor, *names)

    @lower.register
    def _(self, op: ops.Reverse, node: Node) -> str:
        shape = node.source.shape
        turned = [axis in op.axes for axis in range(len(shape))]
        starts = tuple(n - 1 if turns else 0 for n, turns in zip(shape, turned, strict=True))
        ends = tuple(-n - 1 if turns else n for n, turns in zip(shape, turned, strict=True))
        steps = tuple(-1 if turns else 1 for turns in turned)
        return self.cut(self.name(node.source), starts, ends, steps)

    @lower.register
    def _(self, op: ops.Pad, node: Node) -> str:
        value = op.value
        if node.output in self.not_merged and not value:
            value = _NEXT_TO_NOTHING
        if self.opset == OPSET:
            extra: dict[str, AttributeValue] = {} if not value else {"value": float(value)}
            return self.call("Pad", *self.tensors(node), pads=self.pads(op.margins), **extra)
        dtype = np.dtype(node.output.dtype)
        constants = [self.constants.integers(*self.pads(op.margins))]
        if value:
            constants.append(self.constants.name(np.array(value, dtype)[()]))
        return self.call("Pad", *self.tensors(node), *constants)

    def pads(self, margins: tuple[ops.Pair, ...]) -> Shape:
        """What is added before, then behind all axes."""
        before, after = zip(*self.ordered(margins), strict=True)
        return (*before, *after)

    @lower.register
    def _(self, op: ops.MirrorPad, node: Node) -> str:
        mode: Any = "symmetric" if op.symmetric else "reflect"
        shape = node.source.shape
        places = [np.pad(np.arange(n), m, mode) for n, m in zip(shape, op.margins, strict=True)]
        return self.picked(self.name(node.source), shape, places)

    @lower.register
    def _(self, op: ops.ResizeNearest, node: Node) -> str:
        """The interpreter tells which pixels, so that no rounding differs."""
        places = []
        for axis, (length, wanted) in enumerate(
            zip(node.source.shape, node.output.shape, strict=True)
        ):
            line = np.arange(length, dtype=np.float32).reshape(1, -1, 1, 1)
            source, result = Tensor(line.shape), Tensor((1, wanted, 1, 1))
            graph = Graph((source,), (result,), (Node(op, (source,), (result,)),))
            is_pixel = axis in (1, 2)
            places.append(run(graph, [line])[0].ravel() if is_pixel else line.ravel())
        return self.picked(self.name(node.source), node.source.shape, places)

    def picked(self, tensor: str, shape: Shape, places: list[Array]) -> str:
        """Add what picks elements of each axis, and leaves the axes that stay as they are."""
        for axis, (length, chosen) in enumerate(zip(shape, places, strict=True)):
            if chosen.tolist() != list(range(length)):
                numbers = self.constants.integers(*map(int, chosen))
                tensor = self.call("Gather", tensor, numbers, axis=self.axis(axis, len(shape)))
        return tensor

    @lower.register
    def _(self, op: ops.ResizeBilinear, node: Node) -> str:
        mode = "half_pixel" if op.half_pixel_centers else "asymmetric"
        mode = "align_corners" if op.align_corners else mode
        nothing = self.constants.name(np.zeros(0, np.float32))
        sizes = self.constants.integers(*to_channels_first(node.output.shape))
        (tensor,) = self.tensors(node)
        return self.call(
            "Resize",
            tensor,
            nothing,
            nothing,
            sizes,
            mode="linear",
            coordinate_transformation_mode=mode,
        )

    @lower.register
    def _(self, op: ops.SpaceToBatch, node: Node) -> str:
        shape, count = node.source.shape, len(op.block)
        margins = ((0, 0), *op.margins, *((0, 0),) * (len(shape) - count - 1))
        tensor = self.name(node.source)
        if any(map(any, margins)):
            pad = ops.Pad(margins)
            padded = Tensor(pad.shape([node.source]), node.source.dtype)
            tensor = str(self.lower(pad, Node(pad, (node.source,), (padded,))))
            shape = padded.shape
        pairs = [(n // b, b) for n, b in zip(shape[1:], op.block, strict=False)]
        split = (shape[0], *(n for pair in pairs for n in pair), *shape[1 + count :])
        blocks = tuple(range(2, 2 * count + 1, 2))
        order = (*blocks, 0, *(axis - 1 for axis in blocks), *range(2 * count + 1, len(split)))
        turned = self.call("Transpose", self.reshape(tensor, split), perm=order)
        return self.reshape(turned, node.output.shape)

    @lower.register
    def _(self, op: ops.BatchToSpace, node: Node) -> str:
        shape, count = node.source.shape, len(op.block)
        batch = shape[0] // prod(op.block)
        split = (*op.block, batch, *shape[1:])
        inner = (axis for index in range(count) for axis in (count + 1 + index, index))
        order = (count, *inner, *range(2 * count + 1, len(split)))
        turned = self.call("Transpose", self.reshape(self.name(node.source), split), perm=order)
        sizes = [n * b for n, b in zip(shape[1:], op.block, strict=False)]
        whole = (batch, *sizes, *shape[1 + count :])
        tensor = self.reshape(turned, whole)
        if whole == node.output.shape:
            return tensor
        starts = (0, *(before for before, _ in op.margins), *(0,) * (len(whole) - count - 1))
        ends = tuple(s + n for s, n in zip(starts, node.output.shape, strict=True))
        return self.cut(tensor, starts, ends, (1,) * len(whole))

    @lower.register
    def _(self, op: ops.Gather, node: Node) -> str:
        if op.batch_axes:
            raise NotInOnnxError("Gather with batch axes cannot be written as ONNX")
        data, places = (self.name(tensor) for tensor in node.inputs if tensor is not None)
        return self.call("Gather", data, places, **({"axis": op.axis} if op.axis else {}))

    @lower.register
    def _(self, op: ops.Split, node: Node) -> list[str]:
        sizes = tuple(tensor.shape[op.axis] for tensor in node.outputs)
        return self.pieces(node, sizes, self.axis(op.axis, len(node.source.shape)))

    @lower.register
    def _(self, op: ops.Unstack, node: Node) -> list[str]:
        parts = self.pieces(node, (1,) * len(node.outputs), op.axis)
        return [self.reshape(p, t.shape) for p, t in zip(parts, node.outputs, strict=True)]

    def pieces(self, node: Node, sizes: Shape, axis: int) -> list[str]:
        """Add what cuts a tensor in pieces."""
        names = tuple(self.fresh() for _ in sizes)
        attributes = (("axis", axis), ("split", sizes))
        self.calls.append(Call("Split", (self.name(node.source),), names, attributes))
        return [*names]

    @lower.register
    def _(self, op: ops.Stack, node: Node) -> str:
        shape = (*node.output.shape[: op.axis], 1, *node.output.shape[op.axis + 1 :])
        parts = [self.reshape(self.name(t), shape) for t in node.inputs if t is not None]
        return self.call("Concat", *parts, axis=op.axis)

    @lower.register
    def _(self, op: ops.Reshape, node: Node) -> str:
        before, after = node.source.shape, node.output.shape
        is_image = len(before) == 4 and node.source in self.names
        self.channels_last = not (is_image and (before == after or _is_same_either_way(before)))
        tensor = self.name(node.source)
        if before == after:
            return tensor
        if len(after) == 2 and len(before) > 2 and before[0] == after[0]:
            return self.call("Flatten", tensor)
        self.channels_last = len(after) != 4 or not _is_same_either_way(after)
        return self.reshape(tensor, after if self.channels_last else to_channels_first(after))


#: Operators of few nodes, from the lowering, the operator, its node and the names of its inputs.
_RULES: dict[type[Op], Callable[..., str]] = {
    ops.AveragePool2D: lambda self, op, node, x: self.pool("AveragePool", op, node, x),
    ops.BroadcastTo: lambda self, op, node, x: self.call(
        "Expand", x, self.constants.integers(*node.output.shape)
    ),
    ops.Cast: lambda self, op, node, x: self.call("Cast", x, to=DATA_TYPES[node.output.dtype]),
    ops.Concatenate: lambda self, op, node, *parts: self.call(
        "Concat", *parts, axis=self.axis(op.axis, len(node.output.shape))
    ),
    ops.DepthToSpace: lambda self, op, node, x: self.call("DepthToSpace", x, blocksize=op.block),
    ops.HardSwish: lambda self, op, node, x: self.call(
        "Mul", x, self.call("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    ),
    ops.L2Normalize: lambda self, op, node, x: self.normalized(node, x),
    ops.LogSoftmax: lambda self, op, node, x: self.along_last("LogSoftmax", node, x),
    ops.MaxPool2D: lambda self, op, node, x: self.pool("MaxPool", op, node, x),
    ops.NotEqual: lambda self, op, node, *pair: self.call("Not", self.call("Equal", *pair)),
    ops.ReLU: lambda self, op, node, x: self.rectified(op, x),
    ops.Rsqrt: lambda self, op, node, x: self.call("Reciprocal", self.call("Sqrt", x)),
    ops.SpaceToDepth: lambda self, op, node, x: self.call("SpaceToDepth", x, blocksize=op.block),
    ops.Square: lambda self, op, node, x: self.squared(x),
    ops.SquaredDifference: lambda self, op, node, *pair: self.squared(self.call("Sub", *pair)),
    ops.Tile: lambda self, op, node, x: self.call(
        "Tile", x, self.constants.integers(*self.ordered(op.multiples))
    ),
    ops.Transpose: lambda self, op, node, x: self.call("Transpose", x, perm=op.axes),
}


def _wrongly_merged(graph: Graph) -> set[Tensor]:
    """Zero padding that onnxruntime 1.31 merges into pooling, which then does not run as it should.

    In a maximum it would count as minus infinity. It merges it into an average rightly, but refuses
    what it made if the padding is as large as the window.
    """
    found: set[Tensor] = set()
    margins: dict[Tensor, Array] = {}
    for node in graph.nodes:
        if isinstance(node.op, ops.Pad) and not isinstance(node.op, ops.MirrorPad):
            # It merges several in a row.
            margins[node.output] = np.array(node.op.margins) + margins.get(node.source, 0)
        if not node.inputs or node.inputs[0] not in margins:
            continue
        if isinstance(node.op, ops.MaxPool2D | ops.AveragePool2D):
            pairs = zip(margins[node.source][1:3], node.op.size, strict=True)
            too_large = any(max(sides) >= length for sides, length in pairs)
            if isinstance(node.op, ops.MaxPool2D) or node.op.padding != ops.NO_PADDING or too_large:
                found.add(node.source)
    return found


def _dense_only(graph: Graph) -> set[Tensor]:
    """Vectors made from images that nothing but dense layers read.

    For them the rows of the matrix are put in another order, not the values.
    """
    return {
        node.output
        for node in graph.nodes
        if isinstance(node.op, ops.Reshape)
        and len(node.source.shape) == 4
        and len(node.output.shape) == 2
        and all(isinstance(reader.op, ops.FullyConnected) for reader in graph.readers[node.output])
        and node.output not in graph.outputs
    }


def _arrangement(op: ops.Conv2D | ops.DepthwiseConv2D) -> Any:
    """From TFLite's layout of a filter to [outputs, inputs of a group, height, width]."""
    if isinstance(op, ops.DepthwiseConv2D):
        return lambda values: values.transpose(3, 0, 1, 2)
    return lambda values: values.transpose(0, 3, 1, 2)


def arranged_filter(op: ops.Conv2D | ops.DepthwiseConv2D, values: Array) -> Array:
    """A filter as [outputs, inputs of a group, height, width]."""
    found: Array = _arrangement(op)(values)
    return found


def _arranged_scale(stored: Tensor, arrange: Any) -> Array | None:
    """The scale of a weight, in a shape that broadcasts to the arranged array."""
    if stored.quant is None:
        return None
    scales = stored.quant.scales
    if len(scales) == 1:
        return scales[0]
    axis = stored.quant.axis
    shape = [1] * len(stored.shape)
    shape[axis] = len(scales)
    spread = arrange(np.broadcast_to(scales.reshape(shape), stored.shape))
    kept = [slice(None) if _varies(spread, i) else slice(1) for i in range(spread.ndim)]
    found: Array = np.ascontiguousarray(spread[tuple(kept)])
    return found


def _varies(array: Array, axis: int) -> bool:
    return bool((array != array.take([0], axis)).any())


def convolution_attributes(op: Any, node: Node) -> dict[str, AttributeValue]:
    """Those that differ from ONNX's defaults."""
    attributes: dict[str, AttributeValue] = {}
    channels = node.source.shape[3]
    groups = channels if isinstance(op, ops.DepthwiseConv2D) else channels // node.filter.shape[3]
    if groups > 1:
        attributes["group"] = groups
    if op.dilation != (1, 1):
        attributes["dilations"] = op.dilation
    return attributes | _window_attributes(op)


def pooling_attributes(op: ops.MaxPool2D | ops.AveragePool2D) -> dict[str, AttributeValue]:
    """Those that differ from ONNX's defaults."""
    return {"kernel_shape": op.size} | _window_attributes(op)


def _window_attributes(op: Any) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    if op.strides != (1, 1):
        attributes["strides"] = op.strides
    if op.padding != ops.NO_PADDING:
        (top, bottom), (left, right) = op.padding
        attributes["pads"] = (top, left, bottom, right)
    return attributes


def _is_same_either_way(shape: Shape) -> bool:
    """Whether channels first and channels last are the same order of elements."""
    return shape[3] == 1 or shape[1:3] == (1, 1)
