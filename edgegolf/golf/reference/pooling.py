"""Kernels that summarise several elements in one."""

from __future__ import annotations

from math import prod

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.reference.call import Array, Call
from edgegolf.golf.reference.fixed_point import Multiplier, activation_limits, finish
from edgegolf.golf.reference.windows import Window, merge_images, split_images


def max_pool_2d(call: Call) -> list[Array]:
    """MAX_POOL_2D."""
    call.element_type("int8", "float32")
    data = call.operand(0).data
    images = merge_images(data)
    lowest = np.iinfo(np.int8).min if data.dtype == np.int8 else np.finfo(np.float32).min
    seen = [view for _, view in _pool_window(call).slide(images, lowest)]
    return [_clipped(call, split_images(np.maximum.reduce(seen), data))]


def average_pool_2d(call: Call) -> list[Array]:
    """AVERAGE_POOL_2D: padding does not count."""
    kind = call.element_type("int8", "float32")
    data = call.operand(0).data
    images = merge_images(data)
    window = _pool_window(call)
    inside = np.ones((1, *images.shape[1:3], 1), np.int64)
    counts = sum(view for _, view in window.slide(inside, 0))
    accumulated = images if kind == "float32" else images.astype(np.int64)
    sums = np.asarray(sum(view for _, view in window.slide(accumulated, 0)))
    if kind == "float32":
        means = sums / counts.astype(np.float32)
    else:
        # Integer division in C goes towards zero.
        means = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return [_clipped(call, split_images(means, data))]


def mean(call: Call) -> list[Array]:
    """MEAN over some axes."""
    kind = call.element_type("int8", "float32")
    operand, output = call.operand(0), call.outputs[0]
    rank = operand.data.ndim - 1
    axes = {axis + rank if axis < 0 else axis for axis in call.integers(1)}
    if any(not 0 <= axis < rank for axis in axes):
        raise EdgegolfError(f"MEAN over axes {sorted(axes)} of {rank}")
    image_axes = tuple(axis + 1 for axis in sorted(axes))
    keep = bool(call.options.keep_dims)
    if kind == "float32":
        return [operand.data.mean(axis=image_axes, keepdims=keep, dtype=np.float32)]
    sums = operand.centred.sum(axis=image_axes, keepdims=keep)
    count = prod(operand.data.shape[axis] for axis in image_axes)
    scale = Multiplier.of(np.float64(operand.type.only_scale) / np.float64(output.only_scale))
    # The kernel moves as many bits of the quotient into the mantissa as the count has.
    shift = min(count.bit_length() - 1, 32, 31 + int(scale.shift))
    averaging = Multiplier((scale.mantissa << shift) // count, scale.shift - shift)
    return [finish(averaging.times(sums), 0, output)]


def _pool_window(call: Call) -> Window:
    options = call.options
    return Window.of(options, (options.filter_height, options.filter_width), dilates=False)


def _clipped(call: Call, numbers: Array) -> Array:
    """The result in the output's type; pooling keeps scale and zero point."""
    lower, upper = activation_limits(call.options.fused_activation_function, call.outputs[0])
    return np.clip(numbers, lower, upper).astype(call.outputs[0].dtype)
