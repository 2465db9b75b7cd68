"""A network as a small immutable graph in which a layer applied eight times has one weight.

Operations compare by their attributes and by the identity of their weights: two nodes have equal
operations exactly if they apply the same layer. Shapes leave the batch out, images are NHWC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

NO_PADDING: Padding = ((0, 0), (0, 0))


@dataclass(frozen=True, eq=False)
class Weight:
    """A trained array, told from others by identity.

    Attributes:
        name: Where it comes from, for people.
        values: float32.
        base: What it is a multiple of, each output channel by its own positive factor: with a scale
            per channel, both are the same integers.
    """

    name: str
    values: NDArray[np.float32]
    base: Weight | None = None


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that a node computes or a network takes, told from others by identity."""

    shape: Shape


@dataclass(frozen=True)
class Operation:
    """What a node computes.

    Windows are (height, width), paddings ((top, bottom), (left, right)).
    """

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The trained arrays that it uses."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if isinstance(value, Weight))


@dataclass(frozen=True)
class Convolution(Operation):
    """2-D convolution; the filter is [height, width, inputs, outputs], the bias [outputs]."""

    filter: Weight
    bias: Weight | None
    strides: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class DepthwiseConvolution(Operation):
    """One filter per channel: [height, width, channels, multiplier], bias [channels·multiplier]."""

    filter: Weight
    bias: Weight | None
    strides: Pair = (1, 1)
    padding: Padding = NO_PADDING
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class Dense(Operation):
    """Matrix product along the last axis; the matrix is [inputs, outputs]."""

    matrix: Weight
    bias: Weight | None


@dataclass(frozen=True)
class Rectifier(Operation):
    """x where x > 0, else slope · x: ReLU with slope 0, leaky ReLU above."""

    slope: float = 0.0


@dataclass(frozen=True)
class Softmax(Operation):
    """Of beta · x, along the last axis."""

    beta: float = 1.0


@dataclass(frozen=True)
class Add(Operation):
    """The sum of two values of equal shape."""


@dataclass(frozen=True)
class Subtract(Operation):
    """The first value less the second, of equal shape."""


@dataclass(frozen=True)
class MaxPooling(Operation):
    """The largest value of each window; padding never wins."""

    window: Pair
    strides: Pair
    padding: Padding = NO_PADDING


@dataclass(frozen=True)
class AveragePooling(Operation):
    """The mean of each window, padding not counted."""

    window: Pair
    strides: Pair
    padding: Padding = NO_PADDING


@dataclass(frozen=True)
class Crop(Operation):
    """Rows and columns cut off."""

    margins: Padding


@dataclass(frozen=True)
class Pad(Operation):
    """Rows and columns of zeros around."""

    margins: Padding


@dataclass(frozen=True)
class Reshape(Operation):
    """The same elements in the same order."""

    shape: Shape


@dataclass(frozen=True)
class Concatenate(Operation):
    """Values one after the other along an axis, counted without the batch."""

    axis: int


@dataclass(frozen=True)
class Loop(Operation):
    """A network whose outputs are its next inputs, run several times.

    The node's inputs are the first inputs of the body, its outputs the last outputs. A value that
    every iteration reads unchanged is an input of the body and an output at the same position.
    """

    body: Network
    iterations: int


@dataclass(frozen=True, eq=False)
class Node:
    """One application of an operation. All operations but `Loop` have one output."""

    operation: Operation
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes in execution order.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
        nodes: Each after those that compute its inputs.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """All nodes, those in the bodies of loops after the loop's."""
        for node in self.nodes:
            yield node
            if isinstance(node.operation, Loop):
                yield from node.operation.body.walk()

    @property
    def weights(self) -> tuple[Weight, ...]:
        """Every weight once, in order of first use."""
        used = (weight for node in self.walk() for weight in node.operation.weights)
        return tuple(dict.fromkeys(used))

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Its loops, in execution order."""
        found = (node.operation for node in self.walk())
        return tuple(operation for operation in found if isinstance(operation, Loop))


def same_padding(size: Pair, window: Pair, strides: Pair, dilation: Pair = (1, 1)) -> Padding:
    """TensorFlow's padding "same": ceil(size / stride) outputs, the odd row at the end."""

    def along(size: int, window: int, stride: int, dilation: int) -> Pair:
        reach = dilation * (window - 1) + 1
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        return total // 2, total - total // 2

    height, width = (
        along(*numbers) for numbers in zip(size, window, strides, dilation, strict=True)
    )
    return height, width


def window_outputs(
    size: Pair, window: Pair, strides: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> Pair:
    """How many positions a window has along each axis."""

    def along(size: int, window: int, stride: int, padding: Pair, dilation: int) -> int:
        return (size + sum(padding) - dilation * (window - 1) - 1) // stride + 1

    height, width = (
        along(*numbers) for numbers in zip(size, window, strides, padding, dilation, strict=True)
    )
    return height, width


def readers(network: Network) -> dict[Value, list[Node]]:
    """The nodes that read each value, those inside loops not counted."""
    found: dict[Value, list[Node]] = {value: [] for value in network.inputs}
    for node in network.nodes:
        for value in node.inputs:
            found[value].append(node)
        for value in node.outputs:
            found[value] = []
    return found


def replace_operations(network: Network, changed: Mapping[Operation, Operation]) -> Network:
    """The network with some operations in the place of others, in loops too."""
    nodes = []
    for node in network.nodes:
        operation = changed.get(node.operation, node.operation)
        if isinstance(operation, Loop):
            body = replace_operations(operation.body, changed)
            operation = Loop(body, operation.iterations)
        nodes.append(Node(operation, node.inputs, node.outputs))
    return Network(network.inputs, network.outputs, tuple(nodes))


_FUSING = (Convolution, DepthwiseConvolution, Dense, Add, Subtract)


def fused_rectifiers(network: Network) -> dict[Node, Node]:
    """The nodes into which a ReLU is fused because only it reads their result, with that ReLU."""
    readers_of = readers(network)
    fused = {}
    for node in network.nodes:
        found = readers_of[node.outputs[0]]
        if (
            isinstance(node.operation, _FUSING)
            and len(found) == 1
            and found[0].operation == Rectifier(0.0)
            and node.output not in network.outputs
        ):
            fused[node] = found[0]
    return fused
