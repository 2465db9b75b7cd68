"""What nodes compute: operators named as the field names them, with the semantics of TFLite.

Constants that say how (axes, paddings, slices) are attributes; those that are computed with
(weights, biases) are inputs. Filters are laid out as TFLite does. Each operator knows the shape of
its result, its multiply-accumulates, and which of its inputs hold parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.tensor import Shape, Tensor

if TYPE_CHECKING:
    from edgegolf.ir.graph import Graph

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[Pair, Pair]
Inputs: TypeAlias = Sequence[Tensor | None]

NO_PADDING: Padding = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Op:
    """What a node computes, without the tensors that it computes with."""

    #: Positions of the inputs that may hold weights and biases.
    PARAMETERS: ClassVar[tuple[int, ...]] = ()

    def shape(self, inputs: Inputs) -> Shape | None:
        """The result's shape, None where only the output tensor tells it.

        Raises:
            EdgegolfError: The operator cannot be applied to inputs of such shapes.
        """
        return _shape(inputs, 0)

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int | None:
        """Multiply-accumulates of one application; None if unknown."""
        return 0


@dataclass(frozen=True)
class ReLU(Op):
    """The input, kept between two bounds: ReLU6 has `high` 6."""

    low: float = 0.0
    high: float = inf


@dataclass(frozen=True)
class _Window(Op):
    """A window that slides over the rows and columns of [batch, height, width, channels].

    Attributes:
        strides: Steps of the window, (vertical, horizontal).
        padding: Rows and columns added, ((top, bottom), (left, right)).
    """

    strides: Pair = (1, 1)
    padding: Padding = NO_PADDING

    def _slide(self, image: Shape, size: Sequence[int], dilation: Pair = (1, 1)) -> Pair:
        if len(image) != 4:
            raise EdgegolfError(f"{_name(self)} slides over images of 4 axes, not {len(image)}")
        if min(*size, *self.strides, *dilation) < 1 or min(map(min, self.padding)) < 0:
            raise EdgegolfError(f"{_name(self)} has an impossible window")
        counts = window_outputs((image[1], image[2]), (size[0], size[1]), self.strides,
                                self.padding, dilation)  # fmt: skip
        if min(counts) < 1:
            raise EdgegolfError(f"{_name(self)} has a window that is larger than its image")
        return counts


@dataclass(frozen=True)
class Conv2D(_Window):
    """Inputs: images, filters [outputs, height, width, inputs of a group], bias [outputs].

    Attributes:
        dilation: Steps between the elements of the window.
        activation: What the result is kept between.
    """

    PARAMETERS = (1, 2)

    dilation: Pair = (1, 1)
    activation: ReLU | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, rows, columns, outputs]."""
        image, filters = _shape(inputs, 0), _shape(inputs, 1)
        if len(filters) != 4 or len(image) != 4 or not filters[3] or image[3] % filters[3]:
            raise EdgegolfError(f"filters of shape {filters} for images of shape {image}")
        if filters[0] % (image[3] // filters[3]):
            raise EdgegolfError(f"{filters[0]} filters in {image[3] // filters[3]} groups")
        _check_bias(inputs, filters[0])
        return (image[0], *self._slide(image, filters[1:3], self.dilation), filters[0])

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the result times those of a filter."""
        return outputs[0].elements * prod(_shape(inputs, 1)[1:])


@dataclass(frozen=True)
class DepthwiseConv2D(_Window):
    """Inputs: images, filters [1, height, width, channels · multiplier], bias."""

    PARAMETERS = (1, 2)

    dilation: Pair = (1, 1)
    activation: ReLU | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, rows, columns, channels · multiplier]."""
        image, filters = _shape(inputs, 0), _shape(inputs, 1)
        if len(filters) != 4 or len(image) != 4 or filters[0] != 1 or filters[3] % image[3]:
            raise EdgegolfError(f"filters of shape {filters} for channels of shape {image}")
        _check_bias(inputs, filters[3])
        return (image[0], *self._slide(image, filters[1:3], self.dilation), filters[3])

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the result times those of a window."""
        return outputs[0].elements * prod(_shape(inputs, 1)[1:3])


@dataclass(frozen=True)
class FullyConnected(Op):
    """Inputs: vectors along the last axis, matrix [units, inputs], bias [units].

    Attributes:
        keep_dims: Whether the axes before the last one stay; else they become one.
        activation: What the result is kept between.
    """

    PARAMETERS = (1, 2)

    keep_dims: bool = False
    activation: ReLU | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """[…, units]."""
        vectors, matrix = _shape(inputs, 0), _shape(inputs, 1)
        if len(matrix) != 2 or not matrix[1] or prod(vectors) % matrix[1]:
            raise EdgegolfError(f"a matrix of shape {matrix} for vectors of shape {vectors}")
        _check_bias(inputs, matrix[0])
        if not self.keep_dims:
            return (prod(vectors) // matrix[1], matrix[0])
        if vectors[-1:] != matrix[1:]:
            raise EdgegolfError(f"a matrix of shape {matrix} for vectors of shape {vectors}")
        return (*vectors[:-1], matrix[0])

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the result times those of a row."""
        return outputs[0].elements * _shape(inputs, 1)[1]


@dataclass(frozen=True)
class _Binary(Op):
    """Two inputs that broadcast."""

    def shape(self, inputs: Inputs) -> Shape:
        """The common shape."""
        try:
            return np.broadcast_shapes(_shape(inputs, 0), _shape(inputs, 1))
        except ValueError:
            raise EdgegolfError(
                f"{_name(self)} of shapes {_shape(inputs, 0)} and {_shape(inputs, 1)}"
            ) from None


@dataclass(frozen=True)
class Add(_Binary):
    """The sum."""

    activation: ReLU | None = None


@dataclass(frozen=True)
class Sub(_Binary):
    """The first input less the second."""

    activation: ReLU | None = None


@dataclass(frozen=True)
class Mul(_Binary):
    """The product, element by element."""

    activation: ReLU | None = None


@dataclass(frozen=True)
class Maximum(_Binary):
    """The larger one, element by element."""


@dataclass(frozen=True)
class Minimum(_Binary):
    """The smaller one, element by element."""


@dataclass(frozen=True)
class Less(_Binary):
    """Whether the first input is smaller, bool."""


@dataclass(frozen=True)
class Greater(_Binary):
    """Whether the first input is larger, bool."""


@dataclass(frozen=True)
class LeakyReLU(Op):
    """x where x > 0, else slope · x."""

    slope: float = 0.0


@dataclass(frozen=True)
class Logistic(Op):
    """1 / (1 + e⁻ˣ)."""


@dataclass(frozen=True)
class Tanh(Op):
    """The hyperbolic tangent."""


@dataclass(frozen=True)
class HardSwish(Op):
    """x · min(6, max(0, x + 3)) / 6."""


@dataclass(frozen=True)
class Softmax(Op):
    """Of beta · x, along the last axis."""

    beta: float = 1.0


@dataclass(frozen=True)
class Quantize(Op):
    """Real numbers as integers, or integers of one quantization in another."""


@dataclass(frozen=True)
class Dequantize(Op):
    """The real numbers that integers stand for, or float16 as float32."""


@dataclass(frozen=True)
class Cast(Op):
    """The same numbers in another type."""


@dataclass(frozen=True)
class _Pool2D(_Window):
    """Attributes: size is the window's (height, width)."""

    size: Pair = (1, 1)
    activation: ReLU | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, rows, columns, channels]."""
        image = _shape(inputs, 0)
        counts = self._slide(image, self.size)
        return (image[0], *counts, image[3])


@dataclass(frozen=True)
class MaxPool2D(_Pool2D):
    """The largest element of each window; padding never wins."""


@dataclass(frozen=True)
class AveragePool2D(_Pool2D):
    """The mean of each window; padding does not count."""


@dataclass(frozen=True)
class Mean(Op):
    """The mean over some axes, counted from 0."""

    axes: tuple[int, ...]
    keep_dims: bool = False

    def shape(self, inputs: Inputs) -> Shape:
        """Without the axes, or with them of length 1."""
        shape = _shape(inputs, 0)
        if any(not 0 <= axis < len(shape) for axis in self.axes):
            raise EdgegolfError(f"Mean over the axes {list(self.axes)} of {len(shape)}")
        return tuple(
            1 if axis in self.axes else size
            for axis, size in enumerate(shape)
            if self.keep_dims or axis not in self.axes
        )


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in the same order, in the output tensor's shape."""

    def shape(self, inputs: Inputs) -> None:
        """Only the output tensor tells it."""


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order."""

    axes: tuple[int, ...]

    def shape(self, inputs: Inputs) -> Shape:
        """The input's dimensions in that order."""
        shape = _shape(inputs, 0)
        if sorted(self.axes) != list(range(len(shape))):
            raise EdgegolfError(f"Transpose to the axes {list(self.axes)} of {len(shape)}")
        return tuple(shape[axis] for axis in self.axes)


@dataclass(frozen=True)
class Pad(Op):
    """Elements added around.

    Attributes:
        margins: (before, after) of each axis.
        value: What is added: an integer as it is stored, or a real number; None adds zeros.
    """

    margins: tuple[Pair, ...]
    value: float | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """The input's, with the margins."""
        shape = _shape(inputs, 0)
        if len(self.margins) != len(shape) or any(min(pair) < 0 for pair in self.margins):
            raise EdgegolfError(f"Pad by {self.margins} of {len(shape)} axes")
        return tuple(size + sum(pair) for size, pair in zip(shape, self.margins, strict=True))


@dataclass(frozen=True)
class Slice(Op):
    """Some elements of each axis, in the output tensor's shape, which may lack axes of length 1.

    Attributes:
        starts: The first element of each axis.
        steps: From one element to the next; negative ones go back.
        sizes: How many.
    """

    starts: tuple[int, ...]
    steps: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def crop(cls, margins: Padding, image: Shape) -> Slice:
        """What cuts rows and columns off an image of 4 axes."""
        (top, bottom), (left, right) = margins
        batch, height, width, channels = image
        sizes = (batch, height - top - bottom, width - left - right, channels)
        return cls((0, top, left, 0), (1, 1, 1, 1), sizes)

    def margins(self, image: Shape) -> Padding | None:
        """What it cuts off an image of 4 axes, None where it does something else."""
        if self.steps != (1, 1, 1, 1) or len(image) != 4:
            return None
        cut = [
            (start, length - start - size)
            for start, size, length in zip(self.starts, self.sizes, image, strict=True)
        ]
        return (cut[1], cut[2]) if cut[0] == cut[3] == (0, 0) else None

    def shape(self, inputs: Inputs) -> None:
        """Only the output tensor tells it."""
        shape = _shape(inputs, 0)
        ranges = list(zip(self.starts, self.steps, self.sizes, shape, strict=False))
        last = [start + step * (size - 1) for start, step, size, _ in ranges]
        if not len(self.starts) == len(self.steps) == len(self.sizes) == len(shape) or any(
            size < 0 or (size and not (0 <= start < length and 0 <= end < length))
            for (start, _, size, length), end in zip(ranges, last, strict=True)
        ):
            raise EdgegolfError(f"Slice {self.starts} + {self.sizes} reaches outside {shape}")


@dataclass(frozen=True)
class Concatenate(Op):
    """The inputs one after the other along an axis, counted from 0."""

    axis: int

    def shape(self, inputs: Inputs) -> Shape:
        """The inputs' lengths added along the axis."""
        shapes = [_shape(inputs, index) for index in range(len(inputs))]
        axis = self.axis
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes if axis < len(shape)}
        if len(others) != 1 or any(axis >= len(shape) for shape in shapes):
            raise EdgegolfError(f"Concatenate of shapes {shapes} along axis {axis}")
        return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


@dataclass(frozen=True)
class Stack(Op):
    """The inputs one after the other along a new axis, counted from 0."""

    axis: int

    def shape(self, inputs: Inputs) -> Shape:
        """The inputs' common shape with an axis more."""
        shapes = {_shape(inputs, index) for index in range(len(inputs))}
        if len(shapes) != 1:
            raise EdgegolfError(f"Stack of the shapes {sorted(shapes)}")
        (shape,) = shapes
        return (*shape[: self.axis], len(inputs), *shape[self.axis :])


@dataclass(frozen=True)
class Loop(Op):
    """A graph whose outputs are its next inputs, run a known number of times.

    The node's inputs are the first inputs of the body, its outputs the last outputs.
    """

    body: Graph
    iterations: int


@dataclass(frozen=True)
class While(Op):
    """A graph whose outputs are its next inputs, run while another graph of them says true."""

    condition: Graph
    body: Graph


@dataclass(frozen=True)
class Unsupported(Op):
    """An operator that is not covered; `name` is what its file calls it.

    Attributes:
        name: For messages.
        why: What exactly is not covered, empty if the operator is.
    """

    name: str
    why: str = ""

    def shape(self, inputs: Inputs) -> None:
        """Unknown."""

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> None:
        """Unknown."""


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


def _shape(inputs: Inputs, index: int) -> Shape:
    tensor = inputs[index] if index < len(inputs) else None
    if tensor is None:
        raise EdgegolfError(f"an operator lacks its input {index}")
    return tensor.shape


def _check_bias(inputs: Inputs, units: int) -> None:
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None and bias.elements != units:
        raise EdgegolfError(f"{bias.elements} biases for {units} channels")


def _name(op: Op) -> str:
    return type(op).__name__
