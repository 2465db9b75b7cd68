"""Whether a net scales its pixels itself: then it is fed with 0…255."""

from __future__ import annotations

import numpy as np

from edgegolf.ir import Graph, Node, Tensor, ops
from edgegolf.ir.tensor import Array

# How wide 0…255 becomes: 1 for 0…1, 2 for −1…1, 4.4 in the standard deviations of ImageNet's
# pixels; sensors that are normalized one by one may be somewhat wider.
WIDTHS = (0.2, 16.0)
# What is taken away from numbers as large as pixels; nobody takes as much from 0…1.
MEANS = (16.0, 240.0)
QUANTIZED_WIDTH = 128.0  # of what an integer input holds, if it holds pixels


def scales_its_input(graph: Graph, input: Tensor) -> bool:
    """Whether the first operators on an input bring pixels of 0…255 to small numbers.

    These are sums, products and the like with constants, and depthwise convolutions of one pixel,
    as normalizations are read. Factors that a convolution has swallowed, as TFLite's converter
    makes it, are not seen. An integer input tells by its scale.
    """
    if input.is_quantized:
        low, high = input.limits
        return float(input.scale) * (high - low) > QUANTIZED_WIDTH
    factor, offset, tensor = 1.0, 0.0, input
    while len(found := graph.readers[tensor]) == 1 and tensor not in graph.outputs:
        (node,) = found
        step = _affine(node)
        if step is None:
            break
        factor, offset = factor * step[0], offset * step[0] + step[1]
        tensor = node.outputs[0]
    if not factor or not np.isfinite([factor, offset]).all():
        return False
    return WIDTHS[0] <= abs(factor) * 255 <= WIDTHS[1] or MEANS[0] <= -offset / factor <= MEANS[1]


def _affine(node: Node) -> tuple[float, float] | None:
    """An operator's typical factor and offset; None where it does something else."""
    if isinstance(node.op, ops.Cast | ops.Reshape | ops.Transpose):
        return 1.0, 0.0
    if isinstance(node.op, ops.DepthwiseConv2D):
        filters, bias = node.constant(1), node.bias
        if filters is None or filters.shape[:3] != (1, 1, 1):
            return None
        return _typical(filters), 0.0 if bias is None else _typical(bias)
    constants = [node.constant(position) for position in range(len(node.inputs))]
    match type(node.op).__name__, constants:
        case "Add", [None, Tensor() as other] | [Tensor() as other, None]:
            return 1.0, _typical(other)
        case "Mul", [None, Tensor() as other] | [Tensor() as other, None]:
            return _typical(other), 0.0
        case "Sub", [None, Tensor() as other]:
            return 1.0, -_typical(other)
        case "Sub", [Tensor() as other, None]:
            return -1.0, _typical(other)
        case "Div", [None, Tensor() as other]:
            return 1 / (_typical(other) or np.inf), 0.0
    return None


def _typical(constant: Tensor) -> float:
    values: Array = constant.values.astype(np.float64)
    if constant.quant is not None:
        values = (values - constant.zero_point) * float(constant.quant.scales.mean())
    return float(np.median(values)) if values.size else 0.0
