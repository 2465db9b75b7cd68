"""Kernels that move elements."""

from __future__ import annotations

from math import prod

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir import ops
from edgegolf.ir.kernels.call import Call, check_size, compute
from edgegolf.ir.tensor import Array


@compute.register
def _(op: ops.Reshape, call: Call) -> Array:
    return call.array().reshape(len(call.array()), *call.output.shape)


@compute.register
def _(op: ops.Transpose, call: Call) -> Array:
    return call.array().transpose(0, *(1 + axis for axis in op.axes))


@compute.register
def _(op: ops.Pad, call: Call) -> Array:
    data = call.array()
    check_size((len(data), *call.output.shape))
    fill = call.output.zero_point if op.value is None else op.value
    return np.pad(data, ((0, 0), *op.margins), constant_values=fill)


@compute.register
def _(op: ops.Slice, call: Call) -> Array:
    chosen = (
        start + step * np.arange(size)
        for start, step, size in zip(op.starts, op.steps, op.sizes, strict=True)
    )
    data = call.array()
    for axis, indices in enumerate(chosen, 1):
        data = data.take(indices, axis)
    return data.reshape(len(data), *call.output.shape)


@compute.register
def _(op: ops.Concatenate, call: Call) -> Array:
    """Quantized operands must have one scale."""
    return np.concatenate(_spread(call), axis=1 + op.axis)


@compute.register
def _(op: ops.Stack, call: Call) -> Array:
    return np.stack(_spread(call), axis=1 + op.axis)


def _spread(call: Call) -> list[Array]:
    """All inputs, each for as many images."""
    arrays = [call.array(index) for index in range(len(call.arrays))]
    images = max(map(len, arrays))
    return [np.broadcast_to(array, (images, *array.shape[1:])) for array in arrays]


@compute.register
def _(op: ops.Split, call: Call) -> list[Array]:
    ends = np.cumsum([tensor.shape[op.axis] for tensor in call.node.outputs])
    return np.split(call.array(), ends[:-1].tolist(), axis=1 + op.axis)


@compute.register
def _(op: ops.Unstack, call: Call) -> list[Array]:
    return list(np.moveaxis(call.array(), 1 + op.axis, 0))


@compute.register
def _(op: ops.Gather, call: Call) -> Array:
    data, places = call.array(0), call.array(1)
    length = data.shape[1 + op.axis]
    if places.size and not 0 <= places.min() <= places.max() < length:
        raise EdgegolfError(f"Gather of other elements than {length} there are")
    if len(data) == 1 and not op.batch_axes:
        return np.moveaxis(np.take(data[0], places, op.axis), op.axis, 0)
    images = max(len(data), len(places))
    batch = (images, *data.shape[1 : 1 + op.batch_axes])
    rows = np.broadcast_to(data, (images, *data.shape[1:])).reshape(
        prod(batch), *data.shape[1 + op.batch_axes :]
    )
    numbers = np.broadcast_to(places, (images, *places.shape[1:])).reshape(
        prod(batch), *places.shape[1 + op.batch_axes :]
    )
    axis = op.axis - op.batch_axes
    found = np.stack([np.take(*pair, axis) for pair in zip(rows, numbers, strict=True)])
    return found.reshape(images, *call.output.shape)


@compute.register
def _(op: ops.Tile, call: Call) -> Array:
    check_size((len(call.array()), *call.output.shape))
    return np.tile(call.array(), (1, *op.multiples))


@compute.register
def _(op: ops.BroadcastTo, call: Call) -> Array:
    data = call.array()
    check_size((len(data), *call.output.shape))
    rank = len(call.output.shape)
    data = data.reshape(len(data), *(1,) * (rank + 1 - data.ndim), *data.shape[1:])
    return np.broadcast_to(data, (len(data), *call.output.shape))


@compute.register
def _(op: ops.MirrorPad, call: Call) -> Array:
    check_size((len(call.array()), *call.output.shape))
    mode = "symmetric" if op.symmetric else "reflect"
    return np.pad(call.array(), ((0, 0), *op.margins), mode)  # type: ignore[call-overload]


@compute.register
def _(op: ops.Reverse, call: Call) -> Array:
    return np.flip(call.array(), [1 + axis for axis in op.axes])


@compute.register
def _(op: ops.SpaceToDepth, call: Call) -> Array:
    batch, rows, columns, _ = call.output.shape
    blocks = call.array().reshape(
        -1, batch, rows, op.block, columns, op.block, call.array().shape[4]
    )
    return blocks.transpose(0, 1, 2, 4, 3, 5, 6).reshape(-1, *call.output.shape)


@compute.register
def _(op: ops.DepthToSpace, call: Call) -> Array:
    _, batch, rows, columns, _ = call.array().shape
    blocks = call.array().reshape(
        -1, batch, rows, columns, op.block, op.block, call.output.shape[3]
    )
    return blocks.transpose(0, 1, 2, 4, 3, 5, 6).reshape(-1, *call.output.shape)


@compute.register
def _(op: ops.SpaceToBatch, call: Call) -> Array:
    data, count = call.array(), len(op.block)
    rest = data.ndim - 2 - count
    check_size((len(data), *call.output.shape))
    margins = ((0, 0), (0, 0), *op.margins, *((0, 0),) * rest)
    padded = np.pad(data, margins, constant_values=call.output.zero_point)
    steps = [
        each
        for size, block in zip(padded.shape[2:], op.block, strict=False)
        for each in (size // block, block)
    ]
    blocks = padded.reshape(*padded.shape[:2], *steps, *padded.shape[2 + count :])
    inner, outer = range(3, 3 + 2 * count, 2), range(2, 2 + 2 * count, 2)
    tail = range(2 + 2 * count, blocks.ndim)
    return blocks.transpose(0, *inner, 1, *outer, *tail).reshape(-1, *call.output.shape)


@compute.register
def _(op: ops.BatchToSpace, call: Call) -> Array:
    data, count = call.array(), len(op.block)
    batch = call.output.shape[0]
    blocks = data.reshape(len(data), *op.block, batch, *data.shape[2:])
    pairs = [axis for index in range(count) for axis in (2 + count + index, 1 + index)]
    tail = range(2 + 2 * count, blocks.ndim)
    sizes = [n * block for n, block in zip(data.shape[2:], op.block, strict=False)]
    whole = blocks.transpose(0, 1 + count, *pairs, *tail)
    whole = whole.reshape(len(data), batch, *sizes, *data.shape[2 + count :])
    kept = [slice(m[0], n - m[1]) for n, m in zip(sizes, op.margins, strict=True)]
    return whole[(slice(None), slice(None), *kept)]
