from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_nets import Builder, apply_block, outputs, plain_net, residual_block, shared_net

from edgegolf.ir import Graph
from edgegolf.ir.ops import AveragePool2D, Conv2D, DepthwiseConv2D, MaxPool2D
from edgegolf.passes.dead_pixels import eliminate_dead_pixels
from edgegolf.passes.rerolling import reroll, unroll


def computed(graph: Graph) -> list[int]:
    """How many pixels each depthwise convolution computes."""
    return [
        node.output.shape[1] * node.output.shape[2]
        for node in graph.nodes
        if isinstance(node.op, DepthwiseConv2D)
    ]


def test_the_last_layers_compute_the_least() -> None:
    # 8 x 8 pixels, of which pooling and crop leave the inner 4 x 4
    graph = shared_net(iterations=4)
    cropped = eliminate_dead_pixels(graph).graph
    assert computed(graph) == [64, 64, 64, 64]
    assert computed(cropped) == [64, 64, 36, 16]
    assert set(cropped.weights) == set(graph.weights)
    np.testing.assert_allclose(outputs(cropped), outputs(graph), rtol=1e-5)


def test_new_tensors_name_what_they_are_part_of() -> None:
    graph = shared_net(iterations=4)
    cropped = eliminate_dead_pixels(graph)
    old = {tensor for node in graph.nodes for tensor in node.outputs}
    new = {tensor for node in cropped.graph.nodes for tensor in node.outputs} - old
    assert new == set(cropped.origins)
    for tensor, origin in cropped.origins.items():
        assert origin in old
        assert tensor.shape[3] == origin.shape[3]


def test_graphs_that_need_every_pixel_stay_as_they_are() -> None:
    graph = plain_net()
    cropped = eliminate_dead_pixels(graph)
    assert not cropped.origins
    assert [node.op for node in cropped.graph.nodes] == [node.op for node in graph.nodes]


def test_loops_stay_whole() -> None:
    rolled = reroll(shared_net())
    cropped = eliminate_dead_pixels(rolled).graph
    assert cropped.loops == rolled.loops
    np.testing.assert_allclose(outputs(cropped), outputs(rolled), rtol=1e-5)


def test_hardly_fewer_pixels_are_not_worth_a_layer() -> None:
    build = Builder(40, 40, 2)
    hidden = build.convolve(build.source, build.weight(3, 3, 3, 2))
    hidden = build.convolve(hidden, build.weight(3, 2, 2, 3))  # 37 x 37
    graph = build.classify(build.pool(MaxPool2D, hidden, (3, 3), (3, 3)))
    assert eliminate_dead_pixels(graph).graph is graph


def test_a_row_that_pooling_does_not_reach_is_left_out() -> None:
    build = Builder(13, 13, 2)
    hidden = build.convolve(build.relu(build.source), build.weight(3, 3, 3, 2))  # 11 x 11
    graph = build.classify(build.pool(MaxPool2D, hidden, (2, 2), (2, 2)))
    cropped = eliminate_dead_pixels(graph).graph
    (convolution,) = (node for node in cropped.nodes if isinstance(node.op, Conv2D))
    assert convolution.output.shape == (1, 10, 10, 3)
    np.testing.assert_allclose(outputs(cropped), outputs(graph), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_results_stay_the_same(data: st.DataObject) -> None:
    number = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    build = Builder(number(9, 14), number(9, 14), 3, seed=number(0, 99))
    hidden = build.source
    block = residual_block(build, 3)
    for _ in range(number(1, 5)):
        _, height, width, _ = hidden.shape
        kind = number(0, 4)
        if kind < 2:
            hidden = apply_block(build, block, hidden)
        elif kind == 2 and min(height, width) > 4:
            margins = ((number(0, 1), number(0, 1)), (number(0, 1), number(0, 1)))
            hidden = build.crop(hidden, margins)
        elif kind == 3 and min(height, width) > 4:
            pooling = data.draw(st.sampled_from([MaxPool2D, AveragePool2D]))
            hidden = build.pool(pooling, hidden, (2, 2), (number(1, 2), 2))
        elif min(height, width) > 5:
            hidden = build.convolve(
                hidden, build.weight(3, 3, 2, 3), None, (number(1, 2), 1),
                ((number(0, 1), number(0, 1)), (0, number(0, 1))), dilation=(number(1, 2), 1),
            )  # fmt: skip
    graph = build.classify(hidden)
    cropped = eliminate_dead_pixels(graph).graph
    assert sum(computed(cropped)) <= sum(computed(graph))
    np.testing.assert_allclose(outputs(cropped), outputs(graph), rtol=1e-5)


def test_unrolled_loops_are_cropped() -> None:
    straight = unroll(reroll(shared_net(iterations=4))).graph
    assert computed(eliminate_dead_pixels(straight).graph) == [64, 64, 36, 16]
