"""Writes a `Network` as a `.tflite` file in which every weight and every bias exists once.

Loops become `WHILE`, whose body is one subgraph; constants are shared by content; pixels that no
result depends on are not computed. Names, metadata and everything else that no runtime needs is
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.cropping import crop
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
    fused_rectifiers,
    same_padding,
)
from edgegolf.export.sharing.quantization import (
    Grid,
    Quantization,
    bias_scales,
    quantized_bias,
    quantized_weight,
    weight_scales_of,
)
from edgegolf.export.sharing.renumbering import renumber_tensors
from edgegolf.golf.flatbuffer import Table, table
from edgegolf.golf.tflite_model import write_tflite
from edgegolf.golf.tflite_schema import number

Compute = Literal["int8", "float32"]

# XNNPACK refuses int8 RELU. It accepts a leaky ReLU of this slope, the smallest it can express,
# whose negative results all round to zero where the zero point is 0 and the scales are equal.
SMALLEST_SLOPE = 1 / 256

# How far a bias's declared scale may be from the product of scales that it stands for, as a share
# of the output's scale: half of what `GetQuantizedConvolutionMultipler` of TensorFlow Lite allows.
BIAS_TOLERANCE = 0.01

LONGEST_DOUBLING = 30  # times that 1 can be doubled in an int32

_TYPES = {"float32": "FLOAT32", "int32": "INT32", "int8": "INT8", "bool": "BOOL"}


def write_int8(network: Network, quantization: Quantization) -> bytes:
    """Int8 weights, activations, input and output; int32 biases.

    Args:
        network: What to write.
        quantization: The grids of its values and weights.
    """
    return _File(network, quantization, "int8").write()


def write_int8_weights(network: Network, quantization: Quantization) -> bytes:
    """Int8 weights that are dequantized at load, float32 arithmetic, input and output.

    Args:
        network: What to write.
        quantization: Only its scales of weights are used.
    """
    return _File(network, quantization, "float32").write()


class _File:
    """The subgraphs, operator codes and buffers of a file in the making."""

    def __init__(self, network: Network, quantization: Quantization, compute: Compute) -> None:
        cropped = crop(network)
        self.network = cropped.network
        self.quantization = quantization.with_copies(cropped.origins)
        self.compute = compute
        self.operators: list[str] = []
        self.buffers: list[bytes] = [b""]  # the first one means "no data"
        self.bias_grids: list[Grid] = []
        self.subgraphs: list[_Subgraph] = []

    def write(self) -> bytes:
        main = _Subgraph(self)
        main.add_network(self.network, self.network.inputs)
        main.inputs = [main.tensors_of[value] for value in self.network.inputs]
        main.outputs = [main.tensors_of[value] for value in self.network.outputs]
        return write_tflite(
            renumber_tensors(
                table(
                    "Model",
                    version=3,
                    operator_codes=[
                        table(
                            "OperatorCode", deprecated_builtin_code=number("BuiltinOperator", name)
                        )
                        for name in self.operators
                    ],
                    subgraphs=[subgraph.table() for subgraph in self.subgraphs],
                    buffers=[table("Buffer", data=data or None) for data in self.buffers],
                )
            )
        )

    def operator(self, name: str) -> int:
        if name not in self.operators:
            self.operators.append(name)
        return self.operators.index(name)

    def bias_grid(self, node: Node) -> Grid:
        """The grid to declare for a bias: one for many, where that makes no difference.

        Runtimes scale the sums of a layer by the scales of its input and weight. The declared
        scale of the bias is only compared with their product.
        """
        grid = Grid(bias_scales(node, self.quantization))
        tolerance = BIAS_TOLERANCE * self.quantization.activations[node.output].scale
        for known in self.bias_grids:
            if len(known.scales) == len(grid.scales) and np.allclose(
                known.scales, grid.scales, rtol=0, atol=tolerance
            ):
                return known
        self.bias_grids.append(grid)
        return grid

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
    tensors_of: dict[Value, int] = field(default_factory=dict)
    constants: dict[tuple[Any, ...], int] = field(default_factory=dict)
    flattened: set[Value] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.index = len(self.file.subgraphs)
        self.file.subgraphs.append(self)

    @property
    def is_int8(self) -> bool:
        return self.file.compute == "int8"

    def table(self) -> Table:
        return table(
            "SubGraph",
            tensors=self.tensors,
            inputs=self.inputs,
            outputs=self.outputs,
            operators=self.operators,
        )

    # ------------------------------------------------------------------------------ tensors

    def tensor(self, shape: Shape, dtype: str, grid: Grid | None = None, buffer: int = 0) -> int:
        self.tensors.append(
            table(
                "Tensor",
                shape=shape or None,  # a scalar
                type=number("TensorType", _TYPES[dtype]),
                buffer=buffer,
                quantization=None if grid is None else _quantization_table(grid),
            )
        )
        return len(self.tensors) - 1

    def activation(self, shape: Shape, grid: Grid | None) -> int:
        """A tensor for values of the network, of batch 1."""
        return self.tensor((1, *shape), self.file.compute, grid if self.is_int8 else None)

    def add_value(self, value: Value) -> int:
        grid = self.file.quantization.activations[value] if self.is_int8 else None
        self.tensors_of[value] = self.activation(value.shape, grid)
        return self.tensors_of[value]

    def constant(self, array: NDArray[Any], grid: Grid | None = None) -> int:
        data = np.ascontiguousarray(array).tobytes()
        key = (data, array.shape, array.dtype.name, grid)
        if key not in self.constants:
            buffer = self.file.buffer(data)
            self.constants[key] = self.tensor(array.shape, array.dtype.name, grid, buffer)
        return self.constants[key]

    def filter(self, weight: Weight, channel_axis: int, layout: Callable[..., Any]) -> int:
        """The tensor with a weight in TFLite's layout; dequantized for float arithmetic."""
        quantization = self.file.quantization
        values = layout(quantized_weight(weight, quantization))
        scales = tuple(map(float, weight_scales_of(weight, quantization)))
        stored = self.constant(values, Grid(scales, 0, channel_axis if len(scales) > 1 else 0))
        return stored if self.is_int8 else self.dequantized(stored, values.shape)

    def dequantized(self, stored: int, shape: Shape) -> int:
        key = ("dequantized", stored)
        if key not in self.constants:
            self.constants[key] = self.tensor(shape, "float32")
            self.operator("DEQUANTIZE", [stored], [self.constants[key]])
        return self.constants[key]

    def bias(self, node: Node) -> int:
        """The tensor with a bias; both runtimes crash on depthwise convolutions without one."""
        quantization = self.file.quantization
        if self.is_int8:
            grid = self.file.bias_grid(node)
            return self.constant(quantized_bias(node, quantization), grid)
        operation: Any = node.operation
        if operation.bias is None:
            return self.constant(np.zeros(node.output.shape[-1], np.float32))
        return self.constant(operation.bias.values)

    # ---------------------------------------------------------------------------- operators

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

    def add_network(self, network: Network, inputs: Sequence[Value]) -> None:
        for value in inputs:
            self.add_value(value)
        self.flattened = _flattened(network)
        fused = fused_rectifiers(network)
        for node in network.nodes:
            if node in fused.values():
                continue
            output = fused[node].output if node in fused else node.outputs[0]
            _WRITERS[type(node.operation)](self, node, output, node in fused)

    def _window(
        self, source: Value, padding: Padding, window: Pair, strides: Pair, dilation: Pair = (1, 1)
    ) -> tuple[int, dict[str, int]]:
        """The tensor that a window slides over, and the fields that say how."""
        height, width = source.shape[:2]
        tensor = self.tensors_of[source]
        kind = "SAME"  # the default, which takes no bytes
        if padding != same_padding((height, width), window, strides, dilation):
            kind = "VALID"
            if padding != NO_PADDING:
                tensor = self._padded(source, padding)
        fields = {
            "padding": number("Padding", kind),
            "stride_h": strides[0],
            "stride_w": strides[1],
        }
        if dilation != (1, 1):
            fields |= {"dilation_h_factor": dilation[0], "dilation_w_factor": dilation[1]}
        return tensor, fields

    def _padded(self, source: Value, margins: Padding) -> int:
        height, width, channels = source.shape
        shape = (height + sum(margins[0]), width + sum(margins[1]), channels)
        grid = self.file.quantization.activations[source] if self.is_int8 else None
        padded = self.activation(shape, grid)
        self._write_pad(self.tensors_of[source], padded, margins)
        return padded

    def _write_pad(self, source: int, output: int, margins: Padding) -> None:
        amounts = self.constant(np.array([(0, 0), *margins, (0, 0)], "<i4"))
        self.operator("PAD", [source, amounts], [output])

    def write_convolution(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        (source,) = node.inputs
        height, width = operation.filter.values.shape[:2]
        tensor, fields = self._window(
            source, operation.padding, (height, width), operation.strides, operation.dilation
        )
        weight = self.filter(operation.filter, 0, lambda values: values.transpose(3, 0, 1, 2))
        bias = self.bias(node)
        self.operator(
            "CONV_2D",
            [tensor, weight, bias],
            [self.add_value(output)],
            "Conv2DOptions",
            fused_activation_function=int(rectified),
            **fields,
        )

    def write_depthwise(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        (source,) = node.inputs
        height, width, channels, multiplier = operation.filter.values.shape
        tensor, fields = self._window(
            source, operation.padding, (height, width), operation.strides, operation.dilation
        )
        shape = (1, height, width, channels * multiplier)
        weight = self.filter(operation.filter, 3, lambda values: values.reshape(shape))
        # A convolution with a group for each channel saves 44 bytes, but where XNNPACK does not
        # compute it (tflite-runtime in int8, or on 32-bit ARM) it takes several times as long.
        self.operator(
            "DEPTHWISE_CONV_2D",
            [tensor, weight, self.bias(node)],
            [self.add_value(output)],
            "DepthwiseConv2DOptions",
            fused_activation_function=int(rectified),
            depth_multiplier=multiplier,
            **fields,
        )

    def write_dense(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        (source,) = node.inputs
        weight = self.filter(operation.matrix, 0, lambda values: values.T)
        bias = self.bias(node)
        self.operator(
            "FULLY_CONNECTED",
            [self.tensors_of[source], weight, bias],
            [self.add_value(output)],
            "FullyConnectedOptions",
            fused_activation_function=int(rectified),
            keep_num_dims=len(output.shape) > 1,
        )

    def write_rectifier(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        (source,) = node.inputs
        tensor = self.tensors_of[source]
        slope = operation.slope
        if self.is_int8 and not slope:
            activations = self.file.quantization.activations
            if activations[output].zero_point == -128:
                # Zero is the smallest value of the output: storing the input there is a ReLU.
                self.operator("QUANTIZE", [tensor], [self.add_value(output)])
                return
            slope = SMALLEST_SLOPE
        if slope:
            self.operator(
                "LEAKY_RELU", [tensor], [self.add_value(output)], "LeakyReluOptions", alpha=slope
            )
        else:
            self.operator("RELU", [tensor], [self.add_value(output)])

    def write_softmax(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        source = self.tensors_of[node.inputs[0]]
        self.operator(
            "SOFTMAX", [source], [self.add_value(output)], "SoftmaxOptions", beta=operation.beta
        )

    def write_elementwise(self, node: Node, output: Value, rectified: bool) -> None:
        subtracts = isinstance(node.operation, Subtract)
        self.operator(
            "SUB" if subtracts else "ADD",
            [self.tensors_of[value] for value in node.inputs],
            [self.add_value(output)],
            "SubOptions" if subtracts else "AddOptions",
            fused_activation_function=int(rectified),
        )

    def write_pooling(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        tensor, fields = self._window(
            node.inputs[0], operation.padding, operation.window, operation.strides
        )
        name = "MAX_POOL_2D" if isinstance(operation, MaxPooling) else "AVERAGE_POOL_2D"
        self.operator(
            name,
            [tensor],
            [self.add_value(output)],
            "Pool2DOptions",
            filter_height=operation.window[0],
            filter_width=operation.window[1],
            **fields,
        )

    def write_crop(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        (top, _), (left, _) = operation.margins
        begin = self.constant(np.array([0, top, left, 0], "<i4"))
        size = self.constant(np.array([1, *output.shape], "<i4"))
        source = self.tensors_of[node.inputs[0]]
        self.operator("SLICE", [source, begin, size], [self.add_value(output)])

    def write_pad(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        source = self.tensors_of[node.inputs[0]]
        self._write_pad(source, self.add_value(output), operation.margins)

    def write_reshape(self, node: Node, output: Value, rectified: bool) -> None:
        source = self.tensors_of[node.inputs[0]]
        if output in self.flattened:
            self.tensors_of[output] = source
            return
        shape = self.constant(np.array([1, *output.shape], "<i4"))
        self.operator("RESHAPE", [source, shape], [self.add_value(output)])

    def write_concatenate(self, node: Node, output: Value, rectified: bool) -> None:
        operation: Any = node.operation
        sources = [self.tensors_of[value] for value in node.inputs]
        self.operator(
            "CONCATENATION",
            sources,
            [self.add_value(output)],
            "ConcatenationOptions",
            axis=operation.axis + 1,
        )

    def write_loop(self, node: Node, output: Value, rectified: bool) -> None:
        loop: Any = node.operation
        condition, body = _Subgraph(self.file), _Subgraph(self.file)

        # The counter starts at 1. Doubling it needs no constant in the body.
        doubles = loop.iterations <= LONGEST_DOUBLING
        counter = condition.tensor((), "int32")
        condition.inputs = [counter, *map(condition.add_value, node.inputs)]
        goes_on = condition.tensor((), "bool")
        last = 2**loop.iterations if doubles else 1 + loop.iterations
        end = condition.constant(np.array(last, "<i4"))
        condition.operator("LESS", [counter, end], [goes_on])
        condition.outputs = [goes_on]

        before = body.tensor((), "int32")
        body.add_network(loop.body, loop.body.inputs)
        after = body.tensor((), "int32")
        step = before if doubles else body.constant(np.array(1, "<i4"))
        body.operator("ADD", [before, step], [after])
        body.inputs = [before, *(body.tensors_of[value] for value in loop.body.inputs)]
        body.outputs = [after, *(body.tensors_of[value] for value in loop.body.outputs)]

        start = self.constant(np.array(1, "<i4"))
        self.operator(
            "WHILE",
            [start, *(self.tensors_of[value] for value in node.inputs)],
            [self.tensor((), "int32"), *map(self.add_value, node.outputs)],
            "WhileOptions",
            cond_subgraph_index=condition.index,
            body_subgraph_index=body.index,
        )


_WRITERS: dict[type, Callable[[_Subgraph, Node, Value, bool], None]] = {
    Convolution: _Subgraph.write_convolution,
    DepthwiseConvolution: _Subgraph.write_depthwise,
    Dense: _Subgraph.write_dense,
    Rectifier: _Subgraph.write_rectifier,
    Softmax: _Subgraph.write_softmax,
    Add: _Subgraph.write_elementwise,
    Subtract: _Subgraph.write_elementwise,
    MaxPooling: _Subgraph.write_pooling,
    AveragePooling: _Subgraph.write_pooling,
    Crop: _Subgraph.write_crop,
    Pad: _Subgraph.write_pad,
    Reshape: _Subgraph.write_reshape,
    Concatenate: _Subgraph.write_concatenate,
    Loop: _Subgraph.write_loop,
}


def _flattened(network: Network) -> set[Value]:
    """Vectors that only dense layers read: those take the values in any shape."""
    read_by_others = {
        value
        for node in network.nodes
        for value in node.inputs
        if not isinstance(node.operation, Dense)
    }
    return {
        node.output
        for node in network.nodes
        if isinstance(node.operation, Reshape) and len(node.output.shape) == 1
    } - read_by_others.union(network.outputs)


def _quantization_table(grid: Grid) -> Table:
    return table(
        "QuantizationParameters",
        scale=grid.scales,
        zero_point=[grid.zero_point] * len(grid.scales),
        quantized_dimension=grid.axis,
    )
