"""Fuses activations to what computes their input, as integer kernels do for nothing."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import Add, Conv2D, DepthwiseConv2D, FullyConnected, Loop, ReLU, Sub

_FUSING = (Conv2D, DepthwiseConv2D, FullyConnected, Add, Sub)
_BOUNDS = ((0.0, inf), (0.0, 6.0), (-1.0, 1.0))  # what TFLite's operators can fuse


def fuse_activations(graph: Graph) -> Graph:
    """Make ReLUs part of the nodes whose results only they read, in loops too."""
    fused: dict[Node, Node] = {}  # what computes, and the ReLU after it
    for node in graph.nodes:
        if not isinstance(node.op, _FUSING) or node.op.activation is not None:
            continue
        readers = graph.readers[node.output]
        if len(readers) == 1 and isinstance(readers[0].op, ReLU):
            relu = readers[0].op
            if (relu.low, relu.high) in _BOUNDS and node.output not in graph.outputs:
                fused[node] = readers[0]
    gone = set(fused.values())
    nodes: list[Node] = []
    for node in graph.nodes:
        if node in fused:
            op: Any = node.op
            nodes.append(
                Node(replace(op, activation=fused[node].op), node.inputs, fused[node].outputs)
            )
        elif isinstance(node.op, Loop):
            loop = Loop(fuse_activations(node.op.body), node.op.iterations)
            nodes.append(Node(loop, node.inputs, node.outputs))
        elif node not in gone:
            nodes.append(node)
    return Graph(graph.inputs, graph.outputs, tuple(nodes))
