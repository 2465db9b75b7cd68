"""From a `Network` to ONNX nodes on float32 tensors.

Images become [1, channels, height, width], the layout that ONNX and onnxruntime compute in. Only
operators of opset 9 are used: it has fewer inputs where later ones moved attributes into them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.network import (
    NO_PADDING,
    Add,
    AveragePooling,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
    Loop,
    MaxPooling,
    Network,
    Node,
    Operation,
    Pad,
    Padding,
    Pair,
    Rectifier,
    Reshape,
    Shape,
    Softmax,
    Subtract,
    Value,
    Weight,
)
from edgegolf.export.sharing.onnx_calls import AttributeValue, Call
from edgegolf.export.sharing.reader import UnsupportedLayerError

OPSET = 9
INPUT, OUTPUT = "input", "output"
_NHWC, _NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Lowered:
    """ONNX nodes and the arrays that they use.

    Attributes:
        input_shape: Of the one input, with its batch of 1.
        output_shape: Of the one output.
        calls: The nodes.
        weights: Trained arrays by the name of their tensor, each once.
        constants: All other arrays.
    """

    input_shape: Shape
    output_shape: Shape
    calls: tuple[Call, ...]
    weights: dict[str, NDArray[np.float32]]
    constants: Constants


@dataclass(frozen=True, eq=False)
class Constants:
    """Arrays by the name of their tensor, equal ones once."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    names: dict[tuple[str, Shape, bytes], str] = field(default_factory=dict)

    def name(self, array: NDArray[Any]) -> str:
        """The name of an array, which is added where there is none."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.names:
            name = self.names[key] = f"constant {len(self.names)}"
            self.arrays[name] = array
        return self.names[key]

    def integers(self, *numbers: int) -> str:
        """The name of an int64 vector."""
        return self.name(np.array(numbers, np.int64))


def lower(network: Network) -> Lowered:
    """The nodes that compute a network in float32, with its loops unrolled.

    Raises:
        UnsupportedLayerError: ONNX has no operator for an operation on values of such a shape.
    """
    return FloatLowering().lower_network(network)


def to_channels_first(shape: Shape) -> Shape:
    """The shape of an image, or any other shape as it is."""
    return (shape[2], *shape[:2]) if len(shape) == 3 else shape


@dataclass
class FloatLowering:
    """Collects nodes; a subclass may compute in other numbers."""

    names: dict[Value, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    constants: Constants = field(default_factory=Constants)
    # Vectors that were images, in the order of channels first.
    flattened: dict[Value, Shape] = field(default_factory=dict)
    weight_names: dict[tuple[Weight, object], str] = field(default_factory=dict)
    made: int = 0

    def lower_network(self, network: Network) -> Lowered:
        """A network as ONNX nodes."""
        (source,), (result,) = network.inputs, network.outputs
        if len(result.shape) == 3 and not _is_same_either_way(result.shape):
            raise UnsupportedLayerError("the model's output is an image")
        if not network.nodes:
            raise UnsupportedLayerError("the model does nothing")
        self.enter(source)
        self.add_nodes(network)
        rename = {self.leave(result): OUTPUT}
        return Lowered(
            (1, *to_channels_first(source.shape)),
            (1, *to_channels_first(result.shape)),
            tuple(
                replace(
                    call,
                    inputs=tuple(rename.get(name, name) for name in call.inputs),
                    outputs=tuple(rename.get(name, name) for name in call.outputs),
                )
                for call in self.calls
            ),
            self.weights,
            self.constants,
        )

    def enter(self, source: Value) -> None:
        """Name the network's input."""
        self.names[source] = INPUT

    def leave(self, result: Value) -> str:
        """The tensor with the network's output in float32."""
        return self.names[result]

    def add_nodes(self, network: Network) -> None:
        """Add the nodes of a network whose inputs have names."""
        for_dense = _dense_only(network)
        _refuse_padded_pooling(network)
        for node in network.nodes:
            if isinstance(node.operation, Loop):
                self.add_loop(node.operation, node)
            elif isinstance(node.operation, Reshape) and node.output in for_dense:
                self.flattened[node.output] = node.inputs[0].shape
                flat = self.call("Flatten", self.names[node.inputs[0]])
                self.names[node.output] = flat
            else:
                self.names[node.output] = self.lower(node.operation, node)

    def add_loop(self, loop: Loop, node: Node) -> None:
        """Add the nodes of all iterations."""
        current = [self.names[value] for value in node.inputs]
        for _ in range(loop.iterations):
            self.names.update(zip(loop.body.inputs, current, strict=True))
            self.add_nodes(loop.body)
            current = [self.names[value] for value in loop.body.outputs]
        self.names.update(zip(node.outputs, current, strict=True))

    def call(self, operator: str, *inputs: str, **attributes: AttributeValue) -> str:
        """Add a node; returns the name of its output."""
        output = self.fresh()
        self.calls.append(Call(operator, inputs, (output,), tuple(attributes.items())))
        return output

    def fresh(self) -> str:
        """A name that no tensor has."""
        self.made += 1
        return f"tensor {self.made}"

    def weight(self, weight: Weight, array: NDArray[np.float32], form: object = None) -> str:
        """The name of a weight, arranged in one form or another."""
        key = (weight, form)
        if key not in self.weight_names:
            name = self.weight_names[key] = self.fresh()
            self.weights[name] = np.ascontiguousarray(array)
        return self.weight_names[key]

    def bias(self, operation: Convolution | DepthwiseConvolution | Dense) -> list[str]:
        """The name of its bias, if it has one."""
        bias = operation.bias
        return [] if bias is None else [self.weight(bias, bias.values)]

    def reshape(self, tensor: str, shape: Shape) -> str:
        """Add a reshape."""
        return self.call("Reshape", tensor, self.constants.integers(*shape))

    @singledispatchmethod
    def lower(self, operation: Operation, node: Node) -> str:
        """Add the nodes of one operation; returns the name of its result."""
        raise UnsupportedLayerError(f"{type(operation).__name__} cannot be written as ONNX")

    def arrange_matrix(self, value: Value, matrix: NDArray[Any]) -> NDArray[Any]:
        """A dense layer's matrix for the layout of its input; for images a 1×1 filter."""
        if len(value.shape) == 3:
            return matrix.T[:, :, None, None]
        if image := self.flattened.get(value):
            return matrix.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(matrix.shape)
        return matrix

    def tensors(self, node: Node) -> list[str]:
        """The names of a node's inputs."""
        return [self.names[value] for value in node.inputs]

    # ---------------------------------------------------------------------------- operations

    @lower.register
    def _(self, operation: Convolution | DepthwiseConvolution, node: Node) -> str:
        name = self.weight(operation.filter, arrange_filter(operation, operation.filter.values))
        inputs = (*self.tensors(node), name, *self.bias(operation))
        return self.call("Conv", *inputs, **convolution_attributes(operation))

    @lower.register
    def _(self, operation: Dense, node: Node) -> str:
        (tensor,), (value,) = self.tensors(node), node.inputs
        matrix = self.arrange_matrix(value, operation.matrix.values)
        name = self.weight(operation.matrix, matrix, self.flattened.get(value, matrix.ndim))
        bias = self.bias(operation)
        if len(value.shape) == 3:
            return self.call("Conv", tensor, name, *bias)
        if bias and len(value.shape) == 1:
            return self.call("Gemm", tensor, name, *bias)
        product = self.call("MatMul", tensor, name)
        return self.call("Add", product, *bias) if bias else product

    @lower.register
    def _(self, operation: Rectifier, node: Node) -> str:
        if operation.slope:
            return self.call("LeakyRelu", *self.tensors(node), alpha=float(operation.slope))
        return self.call("Relu", *self.tensors(node))

    @lower.register
    def _(self, operation: Softmax, node: Node) -> str:
        if len(node.output.shape) != 1:  # before opset 13 it is over all axes but the first
            raise UnsupportedLayerError("a softmax of something else than a vector")
        return self.call("Softmax", *self.tensors(node))

    @lower.register
    def _(self, operation: Add, node: Node) -> str:
        return self.call("Add", *self.tensors(node))

    @lower.register
    def _(self, operation: Subtract, node: Node) -> str:
        return self.call("Sub", *self.tensors(node))

    @lower.register
    def _(self, operation: MaxPooling, node: Node) -> str:
        return self.pool("MaxPool", operation, node)

    @lower.register
    def _(self, operation: AveragePooling, node: Node) -> str:
        return self.pool("AveragePool", operation, node)

    def pool(self, operator: str, operation: MaxPooling | AveragePooling, node: Node) -> str:
        """Add a pooling node, of the short form where the window is the whole image."""
        if operation.window == node.inputs[0].shape[:2] and operation.padding == NO_PADDING:
            return self.call(f"Global{operator}", *self.tensors(node))
        return self.call(operator, *self.tensors(node), **pooling_attributes(operation))

    @lower.register
    def _(self, operation: Crop, node: Node) -> str:
        # All four axes are given, because naming two of them takes more bytes.
        starts, ends = crop_corners(operation, node)
        return self.call("Slice", *self.tensors(node), starts=starts, ends=ends)

    @lower.register
    def _(self, operation: Pad, node: Node) -> str:
        return self.call("Pad", *self.tensors(node), pads=all_pads(operation))

    @lower.register
    def _(self, operation: Reshape, node: Node) -> str:
        (tensor,), before, after = self.tensors(node), node.inputs[0].shape, operation.shape
        if before == after:
            return tensor
        if len(before) == 3 and not _is_same_either_way(before):
            tensor = self.call("Transpose", tensor, perm=_NHWC)
        if len(after) == 1 and len(before) > 1:
            return self.call("Flatten", tensor)
        if len(after) == 3 and not _is_same_either_way(after):
            return self.call("Transpose", self.reshape(tensor, (1, *after)), perm=_NCHW)
        return self.reshape(tensor, (1, *to_channels_first(after)))

    @lower.register
    def _(self, operation: Concatenate, node: Node) -> str:
        is_image = len(node.output.shape) == 3
        axis = (2, 3, 1)[operation.axis] if is_image else operation.axis + 1
        return self.call("Concat", *self.tensors(node), axis=axis)


def _refuse_padded_pooling(network: Network) -> None:
    """Onnxruntime 1.31 merges zero padding into a maximum, where it then counts as minus infinity.

    It merges it into an average rightly, but refuses what it made if the padding is as large as
    the window.
    """
    margins = {n.output: n.operation.margins for n in network.nodes if isinstance(n.operation, Pad)}
    for node in network.nodes:
        match node.operation:
            case MaxPooling() if node.inputs[0] in margins:
                raise UnsupportedLayerError("zero padding before a maximum is wrong in onnxruntime")
            case AveragePooling(window=window) if node.inputs[0] in margins:
                pairs = zip(margins[node.inputs[0]], window, strict=True)
                if any(max(sides) >= size for sides, size in pairs):
                    raise UnsupportedLayerError("zero padding as large as the window of an average")


def _dense_only(network: Network) -> set[Value]:
    """Vectors made from images that nothing but dense layers read.

    For them the rows of the matrix are put in another order, not the values.
    """
    read_by_others = {
        value
        for node in network.nodes
        for value in node.inputs
        if not isinstance(node.operation, Dense)
    }
    return {
        node.output
        for node in network.nodes
        if isinstance(node.operation, Reshape)
        and len(node.inputs[0].shape) == 3
        and len(node.output.shape) == 1
        and node.output not in read_by_others
        and node.output not in network.outputs
    }


def arrange_filter(
    operation: Convolution | DepthwiseConvolution, values: NDArray[Any]
) -> NDArray[Any]:
    """Its filter as [outputs, inputs of a group, height, width]."""
    if isinstance(operation, DepthwiseConvolution):
        return values.reshape(*values.shape[:2], 1, -1).transpose(3, 2, 0, 1)
    return values.transpose(3, 2, 0, 1)


def convolution_attributes(
    operation: Convolution | DepthwiseConvolution,
) -> dict[str, AttributeValue]:
    """Those that differ from ONNX's defaults."""
    attributes: dict[str, AttributeValue] = {}
    channels = operation.filter.values.shape[2]
    if isinstance(operation, DepthwiseConvolution) and channels > 1:
        attributes["group"] = channels
    if operation.dilation != (1, 1):
        attributes["dilations"] = operation.dilation
    return attributes | _window_attributes(operation.strides, operation.padding)


def pooling_attributes(operation: MaxPooling | AveragePooling) -> dict[str, AttributeValue]:
    """Those that differ from ONNX's defaults."""
    window: dict[str, AttributeValue] = {"kernel_shape": operation.window}
    return window | _window_attributes(operation.strides, operation.padding)


def crop_corners(operation: Crop, node: Node) -> tuple[Shape, Shape]:
    """The first element of all four axes, and the one behind the last."""
    height, width, channels = node.output.shape
    (top, _), (left, _) = operation.margins
    return (0, 0, top, left), (1, channels, top + height, left + width)


def all_pads(operation: Pad) -> Shape:
    """What is added before, then behind all four axes."""
    (top, bottom), (left, right) = operation.margins
    return 0, 0, top, left, 0, 0, bottom, right


def _window_attributes(strides: Pair, padding: Padding) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    if strides != (1, 1):
        attributes["strides"] = strides
    if padding != NO_PADDING:
        (top, bottom), (left, right) = padding
        attributes["pads"] = (top, left, bottom, right)
    return attributes


def _is_same_either_way(shape: Shape) -> bool:
    """Whether channels first and channels last are the same order of elements."""
    return shape[2] == 1 or shape[:2] == (1, 1)
