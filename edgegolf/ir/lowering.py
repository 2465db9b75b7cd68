"""From scales and zero points to the integer arithmetic that every back end executes.

What TensorFlow Lite's kernels compute when they are prepared, operator by operator; that they
differ (FULLY_CONNECTED rounds a real product, MUL computes its factor in float32, …) is told here
and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from math import prod

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir import ops
from edgegolf.ir.fixed_point import (
    Requant,
    Rounding,
    inverse_root,
    round_half_away,
    rounding_shift,
    saturating_left_shift,
    scaled,
)
from edgegolf.ir.functions import FUNCTIONS
from edgegolf.ir.graph import Node
from edgegolf.ir.tensor import Array, QuantParams, Tensor

#: Bits by which Add and Sub shift their inputs to the left before they are brought to one scale.
ADDITION_BITS = 20
#: Those of SquaredDifference, and of comparisons.
DIFFERENCE_BITS = 7
COMPARISON_BITS = 8
#: Differences of logits in a softmax are fixed-point numbers with 5 integer and 26 other bits.
SOFTMAX_INTEGER_BITS = 5

#: What kernels insist on: an output's quantization.
FIXED: dict[type[ops.Op], QuantParams] = {
    ops.L2Normalize: QuantParams((1 / 128,), (0,)),
    ops.Logistic: QuantParams((1 / 256,), (-128,)),
    ops.LogSoftmax: QuantParams((1 / 16,), (127,)),
    ops.Softmax: QuantParams((1 / 256,), (-128,)),
    ops.Tanh: QuantParams((1 / 128,), (0,)),
}


@dataclass(frozen=True)
class IntegerArithmetic:
    """How a node computes on integers."""

    # What its kernel applies, in the order that the operator's rule tells.
    requants: tuple[Requant, ...] = ()
    low: int = -128  # the smallest integer of the result, a fused activation considered
    high: int = 127  # the largest one
    # The result for each input from the smallest on, for operators that are a table.
    table: tuple[int, ...] = ()


def lower(node: Node) -> IntegerArithmetic:
    """The arithmetic of a node whose tensors are quantized.

    Raises:
        EdgegolfError: The operator has none, or scales are missing or too many.
    """
    if node.output.dtype == "bool":
        return IntegerArithmetic(_requants(node.op, node))
    low, high = output_limits(node.output, getattr(node.op, "activation", None))
    if type(node.op) in FUNCTIONS:
        return IntegerArithmetic((), low, high, _table(node))
    if isinstance(node.op, ops.ReLU):
        low, high = output_limits(node.output, node.op)
    return IntegerArithmetic(_requants(node.op, node), low, high)


def output_limits(output: Tensor, activation: ops.ReLU | None) -> tuple[int, int]:
    """Between which integers an activation keeps a quantized tensor."""
    low, high = output.limits
    if activation is None:
        return low, high
    bounds = quantize(np.array([activation.low, activation.high], np.float32), output)
    return int(bounds[0]), int(bounds[1])


def quantize(reals: Array, to: Tensor) -> Array:
    """float32 numbers as integers of a tensor's quantization, saturated, in its type."""
    numbers = round_half_away(reals / to.scale) + to.zero_point
    return np.clip(numbers, *to.limits).astype(to.dtype)


@singledispatch
def _requants(op: ops.Op, node: Node) -> tuple[Requant, ...]:
    raise EdgegolfError(f"{type(op).__name__} has no integer arithmetic")


@_requants.register(ops.Conv2D)
@_requants.register(ops.DepthwiseConv2D)
@_requants.register(ops.TransposeConv2D)
def _(op: ops.Op, node: Node) -> tuple[Requant, ...]:
    """Of the sum."""
    if node.source.dtype == "uint8":
        return _product_in_float32(node)
    return (Requant.of(_sum_scale(node)),)


@_requants.register
def _(op: ops.BatchMatMul, node: Node) -> tuple[Requant, ...]:
    """Of the sum."""
    return _product_in_float32(node)


def _product_in_float32(node: Node) -> tuple[Requant, ...]:
    """Of a sum, by kernels that multiply the scales in float32."""
    data, weights = _inputs(node, 2)
    return (Requant.of(np.float64(data.scale * weights.scale) / np.float64(node.output.scale)),)


@_requants.register
def _(op: ops.FullyConnected, node: Node) -> tuple[Requant, ...]:
    """Of the sum: the one kernel that rounds the real product."""
    return (Requant.of(_sum_scale(node), Rounding.REAL),)


def _sum_scale(node: Node) -> Array:
    """What a sum's unit is in units of the output, one or one per channel, in float64."""
    data, weights = _inputs(node, 2)
    if weights.quant is None:
        raise EdgegolfError(f"the weights of {type(node.op).__name__} have no scale")
    scales = weights.quant.scales.astype(np.float64)
    product: Array = np.float64(data.scale) * scales / np.float64(node.output.scale)
    return product


@_requants.register(ops.Add)
@_requants.register(ops.Sub)
def _(op: ops.Add | ops.Sub, node: Node) -> tuple[Requant, ...]:
    """Of both inputs, to half of the larger scale with `ADDITION_BITS` more, and of the sum."""
    scales = [np.float64(tensor.scale) for tensor in _inputs(node, 2)]
    twice_larger = 2 * max(scales)
    back = twice_larger / ((1 << ADDITION_BITS) * np.float64(node.output.scale))
    return tuple(Requant.of(factor) for factor in (*(s / twice_larger for s in scales), back))


@_requants.register
def _(op: ops.Mul, node: Node) -> tuple[Requant, ...]:
    """Of the product; the factor is computed in float32."""
    first, second = _inputs(node, 2)
    return (Requant.of(first.scale * second.scale / node.output.scale),)


@_requants.register
def _(op: ops.Div, node: Node) -> tuple[Requant, ...]:
    """Of the quotient; the factor is computed in float32."""
    first, second = _inputs(node, 2)
    return (Requant.of(first.scale / (second.scale * node.output.scale)),)


@_requants.register
def _(op: ops.SquaredDifference, node: Node) -> tuple[Requant, ...]:
    """Of both inputs, to half of the larger scale with more bits, and of the square."""
    scales = [np.float64(tensor.scale) for tensor in _inputs(node, 2)]
    twice_larger = 2 * max(scales)
    back = twice_larger**2 / ((1 << 2 * DIFFERENCE_BITS) * np.float64(node.output.scale))
    return tuple(Requant.of(factor) for factor in (*(s / twice_larger for s in scales), back))


@_requants.register(ops.Less)
@_requants.register(ops.LessEqual)
@_requants.register(ops.Greater)
@_requants.register(ops.GreaterEqual)
@_requants.register(ops.Equal)
@_requants.register(ops.NotEqual)
def _(op: ops.Op, node: Node) -> tuple[Requant, ...]:
    """Of both inputs, to units of 2^-`COMPARISON_BITS`."""
    return tuple(Requant.of(np.float64(tensor.scale)) for tensor in _inputs(node, 2))


@_requants.register
def _(op: ops.PReLU, node: Node) -> tuple[Requant, ...]:
    """Of inputs from 0 on, and of products of those below; computed in float32."""
    data, slopes = _inputs(node, 2)
    return (
        Requant.of(data.scale / node.output.scale),
        Requant.of(data.scale * slopes.scale / node.output.scale),
    )


@_requants.register
def _(op: ops.ReLU, node: Node) -> tuple[Requant, ...]:
    """Of the input; the factor is computed in float32."""
    (data,) = _inputs(node, 1)
    return (Requant.of(data.scale / node.output.scale),)


@_requants.register
def _(op: ops.LeakyReLU, node: Node) -> tuple[Requant, ...]:
    """Of inputs from 0 on, and of those below by the slope's size; computed in float32."""
    (data,) = _inputs(node, 1)
    slope = np.float32(op.slope)
    return (
        Requant.of(data.scale / node.output.scale),
        Requant.of(np.abs(data.scale * slope / node.output.scale)),
    )


@_requants.register(ops.MaxPool2D)
@_requants.register(ops.AveragePool2D)
@_requants.register(ops.L2Normalize)
def _(op: ops.Op, node: Node) -> tuple[Requant, ...]:
    """None: pooling keeps scale and zero point, and the scale of what is normalized is 1/128."""
    return ()


@_requants.register
def _(op: ops.Mean, node: Node) -> tuple[Requant, ...]:
    """Of the sum, the division included."""
    (data,) = _inputs(node, 1)
    count = prod(data.shape[axis] for axis in op.axes)
    requant = Requant.of(np.float64(data.scale) / np.float64(node.output.scale))
    # The kernel moves as many bits of the quotient into the multiplier as the count has.
    bits = min(count.bit_length() - 1, 32, 31 + requant.shift[0])
    multiplier = (int(requant.multiplier[0]) << bits) // count
    return (Requant((multiplier,), (requant.shift[0] - bits,)),)


@_requants.register(ops.Quantize)
@_requants.register(ops.Sum)
def _(op: ops.Quantize | ops.Sum, node: Node) -> tuple[Requant, ...]:
    """From one quantization to another."""
    (data,) = _inputs(node, 1)
    return (Requant.of(np.float64(data.scale) / np.float64(node.output.scale)),)


@_requants.register
def _(op: ops.Softmax, node: Node) -> tuple[Requant, ...]:
    """Of differences of logits, to fixed point."""
    return (_of_logits(node, op.beta),)


@_requants.register
def _(op: ops.LogSoftmax, node: Node) -> tuple[Requant, ...]:
    """Of differences of logits to fixed point, and back."""
    requant = _of_logits(node, 1.0)
    return requant, Requant.of(2.0 ** (31 - requant.shift[0]) / requant.multiplier[0])


def _of_logits(node: Node, beta: float) -> Requant:
    (data,) = _inputs(node, 1)
    unit = 1 << (31 - SOFTMAX_INTEGER_BITS)
    return Requant.of(min(float(np.float32(beta)) * float(data.scale) * unit, 2.0**31 - 1))


def _table(node: Node) -> tuple[int, ...]:
    (data,) = _inputs(node, 1)
    output = node.output
    low, high = data.limits
    centred = np.arange(low, high + 1) - data.zero_point
    reals = data.scale * centred.astype(np.float32)
    match node.op:
        case ops.HardSwish():
            numbers = _hard_swish(centred, data.scale, output)
        case ops.Abs():
            requant = Requant.of(data.scale / output.scale)
            numbers = np.abs(centred)
            numbers = numbers if data.scale == output.scale else requant(numbers)
        case ops.Neg():  # scales and zero points are not heeded
            return tuple((-np.arange(low, high + 1)).astype(output.dtype).tolist())
        case ops.Rsqrt():
            numbers = _inverse_roots(centred, data.scale, output)
        case ops.Sqrt():  # cut off, not rounded
            numbers = (np.sqrt(np.maximum(reals, 0)) / output.scale).astype(np.int64)
        case _:
            results = FUNCTIONS[type(node.op)](node.op, reals)
            if isinstance(node.op, ops.Log):
                lowest = np.float32(output.limits[0] - output.zero_point) * output.scale
                results = np.where(reals <= 0, lowest, results)
            wide = round_half_away(results * (np.float32(1) / output.scale))
            numbers = np.clip(wide, -(2.0**31), 2.0**31).astype(np.int64)
    return tuple(np.clip(numbers + output.zero_point, *output.limits).tolist())


def _inverse_roots(centred: Array, scale: np.float32, output: Tensor) -> Array:
    """In fixed point with 20 bits more; 1/√0 is the largest number."""
    requant = Requant.of(1 / np.float64(np.sqrt(scale) * output.scale))
    multiplier, shift = inverse_root(np.maximum(centred, 0))
    roots = scaled(1, multiplier, shift + 20)
    numbers = scaled(
        roots, np.array(requant.multiplier, np.int64), np.array(requant.shift, np.int64) - 20
    )
    return np.where(centred == 0, output.limits[1] - output.zero_point, numbers)


def _hard_swish(centred: Array, scale: np.float32, output: Tensor) -> Array:
    """In 16-bit fixed point, as TensorFlow Lite's `hard_swish.h` defines it."""
    fine_scale = np.float32(1 / 128) * scale
    to_output = Requant.of(fine_scale / output.scale)
    to_share = Requant.of(fine_scale / (np.float32(3) / np.float32(32768)))
    if to_output.shift[0] > 0:
        raise EdgegolfError("HardSwish has an output scale that its kernels refuse")
    fine = centred << 7
    shifted_output = _high_multiply_16(fine, _multiplier_16(to_output))
    share, bits = fine, to_share.shift[0]
    if bits > 0:
        share = saturating_left_shift(share, bits - 1, 16)
    share = _high_multiply_16(share, _multiplier_16(to_share))
    if bits > 0:
        share = saturating_left_shift(share, 1, 16)
    share = rounding_shift(share, max(0, -bits))
    share = (share + (1 << 15)) >> 1  # from [-1, 1] to [0, 1]
    product = np.trunc(share * shifted_output / 2**15).astype(np.int64)
    return rounding_shift(product, -to_output.shift[0])


def _multiplier_16(requant: Requant) -> int:
    """The upper 16 bits of a multiplier, rounded."""
    return min((int(requant.multiplier[0]) + (1 << 15)) >> 16, 2**15 - 1)


def _high_multiply_16(numbers: Array, multiplier: int) -> Array:
    """The upper half of twice a 32-bit product, ties upwards, saturated."""
    return np.minimum((numbers * multiplier + (1 << 14)) >> 15, 2**15 - 1)


def _inputs(node: Node, count: int) -> list[Tensor]:
    """The first inputs, which must be there."""
    found = [tensor for tensor in node.inputs[:count] if tensor is not None]
    if len(found) != count:
        raise EdgegolfError(f"{type(node.op).__name__} lacks an input")
    return found
