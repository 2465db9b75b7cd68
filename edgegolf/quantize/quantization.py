"""Which integers stand for which real numbers, and the graph that computes with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import (
    Conv2D,
    DepthwiseConv2D,
    Dequantize,
    FullyConnected,
    LeakyReLU,
    Loop,
    Op,
    Quantize,
    ReLU,
)
from edgegolf.ir.tensor import Array, QuantParams, Tensor

LAYERS = (Conv2D, DepthwiseConv2D, FullyConnected)

# XNNPACK refuses int8 RELU. It accepts a leaky ReLU of this slope, the smallest it can express,
# whose negative results all round to zero where the zero point is 0 and the scales are equal.
SMALLEST_SLOPE = 1 / 256

# How far a bias's declared scale may be from the product of scales that it stands for, as a share
# of the output's scale: half of what `GetQuantizedConvolutionMultipler` of TensorFlow Lite allows.
BIAS_TOLERANCE = 0.01


@dataclass(frozen=True)
class Quantization:
    """How the tensors of a float graph become integers.

    Attributes:
        activations: Of each computed tensor.
        weights: Of filters and matrices: a scale for the tensor, or one for each output channel.
            Their integers are −127…127.
    """

    activations: Mapping[Tensor, QuantParams]
    weights: Mapping[Tensor, QuantParams]

    def with_copies(self, origins: Mapping[Tensor, Tensor]) -> Quantization:
        """With the same for copies of tensors, given as `{copy: original}`."""
        copied = {copy: self.activations[original] for copy, original in origins.items()}
        return replace(self, activations={**self.activations, **copied})


def channel_axis(op: Op) -> int:
    """Which axis of a layer's filter its output channels are."""
    return 3 if isinstance(op, DepthwiseConv2D) else 0


def channel_scales(values: Array, axis: int) -> Array:
    """The scales that just hold the output channels, float32."""
    largest = np.abs(values).max(axis=tuple(i for i in range(values.ndim) if i != axis))
    return np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)


def along(numbers: Array, rank: int, axis: int) -> Array:
    """A vector as an array that broadcasts along one axis; a single number as it is."""
    if len(numbers) == 1:
        return numbers
    return numbers.reshape([-1 if index == axis else 1 for index in range(rank)])


def weight_integers(weight: Tensor, params: QuantParams) -> Array:
    """The integers of a weight, int8."""
    reals, scales = weight.values, params.scales
    if weight.base is not None and np.allclose(
        scales, channel_scales(reals, params.axis), rtol=1e-5, atol=0
    ):
        # The integers of the base: computed from the multiple, rounding may turn a tie.
        reals = weight.base.values
        scales = channel_scales(reals, params.axis)
    return rounded(reals, along(scales, reals.ndim, params.axis))


def rounded(reals: Array, scales: Array | np.float32, largest: int = 127) -> Array:
    """Real numbers in units of a scale, int8."""
    integers: Array = np.clip(np.rint(reals / scales), -largest, largest).astype(np.int8)
    return integers


def weight_reals(weight: Tensor, params: QuantParams) -> Array:
    """The real numbers that a quantized weight stands for, float32."""
    integers = weight_integers(weight, params).astype(np.float32)
    result: Array = integers * along(params.scales, integers.ndim, params.axis)
    return result


def bias_scales(source: QuantParams, weights: QuantParams) -> Array:
    """The unit of a layer's sums, one or one for each channel, float32."""
    units: Array = np.float32(source.scale[0]) * weights.scales
    return units


# ----------------------------------------------------------------------------- quantized graphs


def quantized(graph: Graph, quantization: Quantization) -> Graph:
    """The graph on int8 tensors, with int32 biases.

    Args:
        graph: In float32, its activations fused.
        quantization: Of all of its tensors.
    """
    return _Writer(quantization).graph(graph)


class _Writer:
    def __init__(self, quantization: Quantization) -> None:
        self.quantization = quantization
        self.tensors: dict[Tensor, Tensor] = {}
        self.weights: dict[Tensor, Tensor] = {}
        self.biases: dict[tuple[bytes, QuantParams], Tensor] = {}
        self.units: list[QuantParams] = []

    def graph(self, graph: Graph) -> Graph:
        return Graph(
            tuple(map(self.activation, graph.inputs)),
            tuple(map(self.activation, graph.outputs)),
            tuple(map(self.node, graph.nodes)),
        )

    def activation(self, tensor: Tensor) -> Tensor:
        if tensor not in self.tensors:
            quant = self.quantization.activations[tensor]
            self.tensors[tensor] = Tensor(tensor.shape, "int8", quant, name=tensor.name)
        return self.tensors[tensor]

    def node(self, node: Node) -> Node:
        op = node.op
        outputs = tuple(map(self.activation, node.outputs))
        inputs = tuple(map(self.activation, node.computed))
        if isinstance(op, Loop):
            op = Loop(self.graph(op.body), op.iterations)
        elif isinstance(op, LAYERS):
            return Node(op, (*inputs, self.weight(node.filter), self.bias(node)), outputs)
        elif op == ReLU():
            # Where zero is the smallest integer, storing the input there is a ReLU.
            lowest = outputs[0].zero_point == outputs[0].limits[0]
            op = Quantize() if lowest else LeakyReLU(SMALLEST_SLOPE)
        return Node(op, inputs, outputs)

    def weight(self, weight: Tensor) -> Tensor:
        if weight not in self.weights:
            params = self.quantization.weights[weight]
            data = weight_integers(weight, params)
            self.weights[weight] = Tensor(data.shape, "int8", params, data, weight.name)
        return self.weights[weight]

    def bias(self, node: Node) -> Tensor:
        """Its integers, zeros where it has none: runtimes crash on depthwise layers without one."""
        source = self.quantization.activations[node.source]
        scales = bias_scales(source, self.quantization.weights[node.filter])
        data = np.zeros(node.output.shape[-1], np.int32)
        if node.bias is not None:
            data = np.rint(node.bias.values / scales).astype(np.int32)
        unit = self.unit(scales, self.quantization.activations[node.output].scale[0])
        key = (data.tobytes(), unit)
        if key not in self.biases:
            self.biases[key] = Tensor(data.shape, "int32", unit, data)
        return self.biases[key]

    def unit(self, scales: Array, output_scale: float) -> QuantParams:
        """The scales to declare for a bias: the same for many, where that makes no difference.

        Kernels scale the sums of a layer by the scales of its input and weight. The declared scale
        of the bias is only compared with their product.
        """
        for known in self.units:
            if len(known.scale) == len(scales) and np.allclose(
                known.scales, scales, rtol=0, atol=BIAS_TOLERANCE * output_scale
            ):
                return known
        numbers = tuple(map(float, scales))
        self.units.append(QuantParams(numbers, (0,) * len(numbers)))
        return self.units[-1]


def with_int8_weights(graph: Graph, quantization: Quantization) -> Graph:
    """The graph in float32, with weights that are decoded from int8.

    Args:
        graph: In float32.
        quantization: Only that of its weights is used, which may be filters, matrices and biases.
    """
    stored = {
        weight: Tensor(weight.shape, "int8", params, weight_integers(weight, params), weight.name)
        for weight, params in quantization.weights.items()
    }
    return _with_decoded(graph, stored)


def _with_decoded(graph: Graph, stored: Mapping[Tensor, Tensor]) -> Graph:
    nodes: list[Node] = []
    decoded: dict[Tensor, Tensor] = {}

    def decode(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor not in stored:
            return tensor
        if tensor not in decoded:
            decoded[tensor] = Tensor(tensor.shape)
            nodes.append(Node(Dequantize(), (stored[tensor],), (decoded[tensor],)))
        return decoded[tensor]

    for node in graph.nodes:
        op = node.op
        if isinstance(op, Loop):
            op = Loop(_with_decoded(op.body, stored), op.iterations)
        nodes.append(Node(op, tuple(map(decode, node.inputs)), node.outputs))
    return Graph(graph.inputs, graph.outputs, tuple(nodes))
