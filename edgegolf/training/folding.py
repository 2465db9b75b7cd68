"""Convolutions of few channels, computed as convolutions of more channels on a narrower image.

A vector unit takes eight numbers at once, and a convolution library lays channels along them: with
two channels it works at a quarter of its speed or less. Here several neighbouring columns of the
image become channels, which costs nothing in channels-last order, and the kernel becomes a larger
one with zeros, which computes as many columns at once. It is the same sum in another order.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.quiet import import_tensorflow

if TYPE_CHECKING:
    import keras

LANES = 8  # float32 numbers of a 256-bit vector


def fold_convolutions(model: keras.Model) -> None:
    """Let every plain convolution of few filters be computed folded, in this model object only."""
    for layer in model.layers:
        columns = LANES // getattr(layer, "filters", LANES)
        if columns > 1 and _is_plain(layer):
            layer.convolution_op = partial(folded_convolution, columns=columns)


def folded_convolution(images: Any, kernel: Any, columns: int) -> Any:
    """A convolution without padding, stride or dilation.

    Args:
        images: float32 [n, height, width, channels].
        kernel: float32 [kernel height, kernel width, channels, filters].
        columns: Columns of the result that are computed at once.

    Returns:
        float32 [n, height - kernel height + 1, width - kernel width + 1, filters].
    """
    tensorflow = import_tensorflow()
    _, height, width, channels = images.shape
    kernel_height, kernel_width, _, filters = kernel.shape
    result_width = width - kernel_width + 1
    blocks = -(-result_width // columns)
    taps = 1 + -(-(kernel_width - 1) // columns)  # blocks that a block of the result depends on
    margin = (blocks + taps - 1) * columns - width
    folded = tensorflow.reshape(
        tensorflow.pad(images, ((0, 0), (0, 0), (0, margin), (0, 0))),
        (-1, height, blocks + taps - 1, columns * channels),
    )
    # [column of the window, column of the kernel, column of the block]
    place = np.zeros((taps * columns, kernel_width, columns), np.float32)
    for block_column in range(columns):
        for kernel_column in range(kernel_width):
            place[block_column + kernel_column, kernel_column, block_column] = 1
    spread = tensorflow.reshape(
        tensorflow.einsum("wkb,hkcf->hwcbf", place, kernel),
        (kernel_height, taps, columns * channels, columns * filters),
    )
    result = tensorflow.nn.conv2d(folded, spread, strides=1, padding="VALID")
    unfolded = tensorflow.reshape(
        result, (-1, height - kernel_height + 1, blocks * columns, filters)
    )
    return unfolded[:, :, :result_width]


def _is_plain(layer: Any) -> bool:
    return type(layer).__name__ == "Conv2D" and (
        (layer.padding, layer.strides, layer.dilation_rate, layer.groups)
        == ("valid", (1, 1), (1, 1), 1)
    )
