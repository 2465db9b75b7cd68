"""Makes normalizations part of the convolutions before them."""

from __future__ import annotations

import numpy as np

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import NO_PADDING, Conv2D, DepthwiseConv2D
from edgegolf.ir.tensor import Tensor

SMALLEST_SHARE = np.float32(1e-4)  # of the largest factor of a normalization

_Constants = tuple[Tensor, Tensor]  # a filter and a bias


def fold_normalizations(graph: Graph) -> Graph:
    """Merge 1×1 depthwise convolutions into the convolutions before them.

    Done where nothing else reads the convolution's result and where the convolution, if it is
    applied several times, is always followed by the same scaling, or each time by a positive one:
    then what it becomes are multiples of one filter, channel by channel.
    """
    layers = [node for node in graph.nodes if isinstance(node.op, Conv2D | DepthwiseConv2D)]
    followers: dict[Tensor, dict[Tensor | None, Node | None]] = {}
    for node in layers:
        scaling = _scaling_after(graph, node)
        found = followers.setdefault(node.filter, {})
        found[None if scaling is None else scaling.filter] = scaling
    merged: dict[tuple[Tensor, Tensor], _Constants] = {}
    for node in layers:
        scalings = [each for each in followers[node.filter].values() if each is not None]
        several = len(scalings) > 1
        if len(scalings) < len(followers[node.filter]) or (
            several and not (isinstance(node.op, Conv2D) and all(map(_keeps_signs, scalings)))
        ):
            continue
        for each in scalings:
            if (node.filter, each.filter) not in merged:
                merge = _multiple if several else _merge
                merged[node.filter, each.filter] = merge(node, each)
    absorbed: dict[Node, Node] = {}  # a scaling, and the convolution that it becomes part of
    for node in layers:
        after = _scaling_after(graph, node)
        if after is not None and (node.filter, after.filter) in merged:
            absorbed[after] = node
    gone = set(absorbed.values())
    nodes: list[Node] = []
    for node in graph.nodes:
        if node in absorbed:
            before = absorbed[node]
            constants = merged[before.filter, node.filter]
            nodes.append(Node(before.op, (before.source, *constants), node.outputs))
        elif node not in gone:
            nodes.append(node)
    return Graph(graph.inputs, graph.outputs, tuple(nodes))


def _scaling_after(graph: Graph, node: Node) -> Node | None:
    """The scaling that alone reads a node's result."""
    found = graph.readers[node.output]
    if len(found) != 1 or node.output in graph.outputs:
        return None
    (scaling,) = found
    op = scaling.op
    is_scaling = (
        isinstance(op, DepthwiseConv2D)
        and scaling.filter.shape == (1, 1, 1, node.output.shape[-1])
        and op.strides == (1, 1)
        and op.padding == NO_PADDING
        and op.activation is None
    )
    return scaling if is_scaling and getattr(node.op, "activation", None) is None else None


def _keeps_signs(scaling: Node) -> bool:
    return bool((scaling.filter.values >= 0).all())


def _multiple(convolution: Node, scaling: Node) -> _Constants:
    """A multiple of a convolution that tells of which."""
    # A channel that is scaled to nothing would lose the base's integers.
    factors = scaling.filter.values.reshape(-1)
    positive = np.maximum(factors, SMALLEST_SHARE * factors.max())
    return _scaled(convolution, scaling, positive, base=convolution.filter)


def _merge(convolution: Node, scaling: Node) -> _Constants:
    return _scaled(convolution, scaling, scaling.filter.values.reshape(-1))


def _scaled(
    convolution: Node, scaling: Node, factors: np.ndarray, base: Tensor | None = None
) -> _Constants:
    weights = convolution.filter
    is_depthwise = isinstance(convolution.op, DepthwiseConv2D)
    values = weights.values * (factors if is_depthwise else factors[:, None, None, None])
    bias = np.zeros_like(factors)
    if convolution.bias is not None:
        bias = convolution.bias.values * factors
    if scaling.bias is not None:
        bias = bias + scaling.bias.values
    name = f"{weights.name}·{scaling.filter.name}"
    return Tensor.constant(values, name, base), Tensor.constant(bias, f"{name}/bias")
