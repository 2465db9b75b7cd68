"""Operators that summarise along axes."""

from __future__ import annotations

from dataclasses import dataclass

from edgegolf.errors import EdgegolfError
from edgegolf.ir.ops.base import Inputs, Op, input_shape, name_of
from edgegolf.ir.tensor import Shape


@dataclass(frozen=True)
class Softmax(Op):
    """Of beta · x, along the last axis."""

    beta: float = 1.0


class LogSoftmax(Op):
    """The logarithm of the softmax along the last axis."""


class L2Normalize(Op):
    """Divided by the root of the sum of squares along the last axis."""


@dataclass(frozen=True)
class _Reduction(Op):
    """Over some axes, counted from 0."""

    axes: tuple[int, ...]
    keep_dims: bool = False

    def shape(self, inputs: Inputs) -> Shape:
        """Without the axes, or with them of length 1."""
        shape = input_shape(inputs, 0)
        if any(not 0 <= axis < len(shape) for axis in self.axes):
            raise EdgegolfError(f"{name_of(self)} over the axes {list(self.axes)} of {len(shape)}")
        return tuple(
            1 if axis in self.axes else size
            for axis, size in enumerate(shape)
            if self.keep_dims or axis not in self.axes
        )


class Mean(_Reduction):
    """The mean."""


class Sum(_Reduction):
    """The sum."""


class ReduceAny(_Reduction):
    """Whether one of the elements is true."""


class ReduceMax(_Reduction):
    """The largest element."""


class ReduceMin(_Reduction):
    """The smallest element."""


@dataclass(frozen=True)
class ArgMax(Op):
    """The place of the largest element along an axis, which goes: int32 or int64."""

    axis: int

    def shape(self, inputs: Inputs) -> Shape:
        """Without the axis."""
        shape = input_shape(inputs)
        return (*shape[: self.axis], *shape[self.axis + 1 :])


class ArgMin(ArgMax):
    """The place of the smallest one."""


@dataclass(frozen=True)
class CumSum(Op):
    """The sum of the elements so far along an axis."""

    axis: int  # counted from 0
    exclusive: bool = False  # whether without the element itself
    reverse: bool = False  # whether from the end
