"""Kernels that treat every element by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir import ops
from edgegolf.ir.fixed_point import Requant, bit_lengths, reciprocal, rounding_shift
from edgegolf.ir.functions import FUNCTIONS
from edgegolf.ir.kernels.call import QUANTIZED, Call, compute
from edgegolf.ir.lowering import ADDITION_BITS, COMPARISON_BITS, DIFFERENCE_BITS, quantize
from edgegolf.ir.tensor import Array

_NUMBERS = (*QUANTIZED, "float32", "int32", "int64")


@compute.register(ops.Add)
@compute.register(ops.Sub)
def _(op: ops.Add | ops.Sub, call: Call) -> Array:
    combined = np.add if isinstance(op, ops.Add) else np.subtract
    if call.kind(*_NUMBERS, inputs=2) not in QUANTIZED:
        return _plain(call, combined(*call.pair()))
    first, second, back = call.arithmetic.requants
    left, right = call.aligned(
        first(call.centred(0) << ADDITION_BITS), second(call.centred(1) << ADDITION_BITS)
    )
    return call.stored(back(combined(left, right)))


@compute.register
def _(op: ops.Mul, call: Call) -> Array:
    if call.kind(*_NUMBERS, inputs=2) not in QUANTIZED:
        return _plain(call, np.multiply(*call.pair()))
    left, right = call.aligned(call.centred(0), call.centred(1))
    return call.stored(_only(call)(left * right))


@compute.register
def _(op: ops.Div, call: Call) -> Array:
    if call.kind(*_NUMBERS, inputs=2) not in QUANTIZED:
        left, right = call.pair()
        if left.dtype.kind == "f":
            return _plain(call, left / right)
        return np.trunc(left / right).astype(left.dtype)  # exact for int32
    left, right = call.aligned(call.centred(0), call.centred(1))
    if not right.all():
        raise EdgegolfError("a division by zero")
    inverse, bits = reciprocal(np.abs(right), 31)
    left = left * np.sign(right)
    headroom = np.where(left < 0, 32 - bit_lengths(2 * np.abs(left) - 1), 31 - bit_lengths(left))
    quotient = ((left << headroom) * inverse + (1 << 30)) >> 31
    requant = _only(call)
    product = (quotient * int(requant.multiplier[0]) + (1 << 30)) >> 31
    shift = np.clip(bits + headroom - requant.shift[0], 0, 62)
    return call.stored(rounding_shift(product, shift))


@compute.register
def _(op: ops.SquaredDifference, call: Call) -> Array:
    if call.kind(*_NUMBERS, inputs=2) not in QUANTIZED:
        return np.square(np.subtract(*call.pair()))
    first, second, back = call.arithmetic.requants
    left, right = call.aligned(
        first(call.centred(0) << DIFFERENCE_BITS), second(call.centred(1) << DIFFERENCE_BITS)
    )
    return call.stored(back(np.square(left - right)))


def _plain(call: Call, result: Array) -> Array:
    return result if result.dtype.kind == "i" else call.activated(result)


@compute.register
def _(op: ops.ReLU, call: Call) -> Array:
    if call.kind(*QUANTIZED, "float32") in QUANTIZED:
        return call.stored(_only(call)(call.centred()))
    return np.clip(call.array(), np.float32(op.low), np.float32(op.high))


@compute.register
def _(op: ops.LeakyReLU, call: Call) -> Array:
    if call.kind(*QUANTIZED, "float32") not in QUANTIZED:
        return np.where(call.array() > 0, call.array(), call.array() * np.float32(op.slope))
    kept, leaked = call.arithmetic.requants
    numbers = call.centred()
    # Negative slopes are multiplied as positive ones; ties show the difference.
    below = int(np.sign(op.slope)) * leaked(numbers)
    return call.stored(np.where(numbers >= 0, kept(numbers), below))


@compute.register
def _(op: ops.PReLU, call: Call) -> Array:
    if call.kind(*QUANTIZED, "float32", inputs=2) not in QUANTIZED:
        data, slopes = call.pair()
        return np.where(data >= 0, data, data * slopes)
    kept, leaked = call.arithmetic.requants
    data, slopes = call.aligned(call.centred(0), call.centred(1))
    return call.stored(np.where(data >= 0, kept(data), leaked(data * slopes)))


def _function(op: ops.Op, call: Call) -> Array:
    if call.kind(*_NUMBERS) in QUANTIZED:
        table = np.array(call.arithmetic.table, call.output.dtype)
        return table[call.array().astype(np.int64) - call.tensor(0).limits[0]]
    return FUNCTIONS[type(op)](op, call.array()).astype(call.output.dtype)


for kind in FUNCTIONS:
    compute.register(kind)(_function)


# With the types that they take.
_OF_TWO: dict[type[ops.Op], tuple[Callable[..., Array], tuple[str, ...]]] = {
    ops.LogicalAnd: (np.logical_and, ("bool",)),
    ops.LogicalOr: (np.logical_or, ("bool",)),
    ops.Maximum: (np.maximum, _NUMBERS),
    ops.Minimum: (np.minimum, _NUMBERS),
    ops.Pow: (np.power, ("float32", "int32")),
}


def _of_two(op: ops.Op, call: Call) -> Array:
    """Quantized operands must have one scale."""
    function, types = _OF_TWO[type(op)]
    call.kind(*types, inputs=2)
    return function(*call.pair())


for kind in _OF_TWO:
    compute.register(kind)(_of_two)


_COMPARISONS: dict[type[ops.Op], Callable[..., Array]] = {
    ops.Less: np.less,
    ops.LessEqual: np.less_equal,
    ops.Greater: np.greater,
    ops.GreaterEqual: np.greater_equal,
    ops.Equal: np.equal,
    ops.NotEqual: np.not_equal,
}


def _comparison(op: ops.Op, call: Call) -> Array:
    left, right = call.array(0), call.array(1)
    if left.dtype != right.dtype:
        raise EdgegolfError(f"the interpreter has no {call.name} of {left.dtype} and {right.dtype}")
    if call.tensor(0).is_quantized:
        first, second = call.arithmetic.requants
        left = first(call.centred(0) << COMPARISON_BITS)
        right = second(call.centred(1) << COMPARISON_BITS)
    return _COMPARISONS[type(op)](*call.aligned(left, right))


for kind in _COMPARISONS:
    compute.register(kind)(_comparison)


@compute.register
def _(op: ops.LogicalNot, call: Call) -> Array:
    return ~call.array()


@compute.register
def _(op: ops.Select, call: Call) -> Array:
    """Quantized operands must have one scale."""
    condition = call.array(0)
    missing = call.array(1).ndim - condition.ndim
    if condition.ndim == 2 and missing > 0 and condition.shape[1] == call.array(1).shape[1] != 1:
        condition = condition.reshape(*condition.shape, *(1,) * missing)  # along the first axis
    return np.where(*call.aligned(condition, call.array(1), call.array(2)))


@compute.register
def _(op: ops.Quantize, call: Call) -> Array:
    if call.tensor(0).dtype == "float32":
        return quantize(call.array(), call.output)
    return call.stored(_only(call)(call.centred()))


@compute.register
def _(op: ops.Dequantize, call: Call) -> Array:
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
def _(op: ops.Cast, call: Call) -> Array:
    return call.array().astype(call.output.dtype)


def _only(call: Call) -> Requant:
    (requant,) = call.arithmetic.requants
    return requant
