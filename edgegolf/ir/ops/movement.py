"""Operators that move elements."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from edgegolf.errors import EdgegolfError
from edgegolf.ir.ops.base import Inputs, Op, Padding, Pair, Told, input_shape, name_of
from edgegolf.ir.tensor import Shape


class Reshape(Told):
    """The same elements in the same order, in the output tensor's shape."""


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order."""

    axes: tuple[int, ...]

    def shape(self, inputs: Inputs) -> Shape:
        """The input's dimensions in that order."""
        shape = input_shape(inputs, 0)
        if sorted(self.axes) != list(range(len(shape))):
            raise EdgegolfError(f"Transpose to the axes {list(self.axes)} of {len(shape)}")
        return tuple(shape[axis] for axis in self.axes)


@dataclass(frozen=True)
class Pad(Op):
    """Elements added around."""

    margins: tuple[Pair, ...]  # (before, after) of each axis
    # What is added: an integer as it is stored, or a real number; None adds zeros.
    value: float | None = None

    def shape(self, inputs: Inputs) -> Shape:
        """The input's, with the margins."""
        shape = input_shape(inputs, 0)
        if len(self.margins) != len(shape) or any(min(pair) < 0 for pair in self.margins):
            raise EdgegolfError(f"Pad by {self.margins} of {len(shape)} axes")
        return tuple(size + sum(pair) for size, pair in zip(shape, self.margins, strict=True))


@dataclass(frozen=True)
class Slice(Op):
    """Some elements of each axis, in the output tensor's shape, which may lack axes of length 1."""

    starts: tuple[int, ...]  # the first element of each axis
    steps: tuple[int, ...]  # from one element to the next; negative ones go back
    sizes: tuple[int, ...]  # how many

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
        shape = input_shape(inputs, 0)
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
        shapes = [input_shape(inputs, index) for index in range(len(inputs))]
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
        shapes = {input_shape(inputs, index) for index in range(len(inputs))}
        if len(shapes) != 1:
            raise EdgegolfError(f"Stack of the shapes {sorted(shapes)}")
        (shape,) = shapes
        return (*shape[: self.axis], len(inputs), *shape[self.axis :])


@dataclass(frozen=True)
class Unstack(Told):
    """An output for each element of an axis, which goes."""

    axis: int


@dataclass(frozen=True)
class Split(Told):
    """Pieces of an axis, one for each output, whose lengths the output tensors tell."""

    axis: int


@dataclass(frozen=True)
class Gather(Op):
    """Elements along an axis, which the second input numbers."""

    axis: int = 0  # counted from 0
    batch_axes: int = 0  # how many first axes both inputs have in common

    def shape(self, inputs: Inputs) -> Shape:
        """The numbers' shape in the place of the axis."""
        data, places = input_shape(inputs, 0), input_shape(inputs, 1)
        axis, batch = self.axis, self.batch_axes
        if not batch <= axis < len(data) or places[:batch] != data[:batch]:
            raise EdgegolfError(f"Gather of shapes {data} and {places} along axis {axis}")
        return (*data[:axis], *places[batch:], *data[axis + 1 :])


@dataclass(frozen=True)
class Tile(Op):
    """The input several times along each axis."""

    multiples: tuple[int, ...]

    def shape(self, inputs: Inputs) -> Shape:
        """The input's, multiplied."""
        shape = input_shape(inputs)
        if len(shape) != len(self.multiples) or min(self.multiples, default=0) < 0:
            raise EdgegolfError(f"Tile by {self.multiples} of {len(shape)} axes")
        return tuple(size * count for size, count in zip(shape, self.multiples, strict=True))


class BroadcastTo(Told):
    """The input in the output tensor's shape."""


@dataclass(frozen=True)
class MirrorPad(Pad):
    """Margins that mirror the input."""

    symmetric: bool = False  # whether the outermost element is mirrored, too


@dataclass(frozen=True)
class Reverse(Op):
    """Some axes from their end to their start."""

    axes: tuple[int, ...]


@dataclass(frozen=True)
class SpaceToDepth(Op):
    """Blocks of pixels as channels of one."""

    block: int

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, height / block, width / block, channels · block²]."""
        shape, block = input_shape(inputs), self.block
        if len(shape) != 4 or block < 1 or shape[1] % block or shape[2] % block:
            raise EdgegolfError(f"SpaceToDepth of shape {shape} in blocks of {block}")
        return (shape[0], shape[1] // block, shape[2] // block, shape[3] * block**2)


@dataclass(frozen=True)
class DepthToSpace(Op):
    """Channels of a pixel as a block of pixels."""

    block: int

    def shape(self, inputs: Inputs) -> Shape:
        """[batch, height · block, width · block, channels / block²]."""
        shape, block = input_shape(inputs), self.block
        if len(shape) != 4 or block < 1 or shape[3] % block**2:
            raise EdgegolfError(f"DepthToSpace of shape {shape} in blocks of {block}")
        return (shape[0], shape[1] * block, shape[2] * block, shape[3] // block**2)


@dataclass(frozen=True)
class SpaceToBatch(Op):
    """Every block-th pixel as an image, of images with margins of zeros."""

    block: tuple[int, ...]  # steps along each axis behind the first one
    margins: tuple[Pair, ...]  # (before, after) of each

    def shape(self, inputs: Inputs) -> Shape:
        """[batch · blocks, …]."""
        shape = input_shape(inputs)
        count = len(self.block)
        padded = [n + sum(m) for n, m in zip(shape[1:], self.margins, strict=False)]
        if (
            not len(self.margins) == count < len(shape)
            or min(self.block, default=0) < 1
            or any(n % block for n, block in zip(padded, self.block, strict=True))
        ):
            raise EdgegolfError(f"{name_of(self)} of shape {shape} in blocks of {self.block}")
        inner = (n // block for n, block in zip(padded, self.block, strict=True))
        return (shape[0] * prod(self.block), *inner, *shape[1 + count :])


class BatchToSpace(SpaceToBatch):
    """Undoes `SpaceToBatch`: images interleaved, the margins cut off."""

    def shape(self, inputs: Inputs) -> Shape:
        """[batch / blocks, …]."""
        shape, count = input_shape(inputs), len(self.block)
        if (
            not len(self.margins) == count < len(shape)
            or min(self.block, default=0) < 1
            or shape[0] % prod(self.block)
        ):
            raise EdgegolfError(f"{name_of(self)} of shape {shape} in blocks of {self.block}")
        inner = (
            n * block - sum(m)
            for n, block, m in zip(shape[1 : 1 + count], self.block, self.margins, strict=True)
        )
        return (shape[0] // prod(self.block), *inner, *shape[1 + count :])
