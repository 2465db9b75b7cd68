"""Kernels that move elements."""

from __future__ import annotations

import numpy as np

from edgegolf.ir.kernels.call import Call, check_size, compute
from edgegolf.ir.ops import Concatenate, Pad, Reshape, Slice, Stack, Transpose
from edgegolf.ir.tensor import Array


@compute.register
def _(op: Reshape, call: Call) -> Array:
    return call.array().reshape(len(call.array()), *call.output.shape)


@compute.register
def _(op: Transpose, call: Call) -> Array:
    return call.array().transpose(0, *(1 + axis for axis in op.axes))


@compute.register
def _(op: Pad, call: Call) -> Array:
    data = call.array()
    check_size((len(data), *call.output.shape))
    fill = call.output.zero_point if op.value is None else op.value
    return np.pad(data, ((0, 0), *op.margins), constant_values=fill)


@compute.register
def _(op: Slice, call: Call) -> Array:
    chosen = (
        start + step * np.arange(size)
        for start, step, size in zip(op.starts, op.steps, op.sizes, strict=True)
    )
    data = call.array()
    for axis, indices in enumerate(chosen, 1):
        data = data.take(indices, axis)
    return data.reshape(len(data), *call.output.shape)


@compute.register
def _(op: Concatenate, call: Call) -> Array:
    """Quantized operands must have one scale."""
    return np.concatenate(_spread(call), axis=1 + op.axis)


@compute.register
def _(op: Stack, call: Call) -> Array:
    return np.stack(_spread(call), axis=1 + op.axis)


def _spread(call: Call) -> list[Array]:
    """All inputs, each for as many images."""
    arrays = [call.array(index) for index in range(len(call.arrays))]
    images = max(map(len, arrays))
    return [np.broadcast_to(array, (images, *array.shape[1:])) for array in arrays]
