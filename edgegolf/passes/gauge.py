"""Parameters that cost no function, because others can make up for them.

A factor of each channel may move from a depthwise convolution to the 1×1 convolution behind it, and
what a classifier adds to all classes alike changes no softmax. So one element of each depthwise
filter can be 1, and all that leads to one class 0: numbers that need not be stored. There may be
more of this freedom in a net; this is what any net with such layers has.
"""

from __future__ import annotations

import numpy as np

from edgegolf.ir.graph import Graph, Node, replace_constants
from edgegolf.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected, Softmax
from edgegolf.ir.tensor import Tensor

_Changed = dict[Tensor, Tensor]


def fix_gauge(graph: Graph) -> tuple[Graph, int]:
    """A graph of the same function, up to rounding, and how many parameters are 1 or 0 for that.

    Args:
        graph: In float32.
    """
    changed: _Changed = {}
    fixed = 0
    applied: dict[Tensor, list[tuple[Graph, Node]]] = {}
    for part in graph.distinct:
        for node in part.nodes:
            if isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected):
                applied.setdefault(node.filter, []).append((part, node))
    for weights, nodes in applied.items():
        if weights.data is None:
            continue
        if all(isinstance(node.op, DepthwiseConv2D) for _, node in nodes):
            fixed += _fix_channels(weights, applied, changed)
        elif len(nodes) == 1 and isinstance(nodes[0][1].op, FullyConnected):
            fixed += _fix_classes(*nodes[0], changed)
    return replace_constants(graph, changed), fixed


def _fix_channels(
    weights: Tensor, applied: dict[Tensor, list[tuple[Graph, Node]]], changed: _Changed
) -> int:
    """Make one element of every filter 1, where the same 1×1 convolution always follows."""
    followers = {_follower(part, node) for part, node in applied[weights]}
    (follower,) = followers if len(followers) == 1 else (None,)
    if follower is None or len(applied[follower]) != len(applied[weights]):
        return 0
    filters = weights.values.astype(np.float64).reshape(-1, weights.shape[-1])
    # The same element of all filters, that which is nowhere near 0.
    factors = filters[np.abs(filters).min(axis=1).argmax()]
    if not factors.all():
        return 0
    scaled = weights.values / factors
    changed[weights] = Tensor.constant(scaled.astype(np.float32))
    changed[follower] = Tensor.constant((follower.values * factors).astype(np.float32))
    return len(factors)


def _follower(part: Graph, node: Node) -> Tensor | None:
    """The filter of the 1×1 convolution that alone reads what a depthwise one gives."""
    after = part.readers[node.output]
    if len(after) != 1 or node.output in part.outputs or node.bias is not None:
        return None
    op, activation = after[0].op, getattr(node.op, "activation", None)
    if activation is not None or not isinstance(op, Conv2D):
        return None
    filters = after[0].constant(1)
    whole = filters is not None and filters.shape[1:] == (1, 1, node.filter.shape[-1])
    return filters if whole else None


def _fix_classes(part: Graph, node: Node, changed: _Changed) -> int:
    """Make all that leads to the last class 0, where a softmax reads the scores."""
    readers = part.readers[node.output]
    biases = node.bias
    alone = len(readers) == 1 and isinstance(readers[0].op, Softmax)
    shared = biases is not None and sum(biases in each.parameters for each in part.nodes) > 1
    if not alone or shared or node.output in part.outputs or node.filter in changed:
        return 0
    for each in filter(None, (node.filter, biases)):
        changed[each] = Tensor.constant(each.values - each.values[-1:])
    return int(node.filter.shape[1]) + (biases is not None)
