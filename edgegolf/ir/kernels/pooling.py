"""Kernels that summarise several elements in one."""

from __future__ import annotations

import numpy as np

from edgegolf.ir.kernels.call import QUANTIZED, Call, compute
from edgegolf.ir.kernels.windows import merge_images, slide, split_images
from edgegolf.ir.ops import AveragePool2D, MaxPool2D, Mean
from edgegolf.ir.tensor import Array


@compute.register
def _(op: MaxPool2D, call: Call) -> Array:
    kind = call.kind(*QUANTIZED, "float32")
    data = call.array()
    lowest = np.finfo(np.float32).min if kind == "float32" else np.iinfo(data.dtype).min
    seen = [view for _, view in slide(op, op.size, merge_images(data), float(lowest))]
    return _clipped(call, split_images(np.maximum.reduce(seen), data))


@compute.register
def _(op: AveragePool2D, call: Call) -> Array:
    kind = call.kind(*QUANTIZED, "float32")
    data = call.array()
    images = merge_images(data)
    inside = np.ones((1, *images.shape[1:3], 1), np.int64)
    counts = sum(view for _, view in slide(op, op.size, inside, 0))
    accumulated = images if kind == "float32" else images.astype(np.int64)
    sums = np.asarray(sum(view for _, view in slide(op, op.size, accumulated, 0)))
    if kind == "float32":
        means = sums / counts.astype(np.float32)
    else:  # ties away from zero
        means = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return _clipped(call, split_images(means, data))


def _clipped(call: Call, numbers: Array) -> Array:
    """Pooling keeps scale and zero point, so its integers are stored as they are."""
    if call.output.dtype == "float32":
        return call.activated(numbers)
    limits = call.arithmetic.low, call.arithmetic.high
    return np.clip(numbers, *limits).astype(call.output.dtype)


@compute.register
def _(op: Mean, call: Call) -> Array:
    axes = tuple(axis + 1 for axis in op.axes)
    if call.kind(*QUANTIZED, "float32") == "float32":
        return call.array().mean(axis=axes, keepdims=op.keep_dims, dtype=np.float32)
    sums = call.centred().sum(axis=axes, keepdims=op.keep_dims)
    (requant,) = call.arithmetic.requants
    return call.stored(requant(sums))
