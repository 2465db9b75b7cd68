"""Sliding windows over images, as convolutions and pooling use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.kernels.call import check_size
from edgegolf.ir.ops import Pair, window_outputs
from edgegolf.ir.tensor import Array


def slide(
    op: Any, size: Pair, images: Array, fill: float, dilation: Pair = (1, 1)
) -> Iterator[tuple[Pair, Array]]:
    """Each element of a window with what it sees in every position.

    Args:
        op: An operator with strides and padding.
        size: Height and width of the window.
        images: `[images, height, width, channels]`.
        fill: What lies outside.
        dilation: Steps between the elements of the window.

    Yields:
        The row and column in the window, and the view
        `[images, output height, output width, channels]`.

    Raises:
        EdgegolfError: The window does not fit into the image.
    """
    height, width = images.shape[1:3]
    counts = window_outputs((height, width), size, op.strides, op.padding, dilation)
    if min(counts) < 1:
        raise EdgegolfError(f"a window of {size} does not fit into {(height, width)}")
    if any(map(any, op.padding)):
        padded = [n + sum(pair) for n, pair in zip((height, width), op.padding, strict=True)]
        check_size((len(images), *padded, images.shape[3]))
        fill = images.dtype.type(fill)
        images = np.pad(images, ((0, 0), *op.padding, (0, 0)), constant_values=fill)
    for row in range(size[0]):
        for column in range(size[1]):
            slices = (
                slice(position * step, position * step + (count - 1) * stride + 1, stride)
                for position, step, count, stride in zip(
                    (row, column), dilation, counts, op.strides, strict=True
                )
            )
            yield (row, column), images[:, next(slices), next(slices)]


def merge_images(data: Array) -> Array:
    """The axes of images and of the graph's batch as one: `[images · batch, h, w, channels]`."""
    if data.ndim != 5:
        raise EdgegolfError(f"an image has {data.ndim - 1} axes where 4 are needed")
    return data.reshape(-1, *data.shape[2:])


def split_images(merged: Array, like: Array) -> Array:
    """Undo `merge_images`, for an array of the same batch as another."""
    return merged.reshape(*like.shape[:2], *merged.shape[1:])
