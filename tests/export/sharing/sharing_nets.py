"""Small networks, made without Keras."""

from __future__ import annotations

import numpy as np

from edgegolf.export.sharing.evaluate import compute
from edgegolf.export.sharing.network import (
    Add,
    AveragePooling,
    Convolution,
    Crop,
    Dense,
    DepthwiseConvolution,
    MaxPooling,
    Network,
    Node,
    Operation,
    Rectifier,
    Reshape,
    Softmax,
    Subtract,
    Value,
    Weight,
    same_padding,
)

SIZE = 20


class Builder:
    """Collects nodes and works out the shapes of their results."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.source = Value(shape)
        self.nodes: list[Node] = []
        self.random = np.random.default_rng(seed)

    def weight(self, *shape: int, size: float = 0.4) -> Weight:
        return Weight("w", (self.random.normal(size=shape) * size).astype(np.float32))

    def apply(self, operation: Operation, *values: Value) -> Value:
        zeros = [np.zeros((1, *value.shape), np.float32) for value in values]
        output = Value(compute(operation, *zeros).shape[1:])
        self.nodes.append(Node(operation, values, (output,)))
        return output

    def classify(self, hidden: Value, classes: int = 5) -> Network:
        elements = int(np.prod(hidden.shape))
        hidden = self.apply(Reshape((elements,)), hidden)
        dense = Dense(self.weight(elements, classes), self.weight(classes))
        output = self.apply(Softmax(), self.apply(dense, hidden))
        return Network((self.source,), (output,), tuple(self.nodes))


def shared_network(iterations: int = 6, channels: int = 8) -> Network:
    """A residual block with the same weights in every iteration."""
    build = Builder(SIZE, SIZE, 1)
    stem = Convolution(build.weight(5, 5, 1, channels), build.weight(channels), (2, 2))
    hidden = build.apply(stem, build.source)
    block = residual_block(build, channels)
    for _ in range(iterations):
        hidden = apply_block(build, block, hidden)
    hidden = build.apply(AveragePooling((2, 2), (2, 2)), hidden)
    return build.classify(build.apply(Crop(((1, 1), (1, 1))), hidden))


def three_loops() -> Network:
    """The same block 4 + 4 + 4 times with max pooling between, in three sizes."""
    build = Builder(16, 16, 1)
    hidden = build.apply(Convolution(build.weight(1, 1, 1, 6), build.weight(6)), build.source)
    block = residual_block(build, 6)
    for stage in range(3):
        for _ in range(4):
            hidden = apply_block(build, block, hidden)
        if stage < 2:
            hidden = build.apply(MaxPooling((2, 2), (2, 2)), hidden)
    return build.classify(build.apply(AveragePooling((4, 4), (1, 1)), hidden))


def plain_network() -> Network:
    """Layers with weights of their own, ReLUs after them."""
    build = Builder(SIZE, SIZE, 1)
    hidden = build.apply(Convolution(build.weight(3, 3, 1, 6), build.weight(6)), build.source)
    hidden = build.apply(Rectifier(), hidden)
    hidden = build.apply(MaxPooling((2, 2), (2, 2)), hidden)
    depthwise = DepthwiseConvolution(
        build.weight(3, 3, 6, 1), build.weight(6), padding=((1, 1), (1, 1))
    )
    hidden = build.apply(Rectifier(), build.apply(depthwise, hidden))
    return build.classify(hidden)


def difference_network() -> Network:
    """Edges between neighbouring columns, made by cropping and subtracting."""
    build = Builder(SIZE, SIZE, 1)
    left = build.apply(Crop(((0, 0), (0, 1))), build.source)
    right = build.apply(Crop(((0, 0), (1, 0))), build.source)
    edges = build.apply(Rectifier(), build.apply(Subtract(), left, right))
    return build.classify(build.apply(MaxPooling((2, 2), (2, 2)), edges))


def mirror_pairs_network(
    widths: tuple[int, ...] = (1, 3, 5, 2, 1),
    filters: int = 6,
    height: int = 3,
    stride: int = 1,
    padding: int = 0,
    channels: int = 8,
) -> Network:
    """As one that was trained so: every filter has a twin, half of the filters further on."""
    columns = sum(widths) + 6 - len(widths)
    build = Builder(stride ** len(widths) * (height * len(widths) + 3), columns, channels)
    hidden, paired = build.source, False
    for width in widths:
        values = build.weight(height, width, hidden.shape[2], filters).values
        if paired or width > 1:
            values = (values + mirrored(values, paired)) / 2
        bias = build.weight(filters).values
        bias = (bias + np.roll(bias, filters // 2)) / 2
        margins = ((padding, padding), (padding, padding))
        layer = Convolution(Weight("w", values), Weight("b", bias), (stride, 1), margins)
        hidden = build.apply(Rectifier(), build.apply(layer, hidden))
        paired = paired or width > 1
    window = hidden.shape[:2]
    hidden = build.apply(Reshape((filters,)), build.apply(MaxPooling(window, window), hidden))
    matrix = build.weight(filters, 5).values
    matrix = (matrix + np.roll(matrix, filters // 2, axis=0)) / 2
    scores = build.apply(Dense(Weight("m", matrix), build.weight(5)), hidden)
    return Network((build.source,), (build.apply(Softmax(), scores),), tuple(build.nodes))


def mirror_pairs_loop(multiplier: int = 1, factors: tuple[float, ...] = (1, 2, 3)) -> Network:
    """Residual blocks of one separable convolution, each time multiplied by other factors."""
    build = Builder(6, 6, 3)
    values = build.weight(3, 3, 3, 6).values
    stem = Convolution(Weight("w", (values + mirrored(values, False)) / 2), None)
    hidden = build.apply(stem, build.source)
    values = build.weight(3, 3, 6, multiplier).values
    values = (values + np.roll(values[:, ::-1], 3, axis=2)) / 2
    bias = build.weight(6 * multiplier).values
    bias = Weight("b", (bias + np.roll(bias, 3 * multiplier)) / 2)
    depthwise = DepthwiseConvolution(Weight("d", values), bias, padding=((1, 1), (1, 1)))
    values = build.weight(1, 1, 6 * multiplier, 6).values
    base = Weight("p", (values + mirrored(values, True)) / 2)
    for factor in factors:
        each = factor * np.tile(build.random.random(3).astype(np.float32) + 1, 2)
        pointwise = Convolution(Weight("p", base.values * each, base), None)
        residual = build.apply(pointwise, build.apply(depthwise, hidden))
        hidden = build.apply(Rectifier(), build.apply(Add(), hidden, residual))
    return build.classify(build.apply(AveragePooling((4, 4), (1, 1)), hidden))


def mirrored(values: np.ndarray, paired: bool) -> np.ndarray:
    """The twin of each filter [height, width, inputs, outputs] in its place."""
    _, _, inputs, outputs = values.shape
    values = np.roll(values[:, ::-1], outputs // 2, axis=3)
    return np.roll(values, inputs // 2, axis=2) if paired else values


Block = tuple[DepthwiseConvolution, Convolution]


def residual_block(build: Builder, channels: int) -> Block:
    padding = same_padding((8, 8), (3, 3), (1, 1))
    depthwise = DepthwiseConvolution(build.weight(3, 3, channels, 1), None, padding=padding)
    pointwise = Convolution(
        build.weight(1, 1, channels, channels, size=0.15), build.weight(channels, size=0.1)
    )
    return depthwise, pointwise


def apply_block(build: Builder, block: Block, hidden: Value) -> Value:
    depthwise, pointwise = block
    residual = build.apply(depthwise, build.apply(Rectifier(), hidden))
    return build.apply(Add(), hidden, build.apply(pointwise, residual))


def images(network: Network, count: int = 200) -> np.ndarray:
    """uint8, with structure, so that values have the spread they have on real images."""
    random = np.random.default_rng(7)
    noise = random.normal(size=(count, *network.inputs[0].shape))
    smooth = noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)
    return np.clip(smooth * 60 + 40, 0, 255).astype(np.uint8)
