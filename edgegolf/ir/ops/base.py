"""What all operators have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, TypeAlias

from edgegolf.errors import EdgegolfError
from edgegolf.ir.tensor import Shape, Tensor

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
        return input_shape(inputs, 0)

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int | None:
        """Multiply-accumulates of one application; None if unknown."""
        return 0


class Told(Op):
    """One whose results only the output tensors tell the shapes of."""

    def shape(self, inputs: Inputs) -> None:
        """Unknown."""


@dataclass(frozen=True)
class ReLU(Op):
    """The input, kept between two bounds: ReLU6 has `high` 6."""

    low: float = 0.0
    high: float = inf


@dataclass(frozen=True)
class Unsupported(Told):
    """An operator that is not covered; `name` is what its file calls it."""

    name: str  # for messages
    why: str = ""  # what exactly is not covered, empty if the operator is

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> None:
        """Unknown."""


def input_shape(inputs: Inputs, index: int = 0) -> Shape:
    """The shape of an input that must be there. Raises EdgegolfError if it is not."""
    tensor = inputs[index] if index < len(inputs) else None
    if tensor is None:
        raise EdgegolfError(f"an operator lacks its input {index}")
    return tensor.shape


def check_bias(inputs: Inputs, units: int) -> None:
    """Refuse a bias that has not one number for each unit. Raises EdgegolfError."""
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None and bias.elements != units:
        raise EdgegolfError(f"{bias.elements} biases for {units} channels")


def name_of(op: Op) -> str:
    """For messages."""
    return type(op).__name__
