"""Kernels that move elements and compute shapes."""

from __future__ import annotations

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.reference.call import Array, Call, check_size


def reshape(call: Call) -> list[Array]:
    """RESHAPE, to the shape in the second input or else in the options."""
    data = call.operand(0).data
    shape = call.integers(1) if call.optional(1) is not None else call.options.new_shape
    return [data.reshape(len(data), *shape)]


def squeeze(call: Call) -> list[Array]:
    """SQUEEZE."""
    data = call.operand(0).data
    rank = data.ndim - 1
    axes = [axis % rank for axis in call.options.squeeze_dims]
    axes = axes or [axis for axis in range(rank) if data.shape[1 + axis] == 1]
    return [data.squeeze(tuple(1 + axis for axis in set(axes)))]


def expand_dims(call: Call) -> list[Array]:
    """EXPAND_DIMS."""
    data = call.operand(0).data
    (axis,) = call.integers(1)
    return [np.expand_dims(data, 1 + axis if axis >= 0 else axis)]


def transpose(call: Call) -> list[Array]:
    """TRANSPOSE."""
    return [call.operand(0).data.transpose(0, *(1 + axis for axis in call.integers(1)))]


def slice_operator(call: Call) -> list[Array]:
    """SLICE: a size of -1 reaches to the end."""
    data = call.operand(0).data
    bounds = zip(call.integers(1), call.integers(2), data.shape[1:], strict=True)
    slices = []
    for begin, size, length in bounds:
        end = length if size == -1 else begin + size
        if not 0 <= begin <= end <= length:
            raise EdgegolfError(f"SLICE from {begin} to {end} of {length}")
        slices.append(slice(begin, end))
    return [data[(slice(None), *slices)]]


def strided_slice(call: Call) -> list[Array]:
    """STRIDED_SLICE, without ellipses and new axes."""
    data, options = call.operand(0).data, call.options
    if options.ellipsis_mask or options.new_axis_mask or options.offset:
        raise EdgegolfError(
            "the NumPy evaluation has no STRIDED_SLICE with an ellipsis or a new axis"
        )
    selected: list[slice | int] = [slice(None)]
    numbers = zip(call.integers(1), call.integers(2), call.integers(3), strict=True)
    for axis, (begin, end, stride) in enumerate(numbers):
        bit = 1 << axis
        if options.shrink_axis_mask & bit:
            selected.append(0 if options.begin_mask & bit else begin)
            continue
        selected.append(
            slice(
                None if options.begin_mask & bit else begin,
                None if options.end_mask & bit else end,
                stride,
            )
        )
    return [data[tuple(selected)]]


def pad(call: Call) -> list[Array]:
    """PAD with zeros and PADV2 with a given number."""
    operand = call.operand(0)
    data = operand.data
    margins = np.reshape(call.integers(1), (data.ndim - 1, 2)).tolist()
    check_size((len(data), *(n + sum(m) for n, m in zip(data.shape[1:], margins, strict=True))))
    value = call.optional(2)
    fill = call.outputs[0].only_zero_point if value is None else value.data.item()
    return [np.pad(data, ((0, 0), *margins), constant_values=fill)]


def concatenation(call: Call) -> list[Array]:
    """CONCATENATION, whose quantized operands must have one scale."""
    arrays = [call.operand(index).data for index in range(len(call.operands))]
    if call.options.fused_activation_function:
        raise EdgegolfError("the NumPy evaluation has no CONCATENATION with an activation")
    axis = call.options.axis
    images = max(map(len, arrays))
    spread = [np.broadcast_to(array, (images, *array.shape[1:])) for array in arrays]
    return [np.concatenate(spread, axis=1 + axis if axis >= 0 else axis)]


def pack(call: Call) -> list[Array]:
    """PACK."""
    arrays = [call.operand(index).data for index in range(len(call.operands))]
    axis = call.options.axis
    return [np.stack(np.broadcast_arrays(*arrays), axis=1 + axis if axis >= 0 else axis)]


def shape_operator(call: Call) -> list[Array]:
    """SHAPE, without the axis of images."""
    data = call.operand(0).data
    return [np.array([data.shape[1:]], call.outputs[0].dtype)]
