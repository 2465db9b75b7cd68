"""From a Keras model to a `Network`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.sharing.network import (
    NO_PADDING,
    Add,
    AveragePooling,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
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
    readers,
    same_padding,
    window_outputs,
)

if TYPE_CHECKING:
    import keras

# Layers that do nothing at inference.
_IDENTITIES = (
    "Dropout",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
)


SMALLEST_SHARE = np.float32(1e-4)  # of the largest factor of a normalization


class UnsupportedLayerError(EdgegolfError):
    """The model has a layer that `Network` cannot express; stock converters may."""


def read_network(model: keras.Model) -> Network:
    """Read a functional or sequential model with one input and one output.

    A layer applied several times gives several nodes with equal operations, hence with the same
    `Weight` objects. Batch normalisation becomes part of the convolution before it where nothing
    else reads that one's result, else a depthwise convolution with a window of 1×1. A convolution
    that is applied several times, each with a normalisation of its own, becomes as many multiples
    of one weight.

    Raises:
        UnsupportedLayerError: A layer or one of its options is not supported.
    """
    if len(model.inputs or ()) != 1 or len(model.outputs or ()) != 1:
        raise UnsupportedLayerError("the model has not exactly one input and one output")
    reader = _Reader()
    values = {id(model.inputs[0]): Value(_shape(model.inputs[0]))}
    source = values[id(model.inputs[0])]
    (output,) = reader.read(model, values)
    return _fold_normalizations(Network((source,), (output,), tuple(reader.nodes)))


class _Reader:
    """Collects nodes in depth-first order, which keeps the nodes of a block together."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[tuple[int, str], Weight] = {}
        self.sources: list[Any] = []  # alive, so that their ids stay theirs

    def read(self, model: keras.Model, values: dict[int, Value]) -> list[Value]:
        """The outputs of a model whose inputs are known."""
        pending = [(tensor, False) for tensor in reversed(model.outputs)]
        while pending:
            tensor, ready = pending.pop()
            if id(tensor) in values:
                continue
            layer, node_index, _ = tensor._keras_history
            node = layer._inbound_nodes[node_index]
            if not ready:
                pending.append((tensor, True))
                pending += [(source, False) for source in reversed(node.input_tensors)]
                continue
            inputs = [values[id(source)] for source in node.input_tensors]
            for output, value in zip(node.output_tensors, self.apply(layer, inputs), strict=True):
                values[id(output)] = value
        return [values[id(tensor)] for tensor in model.outputs]

    def apply(self, layer: Any, inputs: list[Value]) -> list[Value]:
        kind = type(layer).__name__
        if kind in ("Functional", "Sequential"):
            inner = {id(t): value for t, value in zip(layer.inputs, inputs, strict=True)}
            return self.read(layer, inner)
        if kind in _IDENTITIES:
            return inputs
        if kind not in _LAYERS:
            raise UnsupportedLayerError(f"layer {layer.name!r} is a {kind}, which is not supported")
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise UnsupportedLayerError(f"layer {layer.name!r} has its channels first")
        return [_LAYERS[kind](self, layer, inputs)]

    def add(self, operation: Operation, inputs: list[Value], shape: Shape) -> Value:
        output = Value(shape)
        self.nodes.append(Node(operation, tuple(inputs), (output,)))
        return output

    def weight(self, layer: Any, source: Any, what: str = "", values: Any = None) -> Weight:
        """The one `Weight` of a variable, or of the values that are computed from a source."""
        self.sources.append(source)
        key = (id(source), what)
        if key not in self.weights:
            array = np.asarray(source if values is None else values, np.float32)
            self.weights[key] = Weight(f"{layer.name}/{what or source.name}", array)
        return self.weights[key]

    def activate(self, layer: Any, activation: Any, value: Value) -> Value:
        name = getattr(activation, "__name__", type(activation).__name__)
        if name == "linear":
            return value
        if name == "relu":
            return self.add(Rectifier(), [value], value.shape)
        if name == "leaky_relu":
            return self.add(Rectifier(0.2), [value], value.shape)  # Keras's default slope
        if name == "softmax":
            return self.add(Softmax(), [value], value.shape)
        raise UnsupportedLayerError(f"layer {layer.name!r} has the activation {name}")

    # ------------------------------------------------------------------------------- layers

    def convolution(self, layer: Any, inputs: list[Value]) -> Value:
        if layer.groups != 1:
            raise UnsupportedLayerError(f"layer {layer.name!r} has groups")
        output = self._convolve(layer, inputs, Convolution, layer.kernel, layer.bias)
        return self.activate(layer, layer.activation, output)

    def depthwise(self, layer: Any, inputs: list[Value]) -> Value:
        output = self._convolve(layer, inputs, DepthwiseConvolution, layer.kernel, layer.bias)
        return self.activate(layer, layer.activation, output)

    def separable(self, layer: Any, inputs: list[Value]) -> Value:
        hidden = self._convolve(layer, inputs, DepthwiseConvolution, layer.depthwise_kernel, None)
        matrix = self.weight(layer, layer.pointwise_kernel)
        bias = None if layer.bias is None else self.weight(layer, layer.bias)
        shape = (*hidden.shape[:2], matrix.values.shape[-1])
        output = self.add(Convolution(matrix, bias), [hidden], shape)
        return self.activate(layer, layer.activation, output)

    def _convolve(
        self, layer: Any, inputs: list[Value], kind: Any, kernel: Any, bias: Any
    ) -> Value:
        filter_weight = self.weight(layer, kernel)
        height, width, first, second = filter_weight.values.shape
        window, strides = (height, width), _pair(layer.strides)
        dilation = _pair(layer.dilation_rate)
        padding = self._padding(layer, inputs[0], window, strides, dilation)
        size = window_outputs(inputs[0].shape[:2], window, strides, padding, dilation)  # type: ignore[arg-type]
        operation = kind(
            filter_weight,
            None if bias is None else self.weight(layer, bias),
            strides,
            padding,
            dilation,
        )
        channels = second if kind is Convolution else first * second
        return self.add(operation, inputs, (*size, channels))

    def _padding(
        self, layer: Any, value: Value, window: Pair, strides: Pair, dilation: Pair = (1, 1)
    ) -> Padding:
        if layer.padding == "valid":
            return NO_PADDING
        if layer.padding == "same":
            return same_padding(value.shape[:2], window, strides, dilation)  # type: ignore[arg-type]
        raise UnsupportedLayerError(f"layer {layer.name!r} has the padding {layer.padding!r}")

    def dense(self, layer: Any, inputs: list[Value]) -> Value:
        matrix = self.weight(layer, layer.kernel)
        bias = None if layer.bias is None else self.weight(layer, layer.bias)
        shape = (*inputs[0].shape[:-1], matrix.values.shape[-1])
        output = self.add(Dense(matrix, bias), inputs, shape)
        return self.activate(layer, layer.activation, output)

    def normalization(self, layer: Any, inputs: list[Value]) -> Value:
        axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
        if len(inputs[0].shape) != 3 or axis not in (-1, 3):
            raise UnsupportedLayerError(f"layer {layer.name!r} does not normalise image channels")
        scale = 1 / np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
        if layer.scale:
            scale = scale * layer.gamma.numpy()
        shift = -layer.moving_mean.numpy() * scale
        if layer.center:
            shift = shift + layer.beta.numpy()
        operation = DepthwiseConvolution(
            self.weight(layer, layer, "scale", scale.reshape(1, 1, -1, 1)),
            self.weight(layer, layer, "shift", shift),
        )
        return self.add(operation, inputs, inputs[0].shape)

    def rectifier(self, layer: Any, inputs: list[Value]) -> Value:
        if getattr(layer, "max_value", None) is not None or getattr(layer, "threshold", None):
            raise UnsupportedLayerError(f"layer {layer.name!r} has a threshold or a maximum")
        return self.add(Rectifier(float(layer.negative_slope)), inputs, inputs[0].shape)

    def activation(self, layer: Any, inputs: list[Value]) -> Value:
        return self.activate(layer, layer.activation, inputs[0])

    def softmax(self, layer: Any, inputs: list[Value]) -> Value:
        if layer.axis not in (-1, len(inputs[0].shape)):
            raise UnsupportedLayerError(f"layer {layer.name!r} is not along the last axis")
        return self.add(Softmax(), inputs, inputs[0].shape)

    def sum(self, layer: Any, inputs: list[Value]) -> Value:
        if any(value.shape != inputs[0].shape for value in inputs):
            raise UnsupportedLayerError(f"layer {layer.name!r} adds unequal shapes")
        total = inputs[0]
        for value in inputs[1:]:
            total = self.add(Add(), [total, value], value.shape)
        return total

    def difference(self, layer: Any, inputs: list[Value]) -> Value:
        first, second = inputs
        if first.shape != second.shape:
            raise UnsupportedLayerError(f"layer {layer.name!r} subtracts unequal shapes")
        return self.add(Subtract(), inputs, first.shape)

    def max_pooling(self, layer: Any, inputs: list[Value]) -> Value:
        return self._pool(MaxPooling, layer, inputs)

    def average_pooling(self, layer: Any, inputs: list[Value]) -> Value:
        return self._pool(AveragePooling, layer, inputs)

    def _pool(self, kind: Any, layer: Any, inputs: list[Value]) -> Value:
        height, width, channels = inputs[0].shape
        window, strides = _pair(layer.pool_size), _pair(layer.strides)
        padding = self._padding(layer, inputs[0], window, strides)
        size = window_outputs((height, width), window, strides, padding)
        return self.add(kind(window, strides, padding), inputs, (*size, channels))

    def global_max(self, layer: Any, inputs: list[Value]) -> Value:
        return self._pool_all(MaxPooling, layer, inputs)

    def global_average(self, layer: Any, inputs: list[Value]) -> Value:
        return self._pool_all(AveragePooling, layer, inputs)

    def _pool_all(self, kind: Any, layer: Any, inputs: list[Value]) -> Value:
        height, width, channels = inputs[0].shape
        pooled = self.add(kind((height, width), (1, 1)), inputs, (1, 1, channels))
        if layer.keepdims:
            return pooled
        return self.add(Reshape((channels,)), [pooled], (channels,))

    def crop(self, layer: Any, inputs: list[Value]) -> Value:
        (top, bottom), (left, right) = margins = _margins(layer.cropping)
        height, width, channels = inputs[0].shape
        shape = (height - top - bottom, width - left - right, channels)
        return self.add(Crop(margins), inputs, shape)

    def pad(self, layer: Any, inputs: list[Value]) -> Value:
        (top, bottom), (left, right) = margins = _margins(layer.padding)
        height, width, channels = inputs[0].shape
        shape = (height + top + bottom, width + left + right, channels)
        return self.add(Pad(margins), inputs, shape)

    def reshape(self, layer: Any, inputs: list[Value]) -> Value:
        shape = tuple(layer.compute_output_shape((1, *inputs[0].shape))[1:])
        return self.add(Reshape(shape), inputs, shape)

    def concatenate(self, layer: Any, inputs: list[Value]) -> Value:
        shape = tuple(layer.compute_output_shape([(1, *value.shape) for value in inputs])[1:])
        axis = layer.axis - 1 if layer.axis > 0 else layer.axis + len(shape)
        return self.add(Concatenate(axis), inputs, shape)


_LAYERS: dict[str, Callable[[_Reader, Any, list[Value]], Value]] = {
    "Conv2D": _Reader.convolution,
    "DepthwiseConv2D": _Reader.depthwise,
    "SeparableConv2D": _Reader.separable,
    "Dense": _Reader.dense,
    "BatchNormalization": _Reader.normalization,
    "ReLU": _Reader.rectifier,
    "LeakyReLU": _Reader.rectifier,
    "Activation": _Reader.activation,
    "Softmax": _Reader.softmax,
    "Add": _Reader.sum,
    "Subtract": _Reader.difference,
    "MaxPooling2D": _Reader.max_pooling,
    "AveragePooling2D": _Reader.average_pooling,
    "GlobalMaxPooling2D": _Reader.global_max,
    "GlobalAveragePooling2D": _Reader.global_average,
    "Cropping2D": _Reader.crop,
    "ZeroPadding2D": _Reader.pad,
    "Flatten": _Reader.reshape,
    "Reshape": _Reader.reshape,
    "Concatenate": _Reader.concatenate,
}


def _shape(tensor: Any) -> Shape:
    if None in tensor.shape[1:]:
        raise UnsupportedLayerError(f"input {tensor.name!r} has an open dimension")
    return tuple(int(size) for size in tensor.shape[1:])


def _pair(numbers: Any) -> Pair:
    first, second = (numbers, numbers) if isinstance(numbers, int) else numbers
    return int(first), int(second)


def _margins(numbers: Any) -> Padding:
    rows, columns = numbers
    return _pair(rows), _pair(columns)


def _fold_normalizations(network: Network) -> Network:
    """Merge 1×1 depthwise convolutions into the convolutions before them.

    Done where nothing else reads the convolution's result and where the convolution, if it is
    applied several times, is always followed by the same scaling, or each time by a positive one:
    then what it becomes are multiples of one filter, channel by channel.
    """
    readers_of = readers(network)
    followers: dict[Operation, dict[Operation | None, None]] = {}
    for node in network.nodes:
        found = readers_of[node.output]
        scaling = found[0].operation if len(found) == 1 and _is_scaling(found[0]) else None
        followers.setdefault(node.operation, {})[scaling] = None
    merged: dict[tuple[Operation, Operation | None], Operation] = {}
    for operation, scalings in followers.items():
        several = len(scalings) > 1
        if None in scalings or not isinstance(operation, Convolution | DepthwiseConvolution):
            continue
        if not several:
            merged |= {(operation, each): _merge(operation, each) for each in scalings}
        elif isinstance(operation, Convolution) and all(map(_keeps_signs, scalings)):
            merged |= {(operation, each): _multiple(operation, each) for each in scalings}
    absorbed = {
        following[0]: node
        for node in network.nodes
        if len(following := readers_of[node.output]) == 1
        and (node.operation, following[0].operation) in merged
    }
    gone = set(absorbed.values())
    nodes: list[Node] = []
    for node in network.nodes:
        if node in absorbed:
            before = absorbed[node]
            operation = merged[before.operation, node.operation]
            nodes.append(Node(operation, before.inputs, node.outputs))
        elif node not in gone:
            nodes.append(node)
    return Network(network.inputs, network.outputs, tuple(nodes))


def _keeps_signs(scaling: Any) -> bool:
    return bool((scaling.filter.values >= 0).all())


def _multiple(convolution: Convolution, scaling: Any) -> Operation:
    """A multiple of a convolution that tells of which."""
    # A channel that is scaled to nothing would lose the base's integers.
    factors = scaling.filter.values
    positive = Weight(scaling.filter.name, np.maximum(factors, SMALLEST_SHARE * factors.max()))
    merged: Any = _merge(convolution, replace(scaling, filter=positive))
    return replace(merged, filter=replace(merged.filter, base=convolution.filter))


def _is_scaling(node: Node) -> bool:
    scaling = node.operation
    return (
        isinstance(scaling, DepthwiseConvolution)
        and scaling.filter.values.shape[:2] == (1, 1)
        and scaling.filter.values.shape[3] == 1
        and scaling.strides == (1, 1)
        and scaling.padding == NO_PADDING
    )


def _merge(convolution: Convolution | DepthwiseConvolution, scaling: Any) -> Operation:
    scale = scaling.filter.values.reshape(-1)
    filter_values = convolution.filter.values
    if isinstance(convolution, DepthwiseConvolution):
        factors = scale.reshape(1, 1, *filter_values.shape[2:])
    else:
        factors = scale.reshape(1, 1, 1, -1)
    bias = np.zeros_like(scale) if convolution.bias is None else convolution.bias.values * scale
    if scaling.bias is not None:
        bias = bias + scaling.bias.values
    return type(convolution)(
        Weight(f"{convolution.filter.name}·{scaling.filter.name}", filter_values * factors),
        Weight(f"{convolution.filter.name}·{scaling.filter.name}/bias", bias),
        convolution.strides,
        convolution.padding,
        convolution.dilation,
    )
