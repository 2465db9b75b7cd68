"""Computes a `Network` in float32 with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgegolf.export.sharing.network import (
    Add,
    AveragePooling,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
    Loop,
    MaxPooling,
    Network,
    Operation,
    Pad,
    Padding,
    Pair,
    Rectifier,
    Reshape,
    Softmax,
    Subtract,
    Value,
)
from edgegolf.runtimes import Array

Observer = Callable[[Value, Array], None]

IMAGES_AT_ONCE = 50  # whose values stay in a core's cache


def evaluate(
    network: Network, images: Array, observe: Observer = lambda value, array: None
) -> Array:
    """The network's output for a batch.

    Args:
        network: With one input and one output.
        images: float32 [n, ...].
        observe: Told of every value as it is computed, for some of the images at a time; of those
            in a loop, once per iteration.
    """
    outputs = [
        _run(network, (images[first : first + IMAGES_AT_ONCE],), observe)[0]
        for first in range(0, max(1, len(images)), IMAGES_AT_ONCE)
    ]
    return np.concatenate(outputs)


def _run(network: Network, inputs: tuple[Array, ...], observe: Observer) -> tuple[Array, ...]:
    arrays = dict(zip(network.inputs, inputs, strict=True))
    for value, array in arrays.items():
        observe(value, array)
    for node in network.nodes:
        found = tuple(arrays[value] for value in node.inputs)
        if isinstance(node.operation, Loop):
            for _ in range(node.operation.iterations):
                found = _run(node.operation.body, found, observe)
        else:
            found = (np.asarray(compute(node.operation, *found), np.float32),)
        for value, array in zip(node.outputs, found, strict=True):
            arrays[value] = array
            observe(value, array)
    return tuple(arrays[value] for value in network.outputs)


@singledispatch
def compute(operation: Operation, *inputs: Array) -> Array:
    """The result of one operation on arrays [n, ...]."""
    raise TypeError(f"no rule for {type(operation).__name__}")


@compute.register
def _(operation: Convolution, x: Array) -> Array:
    values = operation.filter.values
    windows = _windows(
        x, values.shape[:2], operation.strides, operation.padding, operation.dilation
    )
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)
    result = patches @ values.reshape(-1, values.shape[3])
    return result if operation.bias is None else result + operation.bias.values


@compute.register
def _(operation: DepthwiseConvolution, x: Array) -> Array:
    values = operation.filter.values
    windows = _windows(
        x, values.shape[:2], operation.strides, operation.padding, operation.dilation
    )
    result = np.zeros((*windows.shape[:4], values.shape[3]), np.float32)
    for row, column in np.ndindex(*values.shape[:2]):
        result += windows[..., row, column, None] * values[row, column]
    result = result.reshape(*result.shape[:3], -1)
    return result if operation.bias is None else result + operation.bias.values


@compute.register
def _(operation: Dense, x: Array) -> Array:
    result = x @ operation.matrix.values
    return result if operation.bias is None else result + operation.bias.values


@compute.register
def _(operation: Rectifier, x: Array) -> Array:
    if operation.slope == 0:
        return np.maximum(x, np.float32(0))
    return np.where(x > 0, x, np.float32(operation.slope) * x)


@compute.register
def _(operation: Softmax, x: Array) -> Array:
    exponentials = np.exp(np.float32(operation.beta) * (x - x.max(axis=-1, keepdims=True)))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@compute.register
def _(operation: Add, x: Array, y: Array) -> Array:
    return x + y


@compute.register
def _(operation: Subtract, x: Array, y: Array) -> Array:
    return x - y


@compute.register
def _(operation: MaxPooling, x: Array) -> Array:
    windows = _windows(x, operation.window, operation.strides, operation.padding, fill=-np.inf)
    return windows.max(axis=(4, 5))


@compute.register
def _(operation: AveragePooling, x: Array) -> Array:
    sums = _windows(x, operation.window, operation.strides, operation.padding).sum(axis=(4, 5))
    ones = np.ones((1, *x.shape[1:3], 1), np.float32)
    counts = _windows(ones, operation.window, operation.strides, operation.padding)
    return sums / counts.sum(axis=(4, 5))


@compute.register
def _(operation: Crop, x: Array) -> Array:
    (top, bottom), (left, right) = operation.margins
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


@compute.register
def _(operation: Pad, x: Array) -> Array:
    return np.pad(x, ((0, 0), *operation.margins, (0, 0)))


@compute.register
def _(operation: Reshape, x: Array) -> Array:
    return x.reshape(len(x), *operation.shape)


@compute.register
def _(operation: Concatenate, *inputs: Array) -> Array:
    return np.concatenate(inputs, axis=operation.axis + 1)


def _windows(
    x: Array,
    window: tuple[int, ...],
    strides: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
    fill: float = 0.0,
) -> Array:
    """[n, rows, columns, channels, window rows, window columns]."""
    if padding != ((0, 0), (0, 0)):
        x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    reach = tuple(d * (size - 1) + 1 for d, size in zip(dilation, window, strict=True))
    views: Array = sliding_window_view(x, reach, axis=(1, 2))  # type: ignore[call-overload]
    return views[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
