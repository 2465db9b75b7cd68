"""Kernels that summarise several elements in one."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgegolf.ir import ops
from edgegolf.ir.fixed_point import inverse_root, scaled
from edgegolf.ir.kernels.call import QUANTIZED, Call, compute
from edgegolf.ir.kernels.windows import merge_images, slide, split_images
from edgegolf.ir.tensor import Array


@compute.register
def _(op: ops.MaxPool2D, call: Call) -> Array:
    kind = call.kind(*QUANTIZED, "float32")
    data = call.array()
    lowest = np.finfo(np.float32).min if kind == "float32" else np.iinfo(data.dtype).min
    seen = [view for _, view in slide(op, op.size, merge_images(data), float(lowest))]
    return _clipped(call, split_images(np.maximum.reduce(seen), data))


@compute.register
def _(op: ops.AveragePool2D, call: Call) -> Array:
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


@compute.register(ops.Mean)
@compute.register(ops.Sum)
def _(op: ops.Mean | ops.Sum, call: Call) -> Array:
    axes = tuple(axis + 1 for axis in op.axes)
    kind = call.kind(*QUANTIZED, "float32", "int32", "int64")
    if kind in QUANTIZED:
        sums = call.centred().sum(axis=axes, keepdims=op.keep_dims)
        (requant,) = call.arithmetic.requants
        return call.stored(requant(sums))
    data = call.array()
    if isinstance(op, ops.Sum):
        return np.asarray(data.sum(axis=axes, keepdims=op.keep_dims, dtype=data.dtype))
    means = data.mean(
        axis=axes, keepdims=op.keep_dims, dtype=np.float32 if kind[0] == "f" else None
    )
    return np.trunc(means).astype(data.dtype) if kind[0] == "i" else means


@compute.register(ops.ReduceAny)
@compute.register(ops.ReduceMax)
@compute.register(ops.ReduceMin)
def _(op: ops.ReduceAny | ops.ReduceMax | ops.ReduceMin, call: Call) -> Array:
    """Quantized tensors must have one scale."""
    reduce: Any = {ops.ReduceAny: np.any, ops.ReduceMax: np.max, ops.ReduceMin: np.min}[type(op)]
    axes = tuple(axis + 1 for axis in op.axes)
    return np.asarray(reduce(call.array(), axis=axes, keepdims=op.keep_dims))


@compute.register
def _(op: ops.ArgMax, call: Call) -> Array:
    choose = np.argmin if isinstance(op, ops.ArgMin) else np.argmax
    return np.asarray(choose(call.array(), axis=1 + op.axis)).astype(call.output.dtype)


@compute.register
def _(op: ops.CumSum, call: Call) -> Array:
    call.kind("float32", "int32", "int64")
    axis = 1 + op.axis
    data = np.flip(call.array(), axis) if op.reverse else call.array()
    sums = np.cumsum(data, axis, dtype=data.dtype)
    if op.exclusive:
        sums = sums - data
    return np.flip(sums, axis) if op.reverse else sums


@compute.register
def _(op: ops.L2Normalize, call: Call) -> Array:
    if call.kind("int8", "float32") == "float32":
        data = call.array()
        norms = np.sqrt(np.square(data).sum(axis=-1, keepdims=True))
        return data / np.maximum(norms, np.float32(1e-6))
    numbers = call.centred()
    multiplier, shift = inverse_root(np.square(numbers).sum(axis=-1, keepdims=True))
    results = scaled(numbers, multiplier, shift + 7)
    return np.clip(results, *call.output.limits).astype(call.output.dtype)
