"""Softmax and its logarithm, for int8 in the fixed-point arithmetic of gemmlowp's `fixedpoint.h`.

In the comments Qi.f is a fixed-point format of i integer and f fractional bits besides the sign.
"""

from __future__ import annotations

import numpy as np

from edgegolf.ir.fixed_point import (
    Requant,
    bit_lengths,
    doubling_high_multiply,
    inverse_of_one_plus,
    reciprocal,
    rounding_shift,
    saturating_left_shift,
)
from edgegolf.ir.kernels.call import QUANTIZED, Call, compute
from edgegolf.ir.lowering import SOFTMAX_INTEGER_BITS
from edgegolf.ir.ops import LogSoftmax, Softmax
from edgegolf.ir.tensor import Array

_DIFFERENCE_BITS = SOFTMAX_INTEGER_BITS  # differences of logits are Q5.26
_SUM_BITS = 12  # sums of exponentials are Q12.19
_ONE = 2**31 - 1  # in Q0.31

#: e^(-2^k) in Q0.31, for the bits of the exponent from a quarter to sixteen.
_EXPONENTIALS = {
    k: int(np.floor(np.exp(-(2.0**k)) * 2**31 + 0.5)) for k in range(-2, _DIFFERENCE_BITS)
}


@compute.register
def _(op: Softmax, call: Call) -> Array:
    kind = call.kind(*QUANTIZED, "float32")
    logits = call.array() if kind == "float32" else call.array().astype(np.int64)
    differences = logits - logits.max(axis=-1, keepdims=True)
    if kind == "float32":
        powers = np.exp(differences * np.float32(op.beta))
        return powers / powers.sum(axis=-1, keepdims=True)
    (requant,) = call.arithmetic.requants
    low, high = call.output.limits
    return np.clip(_shares(differences, requant) + low, low, high).astype(kind)


@compute.register
def _(op: LogSoftmax, call: Call) -> Array:
    kind = call.kind("int8", "float32")
    logits = call.array() if kind == "float32" else call.array().astype(np.int64)
    differences = logits - logits.max(axis=-1, keepdims=True)
    if kind == "float32":
        result: Array = differences - np.log(np.exp(differences).sum(axis=-1, keepdims=True))
        return result
    requant, back = call.arithmetic.requants
    powers = exponentials(differences, requant)
    logarithm = _logarithm(rounding_shift(powers, _SUM_BITS).sum(axis=-1, keepdims=True))
    lowest = np.maximum(_lowest(requant) - 1, back(logarithm - 2**31))
    low, high = call.output.limits
    # To four integer bits: the output's scale is 1/16.
    results = np.clip(rounding_shift(requant(differences) - logarithm, 22) + high, low, high)
    return np.where(differences > lowest, results, low).astype(kind)


def _shares(differences: Array, requant: Requant) -> Array:
    """The shares of one as multiples of 1/256."""
    counts, powers = _exponentials(differences, requant)
    sums = rounding_shift(powers, _SUM_BITS).sum(axis=-1, keepdims=True)
    inverse, bits_over_unit = reciprocal(sums, _SUM_BITS)
    shares = doubling_high_multiply(inverse, powers)
    return np.where(counts, rounding_shift(shares, bits_over_unit + 31 - 8), 0)


def exponentials(differences: Array, requant: Requant) -> Array:
    """e^x in Q0.31 for differences of logits, 0 for those that do not count."""
    return _exponentials(differences, requant)[1]


def _exponentials(differences: Array, requant: Requant) -> tuple[Array, Array]:
    """Which differences are large enough to count, and their exponentials in Q0.31, else 0."""
    counts = differences >= _lowest(requant)
    return counts, np.where(counts, _exponential(requant(np.where(counts, differences, 0))), 0)


def _lowest(requant: Requant) -> int:
    """The smallest difference that is not out of range in fixed point."""
    return -(((1 << _DIFFERENCE_BITS) - 1 << (31 - _DIFFERENCE_BITS)) >> requant.shift[0])


def _logarithm(sums: Array) -> Array:
    """The logarithm of Q12.19 from 1 on, Q5.26, as TFLite's `common.h` computes it."""
    half_root, quarter_root = 1518500250, 1805811301  # of 1/2, Q0.31
    bits = 31 - bit_lengths(sums)
    first = saturating_left_shift(sums, bits)
    first = saturating_left_shift(doubling_high_multiply(first, half_root), 1)
    exponent = ((_SUM_BITS - bits - 1) << 25) + (1 << 23)  # Q6.25
    bits = 31 - bit_lengths(doubling_high_multiply(sums, half_root))
    second = saturating_left_shift(sums, bits)
    exponent = np.maximum(exponent, ((_SUM_BITS - bits) << 25) - (1 << 23))
    x = np.minimum(first, second)
    mean = (x + quarter_root + 1) >> 1
    q = 2 * (x - quarter_root)
    square = doubling_high_multiply(q, q)
    cubic = doubling_high_multiply(doubling_high_multiply(q, square), 117049297)
    numerator = doubling_high_multiply(q, x) + cubic
    denominator = 1057819769 + q + doubling_high_multiply(square, 127690142)
    denominator = doubling_high_multiply(mean, denominator) + doubling_high_multiply(q, 638450708)
    quotient = doubling_high_multiply(
        rounding_shift(numerator, 6), inverse_of_one_plus(denominator)
    )
    return saturating_left_shift(doubling_high_multiply(exponent, 1488522236) + quotient, 1)


def _exponential(numbers: Array) -> Array:
    """e^x in Q0.31 for x <= 0 in Q5.26."""
    quarter = 1 << (31 - _DIFFERENCE_BITS - 2)
    fraction = (numbers & (quarter - 1)) - quarter  # in [-1/4, 0)
    result = _exponential_of_fraction(saturating_left_shift(fraction, _DIFFERENCE_BITS))
    rest = fraction - numbers
    for exponent, factor in _EXPONENTIALS.items():
        has_bit = rest & (1 << (31 - _DIFFERENCE_BITS + exponent)) != 0
        result = np.where(has_bit, doubling_high_multiply(result, factor), result)
    return np.where(numbers == 0, _ONE, result)


def _exponential_of_fraction(numbers: Array) -> Array:
    """e^x for x in [-1/4, 0), Q0.31: the Taylor series about -1/8 to the fourth power."""
    centre, third = int(np.floor(np.exp(-0.125) * 2**31 + 0.5)), int(np.floor(2**31 / 3 + 0.5))
    x = numbers + (1 << 28)
    square = doubling_high_multiply(x, x)
    cube = doubling_high_multiply(square, x)
    fourth = doubling_high_multiply(square, square)
    higher = doubling_high_multiply(rounding_shift(fourth, 2) + cube, third)
    tail = rounding_shift(higher + square, 1)
    return centre + doubling_high_multiply(x + tail, centre)
