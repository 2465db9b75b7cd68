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

from edgegolf.ir import ops
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.tensor import Array, Shape, Tensor

Twins: TypeAlias = tuple[Tensor, Tensor]
Constants: TypeAlias = tuple[Tensor | None, ...]  # of a layer: its filter and its bias
Layer: TypeAlias = tuple[ops.Op, Constants]

# By which share of the largest weight twins may differ, which are equal but for rounding; of int8's
# steps it is an eighth.
TOLERANCE = 1e-3

# Below, as with an image's colours, moving columns takes longer than multiplying them: the halves
# of such a layer's filters are applied as they are.
FEWEST_CHANNELS = 8


def fold_mirror_pairs(graph: Graph) -> Graph:
    """The same graph with half of the weights and multiplications where filters are mirror pairs.

    Twins are half of the channels apart. Convolutions are folded that move column by column and
    have the same padding at both sides. A graph without mirror pairs comes back as it is.
    """
    folding = _Folding()
    for node in graph.nodes:
        folding.add(node)
    for tensor in graph.outputs:
        folding.join(tensor)
    return Graph(graph.inputs, graph.outputs, tuple(folding.nodes)) if folding.twins else graph


@dataclass
class _Folding:
    """The nodes so far, and the tensors that they give as two halves of their channels."""

    nodes: list[Node] = field(default_factory=list)
    twins: dict[Tensor, Twins] = field(default_factory=dict)
    joined: set[Tensor] = field(default_factory=set)
    # A layer that is applied twice has its weights once, and multiples of one filter stay that.
    folded: dict[tuple[Layer, bool], tuple[Layer, Layer]] = field(default_factory=dict)
    filters: dict[tuple[Tensor, bool], Twins] = field(default_factory=dict)
    halves: dict[Layer, tuple[Layer, Layer]] = field(default_factory=dict)

    def apply(self, op: ops.Op, *inputs: Tensor | None, shape: Shape) -> Tensor:
        output = Tensor(shape)
        self.nodes.append(Node(op, inputs, (output,)))
        return output

    def join(self, tensor: Tensor) -> None:
        """Give a tensor as a whole, where there are only halves of it."""
        if tensor in self.twins and tensor not in self.joined:
            axis = len(tensor.shape) - 1
            self.nodes.append(Node(ops.Concatenate(axis), self.twins[tensor], (tensor,)))
            self.joined.add(tensor)

    def add(self, node: Node) -> None:
        """Add a node of the graph, folded if that is possible."""
        op = node.op
        twins = self.twins.get(node.source)
        if isinstance(op, ops.Conv2D) and _are_twins(node, op, twins is not None):
            if twins is None and node.source.shape[3] < FEWEST_CHANNELS:
                self._by_halves(node, [node.computed] * 2)
            else:
                self._convolve(node, op, twins)
        elif isinstance(op, ops.FullyConnected) and twins and _halves_agree(node.filter, axis=1):
            matrix = Tensor.constant(_mean_of_halves(node.filter, axis=1), node.filter.name)
            total = self.apply(ops.Add(), *twins, shape=twins[0].shape)
            self.nodes.append(Node(op, (total, matrix, *node.inputs[2:]), node.outputs))
        elif _is_by_channel(node) and all(tensor in self.twins for tensor in node.computed):
            self._by_halves(node, zip(*(self.twins[t] for t in node.computed), strict=True))
        else:
            for tensor in node.computed:
                self.join(tensor)
            self.nodes.append(node)

    def _by_halves(self, node: Node, inputs: Iterable[tuple[Tensor, ...]]) -> None:
        """Each half of a node's result, given what it is made of."""
        shape = _half_of(node.output)
        if node.layer not in self.halves:
            self.halves[node.layer] = _halves(node)
        first, second = (
            self.apply(op, *tensors, *constants, shape=shape)
            for (op, constants), tensors in zip(self.halves[node.layer], inputs, strict=True)
        )
        self.twins[node.output] = first, second

    def _convolve(self, node: Node, op: ops.Conv2D, twins: Twins | None) -> None:
        width = node.filter.shape[2]
        if twins is None:
            of_sum, of_difference = self._mirrored(node.source, op, width)
        else:
            shape = twins[0].shape
            even_sum, odd_sum = self._mirrored(
                self.apply(ops.Add(), *twins, shape=shape), op, width
            )
            even, odd = self._mirrored(self.apply(ops.Sub(), *twins, shape=shape), op, width)
            of_sum, of_difference = even_sum + odd, even + odd_sum
        key = node.layer, twins is not None
        if key not in self.folded:
            self.folded[key] = _folded(node, op, self._filters(node.filter, key[1]))
        shape = _half_of(node.output)
        total, difference = (
            self.apply(folded, self._side_by_side(columns), *constants, shape=shape)
            for (folded, constants), columns in zip(
                self.folded[key], (of_sum, of_difference), strict=True
            )
        )
        self.twins[node.output] = (
            self.apply(ops.Add(), total, difference, shape=shape),
            self.apply(ops.Sub(), total, difference, shape=shape),
        )

    def _filters(self, weight: Tensor, take_twins: bool) -> Twins:
        """The filters that make the sum and the difference of the two halves."""
        key = weight, take_twins
        if key not in self.filters:
            bases = self._filters(weight.base, take_twins) if weight.base else (None, None)
            total, difference = _folded_filters(weight.values, take_twins)
            self.filters[key] = (
                Tensor.constant(total, weight.name, bases[0]),
                Tensor.constant(difference, weight.name, bases[1]),
            )
        return self.filters[key]

    def _mirrored(
        self, tensor: Tensor, op: ops.Conv2D, width: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Of a window's columns: the middle one and sums of mirrored ones; their differences."""
        batch, height, columns, channels = tensor.shape
        sides = op.padding[1]
        if sides != (0, 0):
            columns += sum(sides)
            padding = ops.Pad(((0, 0), (0, 0), sides, (0, 0)))
            tensor = self.apply(padding, tensor, shape=(batch, height, columns, channels))
        if width == 1:
            return [tensor], []
        shape = (batch, height, columns - width + 1, channels)

        def column(index: int) -> Tensor:
            margins = ((0, 0), (index, width - 1 - index))
            return self.apply(ops.Slice.crop(margins, tensor.shape), tensor, shape=shape)

        middle = [column(width // 2)] if width % 2 else []
        pairs = [(column(right), column(width - 1 - right)) for right in _right_of_middle(width)]
        sums = [self.apply(ops.Add(), *pair, shape=shape) for pair in pairs]
        differences = [self.apply(ops.Sub(), *pair, shape=shape) for pair in pairs]
        return middle + sums, differences

    def _side_by_side(self, tensors: list[Tensor]) -> Tensor:
        """Tensors as the channels of one."""
        if len(tensors) == 1:
            return tensors[0]
        shape = (*tensors[0].shape[:3], sum(tensor.shape[3] for tensor in tensors))
        return self.apply(ops.Concatenate(3), *tensors, shape=shape)


def _right_of_middle(width: int) -> range:
    return range((width + 1) // 2, width)


def _folded(node: Node, op: ops.Conv2D, filters: Twins) -> tuple[Layer, Layer]:
    """The layers that make the sum and the difference of the two halves."""
    total, difference = filters
    bias = node.bias and Tensor.constant(_mean_of_halves(node.bias), node.bias.name)
    op = replace(op, padding=(op.padding[0], (0, 0)))  # columns have theirs
    return (op, (total, *([bias] if bias else []))), (op, (difference,))


def _folded_filters(values: Array, take_twins: bool) -> tuple[Array, Array]:
    """Theirs, [outputs, height, 1, columns · inputs], of [outputs, height, width, inputs]."""
    outputs, inputs = values.shape[0], values.shape[3]
    own = values[: outputs // 2]
    if not take_twins:
        return _in_one_column(_even(own)), _in_one_column(_odd(own))
    own, others = own[..., : inputs // 2], own[:, :, ::-1, inputs // 2 :]
    parts = (own + others) / 2, (own - others) / 2
    of_sum, of_difference = (
        np.concatenate([_in_one_column(_even(part)), _in_one_column(_odd(part))], axis=3)
        for part in parts
    )
    return of_sum, of_difference


def _even(values: Array) -> Array:
    """The symmetric part of filters, from the middle column to the right."""
    symmetric: Array = (values + values[:, :, ::-1]) / 2
    return symmetric[:, :, values.shape[2] // 2 :]


def _odd(values: Array) -> Array:
    """The antisymmetric part of filters, right of the middle."""
    antisymmetric: Array = (values - values[:, :, ::-1]) / 2
    return antisymmetric[:, :, list(_right_of_middle(values.shape[2]))]


def _in_one_column(values: Array) -> Array:
    outputs, height, columns, inputs = values.shape
    return values.reshape(outputs, height, 1, columns * inputs)


def _are_twins(node: Node, op: ops.Conv2D, take_twins: bool) -> bool:
    """Whether the second half of a layer's filters are the mirror images of the first."""
    values = node.filter.values
    outputs, _, width, inputs = values.shape
    by_column = op.strides[1] == op.dilation[1] == 1
    left, right = op.padding[1]
    if not by_column or left != right or outputs % 2 or inputs != node.source.shape[3]:
        return False
    if not take_twins and width == 1:  # twins would be the same filter twice
        return False
    images = values[:, :, ::-1]
    if take_twins:
        images = np.roll(images, inputs // 2, axis=3)
    images = np.roll(images, outputs // 2, axis=0)
    return _agree(values, images) and (node.bias is None or _halves_agree(node.bias))


def _halves_agree(weight: Tensor, axis: int = 0) -> bool:
    values = weight.values
    length = values.shape[axis]
    return length % 2 == 0 and _agree(values, np.roll(values, length // 2, axis=axis))


def _agree(values: Array, others: Array) -> bool:
    return bool(np.abs(values - others).max() <= TOLERANCE * np.abs(values).max())


def _mean_of_halves(weight: Tensor, axis: int = 0) -> Array:
    first, second = np.split(weight.values, 2, axis)
    mean: Array = (first + second) / 2
    return mean


def _half_of(tensor: Tensor) -> Shape:
    return (*tensor.shape[:-1], tensor.shape[-1] // 2)


def _is_by_channel(node: Node) -> bool:
    """Whether a half of the result is of the same half of the channels."""
    if isinstance(node.op, ops.Reshape):
        return node.source.shape[1:-1] == (1, 1) and len(node.output.shape) == 2
    everywhere = (
        ops.DepthwiseConv2D, ops.ReLU, ops.LeakyReLU, ops.Add, ops.Sub, ops.MaxPool2D,
        ops.AveragePool2D,
    )  # fmt: skip
    return isinstance(node.op, everywhere) and (
        isinstance(node.op, ops.DepthwiseConv2D) or len(node.computed) == len(node.inputs)
    )


def _halves(node: Node) -> tuple[Layer, Layer]:
    """What makes each half of a node's channels."""
    if not isinstance(node.op, ops.Conv2D | ops.DepthwiseConv2D):
        return (node.op, ()), (node.op, ())
    filters = _split(node.filter, axis=0 if isinstance(node.op, ops.Conv2D) else 3)
    biases = _split(node.bias, axis=0) if node.bias else None
    first, second = (
        (node.op, (weight, *([biases[half]] if biases else [])))
        for half, weight in enumerate(filters)
    )
    return first, second


def _split(weight: Tensor, axis: int) -> Twins:
    first, second = np.split(weight.values, 2, axis)
    return Tensor.constant(first, weight.name), Tensor.constant(second, weight.name)
