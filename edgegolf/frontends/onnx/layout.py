"""Values of a file whose axes the graph holds in another order.

ONNX has the channels of images first, the graph last. A value is a tensor and the order of the
file's axes in it, so that most transpositions of a file, and those between the two conventions,
are no nodes: one is added only where elements must really move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.frontends.constants import Constants
from edgegolf.frontends.onnx.integers import Encoded
from edgegolf.ir import Node, Op, QuantParams, Tensor, ops
from edgegolf.ir.kernels.call import check_size
from edgegolf.ir.tensor import Array, Shape

Order: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A computed value of the file."""

    tensor: Tensor  # where the graph has it
    order: Order  # which axis of the file's value each axis of the tensor is

    @property
    def shape(self) -> Shape:
        """Its shape in the file."""
        return tuple(self.tensor.shape[self.order.index(axis)] for axis in range(self.rank))

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.order)


#: What a node of the file reads: a constant or a computed value.
Operand: TypeAlias = "Array | Value"


#: Operators whose results have their input's scale.
MOVING = (
    ops.AveragePool2D, ops.Concatenate, ops.MaxPool2D, ops.Pad, ops.Reshape, ops.Slice,
    ops.Transpose,
)  # fmt: skip


def channels_last(rank: int) -> Order:
    """The order of the axes of images [batch, channels, …] in the graph."""
    return (0, *range(2, rank), 1)


class Builder:
    """Collects the nodes of a graph.

    Attributes:
        name: Of what is computed, for people.
        nodes: In execution order.
        origins: What computes each tensor.
        decoded: By the `id` of a constant, the integers that it was decoded from.
    """

    def __init__(self) -> None:
        self.name = ""
        self.nodes: list[Node] = []
        self.origins: dict[Tensor, Node] = {}
        self.decoded: dict[int, Encoded] = {}
        self._constants = Constants()
        self._moved: dict[tuple[Tensor, Op, Shape], Tensor] = {}

    def add(
        self,
        op: Op,
        *inputs: Tensor | None,
        shape: Shape | None = None,
        dtype: str = "",
        quant: QuantParams | None = None,
    ) -> Tensor:
        """Add a node.

        Args:
            op: What it computes.
            *inputs: What with.
            shape: Of the result, where the operator does not tell it.
            dtype: Of the result, where it is not the first input's.
            quant: Of the result, where it is not the first input's, as it is where elements move.

        Returns:
            The result.
        """
        found = op.shape(inputs) if shape is None else shape
        assert found is not None
        check_size(found)
        first = next(tensor for tensor in inputs if tensor is not None)
        if quant is None and isinstance(op, MOVING):
            quant = first.quant
        output = Tensor(found, dtype or first.dtype, quant, name=self.name)
        self.insert(Node(op, inputs, (output,)))
        return output

    def insert(self, node: Node) -> None:
        """Add a node as it is."""
        self.origins.update((output, node) for output in node.outputs)
        self.nodes.append(node)

    def moved(self, op: Op, tensor: Tensor, shape: Shape | None = None, dtype: str = "") -> Tensor:
        """Add a node that moves or decodes elements; one of the same tensor is added once."""
        found = op.shape([tensor]) if shape is None else shape
        assert found is not None
        before = self.origins.get(tensor)
        if before is not None:
            match op, before.op:
                case ops.Reshape(), ops.Reshape():
                    tensor = before.source
                case ops.Transpose(axes), ops.Transpose(earlier):
                    op, tensor = ops.Transpose(tuple(earlier[a] for a in axes)), before.source
        if isinstance(op, ops.Reshape) and tensor.shape == found:
            return tensor
        if isinstance(op, ops.Transpose) and list(op.axes) == sorted(op.axes):
            return tensor
        key = (tensor, op, found)
        if key not in self._moved:
            self._moved[key] = self.add(op, tensor, shape=found, dtype=dtype)
        return self._moved[key]

    def constant(
        self, array: Array, quant: QuantParams | None = None, dtype: str | None = None
    ) -> Tensor:
        """The one tensor of a constant, of the array's type unless it is packed in files."""
        array = np.ascontiguousarray(array).reshape(array.shape)
        name = dtype or array.dtype.name
        return self._constants.tensor(array.tobytes(), array.shape, name, lambda: array, quant)

    # ------------------------------------------------------------------------------- layouts

    def ordered(self, value: Value, order: Order) -> Tensor:
        """The tensor with the value's axes in some order."""
        axes = tuple(value.order.index(axis) for axis in order)
        shape = tuple(value.tensor.shape[axis] for axis in axes)
        moving = [axis for axis in axes if value.tensor.shape[axis] != 1]
        if moving == sorted(moving):
            return self.moved(ops.Reshape(), value.tensor, shape)
        return self.moved(ops.Transpose(axes), value.tensor)

    def as_in_file(self, value: Value) -> Tensor:
        """The tensor with the axes in the file's order."""
        return self.ordered(value, tuple(range(value.rank)))

    def last(self, value: Value, axis: int) -> Value:
        """The value in a tensor whose last axis is a certain one."""
        order = (*(each for each in value.order if each != axis), axis)
        return Value(self.ordered(value, order), order)

    def image(self, value: Value) -> Tensor:
        """The tensor [batch, height, width, channels] of an image, or of a row of pixels."""
        if value.rank == 3:
            batch, channels, width = value.shape
            value = self.reshaped(value, (batch, channels, 1, width))
        if value.rank != 4:
            raise EdgegolfError(f"images of {value.rank - 2} dimensions are not covered")
        return self.ordered(value, channels_last(4))

    def from_image(self, tensor: Tensor, like: Value) -> Value:
        """Undo `image`."""
        image = Value(tensor, channels_last(4))
        if like.rank == 3:
            batch, _, width, channels = tensor.shape
            return self.reshaped(image, (batch, channels, width))
        return image

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """The value in another shape of the file.

        Axes that are only split, merged, added or removed stay where they are.
        """
        if value.shape == shape:
            return value
        groups = _groups(value.shape, shape)
        place = {axis: k for k, axis in enumerate(a for a in value.order if value.shape[a] != 1)}
        chosen = sorted(groups, key=lambda group: min((place[a] for a in group[0]), default=-1))
        wanted = [axis for before, _ in chosen for axis in before]
        tensor = value.tensor
        if wanted != list(place):
            ones = [axis for axis in range(value.rank) if value.shape[axis] == 1]
            tensor = self.ordered(value, (*ones, *wanted))
        order = tuple(axis for _, after in chosen for axis in after)
        stored = tuple(shape[axis] for axis in order)
        return Value(self.moved(ops.Reshape(), tensor, stored), order)

    def transposed(self, value: Value, axes: Sequence[int]) -> Value:
        """The value with the file's axes in another order, without a node."""
        if sorted(axes) != list(range(value.rank)):
            raise EdgegolfError(f"Transpose to the axes {list(axes)} of {value.rank}")
        return Value(value.tensor, tuple(list(axes).index(axis) for axis in value.order))

    # ----------------------------------------------------------------------------- operations

    def same(self, op: Op, value: Value) -> Value:
        """An operator that treats every element by itself."""
        return replace(value, tensor=self.add(op, value.tensor))

    def together(
        self, op: Op, *operands: Operand, dtype: str = "", quant: QuantParams | None = None
    ) -> Value:
        """An operator that broadcasts, at least one of whose operands is computed."""
        rank = max(len(operand.shape) for operand in operands)
        values = [each for each in operands if isinstance(each, Value)]
        largest = max(values, key=lambda each: (each.rank == rank, prod(each.shape)))
        wide = self.reshaped(largest, (1,) * (rank - largest.rank) + largest.shape)
        kinds = [each.tensor.dtype for each in values]
        kind = next((each for each in kinds if each != "bool"), dtype or kinds[0])
        if kind in ("int8", "uint8", "int16") and quant is None:
            raise EdgegolfError(f"arithmetic on {kind} without a scale is not covered")
        tensors = [self._aligned(operand, wide.order, kind) for operand in operands]
        return Value(self.add(op, *tensors, dtype=dtype, quant=quant), wide.order)

    def _aligned(self, operand: Operand, order: Order, dtype: str) -> Tensor:
        """An operand with its axes in an order; of constants without leading axes of length 1."""
        shape = (1,) * (len(order) - len(operand.shape)) + operand.shape
        if isinstance(operand, Value):
            return self.ordered(self.reshaped(operand, shape), order)
        array = operand.reshape(shape).transpose(order)
        array = array if array.dtype == bool else array.astype(dtype)
        while array.ndim and array.shape[0] == 1:
            array = array[0]
        return self.constant(array)


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """Axes of one shape and those of another that hold the same elements, as few as possible.

    Axes of length 1 are left out of the first; in the second they follow the axis before them.
    """
    if prod(before) != prod(after) or not prod(before):
        raise EdgegolfError(f"{list(before)} cannot become {list(after)}")
    left, right = ([axis for axis, size in enumerate(s) if size != 1] for s in (before, after))
    groups: list[tuple[list[int], list[int]]] = [([], [])]
    while left:
        group = ([left.pop(0)], [right.pop(0)])
        while (first := prod(before[a] for a in group[0])) != (
            second := prod(after[a] for a in group[1])
        ):
            if first < second:
                group[0].append(left.pop(0))
            else:
                group[1].append(right.pop(0))
        groups.append(group)
    firsts = [behind[0] for _, behind in groups[1:]]
    for axis, size in enumerate(after):
        if size == 1:
            groups[sum(first < axis for first in firsts)][1].append(axis)
    return [(ahead, sorted(behind)) for ahead, behind in groups]
