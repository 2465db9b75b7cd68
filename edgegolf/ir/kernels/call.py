"""What a kernel is given: a node, and its arrays with an axis of images in front.

Every array has one axis more than its tensor: the first one counts images. Where a value is the
same for all images, as that of a constant, that axis has length 1 and broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, singledispatch
from math import prod

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.graph import Node
from edgegolf.ir.lowering import IntegerArithmetic, lower
from edgegolf.ir.ops import Op, ReLU
from edgegolf.ir.tensor import Array, Tensor

#: Elements of the largest array that a graph may ask for; beyond it is taken for hostile.
MAXIMUM_ELEMENTS = 2**27

QUANTIZED = ("int8", "uint8")


@dataclass(frozen=True)
class Call:
    """One execution of a node."""

    node: Node  # what is computed
    # Its inputs, `[images or 1, *shape]`; None for one that is left out.
    arrays: tuple[Array | None, ...]

    @property
    def output(self) -> Tensor:
        """The tensor of the only result."""
        return self.node.output

    @cached_property
    def arithmetic(self) -> IntegerArithmetic:
        """How it computes on integers."""
        return lower(self.node)

    def tensor(self, index: int) -> Tensor:
        """An input that must be there. Raises EdgegolfError if it is not."""
        found = self.node.inputs[index] if index < len(self.node.inputs) else None
        if found is None:
            raise EdgegolfError(f"{self.name} lacks its input {index}")
        return found

    def array(self, index: int = 0) -> Array:
        """The array of an input that must be there."""
        self.tensor(index)
        array = self.arrays[index]
        assert array is not None
        return array

    def centred(self, index: int = 0) -> Array:
        """The integers of a quantized input less its zero point, int64."""
        return self.array(index).astype(np.int64) - self.tensor(index).zero_point

    @property
    def name(self) -> str:
        """The operator's name."""
        return type(self.node.op).__name__

    def kind(self, *supported: str, inputs: int = 1) -> str:
        """The type that the first inputs and the result share.

        Raises:
            EdgegolfError: They differ, or their type is not among the supported ones.
        """
        types = [self.tensor(index).dtype for index in range(inputs)]
        types.append(self.output.dtype)
        if len(set(types)) > 1 or types[0] not in supported:
            raise EdgegolfError(
                f"the interpreter has no {self.name} from {', '.join(types[:-1])} to {types[-1]}"
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

    def pair(self) -> tuple[Array, ...]:
        """Both operands as they are, so aligned."""
        return self.aligned(self.array(0), self.array(1))

    def stored(self, integers: Array) -> Array:
        """Int64 results less the zero point, as the output stores them."""
        low, high = self.arithmetic.low, self.arithmetic.high
        return np.clip(integers + self.output.zero_point, low, high).astype(self.output.dtype)

    def activated(self, reals: Array) -> Array:
        """Real results with the fused activation, in the type of the output."""
        activation: ReLU | None = getattr(self.node.op, "activation", None)
        if activation is not None:
            reals = np.clip(reals, activation.low, activation.high)
        return reals.astype(self.output.dtype)


def check_size(shape: tuple[int, ...]) -> None:
    """Refuse an array that is too large. Raises EdgegolfError."""
    if prod(shape) > MAXIMUM_ELEMENTS:
        raise EdgegolfError(f"a tensor of {prod(shape):,} elements is too large to evaluate")


@singledispatch
def compute(op: Op, call: Call) -> Array | list[Array]:
    """The result of a node, `[images or 1, *shape]`, or the list of its results.

    Each operator registers its kernel.
    """
    raise EdgegolfError(f"the interpreter does not have the operator {call.name}")
