"""Leaves out copies of a tensor that only serve to give it the shape of another."""

from __future__ import annotations

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import Add, Concatenate, Mul, Sub
from edgegolf.ir.tensor import Tensor


def broadcast_copies(graph: Graph) -> Graph:
    """Let operators that broadcast read a tensor of length 1 in place of its copies side by side.

    Graphs without any come back as they are.
    """
    copied = {
        node.output: node.source
        for node in graph.nodes
        if isinstance(node.op, Concatenate)
        and len(set(node.inputs)) == 1
        and node.source.shape[node.op.axis] == 1
        and node.output not in graph.outputs
        and all(_broadcasts(node.output, reader) for reader in graph.readers[node.output])
    }
    if not copied:
        return graph
    nodes = [
        Node(node.op, tuple(t and copied.get(t, t) for t in node.inputs), node.outputs)
        for node in graph.nodes
        if node.outputs[0] not in copied
    ]
    return Graph(graph.inputs, graph.outputs, tuple(nodes))


def _broadcasts(copies: Tensor, reader: Node) -> bool:
    """Whether a node gives the same where the other input has the shape of all copies."""
    others = [tensor for tensor in reader.inputs if tensor is not copies]
    shapes = [tensor.shape for tensor in others if tensor is not None]
    return isinstance(reader.op, Add | Sub | Mul) and shapes == [copies.shape]
