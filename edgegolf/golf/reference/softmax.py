"""SOFTMAX, for int8 with the exponential and the reciprocal of gemmlowp's `fixedpoint.h`.

In the comments Qi.f is a fixed-point format of i integer and f fractional bits besides the sign.
"""

from __future__ import annotations

import numpy as np

from edgegolf.golf.reference.call import Array, Call
from edgegolf.golf.reference.fixed_point import (
    Multiplier,
    doubling_high_multiply,
    rounding_shift,
    saturating_left_shift,
)

_DIFFERENCE_BITS = 5  # differences of logits are Q5.26
_SUM_BITS = 12  # sums of exponentials are Q12.19
_ONE = 2**31 - 1  # in Q0.31

#: e^(-2^k) in Q0.31, for the bits of the exponent from a quarter to sixteen.
_EXPONENTIALS = {
    k: int(np.floor(np.exp(-(2.0**k)) * 2**31 + 0.5)) for k in range(-2, _DIFFERENCE_BITS)
}


def softmax(call: Call) -> list[Array]:
    """SOFTMAX over the last axis."""
    kind = call.element_type("int8", "float32")
    operand = call.operand(0)
    logits = operand.data if kind == "float32" else operand.data.astype(np.int64)
    differences = logits - logits.max(axis=-1, keepdims=True)
    if kind == "float32":
        exponentials = np.exp(differences * np.float32(call.options.beta))
        return [exponentials / exponentials.sum(axis=-1, keepdims=True)]
    return [_quantized(differences, float(call.options.beta) * float(operand.type.only_scale))]


def _quantized(differences: Array, scale: float) -> Array:
    one = 1 << (31 - _DIFFERENCE_BITS)
    multiplier = Multiplier.of(min(scale * one, 2.0**31 - 1))
    shift = int(multiplier.shift)
    lowest = -(((1 << _DIFFERENCE_BITS) - 1) * one >> shift)
    counts = differences >= lowest
    scaled = doubling_high_multiply(np.where(counts, differences, 0) << shift, multiplier.mantissa)
    exponentials = np.where(counts, _exponential(scaled), 0)
    sums = rounding_shift(exponentials, _SUM_BITS).sum(axis=-1, keepdims=True)
    reciprocal, bits_over_unit = _reciprocal(sums)
    shares = doubling_high_multiply(reciprocal, exponentials)
    scores = rounding_shift(shares, bits_over_unit + 31 - 8) - 128
    return np.where(counts, np.minimum(scores, 127), -128).astype(np.int8)


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


def _reciprocal(sums: Array) -> tuple[Array, Array]:
    """1/x of Q12.19 as Q0.31 with the number of bits that it must yet be shifted to the right."""
    length = np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    headroom = 32 - length
    fraction = (sums << headroom) - (1 << 31)  # x = 2^n (1 + fraction)
    half = (fraction + _ONE + 1) >> 1
    # Newton's method in Q2.29 for 1 / half the denominator, from 48/17 - 32/17 x.
    estimate = 1515870810 + doubling_high_multiply(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - doubling_high_multiply(half, estimate)
        estimate = estimate + saturating_left_shift(doubling_high_multiply(estimate, error), 2)
    return saturating_left_shift(estimate, 1), _SUM_BITS - headroom
