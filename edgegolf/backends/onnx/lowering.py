"""From a `Graph` to ONNX nodes on float32 tensors.

Images become [1, channels, height, width], the layout that ONNX and onnxruntime compute in. Only
operators of opset 9 are used: it has fewer inputs where later ones moved attributes into them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from math import inf
from typing import Any

import numpy as np

from edgegolf.backends.onnx.calls import AttributeValue, Call, Constants, constant, value_info
from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.protobuf import message
from edgegolf.ir import Graph, Node, Op, Tensor
from edgegolf.ir.ops import (
    NO_PADDING,
    Add,
    AveragePool2D,
    Concatenate,
    Conv2D,
    DepthwiseConv2D,
    Dequantize,
    FullyConnected,
    LeakyReLU,
    Loop,
    MaxPool2D,
    Mul,
    Pad,
    ReLU,
    Reshape,
    Slice,
    Softmax,
    Sub,
)
from edgegolf.ir.tensor import Array, Shape

OPSET = 9
INPUT, OUTPUT = "input", "output"
_NHWC, _NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


class NotInOnnxError(EdgegolfError):
    """ONNX, or onnxruntime, has no way to compute this."""


@dataclass(frozen=True)
class Weight:
    """A trained array as the nodes take it.

    Attributes:
        array: float32, or integers that stand for it.
        scale: What integers are multiplied by, None for float32.
        is_flat: Whether any shape will do, because all that read it give it one.
    """

    array: Array
    scale: Array | None = None
    is_flat: bool = False


@dataclass(frozen=True, eq=False)
class Lowered:
    """ONNX nodes and the arrays that they use.

    Attributes:
        input_shape: Of the one input, with its batch of 1.
        output_shape: Of the one output.
        calls: The nodes.
        weights: Trained arrays by the name of their tensor, each once.
        constants: All other arrays.
        renamed: The tensors that have another name in the end.
    """

    input_shape: Shape
    output_shape: Shape
    calls: tuple[Call, ...]
    weights: dict[str, Weight]
    constants: Constants
    renamed: dict[str, str]


def to_channels_first(shape: Shape) -> Shape:
    """The shape of an image, or any other shape as it is."""
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape


@dataclass
class FloatLowering:
    """Collects nodes; a subclass may compute in other numbers."""

    names: dict[Tensor, str] = field(default_factory=dict)
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
    made: int = 0

    def lower_graph(self, graph: Graph) -> Lowered:
        """A graph as ONNX nodes."""
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise NotInOnnxError("the model has not exactly one input and one output")
        (source,), (result,) = graph.inputs, graph.outputs
        if len(result.shape) == 4 and not _is_same_either_way(result.shape):
            raise NotInOnnxError("the model's output is an image")
        if not graph.nodes:
            raise NotInOnnxError("the model does nothing")
        self.enter(source)
        self.add_nodes(graph)
        renamed = {self.leave(result): OUTPUT}  # which may add a node
        return Lowered(
            to_channels_first(source.shape),
            to_channels_first(result.shape),
            tuple(self.calls),
            {
                name: replace(weight, is_flat=name not in self.read_as_they_are)
                for name, weight in self.weights.items()
            },
            self.constants,
            renamed,
        )

    def enter(self, source: Tensor) -> None:
        """Name the graph's input."""
        self.names[source] = INPUT

    def leave(self, result: Tensor) -> str:
        """The tensor with the graph's output in float32."""
        return self.names[result]

    def add_nodes(self, graph: Graph) -> None:
        """Add the nodes of a graph whose inputs have names."""
        for_dense = _dense_only(graph)
        _refuse_padded_pooling(graph)
        for node in graph.nodes:
            if isinstance(node.op, Loop):
                self.add_loop(node.op, node)
            elif isinstance(node.op, Dequantize) and node.source.data is not None:
                self.decoded[node.output] = node.source
            elif isinstance(node.op, Mul) and all(map(self.is_weight, node.inputs)):
                self.products[node.output] = tuple(tensor for tensor in node.inputs if tensor)
            elif isinstance(node.op, Reshape) and node.output in for_dense:
                self.flattened[node.output] = node.source.shape
                self.names[node.output] = self.call("Flatten", self.names[node.source])
            else:
                self.names[node.output] = self.activated(node, self.lower(node.op, node))

    def activated(self, node: Node, tensor: str) -> str:
        """The result of a node after its fused activation."""
        activation = getattr(node.op, "activation", None)
        return tensor if activation is None else self.rectified(activation, tensor)

    def rectified(self, relu: ReLU, tensor: str) -> str:
        """Add a ReLU."""
        if (relu.low, relu.high) == (0.0, inf):
            return self.call("Relu", tensor)
        return self.call("Clip", tensor, min=float(relu.low), max=float(relu.high))

    def add_loop(self, loop: Loop, node: Node) -> None:
        """Add a node that runs a body again and again."""
        if self.inner_names is not None:
            raise NotInOnnxError("a loop in a loop")
        if len(node.computed) < len(node.inputs):
            raise NotInOnnxError("a loop that starts with a constant")
        entries = [self.names[tensor] for tensor in node.computed]
        outside, self.calls, self.inner_names = self.calls, [], {}
        self.names.update((tensor, self.fresh()) for tensor in loop.body.inputs)
        self.add_nodes(loop.body)
        calls, self.calls, self.inner_names = self.calls, outside, None
        # OpenVINO wants the axes of what is carried, onnxruntime those of the scalars; and that the
        # loop goes on, each time, OpenVINO does not take from its input.
        number, condition, always = self.fresh(), self.fresh(), self.fresh()
        carried = [
            value_info(self.names[tensor], "float32", to_channels_first(tensor.shape))
            for tensor in loop.body.inputs
        ]
        body = message(
            "GraphProto",
            name="g",
            node=[call.to_message() for call in calls],
            initializer=[constant(always, np.array(True))],
            input=[value_info(number, "int64", ()), value_info(condition, "bool", ()), *carried],
            output=[
                value_info(always, "bool"),
                *(value_info(self.names[tensor], "float32") for tensor in loop.body.outputs),
            ],
        )
        times = self.constants.name(np.int64(loop.iterations))
        outputs = tuple(self.fresh() for _ in node.outputs)
        self.calls.append(Call("Loop", (times, "", *entries), outputs, (("body", body),)))
        self.names.update(zip(node.outputs, outputs, strict=True))

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
            array = np.ascontiguousarray(arrange(stored.values))
            self.weights[name] = Weight(array, _arranged_scale(stored, arrange))
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
    def lower(self, op: Op, node: Node) -> str:
        """Add the nodes of one operation; returns the name of its result."""
        raise NotInOnnxError(f"{type(op).__name__} cannot be written as ONNX")

    def arranged_matrix(self, node: Node) -> tuple[Any, object]:
        """How a dense layer's matrix is laid out for its input, and what tells this form.

        The matrix is [units, inputs]; ONNX takes [inputs, units], for images a 1×1 filter.
        """
        source = node.source
        if len(source.shape) == 4:
            return lambda matrix: matrix[:, :, None, None], 4
        image = self.flattened.get(source)
        if image is None:
            return np.transpose, 2

        def in_order(matrix: Array) -> Array:
            found = matrix.T.reshape(*image[1:], -1).transpose(2, 0, 1, 3)
            return found.reshape(-1, len(matrix))

        return in_order, image

    def tensors(self, node: Node) -> list[str]:
        """The names of a node's computed inputs."""
        if len(node.computed) != len(node.inputs):
            raise NotInOnnxError(f"{type(node.op).__name__} with a constant")
        return [self.names[tensor] for tensor in node.computed]

    # ---------------------------------------------------------------------------- operations

    @lower.register
    def _(self, op: Conv2D | DepthwiseConv2D, node: Node) -> str:
        name = self.weight(node.filter, _arrangement(op))
        inputs = (self.names[node.source], name, *self.bias(node))
        return self.call("Conv", *inputs, **convolution_attributes(op, node))

    @lower.register
    def _(self, op: FullyConnected, node: Node) -> str:
        tensor, source = self.names[node.source], node.source
        name = self.weight(node.filter, *self.arranged_matrix(node))
        bias = self.bias(node)
        if len(source.shape) == 4:
            return self.call("Conv", tensor, name, *bias)
        if bias and len(source.shape) == 2:
            return self.call("Gemm", tensor, name, *bias)
        product = self.call("MatMul", tensor, name)
        return self.call("Add", product, *bias) if bias else product

    @lower.register
    def _(self, op: ReLU, node: Node) -> str:
        return self.rectified(op, *self.tensors(node))

    @lower.register
    def _(self, op: LeakyReLU, node: Node) -> str:
        # With its slope as a tensor, which several nodes can share, it takes fewer bytes.
        return self.call("PRelu", *self.tensors(node), self.constants.name(np.float32(op.slope)))

    @lower.register
    def _(self, op: Softmax, node: Node) -> str:
        if len(node.output.shape) != 2:  # before opset 13 it is over all axes but the first
            raise NotInOnnxError("a softmax of something else than a vector")
        return self.call("Softmax", *self.tensors(node))

    @lower.register
    def _(self, op: Add, node: Node) -> str:
        return self.call("Add", *self.tensors(node))

    @lower.register
    def _(self, op: Sub, node: Node) -> str:
        return self.call("Sub", *self.tensors(node))

    @lower.register
    def _(self, op: MaxPool2D, node: Node) -> str:
        return self.pool("MaxPool", op, node)

    @lower.register
    def _(self, op: AveragePool2D, node: Node) -> str:
        return self.pool("AveragePool", op, node)

    def pool(self, operator: str, op: MaxPool2D | AveragePool2D, node: Node) -> str:
        """Add a pooling node, of the short form where the window is the whole image."""
        if op.size == node.source.shape[1:3] and op.padding == NO_PADDING:
            return self.call(f"Global{operator}", *self.tensors(node))
        return self.call(operator, *self.tensors(node), **pooling_attributes(op))

    @lower.register
    def _(self, op: Slice, node: Node) -> str:
        # All four axes are given, because naming two of them takes more bytes.
        starts, ends = crop_corners(op, node)
        return self.call("Slice", *self.tensors(node), starts=starts, ends=ends)

    @lower.register
    def _(self, op: Pad, node: Node) -> str:
        return self.call("Pad", *self.tensors(node), pads=all_pads(op))

    @lower.register
    def _(self, op: Reshape, node: Node) -> str:
        (tensor,), before, after = self.tensors(node), node.source.shape, node.output.shape
        if before == after:
            return tensor
        if len(before) == 4 and not _is_same_either_way(before):
            tensor = self.call("Transpose", tensor, perm=_NHWC)
        if len(after) == 2 and len(before) > 2:
            return self.call("Flatten", tensor)
        if len(after) == 4 and not _is_same_either_way(after):
            return self.call("Transpose", self.reshape(tensor, after), perm=_NCHW)
        return self.reshape(tensor, to_channels_first(after))

    @lower.register
    def _(self, op: Concatenate, node: Node) -> str:
        is_image = len(node.output.shape) == 4
        axis = (0, 2, 3, 1)[op.axis] if is_image else op.axis
        return self.call("Concat", *self.tensors(node), axis=axis)


def _refuse_padded_pooling(graph: Graph) -> None:
    """Onnxruntime 1.31 merges zero padding into a maximum, where it then counts as minus infinity.

    It merges it into an average rightly, but refuses what it made if the padding is as large as
    the window.
    """
    margins: dict[Tensor, Array] = {}
    for node in graph.nodes:
        if isinstance(node.op, Pad):  # it merges several in a row
            margins[node.output] = np.array(node.op.margins) + margins.get(node.source, 0)
        if not node.inputs or node.inputs[0] not in margins:
            continue
        match node.op:
            case MaxPool2D():
                raise NotInOnnxError("zero padding before a maximum is wrong in onnxruntime")
            case AveragePool2D(size=size, padding=padding):
                pairs = zip(margins[node.source][1:3], size, strict=True)
                if padding != NO_PADDING:
                    raise NotInOnnxError("zero padding before an average that pads, too")
                if any(max(sides) >= length for sides, length in pairs):
                    raise NotInOnnxError("zero padding as large as the window of an average")


def _dense_only(graph: Graph) -> set[Tensor]:
    """Vectors made from images that nothing but dense layers read.

    For them the rows of the matrix are put in another order, not the values.
    """
    return {
        node.output
        for node in graph.nodes
        if isinstance(node.op, Reshape)
        and len(node.source.shape) == 4
        and len(node.output.shape) == 2
        and all(isinstance(reader.op, FullyConnected) for reader in graph.readers[node.output])
        and node.output not in graph.outputs
    }


def _arrangement(op: Conv2D | DepthwiseConv2D) -> Any:
    """From TFLite's layout of a filter to [outputs, inputs of a group, height, width]."""
    if isinstance(op, DepthwiseConv2D):
        return lambda values: values.transpose(3, 0, 1, 2)
    return lambda values: values.transpose(0, 3, 1, 2)


def arranged_filter(op: Conv2D | DepthwiseConv2D, values: Array) -> Array:
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
    groups = channels if isinstance(op, DepthwiseConv2D) else channels // node.filter.shape[3]
    if groups > 1:
        attributes["group"] = groups
    if op.dilation != (1, 1):
        attributes["dilations"] = op.dilation
    return attributes | _window_attributes(op)


def pooling_attributes(op: MaxPool2D | AveragePool2D) -> dict[str, AttributeValue]:
    """Those that differ from ONNX's defaults."""
    return {"kernel_shape": op.size} | _window_attributes(op)


def crop_corners(op: Slice, node: Node) -> tuple[Shape, Shape]:
    """The first element of all four axes of an image, and the one behind the last."""
    margins = op.margins(node.source.shape)
    if margins is None:
        raise NotInOnnxError("a slice of something else than rows and columns")
    _, height, width, channels = node.output.shape
    (top, _), (left, _) = margins
    return (0, 0, top, left), (1, channels, top + height, left + width)


def all_pads(op: Pad) -> Shape:
    """What is added before, then behind all four axes of an image."""
    if len(op.margins) != 4 or op.margins[0] != (0, 0) or op.margins[3] != (0, 0) or op.value:
        raise NotInOnnxError("padding of something else than rows and columns by zeros")
    (top, bottom), (left, right) = op.margins[1:3]
    return 0, 0, top, left, 0, 0, bottom, right


def _window_attributes(op: Any) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    if op.strides != (1, 1):
        attributes["strides"] = op.strides
    if op.padding != NO_PADDING:
        (top, bottom), (left, right) = op.padding
        attributes["pads"] = (top, left, bottom, right)
    return attributes


def _is_same_either_way(shape: Shape) -> bool:
    """Whether channels first and channels last are the same order of elements."""
    return shape[3] == 1 or shape[1:3] == (1, 1)
