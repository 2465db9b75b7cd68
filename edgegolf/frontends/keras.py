"""From a Keras model to a `Graph`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph, Node, Op, Tensor, ops
from edgegolf.ir.tensor import Array, Shape

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

_DEFAULT_SLOPE = 0.2  # of Keras's leaky_relu


class UnsupportedLayerError(EdgegolfError):
    """The model has a layer that no `Op` expresses; stock converters may."""


def read_model(model: keras.Model) -> Graph:
    """Read a functional or sequential model, with a batch of 1.

    A layer applied several times gives several nodes with the same constants. Batch normalization
    becomes a depthwise convolution with a window of 1×1.

    Raises:
        UnsupportedLayerError: A layer or one of its options is not supported.
    """
    reader = _Reader()
    tensors = {id(tensor): Tensor(_shape(tensor), name=tensor.name) for tensor in model.inputs}
    inputs = tuple(tensors[id(tensor)] for tensor in model.inputs)
    outputs = tuple(reader.read(model, tensors))
    return Graph(inputs, outputs, tuple(reader.nodes))


class _Reader:
    """Collects nodes in depth-first order, which keeps the nodes of a block together."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[tuple[int, str], Tensor] = {}
        self.sources: list[Any] = []  # alive, so that their ids stay theirs

    def read(self, model: keras.Model, tensors: dict[int, Tensor]) -> list[Tensor]:
        """The outputs of a model whose inputs are known."""
        pending = [(tensor, False) for tensor in reversed(model.outputs)]
        while pending:
            tensor, ready = pending.pop()
            if id(tensor) in tensors:
                continue
            layer, node_index, _ = tensor._keras_history
            node = layer._inbound_nodes[node_index]
            if not ready:
                pending.append((tensor, True))
                pending += [(source, False) for source in reversed(node.input_tensors)]
                continue
            inputs = [tensors[id(source)] for source in node.input_tensors]
            _check_call(layer, node.arguments)
            results = self.apply(layer, inputs)
            for output, found in zip(node.output_tensors, results, strict=True):
                tensors[id(output)] = found
        return [tensors[id(tensor)] for tensor in model.outputs]

    def apply(self, layer: Any, inputs: list[Tensor]) -> list[Tensor]:
        kind = type(layer).__name__
        if kind in ("Functional", "Sequential"):
            inner = {id(t): tensor for t, tensor in zip(layer.inputs, inputs, strict=True)}
            return self.read(layer, inner)
        if kind in _IDENTITIES:
            return inputs
        if kind not in _LAYERS:
            raise UnsupportedLayerError(f"layer {layer.name!r} is a {kind}, which is not supported")
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise UnsupportedLayerError(f"layer {layer.name!r} has its channels first")
        return [_LAYERS[kind](self, layer, inputs)]

    def add(self, op: Op, inputs: Sequence[Tensor | None], shape: Shape | None = None) -> Tensor:
        """Add a node; its result's shape is told by the operator, else given."""
        found = op.shape(inputs) if shape is None else shape
        assert found is not None
        output = Tensor(found)
        self.nodes.append(Node(op, tuple(inputs), (output,)))
        return output

    def constant(
        self, layer: Any, variable: Any, arrange: Callable[[Array], Array] = np.asarray
    ) -> Tensor:
        """The one tensor of a variable."""
        return self.once(variable, layer, variable.name, lambda: arrange(np.asarray(variable)))

    def once(self, source: Any, layer: Any, what: str, compute: Callable[[], Array]) -> Tensor:
        """The one tensor that is computed from a source."""
        self.sources.append(source)
        key = (id(source), what)
        if key not in self.constants:
            array = np.ascontiguousarray(compute(), np.float32)
            self.constants[key] = Tensor.constant(array, f"{layer.name}/{what}")
        return self.constants[key]

    def bias(self, layer: Any) -> list[Tensor]:
        return [] if layer.bias is None else [self.constant(layer, layer.bias)]

    def activate(self, layer: Any, activation: Any, tensor: Tensor) -> Tensor:
        name = getattr(activation, "__name__", type(activation).__name__)
        if name == "linear":
            return tensor
        if name not in _ACTIVATIONS:
            raise UnsupportedLayerError(f"layer {layer.name!r} has the activation {name}")
        return self.add(_ACTIVATIONS[name], [tensor])

    # ------------------------------------------------------------------------------- layers

    def convolution(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        filters = self.constant(layer, layer.kernel, _outputs_first)
        output = self._convolve(layer, inputs[0], ops.Conv2D, [filters, *self.bias(layer)])
        return self.activate(layer, layer.activation, output)

    def depthwise(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        filters = self.constant(layer, layer.kernel, _channels_last)
        output = self._convolve(layer, inputs[0], ops.DepthwiseConv2D, [filters, *self.bias(layer)])
        return self.activate(layer, layer.activation, output)

    def separable(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        depthwise = self.constant(layer, layer.depthwise_kernel, _channels_last)
        hidden = self._convolve(layer, inputs[0], ops.DepthwiseConv2D, [depthwise])
        pointwise = self.constant(layer, layer.pointwise_kernel, _outputs_first)
        output = self.add(ops.Conv2D(), [hidden, pointwise, *self.bias(layer)])
        return self.activate(layer, layer.activation, output)

    def _convolve(
        self,
        layer: Any,
        source: Tensor,
        kind: type[ops.Conv2D | ops.DepthwiseConv2D],
        constants: list[Tensor],
    ) -> Tensor:
        _, height, width, _ = constants[0].shape
        strides, dilation = _pair(layer.strides), _pair(layer.dilation_rate)
        padding = self._padding(layer, source, (height, width), strides, dilation)
        return self.add(kind(strides, padding, dilation), [source, *constants])

    def _padding(
        self,
        layer: Any,
        source: Tensor,
        window: ops.Pair,
        strides: ops.Pair,
        dilation: ops.Pair = (1, 1),
    ) -> ops.Padding:
        if layer.padding == "valid":
            return ops.NO_PADDING
        if layer.padding == "same":
            return ops.same_padding(_image(source), window, strides, dilation)
        raise UnsupportedLayerError(f"layer {layer.name!r} has the padding {layer.padding!r}")

    def dense(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        matrix = self.constant(layer, layer.kernel, np.transpose)
        op = ops.FullyConnected(keep_dims=len(inputs[0].shape) > 2)
        output = self.add(op, [inputs[0], matrix, *self.bias(layer)])
        return self.activate(layer, layer.activation, output)

    def normalization(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        if len(inputs[0].shape) != 4 or layer.axis not in (-1, 3):
            raise UnsupportedLayerError(f"layer {layer.name!r} does not normalize image channels")
        scale = 1 / np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
        if layer.scale:
            scale = scale * layer.gamma.numpy()
        shift = -layer.moving_mean.numpy() * scale
        if layer.center:
            shift = shift + layer.beta.numpy()
        constants = [
            self.once(layer, layer, "scale", lambda: scale.reshape(1, 1, 1, -1)),
            self.once(layer, layer, "shift", lambda: shift),
        ]
        return self.add(ops.DepthwiseConv2D(), [*inputs, *constants])

    def rectifier(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        if getattr(layer, "threshold", None):
            raise UnsupportedLayerError(f"layer {layer.name!r} has a threshold")
        slope, high = float(layer.negative_slope), getattr(layer, "max_value", None)
        if not slope:
            return self.add(ops.ReLU() if high is None else ops.ReLU(0.0, float(high)), inputs)
        if high is not None:
            raise UnsupportedLayerError(f"layer {layer.name!r} has a slope and a maximum")
        return self.add(ops.LeakyReLU(slope), inputs)

    def activation(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        return self.activate(layer, layer.activation, inputs[0])

    def softmax(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        if layer.axis not in (-1, len(inputs[0].shape) - 1):
            raise UnsupportedLayerError(f"layer {layer.name!r} is not along the last axis")
        return self.add(ops.Softmax(), inputs)

    def chain(self, op: Op, layer: Any, inputs: list[Tensor]) -> Tensor:
        if any(tensor.shape != inputs[0].shape for tensor in inputs):
            raise UnsupportedLayerError(f"layer {layer.name!r} takes unequal shapes")
        total = inputs[0]
        for tensor in inputs[1:]:
            total = self.add(op, [total, tensor])
        return total

    def pool(self, kind: Pooling, layer: Any, inputs: list[Tensor]) -> Tensor:
        size, strides = _pair(layer.pool_size), _pair(layer.strides)
        padding = self._padding(layer, inputs[0], size, strides)
        return self.add(kind(strides, padding, size), inputs)

    def pool_all(self, kind: Pooling, layer: Any, inputs: list[Tensor]) -> Tensor:
        pooled = self.add(kind(size=_image(inputs[0])), inputs)
        if layer.keepdims:
            return pooled
        return self.add(ops.Reshape(), [pooled], (pooled.shape[0], pooled.shape[3]))

    def crop(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        op = ops.Slice.crop(_margins(layer.cropping), inputs[0].shape)
        if op.sizes == inputs[0].shape:
            return inputs[0]
        return self.add(op, inputs, op.sizes)

    def pad(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        return self.add(ops.Pad(((0, 0), *_margins(layer.padding), (0, 0))), inputs)

    def reshape(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        shape = tuple(layer.compute_output_shape(inputs[0].shape))
        if shape == inputs[0].shape:
            return inputs[0]
        return self.add(ops.Reshape(), inputs, shape)

    def concatenate(self, layer: Any, inputs: list[Tensor]) -> Tensor:
        return self.add(ops.Concatenate(layer.axis % len(inputs[0].shape)), inputs)


Pooling: TypeAlias = "type[ops.MaxPool2D | ops.AveragePool2D]"

_ACTIVATIONS: dict[str, Op] = {
    "relu": ops.ReLU(),
    "relu6": ops.ReLU(0.0, 6.0),
    "leaky_relu": ops.LeakyReLU(_DEFAULT_SLOPE),
    "softmax": ops.Softmax(),
}

_LAYERS: dict[str, Callable[[_Reader, Any, list[Tensor]], Tensor]] = {
    "Conv2D": _Reader.convolution,
    "DepthwiseConv2D": _Reader.depthwise,
    "SeparableConv2D": _Reader.separable,
    "Dense": _Reader.dense,
    "BatchNormalization": _Reader.normalization,
    "ReLU": _Reader.rectifier,
    "LeakyReLU": _Reader.rectifier,
    "Activation": _Reader.activation,
    "Softmax": _Reader.softmax,
    "Add": lambda reader, *layer: reader.chain(ops.Add(), *layer),
    "Subtract": lambda reader, *layer: reader.chain(ops.Sub(), *layer),
    "MaxPooling2D": lambda reader, *layer: reader.pool(ops.MaxPool2D, *layer),
    "AveragePooling2D": lambda reader, *layer: reader.pool(ops.AveragePool2D, *layer),
    "GlobalMaxPooling2D": lambda reader, *layer: reader.pool_all(ops.MaxPool2D, *layer),
    "GlobalAveragePooling2D": lambda reader, *layer: reader.pool_all(ops.AveragePool2D, *layer),
    "Cropping2D": _Reader.crop,
    "ZeroPadding2D": _Reader.pad,
    "Flatten": _Reader.reshape,
    "Reshape": _Reader.reshape,
    "Concatenate": _Reader.concatenate,
}


def _check_call(layer: Any, arguments: Any) -> None:
    """Refuse what the tensors and the layer's settings do not tell.

    `x + 1` is an operation that is named as the layer `Add` is, with one tensor and a number.
    """
    import keras

    kind = type(layer).__name__
    if not isinstance(layer, keras.Layer) and kind not in ("Add", "Subtract"):
        raise UnsupportedLayerError(f"{layer.name!r} is the operation {kind} and no layer")
    for value in keras.tree.flatten((arguments.args, arguments.kwargs)):
        if value is not None and value is not False and not keras.utils.is_keras_tensor(value):
            raise UnsupportedLayerError(f"{layer.name!r} takes other values than tensors")


def _shape(tensor: Any) -> Shape:
    if None in tensor.shape[1:]:
        raise UnsupportedLayerError(f"input {tensor.name!r} has an open dimension")
    return (1, *(int(size) for size in tensor.shape[1:]))


def _image(tensor: Tensor) -> ops.Pair:
    return tensor.shape[1], tensor.shape[2]


def _outputs_first(kernel: Array) -> Array:
    """[height, width, inputs, outputs] as [outputs, height, width, inputs]."""
    return kernel.transpose(3, 0, 1, 2)


def _channels_last(kernel: Array) -> Array:
    """[height, width, channels, multiplier] as [1, height, width, channels · multiplier]."""
    return kernel.reshape(1, *kernel.shape[:2], -1)


def _pair(numbers: Any) -> ops.Pair:
    first, second = (numbers, numbers) if isinstance(numbers, int) else numbers
    return int(first), int(second)


def _margins(numbers: Any) -> ops.Padding:
    rows, columns = numbers
    return _pair(rows), _pair(columns)
