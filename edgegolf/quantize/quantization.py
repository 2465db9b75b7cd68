"""Which integers stand for which real numbers, and the graph that computes with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir import ops
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.interpreter import constant_results
from edgegolf.ir.lowering import FIXED, quantize
from edgegolf.ir.tensor import Array, QuantParams, Tensor

LAYERS = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected, ops.TransposeConv2D)

# Computed in float32: TFLite has no int8 kernel, or one that is wrong (SUM in its reference
# kernels, DIV by shifts of more than 31 bits), or 8 bits are too few for such curves.
_IN_FLOAT = (
    ops.Ceil, ops.Cos, ops.CumSum, ops.Div, ops.Exp, ops.Floor, ops.Log, ops.Neg, ops.Pow,
    ops.Round, ops.Rsqrt, ops.Sign, ops.Sin, ops.Sqrt, ops.Square, ops.SquaredDifference, ops.Sum,
)  # fmt: skip

# Constants from here on mean infinity, as masks of attention have them: no 8-bit scale holds them.
_INFINITE = 1e4

# XNNPACK refuses int8 RELU. It accepts a leaky ReLU of this slope, the smallest it can express,
# whose negative results all round to zero where the zero point is 0 and the scales are equal.
SMALLEST_SLOPE = 1 / 256

# How far a bias's declared scale may be from the product of scales that it stands for, as a share
# of the output's: three quarters of what `GetQuantizedConvolutionMultipler` of TensorFlow Lite
# allows.
BIAS_TOLERANCE = 0.015

# Octaves above a power of two within which a scale is rounded down to it: it clips 4 %.
NEARLY_EQUAL = 1 / 16


@dataclass(frozen=True)
class Quantization:
    """How the tensors of a float graph become integers."""

    # Of each computed tensor, and of constants that are no weights.
    activations: Mapping[Tensor, QuantParams]
    # Of filters and matrices: a scale for the tensor, or one for each output channel. Their
    # integers are −127…127.
    weights: Mapping[Tensor, QuantParams]
    # Of weights whose integers have fewer than 8.
    bits: Mapping[Tensor, int] = field(default_factory=dict)

    def with_copies(self, origins: Mapping[Tensor, Tensor]) -> Quantization:
        """With the same for copies of tensors, given as `{copy: original}`."""
        copied = {copy: self.activations[original] for copy, original in origins.items()}
        return replace(self, activations={**self.activations, **copied})

    def in_powers_of_two(self) -> Quantization:
        """With scales that are powers of two: the next larger ones, or nearly equal smaller ones.

        What is left of a requantization is a shift, as 1/255 of pixels becomes 1/256 as well.
        """
        activations, weights = (
            {tensor: replace(params, scale=tuple(map(_power_of_two, params.scale)))
             for tensor, params in each.items()}
            for each in (self.activations, self.weights)
        )  # fmt: skip
        return replace(self, activations=activations, weights=weights)


def _power_of_two(scale: float) -> float:
    return float(2.0 ** np.ceil(np.log2(scale) - NEARLY_EQUAL))


def channel_axis(op: ops.Op) -> int:
    """Which axis of a layer's filter its output channels are."""
    return 3 if isinstance(op, ops.DepthwiseConv2D) else 0


def channel_scales(values: Array, axis: int) -> Array:
    """The scales that just hold the output channels, float32."""
    largest = np.abs(values).max(axis=tuple(i for i in range(values.ndim) if i != axis))
    return np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(127)


def along(numbers: Array, rank: int, axis: int) -> Array:
    """A vector as an array that broadcasts along one axis; a single number as it is."""
    if len(numbers) == 1:
        return numbers
    return numbers.reshape([-1 if index == axis else 1 for index in range(rank)])


def weight_limits(bits: int) -> tuple[int, int]:
    """The integers of weights: of 8 bits as many below zero as above, of fewer bits all."""
    return (-127, 127) if bits == 8 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def weight_integers(weight: Tensor, params: QuantParams, bits: int = 8) -> Array:
    """The integers of a weight, int8 whatever their bits."""
    reals, scales = weight.values, params.scales
    if weight.base is not None and np.allclose(
        scales, channel_scales(reals, params.axis), rtol=1e-5, atol=0
    ):
        # The integers of the base: computed from the multiple, rounding may turn a tie.
        reals = weight.base.values
        scales = channel_scales(reals, params.axis)
    return rounded(reals, along(scales, reals.ndim, params.axis), bits)


def rounded(reals: Array, scales: Array | np.float32, bits: int = 8) -> Array:
    """Real numbers in units of a scale, int8 whatever their bits."""
    integers: Array = np.clip(np.rint(reals / scales), *weight_limits(bits)).astype(np.int8)
    return integers


def weight_reals(weight: Tensor, params: QuantParams, bits: int = 8) -> Array:
    """The real numbers that a quantized weight stands for, float32."""
    integers = weight_integers(weight, params, bits).astype(np.float32)
    result: Array = integers * along(params.scales, integers.ndim, params.axis)
    return result


def bias_scales(source: QuantParams, weights: QuantParams) -> Array:
    """The unit of a layer's sums, one or one for each channel, float32."""
    units: Array = np.float32(source.scale[0]) * weights.scales
    return units


def is_layer(node: Node) -> bool:
    """Whether it multiplies with constant weights, which have scales of their own."""
    return isinstance(node.op, LAYERS) and node.constant(1) is not None


def activations_of(node: Node) -> tuple[Tensor, ...]:
    """The real numbers that a node computes with, its weights left out, and its results."""
    inputs = node.inputs[:1] if isinstance(node.op, LAYERS) else node.inputs
    if isinstance(node.op, LAYERS) and not is_layer(node):
        inputs = node.inputs[:2]
    tensors = (*(tensor for tensor in inputs if tensor is not None), *node.outputs)
    return tuple(tensor for tensor in tensors if tensor.dtype == "float32")


# ----------------------------------------------------------------------------- quantized graphs


def quantized(graph: Graph, quantization: Quantization) -> Graph:
    """The graph on int8 tensors, with int32 biases.

    What 8 bits cannot compute stays in float32, with what follows until the next product of
    matrices, between nodes that convert. Integers that stand for no real numbers stay as they are.

    Args:
        graph: In float32, its activations fused.
        quantization: Of all of its tensors.

    Raises:
        EdgegolfError: It has an operator that is not covered, named in the message.
    """
    return _Writer(quantization).graph(graph)


class _Writer:
    def __init__(self, quantization: Quantization) -> None:
        self.quantization = quantization
        self.integers: dict[Tensor, Tensor] = {}
        self.reals: dict[Tensor, Tensor] = {}  # of those that are computed so, the tensor itself
        self.weights: dict[Tensor, Tensor] = {}
        self.biases: dict[tuple[bytes, QuantParams], Tensor] = {}
        self.units: list[QuantParams] = []
        self.nodes: list[Node] = []

    def graph(self, graph: Graph) -> Graph:
        outside, self.nodes = self.nodes, []
        inputs = tuple(map(self.activation, graph.inputs))
        for node in graph.nodes:
            self.add(node)
        outputs = tuple(map(self.integer, graph.outputs))
        nodes, self.nodes = tuple(self.nodes), outside
        return Graph(inputs, outputs, nodes)

    def activation(self, tensor: Tensor) -> Tensor:
        """The tensor in integers, which is computed elsewhere."""
        if tensor.dtype != "float32":
            return tensor
        if tensor not in self.integers:
            quant = self.quantization.activations[tensor]
            made = Tensor(tensor.shape, "int8", quant, name=tensor.name)
            if tensor.data is not None:
                made = replace(made, data=quantize(tensor.values, made))
            self.integers[tensor] = made
        return self.integers[tensor]

    def integer(self, tensor: Tensor) -> Tensor:
        """The tensor in integers, converted if it is in reals."""
        if tensor in self.reals and tensor not in self.integers:
            self.nodes.append(Node(ops.Quantize(), (tensor,), (self.activation(tensor),)))
        return self.activation(tensor)

    def real(self, tensor: Tensor) -> Tensor:
        """The tensor in reals, converted if it is in integers."""
        if tensor.dtype != "float32" or tensor.data is not None:
            return tensor
        if tensor not in self.reals:
            self.reals[tensor] = Tensor(tensor.shape, name=tensor.name)
            source = self.activation(tensor)
            self.nodes.append(Node(ops.Dequantize(), (source,), (self.reals[tensor],)))
        return self.reals[tensor]

    def add(self, node: Node) -> None:
        if self.is_in_float(node):
            inputs = tuple(None if t is None else self.real(t) for t in node.inputs)
            self.nodes.append(Node(node.op, inputs, node.outputs))
            self.reals |= {tensor: tensor for tensor in node.outputs}
            return
        op: Any = node.op
        if isinstance(op, LAYERS):
            self.add_layer(node)
            return
        inputs = tuple(None if t is None else self.integer(t) for t in node.inputs)
        outputs = tuple(map(self.activation, node.outputs))
        if isinstance(op, ops.Loop):
            op = ops.Loop(self.graph(op.body), op.iterations)
        elif op == ops.ReLU():
            # Where zero is the smallest integer, storing the input there is a ReLU.
            lowest = outputs[0].zero_point == outputs[0].limits[0]
            op = ops.Quantize() if lowest else ops.LeakyReLU(SMALLEST_SLOPE)
        elif isinstance(op, ops.Pad) and op.value is not None:
            op = replace(op, value=int(quantize(np.float32(op.value), outputs[0])))
        fixed = FIXED.get(type(op))
        if fixed is not None and fixed != outputs[0].quant:
            own = replace(outputs[0], quant=fixed)
            self.nodes.append(Node(op, inputs, (own,)))
            op, inputs = ops.Quantize(), (own,)
        self.nodes.append(Node(op, inputs, outputs))

    def is_in_float(self, node: Node) -> bool:
        """Whether it is computed in float32: what 8 bits cannot, and what it leads to."""
        if isinstance(node.op, ops.Unsupported | ops.While):
            name = node.op.name if isinstance(node.op, ops.Unsupported) else "WHILE"
            raise EdgegolfError(f"{name} cannot be quantized")
        tensors = activations_of(node)
        if isinstance(node.op, (*LAYERS, ops.BatchMatMul, ops.Loop)) or not tensors:
            return False
        return isinstance(node.op, _IN_FLOAT) or any(
            (tensor in self.reals and self.reals[tensor] is tensor)
            or (tensor.data is not None and bool((np.abs(tensor.data) > _INFINITE).any()))
            for tensor in tensors
        )

    def add_layer(self, node: Node) -> None:
        source, output = self.integer(node.source), self.activation(node.output)
        filters = self.weight(node.filter) if is_layer(node) else self.integer(node.filter)
        inputs: tuple[Tensor, ...] = (source, filters)
        # Runtimes crash on depthwise convolutions without a bias, and refuse others.
        if node.bias is not None or not isinstance(node.op, ops.FullyConnected):
            inputs = (source, filters, self.bias(node, filters))
        self.nodes.append(Node(node.op, inputs, (output,)))

    def weight(self, weight: Tensor) -> Tensor:
        if weight not in self.weights:
            params = self.quantization.weights[weight]
            data = weight_integers(weight, params)
            self.weights[weight] = Tensor(data.shape, "int8", params, data, weight.name)
        return self.weights[weight]

    def bias(self, node: Node, filters: Tensor) -> Tensor:
        """Its integers, zeros where it has none."""
        assert filters.quant is not None
        scales = bias_scales(self.quantization.activations[node.source], filters.quant)
        data = np.zeros(node.output.shape[-1], np.int32)
        if node.bias is not None:
            limits = np.iinfo(np.int32)
            wide = np.rint(node.bias.values.astype(np.float64) / scales)
            data = np.clip(wide, limits.min, limits.max).astype(np.int32)
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


def with_decoded_weights(graph: Graph, quantization: Quantization) -> Graph:
    """The graph in float32, with weights that are decoded from integers.

    Args:
        graph: In float32.
        quantization: Only that of its weights is used, which may be filters, matrices and biases.
            Other tables and factors of matrix products have a scale for each column.
    """
    stored = {}
    for weight, params in (_tables(graph) | {**quantization.weights}).items():
        bits = quantization.bits.get(weight, 8)
        data = weight_integers(weight, params, bits)
        stored[weight] = Tensor(weight.shape, f"int{bits}", params, data, weight.name)
    return _with_decoded(graph, stored)


def with_float16_weights(graph: Graph) -> Graph:
    """The graph in float32, with weights that are decoded from float16 where it can hold them."""
    with np.errstate(over="ignore"):
        halves = {
            weight: Tensor(weight.shape, "float16", None, weight.values.astype(np.float16))
            for weight in (*graph.weights, *_tables(graph))
        }
    return _with_decoded(
        graph, {w: half for w, half in halves.items() if np.isfinite(half.values).all()}
    )


def has_decoded_weights(graph: Graph) -> bool:
    """Whether a graph decodes constants."""
    return any(
        isinstance(node.op, ops.Dequantize) and node.constant(0) is not None
        for node in graph.walk()
    )


def with_real_weights(graph: Graph, known: Mapping[Tensor, Tensor] | None = None) -> Graph:
    """The graph with constants in the place of what it decodes from constants.

    Args:
        graph: In float32, with decoded weights or without.
        known: What was decoded outside of it.
    """
    reals: dict[Tensor | None, Tensor | None] = dict(known or {})  # type: ignore[arg-type]
    nodes = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, ops.Dequantize) and node.constant(0) is not None:
            (array,) = constant_results(node)
            reals[node.output] = Tensor(array.shape, "float32", None, array, node.output.name)
            continue
        if isinstance(op, ops.Loop):
            op = ops.Loop(with_real_weights(op.body, reals), op.iterations)  # type: ignore[arg-type]
        nodes.append(Node(op, tuple(reals.get(each, each) for each in node.inputs), node.outputs))
    return Graph(graph.inputs, graph.outputs, tuple(nodes))


def _tables(graph: Graph) -> dict[Tensor, QuantParams]:
    """Scales of constants that are looked up in, or multiplied by as a matrix."""
    found = {}
    for node in graph.walk():
        positions = {ops.Gather: (0,), ops.BatchMatMul: (0, 1)}.get(type(node.op), ())
        for tensor in filter(None, map(node.constant, positions)):
            columns = len(tensor.shape) - 1
            if (
                tensor.dtype == "float32"
                and columns > 0
                and np.abs(tensor.values).max() < _INFINITE
            ):
                scales = tuple(map(float, channel_scales(tensor.values, columns)))
                found[tensor] = QuantParams(scales, (0,) * len(scales), columns)
    return found


def _with_decoded(graph: Graph, stored: Mapping[Tensor, Tensor]) -> Graph:
    nodes: list[Node] = []
    decoded: dict[Tensor, Tensor] = {}

    def decode(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor not in stored:
            return tensor
        if tensor not in decoded:
            decoded[tensor] = Tensor(tensor.shape)
            nodes.append(Node(ops.Dequantize(), (stored[tensor],), (decoded[tensor],)))
        return decoded[tensor]

    for node in graph.nodes:
        op = node.op
        if isinstance(op, ops.Loop):
            op = ops.Loop(_with_decoded(op.body, stored), op.iterations)
        nodes.append(Node(op, tuple(map(decode, node.inputs)), node.outputs))
    return Graph(graph.inputs, graph.outputs, tuple(nodes))
