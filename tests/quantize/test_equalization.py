from __future__ import annotations

import numpy as np
import pytest
from ir_nets import (
    difference_net,
    mirror_pairs_net,
    outputs,
    pixels,
    plain_net,
    shared_net,
    three_loops,
)

from edgegolf.ir import Graph
from edgegolf.passes.mirror_pairs import fold_mirror_pairs
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.equalization import equalize, importances

GRAPHS = {
    "shared": shared_net,
    "rolled": lambda: reroll(shared_net()),
    "three loops": three_loops,
    "plain": plain_net,
    "differences": difference_net,
    "mirror pairs": lambda: fold_mirror_pairs(mirror_pairs_net()),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_equalization_keeps_the_function_and_lowers_the_noise(name: str) -> None:
    graph = GRAPHS[name]()
    images = pixels(graph, 40)
    equalized = equalize(graph, [images])
    np.testing.assert_allclose(outputs(equalized, 40), outputs(graph, 40), rtol=1e-3, atol=1e-5)

    def noise(graph: Graph) -> float:
        found = importances(graph, [images])
        largest = max(np.abs(weight.values).max() for weight in graph.weights)
        total = sum(np.broadcast_to(found[weight], weight.shape).sum() for weight in graph.weights)
        return float(largest * np.sqrt(total))

    assert noise(equalized) <= noise(graph) * 1.001
