"""The fixed-point arithmetic of TFLite's integer kernels, on int64 arrays that hold int32 numbers.

Definitions: gemmlowp's `fixedpoint.h`, and `common.cc` and `quantization_util.cc` among the
kernels of TensorFlow Lite, in the variant that rounds twice, which is the one released.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.tensor import Array


def doubling_high_multiply(first: Array, second: Array | int) -> Array:
    """The upper half of twice a 64-bit product, ties upwards, saturated."""
    return np.minimum((first * second + (1 << 30)) >> 31, 2**31 - 1)


def rounding_shift(numbers: Array, bits: Array | int) -> Array:
    """Division by a power of two, ties away from zero."""
    half = (np.int64(1) << bits) >> 1
    return (numbers + half - ((numbers < 0) & (half > 0))) >> bits


def saturating_left_shift(numbers: Array, bits: Array | int, width: int = 32) -> Array:
    """Multiplication by a power of two, saturated to an integer of some bits."""
    return np.clip(numbers << bits, -(2 ** (width - 1)), 2 ** (width - 1) - 1)


def wrap(numbers: Array) -> Array:
    """What remains of integers in an int32, as int64."""
    return numbers.astype(np.int32).astype(np.int64)


def scaled(numbers: Array | int, multiplier: Array, shift: Array) -> Array:
    """int32 numbers times `multiplier` · 2^(`shift` − 31), rounded twice."""
    shifted = wrap(np.asarray(numbers, np.int64) << np.maximum(shift, 0))
    return rounding_shift(doubling_high_multiply(shifted, multiplier), np.maximum(-shift, 0))


def bit_lengths(numbers: Array) -> Array:
    """How many bits natural numbers take."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def reciprocal(numbers: Array, integer_bits: int) -> tuple[Array, Array]:
    """1/x for x > 0 with some integer bits besides the sign, as gemmlowp computes it.

    Returns:
        Fractions with 31 bits, and the number of bits by which they are too large.
    """
    headroom = 32 - bit_lengths(numbers)
    # x = 2^n (1 + fraction)
    return inverse_of_one_plus((numbers << headroom) - (1 << 31)), integer_bits - headroom


def inverse_of_one_plus(fraction: Array) -> Array:
    """1/(1 + x) of fractions with 31 bits: Newton's method from 48/17 - 32/17 x."""
    half = (fraction + (1 << 31)) >> 1
    estimate = 1515870810 + doubling_high_multiply(half, -1010580540)  # with 2 integer bits
    for _ in range(3):
        error = (1 << 29) - doubling_high_multiply(half, estimate)
        estimate = estimate + saturating_left_shift(doubling_high_multiply(estimate, error), 2)
    return saturating_left_shift(estimate, 1)


def inverse_root(numbers: Array) -> tuple[Array, Array]:
    """1/√x for x ≥ 0 as multipliers and shifts (`scaled`), 1 for 0, as TFLite computes it."""
    known = np.maximum(numbers, 2)
    pairs = (31 - bit_lengths(known)) // 2 - 1
    fraction = np.where(pairs < 0, known >> 2, known << np.maximum(2 * pairs, 0)) >> 1
    half = rounding_shift(fraction, 1)
    root = np.full_like(fraction, 1 << 28)  # Newton's method with 3 integer bits
    for _ in range(5):
        cube = doubling_high_multiply(doubling_high_multiply(root, root), root)
        cube = saturating_left_shift(cube, 6)
        root = saturating_left_shift(
            doubling_high_multiply(root, (1 << 28) + (1 << 27))
            - doubling_high_multiply(half, cube),
            3,
        )
    root = doubling_high_multiply(root, 1518500250)  # √2 / 2
    shift = 11 - pairs
    root, shift = root << np.maximum(-shift, 0), np.maximum(shift, 0)
    is_one = numbers <= 1
    return np.where(is_one, 2**31 - 1, root), np.where(is_one, 0, -shift)


def round_half_away(numbers: Array) -> Array:
    """C's `round`, in float64 because adding a half is inexact in float32."""
    wide = np.asarray(numbers, dtype=np.float64)
    return np.trunc(wide + np.copysign(0.5, wide))


class Rounding(Enum):
    """How the product of an accumulator and a real factor becomes an integer."""

    #: The factor is `multiplier` · 2^(`shift` − 31) with an integer multiplier. The upper half of
    #: the doubled 64-bit product is rounded with ties upwards, then shifted with ties away from 0.
    TWICE = "twice"
    #: The factor is `multiplier`, a float64; the float64 product is rounded, ties away from 0.
    REAL = "real"


@dataclass(frozen=True)
class Requant:
    """Brings int32 numbers to the scale of a result; channels are the last axis."""

    multiplier: tuple[float, ...]  # one for the tensor, or one for each channel
    shift: tuple[int, ...]  # as many; to the left where positive
    rounding: Rounding = Rounding.TWICE  # what both mean

    @classmethod
    def of(cls, factor: Array | float, rounding: Rounding = Rounding.TWICE) -> Requant:
        """The nearest one to positive real factors; zero for those below about 2^-31.

        Raises:
            EdgegolfError: One is so large that it takes every integer out of an int32, or is none.
        """
        factors = np.atleast_1d(np.asarray(factor, np.float64))
        if not (np.abs(factors) < 2.0**30).all():
            raise EdgegolfError("its scales differ by more than 32-bit integers hold")
        if rounding is Rounding.REAL:
            return cls(tuple(factors.tolist()), (0,) * len(factors), rounding)
        fraction, exponent = np.frexp(factors)
        mantissa = round_half_away(fraction * 2.0**31).astype(np.int64)
        shift = exponent.astype(np.int64)
        full = mantissa == 1 << 31
        mantissa, shift = np.where(full, mantissa >> 1, mantissa), shift + full
        vanishes = shift < -31
        mantissa, shift = np.where(vanishes, 0, mantissa), np.where(vanishes, 0, shift)
        return cls(tuple(mantissa.tolist()), tuple(shift.tolist()))

    def __call__(self, numbers: Array) -> Array:
        """Products with int32 numbers, rounded to integers (int64)."""
        if self.rounding is Rounding.REAL:
            return round_half_away(numbers * np.array(self.multiplier)).astype(np.int64)
        return scaled(numbers, np.array(self.multiplier, np.int64), np.array(self.shift, np.int64))
