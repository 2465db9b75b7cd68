"""The fixed-point arithmetic of TFLite's integer kernels, on int64 arrays that hold int32 numbers.

Definitions: gemmlowp's `fixedpoint.h`, and `common.cc` and `quantization_util.cc` among the
kernels of TensorFlow Lite, in the variant that rounds twice, which is the one released.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.reference.call import Array, TensorType
from edgegolf.golf.tflite_schema import ENUMERATIONS

_ACTIVATION_BOUNDS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}


def doubling_high_multiply(first: Array, second: Array | int) -> Array:
    """The upper half of twice a 64-bit product, ties upwards, saturated."""
    return np.minimum((first * second + (1 << 30)) >> 31, 2**31 - 1)


def rounding_shift(numbers: Array, bits: Array | int) -> Array:
    """Division by a power of two, ties away from zero."""
    half = (np.int64(1) << bits) >> 1
    return (numbers + half - ((numbers < 0) & (half > 0))) >> bits


def saturating_left_shift(numbers: Array, bits: int) -> Array:
    """Multiplication by a power of two, saturated."""
    return np.clip(numbers << bits, -(2**31), 2**31 - 1)


def wrap(numbers: Array) -> Array:
    """What remains of integers in an int32, as int64."""
    return numbers.astype(np.int32).astype(np.int64)


def round_half_away(numbers: Array) -> Array:
    """C's `round`, in float64 because adding a half is inexact in float32."""
    wide = np.asarray(numbers, dtype=np.float64)
    return np.trunc(wide + np.copysign(0.5, wide))


@dataclass(frozen=True)
class Multiplier:
    """Positive real factors as `mantissa` times 2^(`shift` - 31), scalars or one per channel."""

    mantissa: Array
    shift: Array

    @classmethod
    def of(cls, real: Array | float) -> Multiplier:
        """The nearest multiplier, zero for factors below about 2^-31."""
        fraction, shift = np.frexp(np.asarray(real, dtype=np.float64))
        mantissa = round_half_away(fraction * 2.0**31).astype(np.int64)
        shift = shift.astype(np.int64)
        full = mantissa == 1 << 31
        mantissa, shift = np.where(full, mantissa >> 1, mantissa), shift + full
        vanishes = shift < -31
        return cls(np.where(vanishes, 0, mantissa), np.where(vanishes, 0, shift))

    def times(self, numbers: Array) -> Array:
        """Products with int32 numbers, rounded to integers; channels are the last axis."""
        shifted = wrap(numbers << np.maximum(self.shift, 0))
        return rounding_shift(
            doubling_high_multiply(shifted, self.mantissa), np.maximum(-self.shift, 0)
        )


def quantize(reals: Array, to: TensorType) -> Array:
    """float32 numbers in the integers of a type."""
    numbers = round_half_away(reals / to.only_scale) + to.only_zero_point
    limits = np.iinfo(to.dtype)
    return np.clip(numbers, limits.min, limits.max).astype(to.dtype)


def activation_limits(activation: int, output: TensorType) -> tuple[float, float]:
    """Between which numbers of an output's type a fused activation keeps it.

    Raises:
        EdgegolfError: The activation is none that clips.
    """
    names = ENUMERATIONS["ActivationFunctionType"]
    name = names[activation] if 0 <= activation < len(names) else str(activation)
    if name not in _ACTIVATION_BOUNDS:
        raise EdgegolfError(f"the NumPy evaluation has no fused activation {name}")
    lower, upper = _ACTIVATION_BOUNDS[name]
    if output.dtype != "int8":
        return lower, upper
    limits = quantize(np.array([lower, upper], np.float32), output)
    return float(limits[0]), float(limits[1])


def finish(numbers: Array, activation: int, output: TensorType) -> Array:
    """Int64 results less the zero point, or real ones, in the type of the output."""
    lower, upper = activation_limits(activation, output)
    if output.dtype == "int8":
        numbers = numbers + output.only_zero_point
    return np.clip(numbers, lower, upper).astype(output.dtype)
