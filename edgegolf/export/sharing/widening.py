"""Makes convolutions on few channels fast in int8.

XNNPACK's int8 convolutions work through eight input channels at a time and fill up what is
missing with zeros, so that an image with one channel costs as much as one with eight. Seen as an
image of half or a quarter of the width, with neighbouring pixels as channels, the same image in
the same memory costs less, although the filter gets larger.
"""

from __future__ import annotations

import numpy as np

from edgegolf.export.sharing.network import (
    NO_PADDING,
    Convolution,
    Network,
    Node,
    Rectifier,
    Reshape,
    Shape,
    Value,
    Weight,
    fused_rectifiers,
)
from edgegolf.export.sharing.quantization import Quantization


def widen(
    network: Network, quantization: Quantization, factor: int
) -> tuple[Network, Quantization] | None:
    """Let the first convolution take `factor` neighbouring pixels of a row as channels.

    Where it gives several results for so many pixels, these become channels, too, and a reshape
    after it restores them. None for networks that do not start with such a convolution.
    """
    first = network.nodes[0]
    convolution = first.operation
    if not (isinstance(convolution, Convolution) and _can_widen(first, convolution, factor)):
        return None
    wide, results = _widened(convolution, factor)
    height, width, channels = first.inputs[0].shape
    folded = Value((height, width // factor, factor * channels))
    origins = {folded: first.inputs[0]}
    nodes = [Node(Reshape(folded.shape), first.inputs, (folded,))]
    rectifier = fused_rectifiers(network).get(first)
    output = first.output if rectifier is None else rectifier.output
    if results == 1:
        nodes.append(Node(wide, (folded,), first.outputs))
        rest = network.nodes[1:]
    else:
        rows, columns, outputs = output.shape
        together: Shape = (rows, columns // results, results * outputs)
        current = Value(together)
        nodes.append(Node(wide, (folded,), (current,)))
        if rectifier is not None:
            origins[current] = first.output
            before, current = current, Value(together)
            nodes.append(Node(Rectifier(), (before,), (current,)))
        origins[current] = output
        nodes.append(Node(Reshape(output.shape), (current,), (output,)))
        rest = tuple(node for node in network.nodes[1:] if node is not rectifier)
    scales = quantization.weights[convolution.filter]
    return (
        Network(network.inputs, network.outputs, (*nodes, *rest)),
        quantization.with_copies(
            origins, {wide.filter: scales * results if len(scales) > 1 else scales}
        ),
    )


def _can_widen(node: Node, convolution: Convolution, factor: int) -> bool:
    width, stride = node.inputs[0].shape[1], convolution.strides[1]
    return (
        convolution.padding == NO_PADDING
        and convolution.dilation == (1, 1)
        and width % factor == 0
        and factor % stride == 0
        and node.output.shape[1] % (factor // stride) == 0
    )


def _widened(convolution: Convolution, factor: int) -> tuple[Convolution, int]:
    """The convolution of the folded image, and for how many columns it gives results at once."""
    values = convolution.filter.values
    rows, columns, channels, outputs = values.shape
    stride = convolution.strides[1]
    results = factor // stride
    groups = -(-(columns + stride * (results - 1)) // factor)
    wide = np.zeros((rows, groups * factor, channels, results, outputs), np.float32)
    for result in range(results):
        wide[:, stride * result : stride * result + columns, :, result] = values
    name = convolution.filter.name
    bias = convolution.bias
    folded = Weight(name, wide.reshape(rows, groups, factor * channels, results * outputs))
    tiled = None if bias is None else Weight(bias.name, np.tile(bias.values, results))
    return Convolution(folded, tiled, (convolution.strides[0], 1)), results
