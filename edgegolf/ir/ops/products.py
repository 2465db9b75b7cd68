"""Products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.ops.base import Inputs, Op, ReLU, check_bias, input_shape
from edgegolf.ir.tensor import Shape, Tensor


@dataclass(frozen=True)
class FullyConnected(Op):
    """Inputs: vectors along the last axis, matrix [units, inputs], bias [units]."""

    PARAMETERS = (1, 2)

    keep_dims: bool = False  # whether the axes before the last one stay; else they become one
    activation: ReLU | None = None  # what the result is kept between

    def shape(self, inputs: Inputs) -> Shape:
        """[…, units]."""
        vectors, matrix = input_shape(inputs, 0), input_shape(inputs, 1)
        if len(matrix) != 2 or not matrix[1] or prod(vectors) % matrix[1]:
            raise EdgegolfError(f"a matrix of shape {matrix} for vectors of shape {vectors}")
        check_bias(inputs, matrix[0])
        if not self.keep_dims:
            return (prod(vectors) // matrix[1], matrix[0])
        if vectors[-1:] != matrix[1:]:
            raise EdgegolfError(f"a matrix of shape {matrix} for vectors of shape {vectors}")
        return (*vectors[:-1], matrix[0])

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the result times those of a row."""
        return outputs[0].elements * input_shape(inputs, 1)[1]


@dataclass(frozen=True)
class BatchMatMul(Op):
    """The products of the matrices that the last two axes are; the others broadcast."""

    transpose_first: bool = False  # whether the first input's matrices are transposed
    transpose_second: bool = False  # whether the second's are

    def shape(self, inputs: Inputs) -> Shape:
        """[…, rows, columns]."""
        first, second = input_shape(inputs, 0), input_shape(inputs, 1)
        if min(len(first), len(second)) < 2:
            raise EdgegolfError(f"BatchMatMul of shapes {first} and {second}")
        rows, depth = first[-2:][:: -1 if self.transpose_first else 1]
        depths, columns = second[-2:][:: -1 if self.transpose_second else 1]
        try:
            batch = np.broadcast_shapes(first[:-2], second[:-2])
        except ValueError:
            batch = None
        if depth != depths or batch is None:
            raise EdgegolfError(f"BatchMatMul of shapes {first} and {second}")
        return (*batch, rows, columns)

    def macs(self, inputs: Inputs, outputs: Sequence[Tensor]) -> int:
        """Elements of the result times the length of a row."""
        return outputs[0].elements * input_shape(inputs)[-2 if self.transpose_first else -1]
