"""Operators that treat every element by itself, or all that broadcast to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.ops.base import Inputs, Op, ReLU, input_shape, name_of
from edgegolf.ir.tensor import Shape


@dataclass(frozen=True)
class _Binary(Op):
    """Two inputs that broadcast."""

    def shape(self, inputs: Inputs) -> Shape:
        """The common shape."""
        try:
            return np.broadcast_shapes(input_shape(inputs, 0), input_shape(inputs, 1))
        except ValueError:
            raise EdgegolfError(
                f"{name_of(self)} of shapes {input_shape(inputs, 0)} and {input_shape(inputs, 1)}"
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
class Quantize(Op):
    """Real numbers as integers, or integers of one quantization in another."""


@dataclass(frozen=True)
class Dequantize(Op):
    """The real numbers that integers stand for, or float16 as float32."""


@dataclass(frozen=True)
class Cast(Op):
    """The same numbers in another type."""


@dataclass(frozen=True)
class SquaredDifference(_Binary):
    """The square of the difference."""


@dataclass(frozen=True)
class Pow(_Binary):
    """The first input to the power of the second."""


@dataclass(frozen=True)
class Div(_Binary):
    """The first input divided by the second."""

    activation: ReLU | None = None


@dataclass(frozen=True)
class LessEqual(_Binary):
    """Whether the first input is at most the second, bool."""


@dataclass(frozen=True)
class GreaterEqual(_Binary):
    """Whether the first input is at least the second, bool."""


@dataclass(frozen=True)
class Equal(_Binary):
    """Whether both are equal, bool."""


@dataclass(frozen=True)
class NotEqual(_Binary):
    """Whether they differ, bool."""


@dataclass(frozen=True)
class LogicalAnd(_Binary):
    """Whether both are true."""


@dataclass(frozen=True)
class LogicalOr(_Binary):
    """Whether one is true."""


@dataclass(frozen=True)
class PReLU(_Binary):
    """x where x ≥ 0, else x times the second input, which broadcasts to it."""


@dataclass(frozen=True)
class Select(Op):
    """The second input where the first, bool, is true, else the third; all broadcast."""

    def shape(self, inputs: Inputs) -> Shape:
        """The common shape; a vector of conditions chooses along the first axis."""
        shapes = [input_shape(inputs, index) for index in range(3)]
        if len(shapes[0]) == 1 and len(shapes[1]) > 1 and shapes[1][0] == shapes[0][0] != 1:
            shapes[0] = (shapes[0][0], *(1,) * (len(shapes[1]) - 1))
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            raise EdgegolfError(f"Select of the shapes {shapes}") from None


@dataclass(frozen=True)
class GELU(Op):
    """x times the probability that a normal number is smaller.

    Attributes:
        approximate: Whether with a hyperbolic tangent instead of the error function.
    """

    approximate: bool = False


@dataclass(frozen=True)
class ELU(Op):
    """x where x > 0, else eˣ − 1."""


@dataclass(frozen=True)
class Exp(Op):
    """eˣ."""


@dataclass(frozen=True)
class Log(Op):
    """The natural logarithm."""


@dataclass(frozen=True)
class Sqrt(Op):
    """The square root."""


@dataclass(frozen=True)
class Rsqrt(Op):
    """1 / √x."""


@dataclass(frozen=True)
class Square(Op):
    """x²."""


@dataclass(frozen=True)
class Neg(Op):
    """−x."""


@dataclass(frozen=True)
class Abs(Op):
    """|x|."""


@dataclass(frozen=True)
class Sin(Op):
    """The sine."""


@dataclass(frozen=True)
class Cos(Op):
    """The cosine."""


@dataclass(frozen=True)
class Sign(Op):
    """−1, 0 or 1."""


@dataclass(frozen=True)
class Floor(Op):
    """The next integer below."""


@dataclass(frozen=True)
class Ceil(Op):
    """The next integer above."""


@dataclass(frozen=True)
class Round(Op):
    """The nearest integer, ties to even."""


@dataclass(frozen=True)
class LogicalNot(Op):
    """Whether the input is false."""
