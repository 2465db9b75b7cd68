from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ir_nets import outputs

from edgegolf.frontends.onnx import read_graph
from edgegolf.passes.gauge import fix_gauge

MODELS = Path(__file__).parents[2] / "models" / "mnist"
FIXED = {  # channels between the two parts of separable convolutions, and inputs of a class
    "tight_resnet": 20 + 81,
    "fewest_parameters": 10,
    "double_cnn-2": 65,
    "pooled_linear": 50,
    "tight_resnet_unshared": 8 * 20 + 81,
}


@pytest.mark.parametrize(("net", "fixed"), FIXED.items())
def test_what_is_1_or_0_changes_nothing(net: str, fixed: int) -> None:
    graph = read_graph((MODELS / net / "float32.onnx").read_bytes()).graph
    same, count = fix_gauge(graph)
    assert count == fixed
    np.testing.assert_allclose(outputs(same), outputs(graph), atol=2e-4)

    def plain(of) -> int:
        return sum(int(np.isin(each.values, (0, 1)).sum()) for each in of.parameters)

    assert plain(same) - plain(graph) == fixed
    again, none_more = fix_gauge(same)
    assert none_more == fixed
    assert plain(again) == plain(same)
