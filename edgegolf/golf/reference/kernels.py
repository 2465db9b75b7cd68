"""Which operators there are."""

from __future__ import annotations

from collections.abc import Callable

from edgegolf.golf.reference import elementwise, pooling, products, shapes, softmax
from edgegolf.golf.reference.call import Array, Call

Kernel = Callable[[Call], list[Array]]

#: The kernel of each operator, and the table of its options.
KERNELS: dict[str, tuple[Kernel, str]] = {
    "ADD": (elementwise.add, "AddOptions"),
    "AVERAGE_POOL_2D": (pooling.average_pool_2d, "Pool2DOptions"),
    "CONCATENATION": (shapes.concatenation, "ConcatenationOptions"),
    "CONV_2D": (products.conv_2d, "Conv2DOptions"),
    "DEPTHWISE_CONV_2D": (products.depthwise_conv_2d, "DepthwiseConv2DOptions"),
    "DEQUANTIZE": (elementwise.dequantize, "DequantizeOptions"),
    "EXPAND_DIMS": (shapes.expand_dims, "ExpandDimsOptions"),
    "FULLY_CONNECTED": (products.fully_connected, "FullyConnectedOptions"),
    "GREATER": (elementwise.greater, "GreaterOptions"),
    "LEAKY_RELU": (elementwise.leaky_relu, "LeakyReluOptions"),
    "LESS": (elementwise.less, "LessOptions"),
    "MAXIMUM": (elementwise.maximum, "MaximumMinimumOptions"),
    "MAX_POOL_2D": (pooling.max_pool_2d, "Pool2DOptions"),
    "MEAN": (pooling.mean, "ReducerOptions"),
    "MINIMUM": (elementwise.minimum, "MaximumMinimumOptions"),
    "MUL": (elementwise.multiply, "MulOptions"),
    "PACK": (shapes.pack, "PackOptions"),
    "PAD": (shapes.pad, "PadOptions"),
    "PADV2": (shapes.pad, "PadV2Options"),
    "QUANTIZE": (elementwise.quantize_operator, "QuantizeOptions"),
    "RELU": (elementwise.relu, ""),
    "RELU6": (elementwise.relu6, ""),
    "RESHAPE": (shapes.reshape, "ReshapeOptions"),
    "SHAPE": (shapes.shape_operator, "ShapeOptions"),
    "SLICE": (shapes.slice_operator, "SliceOptions"),
    "SOFTMAX": (softmax.softmax, "SoftmaxOptions"),
    "SQUEEZE": (shapes.squeeze, "SqueezeOptions"),
    "STRIDED_SLICE": (shapes.strided_slice, "StridedSliceOptions"),
    "SUB": (elementwise.subtract, "SubOptions"),
    "TRANSPOSE": (shapes.transpose, "TransposeOptions"),
}
