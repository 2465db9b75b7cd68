"""Integers that stand for real numbers, as files store them and as the graph has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir import QuantParams
from edgegolf.ir.tensor import BITS, Array

_SIGNED = {"uint8": "int8", "uint4": "int4", "uint2": "int2"}
_SMALL = frozenset({*_SIGNED, *_SIGNED.values()})


@dataclass(frozen=True)
class Encoded:
    """A constant of real numbers and the integers that it was decoded from."""

    reals: Array  # the numbers
    integers: Array  # of a signed type; those of less than a byte in bytes
    quant: QuantParams  # what they stand for
    dtype: str  # the name of their type


def signed(integers: Array, zero_point: Array) -> tuple[Array, Array, str]:
    """Integers and zero points in the signed type of as many bits; its name."""
    name = integers.dtype.name
    if name not in _SMALL:
        return integers, zero_point.astype(np.int64), name
    kind = _SIGNED.get(name, name)
    shift = 0 if kind == name else 1 << (BITS[kind] - 1)
    moved = integers.astype(np.int16) - shift
    return moved.astype(np.int8), zero_point.astype(np.int64) - shift, kind


def quant_params(scale: Array, zero_point: Array, axis: int = 0) -> QuantParams:
    """Scales and zero points; zero points that are all the same once."""
    scales, zeros = scale.ravel().astype(np.float32), np.unique(zero_point)
    if not np.isfinite(scales).all() or not (scales > 0).all():
        raise EdgegolfError("it has a scale that is not positive")
    zeros = zeros if len(zeros) == 1 else zero_point.ravel()
    if len(zeros) not in (1, len(scales)):
        raise EdgegolfError("it has not as many zero points as scales")
    axis = axis if len(scales) > 1 else 0
    return QuantParams(tuple(scales.tolist()), tuple(int(n) for n in zeros), axis)


def encoded(
    reals: Array, integers: Array, scale: Array, zero_point: Array | None, axis: int
) -> Encoded | None:
    """What a DequantizeLinear decoded; None if its scales go along no axis."""
    if integers.dtype.name not in (*_SMALL, "int32") or scale.ndim > 1:
        return None
    zero = np.zeros((), integers.dtype) if zero_point is None else zero_point
    data, zeros, dtype = signed(integers, zero)
    along = axis % max(integers.ndim, 1)
    return Encoded(reals, data, quant_params(scale, zeros, along), dtype)
