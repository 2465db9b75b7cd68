"""From a `Network` to ONNX nodes that compute on integers.

Activations are uint8, because onnxruntime's x86 kernels for int8 ones are slower; weights are
int8, biases int32. Several operators are onnxruntime's own:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod

import numpy as np

from edgegolf.export.sharing.network import (
    Add,
    AveragePooling,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
    MaxPooling,
    Network,
    Node,
    Operation,
    Pad,
    Rectifier,
    Softmax,
    Subtract,
    Value,
    readers,
)
from edgegolf.export.sharing.onnx_calls import AttributeValue, Call
from edgegolf.export.sharing.onnx_lowering import (
    INPUT,
    FloatLowering,
    all_pads,
    arrange_filter,
    convolution_attributes,
    crop_corners,
    pooling_attributes,
)
from edgegolf.export.sharing.quantization import (
    Grid,
    Quantization,
    quantized_weight,
    weight_scales_of,
)
from edgegolf.export.sharing.reader import UnsupportedLayerError

OPSET = 12  # the first with MaxPool for uint8
RUNTIME_DOMAIN, RUNTIME_VERSION = "com.microsoft", 1
_SATURATING = (Convolution, DepthwiseConvolution, Dense, Add, Subtract)
_OFFSET = 128  # of uint8 from the int8 that grids count in


@dataclass
class IntegerLowering(FloatLowering):
    """Collects nodes that compute on the grids of a quantization."""

    quantization: Quantization = field(default_factory=lambda: Quantization({}, {}))
    # Values that a ReLU is fused into, and its result, whose grid they have.
    rectified: dict[Value, Value] = field(default_factory=dict)
    real: set[Value] = field(default_factory=set)

    def enter(self, source: Value) -> None:
        """Quantize the network's input."""
        self.names[source] = self.call("QuantizeLinear", INPUT, *self.grid(source))

    def leave(self, result: Value) -> str:
        """The tensor with the network's output in float32."""
        return self.in_real(result)

    def in_real(self, value: Value) -> str:
        """The tensor with a value in float32."""
        name = self.names[value]
        if value in self.real:
            return name
        return self.call("DequantizeLinear", name, *self.grid(value))

    def grid_of(self, value: Value) -> Grid:
        """What the integers that stand for a value mean."""
        return self.quantization.activations[self.rectified.get(value, value)]

    def grid(self, value: Value) -> tuple[str, str]:
        """The names of a value's scale and zero point."""
        grid = self.grid_of(value)
        zero_point = np.uint8(grid.zero_point + _OFFSET)
        return self.constants.name(np.float32(grid.scale)), self.constants.name(zero_point)

    def runtime_call(self, operator: str, *inputs: str, **attributes: AttributeValue) -> str:
        """Add a node that only onnxruntime has."""
        output = self.fresh()
        pairs = tuple(attributes.items())
        self.calls.append(Call(operator, inputs, (output,), pairs, RUNTIME_DOMAIN))
        return output

    def add_nodes(self, network: Network) -> None:
        """Add the nodes of a network whose inputs have names."""
        readers_of = readers(network)
        for node in network.nodes:
            found = readers_of[node.outputs[0]]
            operations = [reader.operation for reader in found]
            if node.outputs[0] in network.outputs:
                continue
            if operations == [Rectifier()] and isinstance(node.operation, _SATURATING):
                # Saturation at 0 does what the ReLU does where its grid begins there.
                if self.quantization.activations[found[0].output].zero_point == -_OFFSET:
                    self.rectified[node.output] = found[0].output
            elif operations == [Softmax()] and isinstance(node.operation, Dense):
                self.real.add(node.output)
        super().add_nodes(network)

    @singledispatchmethod
    def lower(self, operation: Operation, node: Node) -> str:
        """Add the nodes of one operation; returns the name of its result."""
        if not self.real.isdisjoint(node.inputs):
            raise UnsupportedLayerError("something else than the output follows a softmax")
        return super().lower(operation, node)

    @lower.register
    def _(self, operation: Convolution | DepthwiseConvolution, node: Node) -> str:
        integers = quantized_weight(operation.filter, self.quantization)
        scales = weight_scales_of(operation.filter, self.quantization)
        return self.call(
            "QLinearConv",
            *self.factors(node, arrange_filter(operation, integers), scales),
            *self.grid(node.output),
            *self.integer_bias(operation, node, scales),
            **convolution_attributes(operation),
        )

    @lower.register
    def _(self, operation: Dense, node: Node) -> str:
        (value,) = node.inputs
        integers = quantized_weight(operation.matrix, self.quantization)
        scales = weight_scales_of(operation.matrix, self.quantization)
        factors = self.factors(node, self.arrange_matrix(value, integers), scales)
        bias = self.integer_bias(operation, node, scales)
        if len(value.shape) == 3:
            return self.call("QLinearConv", *factors, *self.grid(node.output), *bias)
        if len(value.shape) != 1:
            raise UnsupportedLayerError("a dense layer along the rows of a matrix")
        if node.output in self.real:
            return self.runtime_call("QGemm", *factors, *bias)
        return self.runtime_call("QGemm", *factors, *(bias or [""]), *self.grid(node.output))

    def factors(
        self, node: Node, integers: np.ndarray, scales: np.ndarray
    ) -> tuple[str, str, str, str, str, str]:
        """A layer's input and weight, each with its scale and zero point."""
        (value,) = node.inputs
        scale = scales if len(scales) > 1 else scales[0]
        return (
            self.names[value],
            *self.grid(value),
            self.constants.name(np.ascontiguousarray(integers)),
            self.constants.name(scale),
            self.constants.name(np.zeros(scale.shape, np.int8)),
        )

    def integer_bias(
        self,
        operation: Convolution | DepthwiseConvolution | Dense,
        node: Node,
        scales: np.ndarray,
    ) -> list[str]:
        """The name of its bias in units of input scale times weight scale, if it has one."""
        if operation.bias is None:
            return []
        unit = scales * np.float32(self.grid_of(node.inputs[0]).scale)
        return [self.constants.name(np.rint(operation.bias.values / unit).astype(np.int32))]

    @lower.register
    def _(self, operation: Rectifier, node: Node) -> str:
        (value,) = node.inputs
        if value in self.rectified:
            return self.names[value]
        return self.runtime_call(
            "QLinearLeakyRelu",
            self.names[value],
            *self.grid(value),
            *self.grid(node.output),
            alpha=float(operation.slope),
        )

    @lower.register
    def _(self, operation: Softmax, node: Node) -> str:
        self.real.add(node.output)
        if len(node.output.shape) != 1:
            raise UnsupportedLayerError("a softmax of something else than a vector")
        return self.call("Softmax", self.in_real(node.inputs[0]))

    @lower.register
    def _(self, operation: Add | Subtract, node: Node) -> str:
        first, second = node.inputs
        scale, zero_point = self.grid(second)
        if isinstance(operation, Subtract):  # on a grid of negative scale, integers mean −value
            scale = self.constants.name(-np.float32(self.grid_of(second).scale))
        terms = (self.names[first], *self.grid(first), self.names[second], scale, zero_point)
        return self.runtime_call("QLinearAdd", *terms, *self.grid(node.output))

    @lower.register
    def _(self, operation: MaxPooling, node: Node) -> str:
        return self.call("MaxPool", *self.tensors(node), **pooling_attributes(operation))

    @lower.register
    def _(self, operation: AveragePooling, node: Node) -> str:
        return self.runtime_call(
            "QLinearAveragePool",
            *self.tensors(node),
            *self.grid(node.inputs[0]),
            *self.grid(node.output),
            **pooling_attributes(operation),
        )

    @lower.register
    def _(self, operation: Crop, node: Node) -> str:
        corners = (self.constants.integers(*corner) for corner in crop_corners(operation, node))
        return self.call("Slice", *self.tensors(node), *corners)

    @lower.register
    def _(self, operation: Pad, node: Node) -> str:
        _, zero_point = self.grid(node.inputs[0])
        pads = self.constants.integers(*all_pads(operation))
        return self.call("Pad", *self.tensors(node), pads, zero_point)
