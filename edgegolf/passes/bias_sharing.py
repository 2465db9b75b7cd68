"""As few different biases as possible.

Runtimes crash on depthwise convolutions without a bias. The zeros for it need not be stored: a
bias v that both the depthwise and the following 1×1 convolution add does what b did in the second
alone, if v · W + v = b. What lies between the two may change its sign, channel by channel, which
changes the signs of W's rows: those are chosen that keep v small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.ops import NO_PADDING, Conv2D, DepthwiseConv2D, Loop
from edgegolf.ir.tensor import Tensor

LARGEST_GROWTH = 8.0  # of the largest element of the bias
SWEEPS = 3  # over the signs of all channels

_Constants = tuple[Tensor, Tensor]  # a filter and a bias


def share_biases(graph: Graph) -> Graph:
    """Give each depthwise convolution without bias one with the 1×1 convolution after it.

    Done where no other node reads between them, and where both are always applied together.
    """
    followers: dict[Tensor, set[Node | None]] = {}
    for part in (graph, *(loop.body for loop in graph.loops)):
        for node in part.nodes:
            if isinstance(node.op, DepthwiseConv2D):
                after = part.readers[node.output]
                alone = len(after) == 1 and node.output not in part.outputs
                follower = after[0] if alone and _can_share(node, after[0]) else None
                followers.setdefault(node.filter, set()).add(follower)
    changed: dict[Tensor, _Constants] = {}
    for depthwise, found in followers.items():
        pointwise = {node.layer: node for node in found if node is not None}
        if None in found or len(pointwise) != 1:
            continue
        (follower,) = pointwise.values()
        if follower.filter in changed or _applications(graph, follower.filter) != len(found):
            continue
        changed |= _with_shared_bias(depthwise, follower)
    return _with_constants(graph, changed)


def _applications(graph: Graph, weights: Tensor) -> int:
    return sum(node.constant(1) is weights for node in graph.walk())


def _with_constants(graph: Graph, changed: dict[Tensor, _Constants]) -> Graph:
    def replaced(node: Node) -> Node:
        if isinstance(node.op, Loop):
            loop = Loop(_with_constants(node.op.body, changed), node.op.iterations)
            return Node(loop, node.inputs, node.outputs)
        weights = node.constant(1)
        if weights is None or weights not in changed:
            return node
        return Node(node.op, (node.source, *changed[weights]), node.outputs)

    return Graph(graph.inputs, graph.outputs, tuple(map(replaced, graph.nodes)))


def _can_share(depthwise: Node, pointwise: Node) -> bool:
    op = pointwise.op
    return (
        depthwise.bias is None
        and isinstance(op, Conv2D)
        and pointwise.bias is not None
        and pointwise.filter.shape[1:3] == (1, 1)
        and op.strides == (1, 1)
        and op.padding == NO_PADDING
        and depthwise.output.shape == pointwise.output.shape
    )


def _with_shared_bias(depthwise: Tensor, pointwise: Node) -> dict[Tensor, _Constants]:
    """What takes the place of the two, unless the shared bias would be large and inexact."""
    assert pointwise.bias is not None
    matrix = pointwise.filter.values[:, 0, 0].T.astype(np.float64)  # [inputs, outputs]
    bias = pointwise.bias.values.astype(np.float64)
    signs = np.ones(len(matrix))
    solution = _solve(matrix, bias)
    for channel in [*range(len(matrix))] * SWEEPS:
        signs[channel] *= -1
        flipped = _solve(signs[:, None] * matrix, bias)
        if np.abs(flipped).max() < np.abs(solution).max():
            solution = flipped
        else:
            signs[channel] *= -1
    if not np.abs(solution).max() <= LARGEST_GROWTH * max(np.abs(bias).max(), 1e-6):
        return {}
    shared = Tensor.constant(solution.astype(np.float32), pointwise.bias.name)
    first = (depthwise.values * signs).astype(np.float32)
    second = (pointwise.filter.values * signs).astype(np.float32)
    return {
        depthwise: (Tensor.constant(first, depthwise.name), shared),
        pointwise.filter: (Tensor.constant(second, pointwise.filter.name), shared),
    }


def _solve(matrix: NDArray[np.float64], bias: NDArray[np.float64]) -> NDArray[np.float64]:
    """The v with v · matrix + v = bias; infinite where there is none."""
    try:
        return np.linalg.solve(matrix.T + np.eye(len(matrix)), bias)
    except np.linalg.LinAlgError:
        return np.full_like(bias, np.inf)
