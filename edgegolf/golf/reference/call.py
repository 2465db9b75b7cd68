"""What a kernel is given: operands with an axis of images in front, types, options.

Every array has one axis more than its tensor in the file: the first one counts images. Where a
value is the same for all images, as that of a constant, that axis has length 1 and broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.golf.flatbuffer import Table

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

#: Elements of the largest array that a file may ask for; beyond it is taken for hostile.
MAXIMUM_ELEMENTS = 2**27


@dataclass(frozen=True)
class TensorType:
    """What a file says about a tensor.

    Attributes:
        dtype: Its numpy type's name.
        shape: Its dimensions, without the axis of images.
        scale: float32, one or one per channel; empty if it is not quantized.
        zero_point: int64, as many as scales.
        channel_axis: The axis of `shape` that the scales belong to if there are several.
    """

    dtype: str
    shape: tuple[int, ...]
    scale: Array
    zero_point: Array
    channel_axis: int

    @property
    def only_scale(self) -> np.float32:
        """The scale of a tensor that has a single one. Raises EdgegolfError otherwise."""
        if self.scale.size != 1:
            raise EdgegolfError(f"a tensor has {self.scale.size} scales where one is needed")
        return np.float32(self.scale[0])

    @property
    def only_zero_point(self) -> int:
        """The zero point that goes with `only_scale`."""
        return int(self.zero_point[0]) if self.zero_point.size else 0


@dataclass(frozen=True)
class Operand:
    """An input of an operator: `data` is `[images or 1, *shape]`."""

    data: Array
    type: TensorType

    @property
    def centred(self) -> Array:
        """A quantized tensor's integers less its zero point, int64."""
        return self.data.astype(np.int64) - self.type.only_zero_point


@dataclass(frozen=True)
class Call:
    """One execution of an operator.

    Attributes:
        name: The operator's name.
        operands: Its inputs; None for one that is left out.
        outputs: The types of its outputs.
        options: Its options; an empty table if the file has none.
    """

    name: str
    operands: tuple[Operand | None, ...]
    outputs: tuple[TensorType, ...]
    options: Table

    def operand(self, index: int) -> Operand:
        """An input that must be there. Raises EdgegolfError if it is not."""
        found = self.optional(index)
        if found is None:
            raise EdgegolfError(f"{self.name} lacks its input {index}")
        return found

    def optional(self, index: int) -> Operand | None:
        """An input that may be left out."""
        return self.operands[index] if index < len(self.operands) else None

    def integers(self, index: int) -> list[int]:
        """An input such as a shape or an axis, flattened.

        Raises:
            EdgegolfError: It differs between images.
        """
        data = self.operand(index).data
        if data.dtype.kind not in "iu" or (data != data[:1]).any():
            raise EdgegolfError(f"input {index} of {self.name} is no number common to all images")
        return [int(number) for number in data[0].ravel()]

    def element_type(self, *supported: str, operands: int = 1) -> str:
        """The type that the first inputs and the first output share.

        Raises:
            EdgegolfError: They differ, or their type is not among the supported ones.
        """
        types = [self.operand(index).type.dtype for index in range(operands)]
        types.append(self.outputs[0].dtype)
        if len(set(types)) > 1 or types[0] not in supported:
            raise EdgegolfError(
                f"the NumPy evaluation has no {self.name} from {', '.join(types[:-1])} "
                f"to {types[-1]}"
            )
        return types[0]

    def aligned(self, *arrays: Array) -> tuple[Array, ...]:
        """Arrays with axes of length 1 inserted behind that of images, so that they broadcast.

        Raises:
            EdgegolfError: The result would be too large.
        """
        rank = max(array.ndim for array in arrays)
        shapes = [(len(a), *(1,) * (rank - a.ndim), *a.shape[1:]) for a in arrays]
        check_size(np.broadcast_shapes(*shapes))
        return tuple(array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True))


def check_size(shape: tuple[int, ...]) -> None:
    """Refuse an array that is too large. Raises EdgegolfError."""
    if prod(shape) > MAXIMUM_ELEMENTS:
        raise EdgegolfError(f"a tensor of {prod(shape):,} elements is too large to evaluate")
