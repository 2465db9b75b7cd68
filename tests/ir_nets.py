"""Small graphs, made without Keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgegolf.ir import Graph, Node, Op, Tensor
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import (
    NO_PADDING,
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Padding,
    ReLU,
    Reshape,
    Slice,
    Softmax,
    Sub,
    same_padding,
)

SIZE = 20


class Builder:
    """Collects nodes and works out the shapes of their results.

    Shapes are without the batch, which is 1.
    """

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.source = Tensor((1, *shape))
        self.nodes: list[Node] = []
        self.random = np.random.default_rng(seed)

    def weight(self, *shape: int, size: float = 0.4) -> Tensor:
        return constant(self.random.normal(size=shape) * size)

    def apply(self, op: Op, *inputs: Tensor | None, shape: tuple[int, ...] | None = None) -> Tensor:
        found = op.shape(inputs) if shape is None else (1, *shape)
        assert found is not None
        output = Tensor(found)
        self.nodes.append(Node(op, inputs, (output,)))
        return output

    def convolve(
        self,
        source: Tensor,
        filters: Tensor,
        bias: Tensor | None = None,
        strides: tuple[int, int] = (1, 1),
        padding: Padding = NO_PADDING,
        **options: Any,
    ) -> Tensor:
        constants = (filters,) if bias is None else (filters, bias)
        return self.apply(Conv2D(strides, padding, **options), source, *constants)

    def depthwise(
        self,
        source: Tensor,
        filters: Tensor,
        bias: Tensor | None = None,
        strides: tuple[int, int] = (1, 1),
        padding: Padding = NO_PADDING,
    ) -> Tensor:
        constants = (filters,) if bias is None else (filters, bias)
        return self.apply(DepthwiseConv2D(strides, padding), source, *constants)

    def dense(self, source: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        constants = (matrix,) if bias is None else (matrix, bias)
        return self.apply(FullyConnected(), source, *constants)

    def relu(self, source: Tensor) -> Tensor:
        return self.apply(ReLU(), source)

    def pool(
        self,
        kind: type[MaxPool2D | AveragePool2D],
        source: Tensor,
        size: tuple[int, ...],
        strides: tuple[int, int] = (1, 1),
        padding: Padding = NO_PADDING,
    ) -> Tensor:
        return self.apply(kind(strides, padding, (size[0], size[1])), source)

    def crop(self, source: Tensor, margins: Padding) -> Tensor:
        op = Slice.crop(margins, source.shape)
        return self.apply(op, source, shape=op.sizes[1:])

    def reshape(self, source: Tensor, *shape: int) -> Tensor:
        return self.apply(Reshape(), source, shape=shape)

    def flatten(self, source: Tensor) -> Tensor:
        return self.reshape(source, source.elements)

    def classify(self, hidden: Tensor, classes: int = 5) -> Graph:
        matrix = self.weight(classes, hidden.elements)
        scores = self.dense(self.flatten(hidden), matrix, self.weight(classes))
        return self.graph(self.apply(Softmax(), scores))

    def graph(self, *outputs: Tensor) -> Graph:
        return Graph((self.source,), outputs, tuple(self.nodes))


def constant(values: np.ndarray) -> Tensor:
    return Tensor.constant(np.ascontiguousarray(values, np.float32), "w")


def uneven_net() -> Graph:
    """A convolution and a residual block, with rows of five pixels, padded on all sides."""
    build = Builder(7, 5, 1)
    stem = build.weight(8, 5, 5, 1), build.weight(8)
    hidden = build.convolve(build.source, *stem, padding=((2, 2), (2, 2)))
    inside = build.depthwise(build.relu(hidden), build.weight(1, 3, 3, 8), padding=((1, 1), (1, 1)))
    inside = build.convolve(inside, build.weight(8, 1, 1, 8), build.weight(8))
    inside = build.convolve(
        build.apply(Add(), inside, hidden), build.weight(4, 3, 3, 8), None, (2, 2)
    )
    return build.classify(inside)


def shared_net(iterations: int = 6, channels: int = 8) -> Graph:
    """A residual block with the same weights in every iteration."""
    build = Builder(SIZE, SIZE, 1)
    stem = build.weight(channels, 5, 5, 1), build.weight(channels)
    hidden = build.convolve(build.source, *stem, (2, 2))
    block = residual_block(build, channels)
    for _ in range(iterations):
        hidden = apply_block(build, block, hidden)
    hidden = build.pool(AveragePool2D, hidden, (2, 2), (2, 2))
    return build.classify(build.crop(hidden, ((1, 1), (1, 1))))


def three_loops(seed: int = 0) -> Graph:
    """The same block 4 + 4 + 4 times with max pooling between, in three sizes."""
    build = Builder(16, 16, 1, seed=seed)
    hidden = build.convolve(build.source, build.weight(6, 1, 1, 1), build.weight(6))
    block = residual_block(build, 6)
    for stage in range(3):
        for _ in range(4):
            hidden = apply_block(build, block, hidden)
        if stage < 2:
            hidden = build.pool(MaxPool2D, hidden, (2, 2), (2, 2))
    return build.classify(build.pool(AveragePool2D, hidden, (4, 4)))


def plain_net() -> Graph:
    """Layers with weights of their own, ReLUs after them."""
    build = Builder(SIZE, SIZE, 1)
    hidden = build.convolve(build.source, build.weight(6, 3, 3, 1), build.weight(6))
    hidden = build.pool(MaxPool2D, build.relu(hidden), (2, 2), (2, 2))
    filters = build.weight(1, 3, 3, 6), build.weight(6)
    hidden = build.depthwise(hidden, *filters, padding=((1, 1), (1, 1)))
    return build.classify(build.relu(hidden))


def difference_net() -> Graph:
    """Edges between neighbouring columns, made by cropping and subtracting."""
    build = Builder(SIZE, SIZE, 1)
    left = build.crop(build.source, ((0, 0), (0, 1)))
    right = build.crop(build.source, ((0, 0), (1, 0)))
    edges = build.relu(build.apply(Sub(), left, right))
    return build.classify(build.pool(MaxPool2D, edges, (2, 2), (2, 2)))


def mirror_pairs_net(
    widths: tuple[int, ...] = (1, 3, 5, 2, 1),
    filters: int = 6,
    height: int = 3,
    stride: int = 1,
    padding: int = 0,
    channels: int = 8,
) -> Graph:
    """As one that was trained so: every filter has a twin, half of the filters further on."""
    columns = sum(widths) + 6 - len(widths)
    build = Builder(stride ** len(widths) * (height * len(widths) + 3), columns, channels)
    hidden, paired = build.source, False
    for width in widths:
        values = build.weight(filters, height, width, hidden.shape[3]).values
        if paired or width > 1:
            values = (values + mirrored(values, paired)) / 2
        bias = build.weight(filters).values
        bias = (bias + np.roll(bias, filters // 2)) / 2
        margins = ((padding, padding), (padding, padding))
        layer = constant(values), constant(bias)
        hidden = build.relu(build.convolve(hidden, *layer, (stride, 1), margins))
        paired = paired or width > 1
    hidden = build.flatten(build.pool(MaxPool2D, hidden, hidden.shape[1:3], hidden.shape[1:3]))
    matrix = build.weight(5, filters).values
    matrix = (matrix + np.roll(matrix, filters // 2, axis=1)) / 2
    scores = build.dense(hidden, constant(matrix), build.weight(5))
    return build.graph(build.apply(Softmax(), scores))


def mirror_pairs_loop(multiplier: int = 1, factors: tuple[float, ...] = (1, 2, 3)) -> Graph:
    """Residual blocks of one separable convolution, each time multiplied by other factors."""
    build = Builder(6, 6, 3)
    values = build.weight(6, 3, 3, 3).values
    hidden = build.convolve(build.source, constant((values + mirrored(values, False)) / 2))
    half = 3 * multiplier
    values = build.weight(1, 3, 3, 2 * half).values
    depthwise = constant((values + np.roll(values[:, :, ::-1], half, axis=3)) / 2)
    bias = build.weight(2 * half).values
    bias = constant((bias + np.roll(bias, half)) / 2)
    values = build.weight(6, 1, 1, 2 * half).values
    base = constant((values + mirrored(values, True)) / 2)
    for factor in factors:
        each = factor * np.tile(build.random.random(3).astype(np.float32) + 1, 2)
        multiple = base.values * each[:, None, None, None]
        pointwise = Tensor.constant(multiple.astype(np.float32), "p", base)
        residual = build.depthwise(hidden, depthwise, bias, padding=((1, 1), (1, 1)))
        residual = build.convolve(residual, pointwise)
        hidden = build.relu(build.apply(Add(), hidden, residual))
    return build.classify(build.pool(AveragePool2D, hidden, (4, 4)))


def mirrored(values: np.ndarray, paired: bool) -> np.ndarray:
    """The twin of each filter [outputs, height, width, inputs] in its place."""
    outputs, _, _, inputs = values.shape
    values = np.roll(values[:, :, ::-1], outputs // 2, axis=0)
    return np.roll(values, inputs // 2, axis=3) if paired else values


Block = tuple[Tensor, Tensor, Tensor]


def residual_block(build: Builder, channels: int) -> Block:
    depthwise = build.weight(1, 3, 3, channels)
    pointwise = build.weight(channels, 1, 1, channels, size=0.15)
    return depthwise, pointwise, build.weight(channels, size=0.1)


def apply_block(build: Builder, block: Block, hidden: Tensor) -> Tensor:
    depthwise, pointwise, bias = block
    padding = same_padding((8, 8), (3, 3), (1, 1))
    residual = build.depthwise(build.relu(hidden), depthwise, padding=padding)
    return build.apply(Add(), hidden, build.convolve(residual, pointwise, bias))


def images(graph: Graph, count: int = 200) -> np.ndarray:
    """uint8, with structure, so that values have the spread they have on real images."""
    random = np.random.default_rng(7)
    noise = random.normal(size=(count, *graph.inputs[0].shape[1:]))
    smooth = noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=min(2, noise.ndim - 1))
    return np.clip(smooth * 60 + 40, 0, 255).astype(np.uint8)


def pixels(graph: Graph, count: int = 200) -> np.ndarray:
    """The same, float32 0…1."""
    return images(graph, count) / np.float32(255)


def outputs(graph: Graph, count: int = 5) -> np.ndarray:
    """What it gives for some images."""
    (found,) = run(graph, [pixels(graph, count)])
    return found
