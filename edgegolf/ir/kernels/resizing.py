"""Kernels that bring images to another size."""

from __future__ import annotations

import numpy as np

from edgegolf.ir.kernels.call import QUANTIZED, Call, check_size, compute
from edgegolf.ir.ops import ResizeBilinear, ResizeNearest
from edgegolf.ir.tensor import Array

_ONE = 1 << 10  # fixed-point positions have 10 fractional bits


@compute.register
def _(op: ResizeNearest, call: Call) -> Array:
    """Quantized tensors keep their scale."""
    data = call.array()
    check_size((len(data), *call.output.shape))
    for axis in (2, 3):
        length, wanted = data.shape[axis], call.output.shape[axis - 1]
        scale = np.float32(length) / np.float32(wanted)
        if op.align_corners and wanted > 1:
            scale = np.float32(length - 1) / np.float32(wanted - 1)
        offset = np.float32(0.5 if op.half_pixel_centers else 0)
        places = (np.arange(wanted).astype(np.float32) + offset) * scale
        places = np.floor(places + np.float32(0.5)) if op.align_corners else np.floor(places)
        data = data.take(np.minimum(places.astype(np.int64), length - 1), axis)
    return data


@compute.register
def _(op: ResizeBilinear, call: Call) -> Array:
    """Quantized tensors keep their scale."""
    kind = call.kind(*QUANTIZED, "float32")
    data = call.array()
    check_size((4 * len(data), *call.output.shape))
    result = data if kind == "float32" else data.astype(np.int64)
    for axis in (2, 3):
        position = _positions if kind == "float32" else _integer_positions
        low, high, share, one = position(op, data.shape[axis], call.output.shape[axis - 1])
        share = share.reshape(-1, *(1,) * (4 - axis))
        result = result.take(low, axis) * (one - share) + result.take(high, axis) * share
    if kind == "float32":
        return result.astype(np.float32)
    half = np.where(result > 0, _ONE**2 // 2, -(_ONE**2 // 2))
    wide = result + half  # ties away from zero
    return (np.sign(wide) * (np.abs(wide) // _ONE**2)).astype(kind)


def _positions(op: ResizeBilinear, length: int, wanted: int) -> tuple[Array, Array, Array, int]:
    """For each pixel the two between which it lies, the second one's share, and what 1 is."""
    scale = np.float32(length) / np.float32(wanted)
    if op.align_corners and wanted > 1:
        scale = np.float32(length - 1) / np.float32(wanted - 1)
    places = np.arange(wanted).astype(np.float32)
    half = np.float32(0.5)
    places = (places + half) * scale - half if op.half_pixel_centers else places * scale
    low = np.maximum(np.floor(places).astype(np.int64), 0)
    high = np.minimum(np.ceil(places).astype(np.int64), length - 1)
    return low, high, places - low.astype(np.float32), 1


def _integer_positions(
    op: ResizeBilinear, length: int, wanted: int
) -> tuple[Array, Array, Array, int]:
    """The same in fixed point."""
    scale = (_ONE * length + wanted // 2) // wanted
    if op.align_corners and wanted > 1:
        scale = (_ONE * (length - 1) + (wanted - 1) // 2) // (wanted - 1)
    places = np.arange(wanted) * scale
    if op.half_pixel_centers:
        places = places + scale // 2 - _ONE // 2
    low = np.maximum(np.trunc(places / _ONE).astype(np.int64), 0)
    high = np.minimum((places + _ONE - 1) // _ONE, length - 1)
    return low, high, places - _ONE * low, _ONE
