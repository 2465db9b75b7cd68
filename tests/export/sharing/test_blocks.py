from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sharing_nets import (
    Builder,
    apply_block,
    images,
    plain_network,
    residual_block,
    shared_network,
    three_loops,
)

from edgegolf.export.sharing.biases import share_biases
from edgegolf.export.sharing.blocks import roll, unroll
from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.network import Add, Dense, Network, Rectifier


def outputs(network: Network, count: int = 5) -> np.ndarray:
    return evaluate(network, images(network, count) / np.float32(255))


def test_a_repeated_block_becomes_a_loop() -> None:
    network = shared_network(iterations=6)
    rolled = roll(network)
    (loop,) = rolled.loops
    assert (loop.iterations, len(loop.body.nodes)) == (6, 4)
    assert set(rolled.weights) == set(network.weights)
    np.testing.assert_array_equal(outputs(rolled), outputs(network))


def test_one_block_may_serve_in_loops_of_several_sizes() -> None:
    rolled = roll(three_loops())
    assert [loop.iterations for loop in rolled.loops] == [4, 4, 4]
    assert len({loop.body.nodes[1].operation for loop in rolled.loops}) == 1
    np.testing.assert_array_equal(outputs(rolled), outputs(three_loops()))


def test_a_network_without_repeats_stays_the_same_object() -> None:
    network = plain_network()
    assert roll(network) is network


def test_equal_weights_of_different_layers_are_not_rolled() -> None:
    build = Builder(8, 8, 4)
    hidden = build.source
    for _ in range(3):
        build.random = np.random.default_rng(3)
        hidden = apply_block(build, residual_block(build, 4), hidden)
    network = build.classify(hidden)
    assert roll(network) is network


def test_a_value_that_is_read_from_outside_ends_the_loop_before_it() -> None:
    build = Builder(8, 8, 4)
    block = residual_block(build, 4)
    values = [build.source]
    for _ in range(5):
        values.append(apply_block(build, block, values[-1]))
    network = build.classify(build.apply(Add(), values[3], values[5]))
    rolled = roll(network)
    assert [loop.iterations for loop in rolled.loops] == [3, 2]
    np.testing.assert_array_equal(outputs(rolled), outputs(network))


def test_what_every_iteration_reads_is_carried_unchanged() -> None:
    build = Builder(8, 8, 4)
    hidden = build.apply(Rectifier(), build.source)
    block = residual_block(build, 4)
    for _ in range(4):
        hidden = apply_block(build, block, build.apply(Add(), hidden, build.source))
    network = build.classify(hidden)
    rolled = roll(network)
    assert [loop.iterations for loop in rolled.loops] == [4]
    np.testing.assert_array_equal(outputs(rolled), outputs(network))


@given(
    iterations=st.integers(1, 7),
    layers=st.integers(1, 3),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_rolling_and_unrolling_change_nothing(
    iterations: int, layers: int, before: int, after: int
) -> None:
    build = Builder(6)
    own = [Dense(build.weight(6, 6), build.weight(6)) for _ in range(before + after)]
    shared = [Dense(build.weight(6, 6), build.weight(6)) for _ in range(layers)]
    hidden = build.source
    for operation in [*own[:before], *(shared * iterations), *own[before:]]:
        hidden = build.apply(Rectifier(), build.apply(operation, hidden))
    network = Network((build.source,), (hidden,), tuple(build.nodes))
    rolled = roll(network)
    assert [loop.iterations for loop in rolled.loops] == ([iterations] if iterations > 1 else [])
    inputs = build.random.normal(size=(3, 6)).astype(np.float32)
    expected = evaluate(network, inputs)
    np.testing.assert_array_equal(evaluate(rolled, inputs), expected)
    for factor in (None, 2, 3):
        np.testing.assert_array_equal(evaluate(unroll(rolled, factor).network, inputs), expected)
    assert not unroll(rolled).network.loops


@pytest.mark.parametrize("make", [shared_network, three_loops, plain_network])
def test_sharing_a_bias_changes_nothing_but_the_number_of_biases(make) -> None:
    network = roll(make())
    shared = share_biases(network)
    np.testing.assert_allclose(outputs(shared), outputs(network), atol=2e-5)
    for loop in shared.loops:
        _, depthwise, pointwise, _ = (node.operation for node in loop.body.nodes)
        assert depthwise.bias is pointwise.bias
