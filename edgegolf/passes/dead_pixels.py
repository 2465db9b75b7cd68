"""Leaves out the pixels that no result depends on.

A crop near the end of a network, or a pooling that does not reach the last row, makes pixels of the
layers before useless. Going backwards, each layer needs only the pixels that the next one reads: of
a 3 x 3 layer's input that is one more on each side, so that the last of several such layers has the
least to compute. What is computed stays the same, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from edgegolf.ir import ops
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.tensor import Tensor

WORTHWHILE = 0.05  # of the multiplications; each layer that cuts costs bytes and some time

#: Of rows and of columns the first and the one after the last.
Region: TypeAlias = tuple[ops.Pair, ...]

_POINTWISE = (ops.Add, ops.Sub, ops.ReLU, ops.LeakyReLU)
_SLIDING = (ops.Conv2D, ops.DepthwiseConv2D, ops.MaxPool2D, ops.AveragePool2D)


@dataclass(frozen=True)
class Cropped:
    """A graph that computes fewer pixels."""

    graph: Graph  # with the same inputs
    origins: dict[Tensor, Tensor]  # for each new tensor the one that it has some pixels of


def eliminate_dead_pixels(graph: Graph) -> Cropped:
    """Compute only the pixels that are needed. Loops, and what reads the input, stay whole.

    A graph that would need more layers to cut for hardly less to compute stays as it is.
    """
    cropped = _crop(graph)
    if _cuts(cropped.graph) > _cuts(graph) and _multiplications(cropped.graph) > (
        1 - WORTHWHILE
    ) * _multiplications(graph):
        return Cropped(graph, {})
    return cropped


def _crop(graph: Graph) -> Cropped:
    regions = _needed_regions(graph)
    origins: dict[Tensor, Tensor] = {}
    current = {tensor: tensor for tensor in graph.inputs}
    nodes: list[Node] = []

    def part(tensor: Tensor, region: Region) -> Tensor:
        if region == _whole(tensor):
            return tensor
        rows, columns = (stop - start for start, stop in region)
        copy = replace(tensor, shape=(tensor.shape[0], rows, columns, *tensor.shape[3:]))
        origins[copy] = tensor
        return copy

    def read(tensor: Tensor, region: Region, strides: ops.Pair) -> Tensor:
        """Some pixels of what is there of a tensor; windows ignore what they do not fill."""
        if all(
            wanted[0] == there[0] and there[1] - wanted[1] < stride
            for wanted, there, stride in zip(region, regions[tensor], strides, strict=True)
        ):
            return current[tensor]
        rows, columns = (
            (wanted[0] - there[0], there[1] - wanted[1])
            for wanted, there in zip(region, regions[tensor], strict=True)
        )
        cut = part(tensor, region)
        whole = current[tensor]
        nodes.append(Node(ops.Slice.crop((rows, columns), whole.shape), (whole,), (cut,)))
        return cut

    for node in graph.nodes:
        if not _is_local(node):
            inputs = tuple(current.get(t, t) if t is not None else None for t in node.inputs)
            nodes.append(Node(node.op, inputs, node.outputs))
            current.update(zip(node.outputs, node.outputs, strict=True))
            continue
        region = regions[node.output]
        strides = getattr(node.op, "strides", (1, 1))
        arguments = tuple(
            read(tensor, _read_region(node, tensor, region), strides)
            if tensor is not None and tensor.data is None
            else tensor
            for tensor in node.inputs
        )
        if isinstance(node.op, ops.Slice):
            assert arguments[0] is not None
            current[node.output] = arguments[0]
            continue
        op: Any = node.op
        if isinstance(op, _SLIDING) and region != _whole(node.output):
            op = replace(op, padding=ops.NO_PADDING)
        current[node.output] = part(node.output, region)
        nodes.append(Node(op, arguments, (current[node.output],)))
    outputs = tuple(current.get(tensor, tensor) for tensor in graph.outputs)
    return Cropped(Graph(graph.inputs, outputs, tuple(nodes)), origins)


def _cuts(graph: Graph) -> int:
    return sum(isinstance(node.op, ops.Slice) for node in graph.nodes)


def _multiplications(graph: Graph) -> int:
    """Of filters with pixels, outside loops."""
    return sum(
        math.prod(node.output.shape[1:3]) * node.filter.elements
        for node in graph.nodes
        if isinstance(node.op, ops.Conv2D | ops.DepthwiseConv2D)
    )


def _needed_regions(graph: Graph) -> dict[Tensor, Region]:
    """The pixels of each tensor that something depends on."""
    needed: dict[Tensor, Region] = {tensor: _whole(tensor) for tensor in graph.outputs}

    def need(tensor: Tensor, region: Region) -> None:
        known = needed.get(tensor, region)
        needed[tensor] = tuple(
            (min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(known, region, strict=True)
        )

    for node in reversed(graph.nodes):
        for tensor in node.outputs:
            if not (
                tensor in needed and _is_local(node) and _can_crop(graph, node, needed[tensor])
            ):
                needed[tensor] = _whole(tensor)
        for tensor in node.computed:
            region = _whole(tensor)
            if _is_local(node):
                region = _read_region(node, tensor, needed[node.output])
            need(tensor, region)
    return needed | {tensor: _whole(tensor) for tensor in graph.inputs}


def _is_local(node: Node) -> bool:
    """Whether a pixel of the result depends on some pixels only."""
    if not all(len(tensor.shape) == 4 for tensor in (*node.computed, *node.outputs)):
        return False
    if isinstance(node.op, ops.Slice):
        return node.op.margins(node.source.shape) is not None
    shapes = {tensor.shape for tensor in (*node.computed, *node.outputs)}
    if isinstance(node.op, _POINTWISE):
        return len(shapes) == 1 and len(node.computed) == len(node.inputs)
    return isinstance(node.op, _SLIDING)


def _can_crop(graph: Graph, node: Node, region: Region) -> bool:
    """Whether it can compute this region alone: not where it still would have to pad."""
    if set(node.computed) & set(graph.inputs):
        return False
    if not isinstance(node.op, _SLIDING):
        return True
    return all(
        start >= 0 and stop <= size
        for (start, stop), size in zip(
            _window_region(node, region), node.source.shape[1:3], strict=True
        )
    )


def _read_region(node: Node, tensor: Tensor, region: Region) -> Region:
    """The pixels of an input that a region of the result is computed from."""
    margins = node.op.margins(tensor.shape) if isinstance(node.op, ops.Slice) else None
    if margins is not None:
        return tuple(
            (start + margin, stop + margin)
            for (start, stop), (margin, _) in zip(region, margins, strict=True)
        )
    if isinstance(node.op, _SLIDING):
        return tuple(
            (max(start, 0), min(stop, size))
            for (start, stop), size in zip(
                _window_region(node, region), tensor.shape[1:3], strict=True
            )
        )
    return region


def _window_region(node: Node, region: Region) -> Region:
    """What the windows of a region of the result cover, padding included."""
    op: Any = node.op
    dilation = getattr(op, "dilation", (1, 1))
    is_pooling = isinstance(op, ops.MaxPool2D | ops.AveragePool2D)
    window = op.size if is_pooling else node.filter.shape[1:3]
    return tuple(
        (first * stride - before, (end - 1) * stride - before + step * (size - 1) + 1)
        for (first, end), stride, (before, _), size, step in zip(
            region, op.strides, op.padding, window, dilation, strict=True
        )
    )


def _whole(tensor: Tensor) -> Region:
    return tuple((0, size) for size in tensor.shape[1:3])
