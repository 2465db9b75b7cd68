"""Kernels that multiply with weights: convolutions and the fully connected layer."""

from __future__ import annotations

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir import ops
from edgegolf.ir.fixed_point import wrap
from edgegolf.ir.kernels.call import QUANTIZED, Call, check_size, compute
from edgegolf.ir.kernels.windows import merge_images, slide, split_images
from edgegolf.ir.tensor import Array


@compute.register
def _(op: ops.Conv2D, call: Call) -> Array:
    data, weights = _factors(call)
    images = merge_images(data)
    groups = images.shape[3] // weights.shape[3]
    results = [
        _convolve(op, channels, part)
        for channels, part in zip(
            np.split(images, groups, axis=3), np.split(weights, groups), strict=True
        )
    ]
    return _finished(call, split_images(np.concatenate(results, axis=3), data))


def _convolve(op: ops.Conv2D, images: Array, weights: Array) -> Array:
    size = weights.shape[1], weights.shape[2]
    views = [view for _, view in slide(op, size, images, 0, op.dilation)]
    check_size((len(views), *views[0].shape))
    seen = np.concatenate(views, axis=3)
    matrix = weights.reshape(len(weights), -1).T
    result = seen.reshape(-1, len(matrix)) @ matrix  # as one product of matrices, for speed
    return result.reshape(*seen.shape[:3], -1)


@compute.register
def _(op: ops.DepthwiseConv2D, call: Call) -> Array:
    data, weights = _factors(call)
    images = merge_images(data)
    _, height, width, depth = weights.shape
    check_size((*images.shape[:3], depth))
    multiplied = np.repeat(images, depth // images.shape[3], axis=3)
    result = sum(
        seen * weights[0, row, column]
        for (row, column), seen in slide(op, (height, width), multiplied, 0, op.dilation)
    )
    return _finished(call, split_images(np.asarray(result), data))


@compute.register
def _(op: ops.TransposeConv2D, call: Call) -> Array:
    data, weights = _factors(call)
    images = merge_images(data)
    (rows, columns), (down, across) = images.shape[1:3], op.strides
    units, height, width, _ = weights.shape
    (top, _), (left, _) = op.padding
    size = max((rows - 1) * down + height, top + call.output.shape[1])
    breadth = max((columns - 1) * across + width, left + call.output.shape[2])
    check_size((len(images), size, breadth, units))
    whole = np.zeros((len(images), size, breadth, units), images.dtype)
    for row in range(height):
        for column in range(width):
            place = np.s_[
                :, row : row + rows * down : down, column : column + columns * across : across
            ]
            whole[place] += images @ weights[:, row, column].T
    kept = whole[:, top : top + call.output.shape[1], left : left + call.output.shape[2]]
    return _finished(call, split_images(kept, data))


@compute.register
def _(op: ops.BatchMatMul, call: Call) -> Array:
    kind = call.kind("int8", "float32", inputs=2)
    # Floats are faster, and hold all sums of integers exactly.
    factors = [
        call.array(index) if kind == "float32" else call.centred(index).astype(np.float64)
        for index in (0, 1)
    ]
    rank = 1 + len(call.output.shape)
    first, second = (f.reshape(len(f), *(1,) * (rank - f.ndim), *f.shape[1:]) for f in factors)
    first = first.swapaxes(-1, -2) if op.transpose_first else first
    second = second.swapaxes(-1, -2) if op.transpose_second else second
    check_size((max(len(first), len(second)), *call.output.shape))
    sums: Array = first @ second
    if kind == "float32":
        return sums
    (requant,) = call.arithmetic.requants
    return call.stored(requant(wrap(sums.astype(np.int64))))


@compute.register
def _(op: ops.FullyConnected, call: Call) -> Array:
    if len(call.array(1)) > 1:
        raise EdgegolfError("the weights of FullyConnected differ between images")
    data, weights = _factors(call)
    result = data.reshape(len(data), -1, weights.shape[1]) @ weights.T
    return _finished(call, result.reshape(len(data), *call.output.shape))


def _factors(call: Call) -> tuple[Array, Array]:
    """The input and the weights, less their zero points, as floats that hold all sums exactly."""
    keeps_sums = isinstance(call.node.op, ops.FullyConnected) and call.output.dtype == "int32"
    kind = call.tensor(0).dtype if keeps_sums else call.kind(*QUANTIZED, "float32", inputs=2)
    weights = call.array(1)
    if len(weights) != 1:
        raise EdgegolfError(f"the weights of {call.name} differ between images")
    if kind == "float32":
        return call.array(0), weights[0]
    # int8 kernels take the weights' zero point for 0, but for FULLY_CONNECTED with one scale.
    tensor = call.tensor(1)
    heeded = kind == "uint8" or isinstance(call.node.op, ops.FullyConnected)
    if not heeded or (tensor.quant is not None and tensor.quant.is_per_channel):
        centred = weights.astype(np.int64)
    else:
        centred = call.centred(1)
    # No sum of less than 2^36 products of 9-bit numbers reaches 2^53, where float64 is inexact.
    return call.centred(0).astype(np.float64), centred[0].astype(np.float64)


def _finished(call: Call, sums: Array) -> Array:
    has_bias = len(call.arrays) > 2 and call.arrays[2] is not None
    if call.output.dtype == "float32":
        return call.activated(sums + call.array(2) if has_bias else sums)
    accumulators = sums.astype(np.int64)
    if has_bias:
        if call.tensor(2).dtype != "int32":
            raise EdgegolfError(
                f"the interpreter has no {call.name} with {call.tensor(2).dtype} biases"
            )
        accumulators += call.array(2).reshape(-1)
    if call.output.dtype == "int32":
        return wrap(accumulators).astype(np.int32)
    (requant,) = call.arithmetic.requants
    return call.stored(requant(wrap(accumulators)))
