"""SOFTMAX, for int8 with the exponential and the reciprocal of gemmlowp's `fixedpoint.h`.

In the comments Qi.f is a fixed-point format of i integer and f fractional bits besides the sign.
"""

from __future__ import annotations

import numpy as np

from edgegolf.ir.fixed_point import (
    Requant,
    doubling_high_multiply,
    rounding_shift,
    saturating_left_shift,
)
from edgegolf.ir.kernels.call import QUANTIZED, Call, compute
from edgegolf.ir.lowering import SOFTMAX_INTEGER_BITS
from edgegolf.ir.ops import Softmax
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


def exponentials(differences: Array, requant: Requant) -> Array:
    """e^x in Q0.31 for differences of logits, 0 for those that do not count."""
    one = 1 << (31 - _DIFFERENCE_BITS)
    lowest = -(((1 << _DIFFERENCE_BITS) - 1) * one >> requant.shift[0])
    counts = differences >= lowest
    return np.where(counts, _exponential(requant(np.where(counts, differences, 0))), 0)


def _shares(differences: Array, requant: Requant) -> Array:
    """The shares of one as multiples of 1/256."""
    powers = exponentials(differences, requant)
    sums = rounding_shift(powers, _SUM_BITS).sum(axis=-1, keepdims=True)
    reciprocal, bits_over_unit = _reciprocal(sums)
    return rounding_shift(doubling_high_multiply(reciprocal, powers), bits_over_unit + 31 - 8)


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
