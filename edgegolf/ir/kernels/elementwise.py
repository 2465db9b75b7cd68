"""Kernels that treat every element by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.fixed_point import Requant
from edgegolf.ir.kernels.call import QUANTIZED, Call, compute
from edgegolf.ir.lowering import ADDITION_BITS, quantize
from edgegolf.ir.ops import (
    Add,
    Cast,
    Dequantize,
    Greater,
    HardSwish,
    LeakyReLU,
    Less,
    Logistic,
    Maximum,
    Minimum,
    Mul,
    Quantize,
    ReLU,
    Sub,
    Tanh,
)
from edgegolf.ir.tensor import Array

_NUMBERS = (*QUANTIZED, "float32", "int32", "int64")


@compute.register
def _(op: Add | Sub, call: Call) -> Array:
    sign = 1 if isinstance(op, Add) else -1
    if call.kind(*_NUMBERS, inputs=2) not in QUANTIZED:
        left, right = call.aligned(call.array(0), call.array(1))
        return _plain(call, left + right if sign > 0 else left - right)
    first, second, back = call.arithmetic.requants
    left, right = call.aligned(
        first(call.centred(0) << ADDITION_BITS), second(call.centred(1) << ADDITION_BITS)
    )
    return call.stored(back(left + sign * right))


@compute.register
def _(op: Mul, call: Call) -> Array:
    if call.kind(*_NUMBERS, inputs=2) not in QUANTIZED:
        left, right = call.aligned(call.array(0), call.array(1))
        return _plain(call, left * right)
    left, right = call.aligned(call.centred(0), call.centred(1))
    return call.stored(_only(call)(left * right))


def _plain(call: Call, result: Array) -> Array:
    return result if result.dtype.kind == "i" else call.activated(result)


@compute.register
def _(op: ReLU, call: Call) -> Array:
    if call.kind(*QUANTIZED, "float32") in QUANTIZED:
        return call.stored(_only(call)(call.centred()))
    return np.clip(call.array(), np.float32(op.low), np.float32(op.high))


@compute.register
def _(op: LeakyReLU, call: Call) -> Array:
    if call.kind(*QUANTIZED, "float32") not in QUANTIZED:
        return np.where(call.array() > 0, call.array(), call.array() * np.float32(op.slope))
    kept, leaked = call.arithmetic.requants
    numbers = call.centred()
    # Negative slopes are multiplied as positive ones; ties show the difference.
    below = int(np.sign(op.slope)) * leaked(numbers)
    return call.stored(np.where(numbers >= 0, kept(numbers), below))


@compute.register
def _(op: Logistic | Tanh | HardSwish, call: Call) -> Array:
    if call.kind(*QUANTIZED, "float32") in QUANTIZED:
        table = np.array(call.arithmetic.table, call.output.dtype)
        return table[call.array().astype(np.int64) - call.tensor(0).limits[0]]
    reals = call.array()
    if isinstance(op, Tanh):
        return np.tanh(reals)
    if isinstance(op, Logistic):
        return 1 / (1 + np.exp(-reals))
    return reals * np.clip(reals + np.float32(3), 0, 6) / np.float32(6)


@compute.register
def _(op: Maximum | Minimum, call: Call) -> Array:
    """Quantized operands must have one scale."""
    call.kind(*_NUMBERS, inputs=2)
    function = np.maximum if isinstance(op, Maximum) else np.minimum
    result: Array = function(*call.aligned(call.array(0), call.array(1)))
    return result


@compute.register
def _(op: Less | Greater, call: Call) -> Array:
    types = call.tensor(0).dtype, call.tensor(1).dtype
    if types[0] != types[1] or types[0] in QUANTIZED:
        raise EdgegolfError(f"the interpreter has no {call.name} of {types[0]} and {types[1]}")
    compare: Callable[..., Array] = np.less if isinstance(op, Less) else np.greater
    return compare(*call.aligned(call.array(0), call.array(1)))


@compute.register
def _(op: Quantize, call: Call) -> Array:
    if call.tensor(0).dtype == "float32":
        return quantize(call.array(), call.output)
    return call.stored(_only(call)(call.centred()))


@compute.register
def _(op: Dequantize, call: Call) -> Array:
    """From integers, per tensor or per channel, or from float16."""
    tensor, numbers = call.tensor(0), call.array()
    if tensor.dtype == "float16":
        return numbers.astype(np.float32)
    if tensor.quant is None:
        raise EdgegolfError("Dequantize of a tensor without a scale")
    shape = [1] * numbers.ndim
    if tensor.quant.is_per_channel:
        shape[1 + tensor.quant.axis] = len(tensor.quant.scale)
    zero_points = np.array(tensor.quant.zero_point, np.int64)
    centred = numbers.astype(np.int64) - zero_points.reshape(shape if len(zero_points) > 1 else -1)
    scales = tensor.quant.scales.reshape(shape).astype(np.float64)
    return (centred * scales).astype(np.float32)


@compute.register
def _(op: Cast, call: Call) -> Array:
    return call.array().astype(call.output.dtype)


def _only(call: Call) -> Requant:
    (requant,) = call.arithmetic.requants
    return requant
