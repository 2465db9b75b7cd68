"""Operators whose windows slide over images [batch, height, width, channels]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from edgegolf.errors import EdgegolfError
from edgegolf.ir.ops.base import (
    NO_PADDING,
    Inputs,
    Op,
    Padding,
    Pair,
    ReLU,
    check_bias,
    input_shape,
    name_of,
)
from edgegolf.ir.tensor import Shape, Tensor


@dataclass(frozen=True)
class _Window(Op):
    """A window that slides over the rows and columns of [batch, height, width, channels]."""

    strides: Pair = (1, 1)  # steps of the window, (vertical, horizontal)
    padding: Padding = NO_PADDING  # rows and columns added, ((top, bottom), (left, right))

    def _slide(self, image: Shape, size: Sequence[int], dilation: Pair = (1, 1)) -> Pair:
        if len(image) != 4:
            raise EdgegolfError(f"{name_of(self)} slides over images of 4 axes, not {len(image)}")
        if min(*size, *self.strides, *dilation) < 1 or min(map(min, self.padding)) < 0:
            raise EdgegolfError(f"{name_of(self)} has an impossible window")
        counts = window_outputs((image[1], image[2]), (size[0], size[1]), self.strides,
                                self.padding, dilation)  # fmt: skip
        if min(counts) < 1:
            raise EdgegolfError(f"{name_of(self)} has a window that is larger than its image")
        return counts


@dataclass(frozen=True)
class Conv2D(_Window):
    """Inputs: images, filters [outputs, height, width, inputs of a group], bias [outputs]."""

    PARAMETERS = (1, 2)

    dilation: Pair = (1, 1)  # steps between the elements of the window
    activation: ReLU | None = None  # what the result is kept between

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, rows, columns, outputs]."""
        image, filters = input_shape(inputs, 0), input_shape(inputs, 1)
        if len(filters) != 4 or len(image) != 4 or not filters[3] or image[3] % filters[3]:
            raise EdgegolfError(f"filters of shape {filters} for images of shape {image}")
        if filters[0] % (image[3] // filters[3]):
            raise EdgegolfError(f"{filters[0]} filters in {image[3] // filters[3]} groups")
        check_bias(inputs, filters[0])
        return (image[0], *self._slide(image, filters[1:3], self.dilation), filters[0])

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the result times those of a filter."""
        return outputs[0].elements * prod(input_shape(inputs, 1)[1:])


@dataclass(frozen=True)
class DepthwiseConv2D(_Window):
    """Inputs: images, filters [1, height, width, channels · multiplier], bias."""

    PARAMETERS = (1, 2)

    dilation: Pair = (1, 1)
    activation: ReLU | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, rows, columns, channels · multiplier]."""
        image, filters = input_shape(inputs, 0), input_shape(inputs, 1)
        if len(filters) != 4 or len(image) != 4 or filters[0] != 1 or filters[3] % image[3]:
            raise EdgegolfError(f"filters of shape {filters} for channels of shape {image}")
        check_bias(inputs, filters[3])
        return (image[0], *self._slide(image, filters[1:3], self.dilation), filters[3])

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the result times those of a window."""
        return outputs[0].elements * prod(input_shape(inputs, 1)[1:3])


@dataclass(frozen=True)
class TransposeConv2D(_Window):
    """Each input adds its multiple of a filter to a window of the result.

    Inputs: images, filters [outputs, height, width, inputs], bias [outputs]. `strides` are those of
    the windows, `padding` what is cut off the result; negative numbers add rows of zeros to it.
    """

    PARAMETERS = (1, 2)

    activation: ReLU | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, rows, columns, outputs]."""
        image, filters = input_shape(inputs, 0), input_shape(inputs, 1)
        if len(filters) != 4 or len(image) != 4 or image[3] != filters[3] or min(self.strides) < 1:
            raise EdgegolfError(f"filters of shape {filters} for images of shape {image}")
        check_bias(inputs, filters[0])
        rows, columns = (
            (image[axis] - 1) * self.strides[axis - 1] + filters[axis] - sum(self.padding[axis - 1])
            for axis in (1, 2)
        )
        if min(rows, columns) < 1:
            raise EdgegolfError("TransposeConv2D has nothing left of its result")
        return (image[0], rows, columns, filters[0])

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the image times those of the filters that each is multiplied with."""
        return prod(input_shape(inputs, 0)) * prod(input_shape(inputs, 1)[:3])


@dataclass(frozen=True)
class _Pool2D(_Window):
    """Attributes: size is the window's (height, width)."""

    size: Pair = (1, 1)
    activation: ReLU | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, rows, columns, channels]."""
        image = input_shape(inputs, 0)
        counts = self._slide(image, self.size)
        return (image[0], *counts, image[3])


class MaxPool2D(_Pool2D):
    """The largest element of each window; padding never wins."""


class AveragePool2D(_Pool2D):
    """The mean of each window; padding does not count."""


@dataclass(frozen=True)
class _Resize(Op):
    """An image in another size, which the output tensor tells."""

    align_corners: bool = False  # whether the corners' centres stay where they are
    half_pixel_centers: bool = False  # whether a pixel is where its centre is, not its corner

    def shape(self, inputs: Inputs) -> None:
        """Only the output tensor tells it."""
        if len(input_shape(inputs)) != 4:
            raise EdgegolfError(f"{name_of(self)} of {len(input_shape(inputs))} axes")


class ResizeBilinear(_Resize):
    """Interpolated between four pixels."""


class ResizeNearest(_Resize):
    """Each pixel the nearest one."""


def same_padding(size: Pair, window: Pair, strides: Pair, dilation: Pair = (1, 1)) -> Padding:
    """TensorFlow's padding "same": ceil(size / stride) outputs, the odd row at the end."""

    def along(size: int, window: int, stride: int, dilation: int) -> Pair:
        reach = dilation * (window - 1) + 1
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        return total // 2, total - total // 2

    height, width = (
        along(*numbers) for numbers in zip(size, window, strides, dilation, strict=True)
    )
    return height, width


def window_outputs(
    size: Pair, window: Pair, strides: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> Pair:
    """How many positions a window has along each axis."""

    def along(size: int, window: int, stride: int, padding: Pair, dilation: int) -> int:
        return (size + sum(padding) - dilation * (window - 1) - 1) // stride + 1

    height, width = (
        along(*numbers) for numbers in zip(size, window, strides, padding, dilation, strict=True)
    )
    return height, width
