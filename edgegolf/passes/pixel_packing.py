"""Makes convolutions on few channels fast in int8.

XNNPACK's int8 convolutions work through eight input channels at a time and fill up what is
missing with zeros, so that an image with one channel costs as much as one with eight. Seen as an
image of half or a quarter of the width, with neighbouring pixels as channels, the same image in
the same memory costs less, although the filter gets larger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import NO_PADDING, Conv2D, Reshape
from edgegolf.ir.tensor import QuantParams, Tensor


def pack_pixels(graph: Graph, factor: int) -> Graph | None:
    """Let the first convolution take `factor` neighbouring pixels of a row as channels.

    Where it gives several results for so many pixels, these become channels, too, and a reshape
    after it restores them. None for graphs that do not start with such a convolution.

    Args:
        graph: Quantized, its ReLUs fused.
        factor: How many pixels.
    """
    first = graph.nodes[0]
    op = first.op
    if not (isinstance(op, Conv2D) and _can_pack(first, op, factor)):
        return None
    packed = _packed(first, op, factor)
    batch, height, width, channels = first.source.shape
    source = replace(first.source, shape=(batch, height, width // factor, factor * channels))
    nodes = [Node(Reshape(), (first.source,), (source,))]
    wide = replace(op, strides=(op.strides[0], 1))
    if packed.results == 1:
        nodes.append(Node(wide, (source, *packed.constants), first.outputs))
    else:
        _, rows, columns, outputs = first.output.shape
        shape = (batch, rows, columns // packed.results, packed.results * outputs)
        together = replace(first.output, shape=shape)
        nodes.append(Node(wide, (source, *packed.constants), (together,)))
        nodes.append(Node(Reshape(), (together,), first.outputs))
    return Graph(graph.inputs, graph.outputs, (*nodes, *graph.nodes[1:]))


def _can_pack(node: Node, op: Conv2D, factor: int) -> bool:
    width, stride = node.source.shape[2], op.strides[1]
    return (
        op.padding == NO_PADDING
        and op.dilation == (1, 1)
        and width % factor == 0
        and factor % stride == 0
        and node.output.shape[2] % (factor // stride) == 0
        and node.filter.shape[3] == node.source.shape[3]
    )


@dataclass(frozen=True)
class _Packed:
    """The filter and the bias for packed pixels, and how many columns they give at once."""

    constants: tuple[Tensor, ...]
    results: int


def _packed(node: Node, op: Conv2D, factor: int) -> _Packed:
    outputs, rows, columns, channels = node.filter.shape
    stride = op.strides[1]
    results = factor // stride
    groups = -(-(columns + stride * (results - 1)) // factor)
    wide = np.zeros((results, outputs, rows, groups * factor, channels), node.filter.values.dtype)
    for result in range(results):
        wide[result, :, :, stride * result : stride * result + columns] = node.filter.values
    wide = wide.reshape(results * outputs, rows, groups, factor * channels)
    constants = [_tiled(node.filter, wide, results)]
    if node.bias is not None:
        constants.append(_tiled(node.bias, np.tile(node.bias.values, results), results))
    return _Packed(tuple(constants), results)


def _tiled(tensor: Tensor, data: np.ndarray, results: int) -> Tensor:
    """A constant with other elements, whose scales per channel repeat."""
    quant = tensor.quant
    if quant is not None and quant.is_per_channel:
        quant = QuantParams(quant.scale * results, quant.zero_point * results, quant.axis)
    return replace(tensor, shape=data.shape, data=data, quant=quant)
