from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sharing_nets import Builder, apply_block, images, plain_network, residual_block, shared_network

from edgegolf.export.sharing.blocks import roll, unroll
from edgegolf.export.sharing.cropping import crop
from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.network import (
    AveragePooling,
    Convolution,
    Crop,
    DepthwiseConvolution,
    MaxPooling,
    Network,
    Rectifier,
)


def outputs(network: Network) -> np.ndarray:
    return evaluate(network, images(network, 5) / np.float32(255))


def pixels(network: Network) -> list[int]:
    """How many pixels each depthwise convolution computes."""
    return [
        node.output.shape[0] * node.output.shape[1]
        for node in network.nodes
        if isinstance(node.operation, DepthwiseConvolution)
    ]


def test_the_last_layers_compute_the_least() -> None:
    # 8 x 8 pixels, of which pooling and crop leave the inner 4 x 4
    network = shared_network(iterations=4)
    cropped = crop(network).network
    assert pixels(network) == [64, 64, 64, 64]
    assert pixels(cropped) == [64, 64, 36, 16]
    assert set(cropped.weights) == set(network.weights)
    np.testing.assert_allclose(outputs(cropped), outputs(network), rtol=1e-5)


def test_new_values_name_what_they_are_part_of() -> None:
    network = shared_network(iterations=4)
    cropped = crop(network)
    old = {value for node in network.nodes for value in node.outputs}
    new = {value for node in cropped.network.nodes for value in node.outputs} - old
    assert new == set(cropped.origins)
    for value, origin in cropped.origins.items():
        assert origin in old
        assert value.shape[2] == origin.shape[2]


def test_networks_that_need_every_pixel_stay_as_they_are() -> None:
    network = plain_network()
    cropped = crop(network)
    assert not cropped.origins
    assert [node.operation for node in cropped.network.nodes] == [
        node.operation for node in network.nodes
    ]


def test_loops_stay_whole() -> None:
    rolled = roll(shared_network())
    cropped = crop(rolled).network
    assert cropped.loops == rolled.loops
    np.testing.assert_allclose(outputs(cropped), outputs(rolled), rtol=1e-5)


def test_hardly_fewer_pixels_are_not_worth_a_layer() -> None:
    build = Builder(40, 40, 2)
    hidden = build.apply(Convolution(build.weight(3, 3, 2, 3), None), build.source)
    hidden = build.apply(Convolution(build.weight(2, 2, 3, 3), None), hidden)  # 37 x 37
    network = build.classify(build.apply(MaxPooling((3, 3), (3, 3)), hidden))
    assert crop(network).network is network


def test_a_row_that_pooling_does_not_reach_is_left_out() -> None:
    build = Builder(13, 13, 2)
    hidden = build.apply(Rectifier(), build.source)
    hidden = build.apply(Convolution(build.weight(3, 3, 2, 3), None), hidden)  # 11 x 11
    network = build.classify(build.apply(MaxPooling((2, 2), (2, 2)), hidden))
    cropped = crop(network).network
    (convolution,) = (n for n in cropped.nodes if isinstance(n.operation, Convolution))
    assert convolution.output.shape == (10, 10, 3)
    np.testing.assert_allclose(outputs(cropped), outputs(network), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_results_stay_the_same(data: st.DataObject) -> None:
    number = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    build = Builder(number(9, 14), number(9, 14), 3, seed=number(0, 99))
    hidden = build.source
    block = residual_block(build, 3)
    for _ in range(number(1, 5)):
        height, width, _ = hidden.shape
        kind = number(0, 4)
        if kind < 2:
            hidden = apply_block(build, block, hidden)
        elif kind == 2 and min(height, width) > 4:
            margins = ((number(0, 1), number(0, 1)), (number(0, 1), number(0, 1)))
            hidden = build.apply(Crop(margins), hidden)
        elif kind == 3 and min(height, width) > 4:
            pooling = data.draw(st.sampled_from([MaxPooling, AveragePooling]))
            hidden = build.apply(pooling((2, 2), (number(1, 2), 2)), hidden)
        elif min(height, width) > 5:
            layer = Convolution(
                build.weight(3, 2, 3, 3), None, (number(1, 2), 1),
                ((number(0, 1), number(0, 1)), (0, number(0, 1))), (number(1, 2), 1),
            )  # fmt: skip
            hidden = build.apply(layer, hidden)
    network = build.classify(hidden)
    cropped = crop(network).network
    assert sum(pixels(cropped)) <= sum(pixels(network))
    np.testing.assert_allclose(outputs(cropped), outputs(network), rtol=1e-5)


def test_unrolled_loops_are_cropped() -> None:
    straight = unroll(roll(shared_network(iterations=4))).network
    assert pixels(crop(straight).network) == [64, 64, 36, 16]
