from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ir_nets import outputs, plain_net, shared_net, three_loops

from edgegolf.ir import Graph
from edgegolf.passes.bias_sharing import share_biases
from edgegolf.passes.rerolling import reroll


@pytest.mark.parametrize("make", [shared_net, three_loops, plain_net])
def test_sharing_a_bias_changes_nothing_but_the_number_of_biases(
    make: Callable[[], Graph],
) -> None:
    graph = reroll(make())
    shared = share_biases(graph)
    np.testing.assert_allclose(outputs(shared), outputs(graph), atol=2e-5)
    assert len(shared.weights) == len(graph.weights)
    for loop in shared.loops:
        _, depthwise, pointwise, _ = loop.body.nodes
        assert depthwise.bias is pointwise.bias is not None
