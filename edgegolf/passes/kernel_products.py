"""Makes one convolution of a depthwise one and the 1×1 one after it.

The filter that does what both do is their product, which a runtime computes when it loads a file.
The file then names one operator where it had two, but more numbers are multiplied.
"""

from __future__ import annotations

from dataclasses import replace

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import NO_PADDING, Conv2D, DepthwiseConv2D, Mul
from edgegolf.ir.tensor import Tensor


def multiply_kernels(graph: Graph) -> Graph:
    """Replace each separable convolution outside of loops by one whose filter is a product."""
    products: dict[tuple[Tensor, Tensor], Tensor] = {}
    before: dict[Tensor, Node] = {}  # what a depthwise convolution computes
    nodes: list[Node] = []
    for node in graph.nodes:
        depthwise = before.get(node.source)
        if _is_depthwise(graph, node):
            before[node.output] = node
        elif depthwise is None:
            nodes.append(node)
        else:
            key = (node.filter, depthwise.filter)
            if key not in products:
                shape = (*node.filter.shape[:1], *depthwise.filter.shape[1:])
                products[key] = Tensor(shape)
                nodes.append(Node(Mul(), key, (products[key],)))
            op = depthwise.op
            assert isinstance(node.op, Conv2D)
            assert isinstance(op, DepthwiseConv2D)
            both = replace(node.op, strides=op.strides, padding=op.padding, dilation=op.dilation)
            inputs = (depthwise.source, products[key], *node.inputs[2:])
            nodes.append(Node(both, inputs, node.outputs))
    return Graph(graph.inputs, graph.outputs, tuple(nodes))


def _is_depthwise(graph: Graph, node: Node) -> bool:
    """Whether it is the first part of a separable convolution, without a bias between."""
    readers = graph.readers[node.outputs[0]]
    if not isinstance(node.op, DepthwiseConv2D) or len(readers) != 1:
        return False
    (reader,) = readers
    return (
        node.op.activation is None
        and node.bias is None
        and node.output not in graph.outputs
        and node.filter.shape[3] == node.source.shape[3]
        and isinstance(reader.op, Conv2D)
        and reader.filter.shape[1:] == (1, 1, node.output.shape[3])
        and (reader.op.strides, reader.op.padding) == ((1, 1), NO_PADDING)
    )
