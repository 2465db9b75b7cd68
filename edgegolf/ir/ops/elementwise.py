"""Operators that treat every element by itself, or all that broadcast to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.ops.base import Inputs, Op, ReLU, input_shape, name_of
from edgegolf.ir.tensor import Shape


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
class _Arithmetic(_Binary):
    """With an activation behind it, or none."""

    activation: ReLU | None = None


class Add(_Arithmetic):
    """The sum."""


class Sub(_Arithmetic):
    """The first input less the second."""


class Mul(_Arithmetic):
    """The product, element by element."""


class Maximum(_Binary):
    """The larger one, element by element."""


class Minimum(_Binary):
    """The smaller one, element by element."""


class Less(_Binary):
    """Whether the first input is smaller, bool."""


class Greater(_Binary):
    """Whether the first input is larger, bool."""


@dataclass(frozen=True)
class LeakyReLU(Op):
    """x where x > 0, else slope · x."""

    slope: float = 0.0


class Logistic(Op):
    """1 / (1 + e⁻ˣ)."""


class Tanh(Op):
    """The hyperbolic tangent."""


class HardSwish(Op):
    """x · min(6, max(0, x + 3)) / 6."""


class Quantize(Op):
    """Real numbers as integers, or integers of one quantization in another."""


class Dequantize(Op):
    """The real numbers that integers stand for, or float16 as float32."""


class Cast(Op):
    """The same numbers in another type."""


class SquaredDifference(_Binary):
    """The square of the difference."""


class Pow(_Binary):
    """The first input to the power of the second."""


class Div(_Arithmetic):
    """The first input divided by the second."""


class LessEqual(_Binary):
    """Whether the first input is at most the second, bool."""


class GreaterEqual(_Binary):
    """Whether the first input is at least the second, bool."""


class Equal(_Binary):
    """Whether both are equal, bool."""


class NotEqual(_Binary):
    """Whether they differ, bool."""


class LogicalAnd(_Binary):
    """Whether both are true."""


class LogicalOr(_Binary):
    """Whether one is true."""


class PReLU(_Binary):
    """x where x ≥ 0, else x times the second input, which broadcasts to it."""


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
    """x times the probability that a normal number is smaller."""

    approximate: bool = False  # whether with a hyperbolic tangent instead of the error function


class ELU(Op):
    """x where x > 0, else eˣ − 1."""


class Exp(Op):
    """eˣ."""


class Log(Op):
    """The natural logarithm."""


class Sqrt(Op):
    """The square root."""


class Rsqrt(Op):
    """1 / √x."""


class Square(Op):
    """x²."""


class Neg(Op):
    """−x."""


class Abs(Op):
    """|x|."""


class Sin(Op):
    """The sine."""


class Cos(Op):
    """The cosine."""


class Sign(Op):
    """−1, 0 or 1."""


class Floor(Op):
    """The next integer below."""


class Ceil(Op):
    """The next integer above."""


class Round(Op):
    """The nearest integer, ties to even."""


class LogicalNot(Op):
    """Whether the input is false."""
