"""Stores and multiplies filters that are mirror images of each other once.

In a network with mirror pairs (`edgegolf.training.mirror`), half of the filters are the mirror
images, left to right, of the other half, and take the mirror images' channels. Of twin channels a
and b, take the sum u = a + b and the difference v = a − b, which are the two irreducible
representations of a mirror (Cohen and Welling 2017, https://arxiv.org/abs/1612.08498). A layer
makes their successors u' and v' with filters that are symmetric or antisymmetric,

    u' = u * P + v * Q        v' = v * R + u * S        P, R symmetric, Q, S antisymmetric

so that mirrored columns, which have the same weight or the opposite one, can be added or subtracted
before they are multiplied. That takes half of the weights and half of the multiplications, and
computes the same: a' = u' + v' and b' = u' − v'. What works channel by channel does so on twins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.network import (
    Add,
    AveragePooling,
    Concatenate,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
    MaxPooling,
    Network,
    Node,
    Operation,
    Pad,
    Rectifier,
    Reshape,
    Shape,
    Subtract,
    Value,
    Weight,
)

Array: TypeAlias = NDArray[np.float32]
Twins: TypeAlias = tuple[Value, Value]
Layers: TypeAlias = tuple[Convolution, Convolution]  # of a sum and of a difference
Filters: TypeAlias = tuple[Weight, Weight]  # theirs
Halves: TypeAlias = tuple[Operation, Operation]  # of twins

# By which share of the largest weight twins may differ, which are equal but for rounding; of int8's
# steps it is an eighth.
TOLERANCE = 1e-3

# Below, as with an image's colours, moving columns takes longer than multiplying them: the halves
# of such a layer's filters are applied as they are.
FEWEST_CHANNELS = 8


def fold_mirror_pairs(network: Network) -> Network:
    """The same network with half of the weights and multiplications where filters are mirror pairs.

    Twins are half of the channels apart. Convolutions are folded that move column by column and
    have the same padding at both sides. A network without mirror pairs comes back as it is.
    """
    folding = _Folding()
    for node in network.nodes:
        folding.add(node)
    for value in network.outputs:
        folding.join(value)
    return (
        Network(network.inputs, network.outputs, tuple(folding.nodes)) if folding.twins else network
    )


@dataclass
class _Folding:
    """The nodes so far, and the values that they give as two halves of their channels."""

    nodes: list[Node] = field(default_factory=list)
    twins: dict[Value, Twins] = field(default_factory=dict)
    joined: set[Value] = field(default_factory=set)
    # A layer that is applied twice has its weights once, and multiples of one filter stay that.
    folded: dict[tuple[Convolution, bool], Layers] = field(default_factory=dict)
    filters: dict[tuple[Weight, bool], Filters] = field(default_factory=dict)
    halves: dict[Operation, Halves] = field(default_factory=dict)

    def apply(self, operation: Operation, *inputs: Value, shape: Shape) -> Value:
        output = Value(shape)
        self.nodes.append(Node(operation, inputs, (output,)))
        return output

    def join(self, value: Value) -> None:
        """Give a value as a whole, where there are only halves of it."""
        if value in self.twins and value not in self.joined:
            axis = len(value.shape) - 1
            self.nodes.append(Node(Concatenate(axis), self.twins[value], (value,)))
            self.joined.add(value)

    def add(self, node: Node) -> None:
        """Add a node of the network, folded if that is possible."""
        operation = node.operation
        twins = self.twins.get(node.inputs[0])
        if isinstance(operation, Convolution) and _are_twins(operation, twins is not None):
            if twins is None and node.inputs[0].shape[2] < FEWEST_CHANNELS:
                self._by_halves(node, [node.inputs] * 2)
            else:
                self._convolve(node, operation, twins)
        elif isinstance(operation, Dense) and twins and _halves_agree(operation.matrix):
            matrix = operation.matrix
            halved = replace(operation, matrix=Weight(matrix.name, _mean_of_halves(matrix)))
            total = self.apply(Add(), *twins, shape=twins[0].shape)
            self.nodes.append(Node(halved, (total,), node.outputs))
        elif _is_by_channel(node) and all(value in self.twins for value in node.inputs):
            self._by_halves(node, zip(*(self.twins[value] for value in node.inputs), strict=True))
        else:
            for value in node.inputs:
                self.join(value)
            self.nodes.append(node)

    def _by_halves(self, node: Node, inputs: Iterable[tuple[Value, ...]]) -> None:
        """Each half of an operation's result, given what it is made of."""
        shape = _half_of(node.output)
        if node.operation not in self.halves:
            self.halves[node.operation] = _halves(node.operation, shape)
        first, second = (
            self.apply(half, *values, shape=shape)
            for half, values in zip(self.halves[node.operation], inputs, strict=True)
        )
        self.twins[node.output] = first, second

    def _convolve(self, node: Node, operation: Convolution, twins: Twins | None) -> None:
        if twins is None:
            of_sum, of_difference = self._mirrored(node.inputs[0], operation)
        else:
            shape = twins[0].shape
            even_sum, odd_sum = self._mirrored(self.apply(Add(), *twins, shape=shape), operation)
            even, odd = self._mirrored(self.apply(Subtract(), *twins, shape=shape), operation)
            of_sum, of_difference = even_sum + odd, even + odd_sum
        key = operation, twins is not None
        if key not in self.folded:
            self.folded[key] = _folded(operation, self._filters(operation.filter, key[1]))
        shape = _half_of(node.output)
        total, difference = (
            self.apply(folded, self._side_by_side(columns), shape=shape)
            for folded, columns in zip(self.folded[key], (of_sum, of_difference), strict=True)
        )
        self.twins[node.output] = (
            self.apply(Add(), total, difference, shape=shape),
            self.apply(Subtract(), total, difference, shape=shape),
        )

    def _filters(self, weight: Weight, take_twins: bool) -> Filters:
        """The filters that make the sum and the difference of the two halves."""
        key = weight, take_twins
        if key not in self.filters:
            bases = self._filters(weight.base, take_twins) if weight.base else (None, None)
            total, difference = _folded_filters(weight.values, take_twins)
            self.filters[key] = (
                Weight(weight.name, total, bases[0]),
                Weight(weight.name, difference, bases[1]),
            )
        return self.filters[key]

    def _mirrored(self, value: Value, operation: Convolution) -> tuple[list[Value], list[Value]]:
        """Of a window's columns: the middle one and sums of mirrored ones; their differences."""
        width = operation.filter.values.shape[1]
        height, columns, channels = value.shape
        sides = operation.padding[1]
        if sides != (0, 0):
            columns += sum(sides)
            padding = Pad(((0, 0), sides))
            value = self.apply(padding, value, shape=(height, columns, channels))
        if width == 1:
            return [value], []
        shape = (height, columns - width + 1, channels)

        def column(index: int) -> Value:
            margins = ((0, 0), (index, width - 1 - index))
            return self.apply(Crop(margins), value, shape=shape)

        middle = [column(width // 2)] if width % 2 else []
        pairs = [(column(right), column(width - 1 - right)) for right in _right_of_middle(width)]
        sums = [self.apply(Add(), *pair, shape=shape) for pair in pairs]
        differences = [self.apply(Subtract(), *pair, shape=shape) for pair in pairs]
        return middle + sums, differences

    def _side_by_side(self, values: list[Value]) -> Value:
        """Values as the channels of one."""
        if len(values) == 1:
            return values[0]
        shape = (*values[0].shape[:2], sum(value.shape[2] for value in values))
        return self.apply(Concatenate(2), *values, shape=shape)


def _right_of_middle(width: int) -> range:
    return range((width + 1) // 2, width)


def _folded(operation: Convolution, filters: Filters) -> Layers:
    """The layers that make the sum and the difference of the two halves."""
    total, difference = filters
    bias = operation.bias and Weight(operation.bias.name, _mean_of_halves(operation.bias))
    operation = replace(operation, padding=(operation.padding[0], (0, 0)))  # columns have theirs
    return (
        replace(operation, filter=total, bias=bias),
        replace(operation, filter=difference, bias=None),
    )


def _folded_filters(values: Array, take_twins: bool) -> tuple[Array, Array]:
    """Theirs, [height, 1, columns · inputs, outputs]."""
    inputs, outputs = values.shape[2:]
    own = values[..., : outputs // 2]
    if not take_twins:
        return _in_one_column(_even(own)), _in_one_column(_odd(own))
    own, others = own[:, :, : inputs // 2], own[:, ::-1, inputs // 2 :]
    parts = (own + others) / 2, (own - others) / 2
    of_sum, of_difference = (
        np.concatenate([_in_one_column(_even(part)), _in_one_column(_odd(part))], axis=2)
        for part in parts
    )
    return of_sum, of_difference


def _even(values: Array) -> Array:
    """The symmetric part of filters, from the middle column to the right."""
    return ((values + values[:, ::-1]) / 2)[:, values.shape[1] // 2 :]


def _odd(values: Array) -> Array:
    """The antisymmetric part of filters, right of the middle."""
    return ((values - values[:, ::-1]) / 2)[:, list(_right_of_middle(values.shape[1]))]


def _in_one_column(values: Array) -> Array:
    height, columns, inputs, outputs = values.shape
    return values.reshape(height, 1, columns * inputs, outputs)


def _are_twins(operation: Convolution, take_twins: bool) -> bool:
    """Whether the second half of a layer's filters are the mirror images of the first."""
    values = operation.filter.values
    _, width, inputs, outputs = values.shape
    by_column = operation.strides[1] == operation.dilation[1] == 1
    left, right = operation.padding[1]
    if not by_column or left != right or outputs % 2:
        return False
    if not take_twins and width == 1:  # twins would be the same filter twice
        return False
    images = values[:, ::-1]
    if take_twins:
        images = np.roll(images, inputs // 2, axis=2)
    images = np.roll(images, outputs // 2, axis=3)
    return _agree(values, images) and (operation.bias is None or _halves_agree(operation.bias))


def _halves_agree(weight: Weight) -> bool:
    values = weight.values
    return len(values) % 2 == 0 and _agree(values, np.roll(values, len(values) // 2, axis=0))


def _agree(values: Array, others: Array) -> bool:
    return bool(np.abs(values - others).max() <= TOLERANCE * np.abs(values).max())


def _mean_of_halves(weight: Weight) -> Array:
    first, second = np.split(weight.values, 2)
    return (first + second) / 2


def _half_of(value: Value) -> Shape:
    return (*value.shape[:-1], value.shape[-1] // 2)


def _is_by_channel(node: Node) -> bool:
    """Whether a half of the result is of the same half of the channels."""
    if isinstance(node.operation, Reshape):
        return node.inputs[0].shape[:-1] == (1, 1) and len(node.output.shape) == 1
    everywhere = (DepthwiseConvolution, Rectifier, Add, Subtract, MaxPooling, AveragePooling)
    return isinstance(node.operation, everywhere)


def _halves(operation: Operation, shape: Shape) -> Halves:
    """What makes each half of an operation's channels, given a half's shape."""
    if isinstance(operation, Reshape):
        return Reshape(shape), Reshape(shape)
    if not isinstance(operation, Convolution | DepthwiseConvolution):
        return operation, operation
    filters = _split(operation.filter, axis=3 if isinstance(operation, Convolution) else 2)
    biases = _split(operation.bias, axis=0) if operation.bias else (None, None)
    first, second = (
        replace(operation, filter=weight, bias=bias)
        for weight, bias in zip(filters, biases, strict=True)
    )
    return first, second


def _split(weight: Weight, axis: int) -> tuple[Weight, Weight]:
    first, second = np.split(weight.values, 2, axis)
    return Weight(weight.name, first), Weight(weight.name, second)
