"""Sliding windows over images, as convolutions and pooling use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.flatbuffer import Table
from edgegolf.golf.reference.call import Array, check_size
from edgegolf.golf.tflite_schema import number


@dataclass(frozen=True)
class Window:
    """A window's height and width, its steps, the steps within it, and who pads.

    Attributes:
        size: Height and width.
        stride: Steps of the window.
        dilation: Steps between the window's elements.
        pads: Whether the image is padded so that only the stride makes the result smaller.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: bool

    @classmethod
    def of(cls, options: Table, size: tuple[int, int], dilates: bool = True) -> Window:
        """The window that an operator's options describe. Raises EdgegolfError if none can."""
        stride = (options.stride_h, options.stride_w)
        dilation = (options.dilation_h_factor, options.dilation_w_factor) if dilates else (1, 1)
        if min(*size, *stride, *dilation) < 1:
            raise EdgegolfError(f"a window of {size} with steps {stride} and {dilation}")
        return cls(size, stride, dilation, options.padding == number("Padding", "SAME"))

    def slide(self, images: Array, fill: float) -> Iterator[tuple[tuple[int, int], Array]]:
        """Each element of the window with what it sees in every position.

        Args:
            images: `[images, height, width, channels]`.
            fill: What lies outside.

        Yields:
            The row and column in the window, and the view
            `[images, output height, output width, channels]`.

        Raises:
            EdgegolfError: The window does not fit into the image.
        """
        counts: list[int] = []
        margins: list[tuple[int, int]] = []
        for length, size, step, stride in zip(
            images.shape[1:3], self.size, self.dilation, self.stride, strict=True
        ):
            extent = (size - 1) * step + 1
            count = -(-length // stride) if self.pads else (length - extent) // stride + 1
            missing = max(0, (count - 1) * stride + extent - length)
            counts.append(count)
            margins.append((missing // 2, missing - missing // 2))
        if min(counts) < 1:
            raise EdgegolfError(f"a window of {self.size} does not fit into {images.shape[1:3]}")
        if any(map(any, margins)):
            height, width = (
                length + sum(margin)
                for length, margin in zip(images.shape[1:3], margins, strict=True)
            )
            check_size((len(images), height, width, images.shape[3]))
            images = np.pad(
                images, ((0, 0), *margins, (0, 0)), constant_values=images.dtype.type(fill)
            )
        for row in range(self.size[0]):
            for column in range(self.size[1]):
                slices = (
                    slice(position * step, position * step + (count - 1) * stride + 1, stride)
                    for position, step, count, stride in zip(
                        (row, column), self.dilation, counts, self.stride, strict=True
                    )
                )
                yield (row, column), images[:, next(slices), next(slices)]


def merge_images(data: Array) -> Array:
    """The axes of images and of the file's batch as one: `[images · batch, h, w, channels]`."""
    if data.ndim != 5:
        raise EdgegolfError(f"an image has {data.ndim - 1} axes where 4 are needed")
    return data.reshape(-1, *data.shape[2:])


def split_images(merged: Array, like: Array) -> Array:
    """Undo `merge_images`, for an array of the same batch as another."""
    return merged.reshape(*like.shape[:2], *merged.shape[1:])
