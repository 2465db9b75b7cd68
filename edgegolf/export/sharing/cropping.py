"""Leaves out the pixels that no result depends on.

A crop near the end of a network, or a pooling that does not reach the last row, makes pixels of the
layers before useless. Going backwards, each layer needs only the pixels that the next one reads: of
a 3 x 3 layer's input that is one more on each side, so that the last of several such layers has the
least to compute. What is computed stays the same, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from edgegolf.export.sharing.network import (
    NO_PADDING,
    Add,
    AveragePooling,
    Convolution,
    Crop,
    DepthwiseConvolution,
    MaxPooling,
    Network,
    Node,
    Operation,
    Padding,
    Pair,
    Rectifier,
    Subtract,
    Value,
)

WORTHWHILE = 0.05  # of the multiplications; each layer that cuts costs bytes and some time

Region = tuple[Pair, ...]  # of rows and of columns the first and the one after the last

_POINTWISE = (Add, Subtract, Rectifier)
_SLIDING = (Convolution, DepthwiseConvolution, MaxPooling, AveragePooling)


@dataclass(frozen=True)
class Cropped:
    """A network that computes fewer pixels.

    Attributes:
        network: With the same inputs.
        origins: For each new value the one that it has some pixels of.
    """

    network: Network
    origins: dict[Value, Value]


def crop(network: Network) -> Cropped:
    """Compute only the pixels that are needed. Loops, and what reads the input, stay whole.

    A network that would need more layers to cut for hardly less to compute stays as it is.
    """
    cropped = _crop(network)
    if _cuts(cropped.network) > _cuts(network) and _multiplications(cropped.network) > (
        1 - WORTHWHILE
    ) * _multiplications(network):
        return Cropped(network, {})
    return cropped


def _crop(network: Network) -> Cropped:
    regions = _needed_regions(network)
    origins: dict[Value, Value] = {}
    current = {value: value for value in network.inputs}
    nodes: list[Node] = []

    def part(value: Value, region: Region) -> Value:
        if region == _whole(value):
            return value
        rows, columns = (stop - start for start, stop in region)
        copy = Value((rows, columns, *value.shape[2:]))
        origins[copy] = value
        return copy

    def read(value: Value, region: Region, strides: Pair) -> Value:
        """Some pixels of what is there of a value; windows ignore what they do not fill."""
        if all(
            wanted[0] == there[0] and there[1] - wanted[1] < stride
            for wanted, there, stride in zip(region, regions[value], strides, strict=True)
        ):
            return current[value]
        rows, columns = (
            (wanted[0] - there[0], there[1] - wanted[1])
            for wanted, there in zip(region, regions[value], strict=True)
        )
        cut = part(value, region)
        nodes.append(Node(Crop((rows, columns)), (current[value],), (cut,)))
        return cut

    for node in network.nodes:
        if not _is_local(node):
            inputs = tuple(current[value] for value in node.inputs)
            nodes.append(Node(node.operation, inputs, node.outputs))
            current.update(zip(node.outputs, node.outputs, strict=True))
            continue
        region = regions[node.output]
        strides = getattr(node.operation, "strides", (1, 1))
        inputs = tuple(
            read(value, _read_region(node.operation, value, region), strides)
            for value in node.inputs
        )
        if isinstance(node.operation, Crop):
            current[node.output] = inputs[0]
            continue
        operation = node.operation
        if isinstance(operation, _SLIDING) and region != _whole(node.output):
            operation = replace(operation, padding=NO_PADDING)
        current[node.output] = part(node.output, region)
        nodes.append(Node(operation, inputs, (current[node.output],)))
    outputs = tuple(current[value] for value in network.outputs)
    return Cropped(Network(network.inputs, outputs, tuple(nodes)), origins)


def _cuts(network: Network) -> int:
    return sum(isinstance(node.operation, Crop) for node in network.nodes)


def _multiplications(network: Network) -> int:
    """Of filters with pixels, outside loops."""
    return sum(
        math.prod(node.output.shape[:2]) * node.operation.filter.values.size
        for node in network.nodes
        if isinstance(node.operation, Convolution | DepthwiseConvolution)
    )


def _needed_regions(network: Network) -> dict[Value, Region]:
    """The pixels of each value that something depends on."""
    needed: dict[Value, Region] = {value: _whole(value) for value in network.outputs}

    def need(value: Value, region: Region) -> None:
        known = needed.get(value, region)
        needed[value] = tuple(
            (min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(known, region, strict=True)
        )

    for node in reversed(network.nodes):
        for value in node.outputs:
            if not (
                value in needed and _is_local(node) and _can_crop(network, node, needed[value])
            ):
                needed[value] = _whole(value)
        for value in node.inputs:
            region = _whole(value)
            if _is_local(node):
                region = _read_region(node.operation, value, needed[node.output])
            need(value, region)
    return needed | {value: _whole(value) for value in network.inputs}


def _is_local(node: Node) -> bool:
    """Whether a pixel of the result depends on some pixels only."""
    return isinstance(node.operation, (*_POINTWISE, *_SLIDING, Crop)) and all(
        len(value.shape) == 3 for value in (*node.inputs, *node.outputs)
    )


def _can_crop(network: Network, node: Node, region: Region) -> bool:
    """Whether it can compute this region alone: not where it still would have to pad."""
    if set(node.inputs) & set(network.inputs):
        return False
    if not isinstance(node.operation, _SLIDING):
        return True
    height, width = node.inputs[0].shape[:2]
    return all(
        start >= 0 and stop <= size
        for (start, stop), size in zip(
            _window_region(node.operation, region), (height, width), strict=True
        )
    )


def _read_region(operation: Operation, value: Value, region: Region) -> Region:
    """The pixels of an input that a region of the result is computed from."""
    if isinstance(operation, Crop):
        return tuple(
            (start + margin, stop + margin)
            for (start, stop), (margin, _) in zip(region, operation.margins, strict=True)
        )
    if isinstance(operation, _SLIDING):
        return tuple(
            (max(start, 0), min(stop, size))
            for (start, stop), size in zip(
                _window_region(operation, region), value.shape[:2], strict=True
            )
        )
    return region


def _window_region(operation: Any, region: Region) -> Region:
    """What the windows of a region of the result cover, padding included."""
    dilation = getattr(operation, "dilation", (1, 1))
    is_pooling = isinstance(operation, MaxPooling | AveragePooling)
    window = operation.window if is_pooling else operation.filter.values.shape[:2]
    padding: Padding = operation.padding
    return tuple(
        (first * stride - before, (end - 1) * stride - before + step * (size - 1) + 1)
        for (first, end), stride, (before, _), size, step in zip(
            region, operation.strides, padding, window, dilation, strict=True
        )
    )


def _whole(value: Value) -> Region:
    return tuple((0, size) for size in value.shape[:2])
