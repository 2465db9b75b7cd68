"""As few different biases as possible.

Runtimes crash on depthwise convolutions without a bias. The zeros for it need not be stored: a
bias v that both the depthwise and the following 1×1 convolution add does what b did in the second
alone, if v · W + v = b. What lies between the two may change its sign, channel by channel, which
changes the signs of W's rows: those are chosen that keep v small.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.network import (
    NO_PADDING,
    Convolution,
    DepthwiseConvolution,
    Network,
    Node,
    Operation,
    Weight,
    readers,
    replace_operations,
)

LARGEST_GROWTH = 8.0  # of the largest element of the bias
SWEEPS = 3  # over the signs of all channels


def share_biases(network: Network) -> Network:
    """Give each depthwise convolution without bias one with the 1×1 convolution after it.

    Done where no other node reads between them, and where both are always applied together.
    """
    followers: dict[Operation, set[Operation | None]] = {}
    for graph in (network, *(loop.body for loop in network.loops)):
        readers_of = readers(graph)
        for node in graph.nodes:
            found = readers_of[node.outputs[0]]
            alone = len(found) == 1 and node.outputs[0] not in graph.outputs
            follower = found[0].operation if alone and _can_share(node, found[0]) else None
            followers.setdefault(node.operation, set()).add(follower)
    changed: dict[Operation, Operation] = {}
    for depthwise, (pointwise, *others) in ((key, [*value]) for key, value in followers.items()):
        if (
            isinstance(depthwise, DepthwiseConvolution)
            and isinstance(pointwise, Convolution)
            and not others
            and pointwise not in changed
        ):
            changed |= _with_shared_bias(depthwise, pointwise)
    return replace_operations(network, changed)


def _can_share(depthwise: Node, pointwise: Node) -> bool:
    first, second = depthwise.operation, pointwise.operation
    return (
        isinstance(first, DepthwiseConvolution)
        and first.bias is None
        and isinstance(second, Convolution)
        and second.bias is not None
        and second.filter.values.shape[:2] == (1, 1)
        and second.strides == (1, 1)
        and second.padding == NO_PADDING
        and depthwise.output.shape == pointwise.output.shape
    )


def _with_shared_bias(
    depthwise: DepthwiseConvolution, pointwise: Convolution
) -> dict[Operation, Operation]:
    """What takes the place of the two, unless the shared bias would be large and inexact."""
    assert pointwise.bias is not None
    matrix = pointwise.filter.values[0, 0].astype(np.float64)
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
    shared = Weight(pointwise.bias.name, solution.astype(np.float32))
    after = signs.reshape(depthwise.filter.values.shape[2:])
    first = (depthwise.filter.values * after).astype(np.float32)
    second = (pointwise.filter.values * signs[:, None]).astype(np.float32)
    return {
        depthwise: replace(depthwise, filter=Weight(depthwise.filter.name, first), bias=shared),
        pointwise: replace(pointwise, filter=Weight(pointwise.filter.name, second), bias=shared),
    }


def _solve(matrix: NDArray[np.float64], bias: NDArray[np.float64]) -> NDArray[np.float64]:
    """The v with v · matrix + v = bias; infinite where there is none."""
    try:
        return np.linalg.solve(matrix.T + np.eye(len(matrix)), bias)
    except np.linalg.LinAlgError:
        return np.full_like(bias, np.inf)
