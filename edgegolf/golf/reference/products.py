"""Kernels that multiply with weights: convolutions and the fully connected layer."""

from __future__ import annotations

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.reference.call import Array, Call, check_size
from edgegolf.golf.reference.fixed_point import Multiplier, finish, round_half_away, wrap
from edgegolf.golf.reference.windows import Window, merge_images, split_images


def conv_2d(call: Call) -> list[Array]:
    """CONV_2D, also with groups of channels."""
    data, weights = _factors(call)
    images = merge_images(data)
    _, height, width, depth = weights.shape
    window = Window.of(call.options, (height, width))
    if not depth or images.shape[3] % depth or len(weights) % (images.shape[3] // depth):
        raise EdgegolfError(f"a filter of {depth} channels for images of {images.shape[3]}")
    groups = images.shape[3] // depth
    results = [
        _convolve(channels, part, window)
        for channels, part in zip(
            np.split(images, groups, axis=3), np.split(weights, groups), strict=True
        )
    ]
    return [_requantized(call, split_images(np.concatenate(results, axis=3), data))]


def _convolve(images: Array, weights: Array, window: Window) -> Array:
    views = [view for _, view in window.slide(images, 0)]
    check_size((len(views), *views[0].shape))
    seen = np.concatenate(views, axis=3)
    matrix = weights.reshape(len(weights), -1).T
    result = seen.reshape(-1, len(matrix)) @ matrix  # as one product of matrices, for speed
    return result.reshape(*seen.shape[:3], -1)


def depthwise_conv_2d(call: Call) -> list[Array]:
    """DEPTHWISE_CONV_2D."""
    data, weights = _factors(call)
    images = merge_images(data)
    _, height, width, depth = weights.shape
    window = Window.of(call.options, (height, width))
    check_size((*images.shape[:3], depth))
    multiplied = np.repeat(images, depth // images.shape[3], axis=3)
    result = sum(
        seen * weights[0, row, column] for (row, column), seen in window.slide(multiplied, 0)
    )
    return [_requantized(call, split_images(np.asarray(result), data))]


def fully_connected(call: Call) -> list[Array]:
    """FULLY_CONNECTED."""
    data, weights = _factors(call)
    units, depth = weights.shape
    result = data.reshape(len(data), -1, depth) @ weights.T
    if call.options.keep_num_dims:
        result = result.reshape(*data.shape[:-1], units)
    return [_requantized(call, result)]


def _factors(call: Call) -> tuple[Array, Array]:
    """The input and the weights, less their zero points, as floats that hold all sums exactly."""
    kind = call.element_type("int8", "float32", operands=2)
    data, weights = call.operand(0), call.operand(1)
    if len(weights.data) != 1:
        raise EdgegolfError(f"the weights of {call.name} differ between images")
    if kind == "float32":
        return data.data, weights.data[0]
    # Only FULLY_CONNECTED with one scale heeds the weights' zero point.
    has_zero_point = call.name == "FULLY_CONNECTED" and weights.type.scale.size == 1
    centred = weights.centred if has_zero_point else weights.data.astype(np.int64)
    # No sum of less than 2^37 products of bytes reaches 2^53, where float64 becomes inexact.
    return data.centred.astype(np.float64), centred[0].astype(np.float64)


def _requantized(call: Call, sums: Array) -> Array:
    bias = call.optional(2)
    activation, output = call.options.fused_activation_function, call.outputs[0]
    if output.dtype == "float32":
        return finish(sums if bias is None else sums + bias.data, activation, output)
    accumulators = sums.astype(np.int64)
    if bias is not None:
        if bias.type.dtype != "int32":
            raise EdgegolfError(
                f"the NumPy evaluation has no {call.name} with {bias.type.dtype} biases"
            )
        accumulators += bias.data.reshape(-1)
    accumulators = wrap(accumulators)
    scale = _scale(call)
    if call.name == "FULLY_CONNECTED":  # the one kernel that rounds the real product
        return finish(round_half_away(accumulators * scale), activation, output)
    return finish(Multiplier.of(scale).times(accumulators), activation, output)


def _scale(call: Call) -> Array:
    """What an accumulator's unit is in units of the output, one or one per channel."""
    weights = call.operand(1).type.scale.astype(np.float64)
    if not weights.size:
        raise EdgegolfError(f"the weights of {call.name} have no scale")
    data, output = call.operand(0).type.only_scale, call.outputs[0].only_scale
    product: Array = np.float64(data) * weights / np.float64(output)
    return product
