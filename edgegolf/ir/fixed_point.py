"""The fixed-point arithmetic of TFLite's integer kernels, on int64 arrays that hold int32 numbers.

Definitions: gemmlowp's `fixedpoint.h`, and `common.cc` and `quantization_util.cc` among the
kernels of TensorFlow Lite, in the variant that rounds twice, which is the one released.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from edgegolf.ir.tensor import Array


def doubling_high_multiply(first: Array, second: Array | int) -> Array:
    """The upper half of twice a 64-bit product, ties upwards, saturated."""
    return np.minimum((first * second + (1 << 30)) >> 31, 2**31 - 1)


def rounding_shift(numbers: Array, bits: Array | int) -> Array:
    """Division by a power of two, ties away from zero."""
    half = (np.int64(1) << bits) >> 1
    return (numbers + half - ((numbers < 0) & (half > 0))) >> bits


def saturating_left_shift(numbers: Array, bits: int, width: int = 32) -> Array:
    """Multiplication by a power of two, saturated to an integer of some bits."""
    return np.clip(numbers << bits, -(2 ** (width - 1)), 2 ** (width - 1) - 1)


def wrap(numbers: Array) -> Array:
    """What remains of integers in an int32, as int64."""
    return numbers.astype(np.int32).astype(np.int64)


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
    """Brings int32 numbers to the scale of a result; channels are the last axis.

    Attributes:
        multiplier: One for the tensor, or one for each channel.
        shift: As many; to the left where positive.
        rounding: What both mean.
    """

    multiplier: tuple[float, ...]
    shift: tuple[int, ...]
    rounding: Rounding = Rounding.TWICE

    @classmethod
    def of(cls, factor: Array | float, rounding: Rounding = Rounding.TWICE) -> Requant:
        """The nearest one to positive real factors; zero for those below about 2^-31."""
        factors = np.atleast_1d(np.asarray(factor, np.float64))
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
        shift = np.array(self.shift, np.int64)
        shifted = wrap(numbers << np.maximum(shift, 0))
        product = doubling_high_multiply(shifted, np.array(self.multiplier, np.int64))
        return rounding_shift(product, np.maximum(-shift, 0))
