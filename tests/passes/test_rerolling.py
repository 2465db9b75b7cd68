from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_nets import (
    Builder,
    apply_block,
    outputs,
    plain_net,
    residual_block,
    shared_net,
    three_loops,
)

from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import Add
from edgegolf.passes.rerolling import reroll, unroll


def test_a_repeated_block_becomes_a_loop() -> None:
    graph = shared_net(iterations=6)
    rolled = reroll(graph)
    (loop,) = rolled.loops
    assert (loop.iterations, len(loop.body.nodes)) == (6, 4)
    assert set(rolled.weights) == set(graph.weights)
    assert rolled.macs == graph.macs
    np.testing.assert_array_equal(outputs(rolled), outputs(graph))


def test_one_block_may_serve_in_loops_of_several_sizes() -> None:
    graph = three_loops()
    rolled = reroll(graph)
    assert [loop.iterations for loop in rolled.loops] == [4, 4, 4]
    assert len({loop.body.nodes[1].layer for loop in rolled.loops}) == 1
    np.testing.assert_array_equal(outputs(rolled), outputs(graph))


def test_a_graph_without_repeats_stays_the_same_object() -> None:
    graph = plain_net()
    assert reroll(graph) is graph


def test_equal_weights_of_different_layers_are_not_rolled() -> None:
    build = Builder(8, 8, 4)
    hidden = build.source
    for _ in range(3):
        build.random = np.random.default_rng(3)
        hidden = apply_block(build, residual_block(build, 4), hidden)
    graph = build.classify(hidden)
    assert reroll(graph) is graph


def test_a_tensor_that_is_read_from_outside_ends_the_loop_before_it() -> None:
    build = Builder(8, 8, 4)
    block = residual_block(build, 4)
    tensors = [build.source]
    for _ in range(5):
        tensors.append(apply_block(build, block, tensors[-1]))
    graph = build.classify(build.apply(Add(), tensors[3], tensors[5]))
    rolled = reroll(graph)
    assert [loop.iterations for loop in rolled.loops] == [3, 2]
    np.testing.assert_array_equal(outputs(rolled), outputs(graph))


def test_what_every_iteration_reads_is_carried_unchanged() -> None:
    build = Builder(8, 8, 4)
    hidden = build.relu(build.source)
    block = residual_block(build, 4)
    for _ in range(4):
        hidden = apply_block(build, block, build.apply(Add(), hidden, build.source))
    graph = build.classify(hidden)
    rolled = reroll(graph)
    assert [loop.iterations for loop in rolled.loops] == [4]
    np.testing.assert_array_equal(outputs(rolled), outputs(graph))


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
    own = [(build.weight(6, 6), build.weight(6)) for _ in range(before + after)]
    shared = [(build.weight(6, 6), build.weight(6)) for _ in range(layers)]
    hidden = build.source
    for layer in [*own[:before], *(shared * iterations), *own[before:]]:
        hidden = build.relu(build.dense(hidden, *layer))
    graph = build.graph(hidden)
    rolled = reroll(graph)
    assert [loop.iterations for loop in rolled.loops] == ([iterations] if iterations > 1 else [])
    assert rolled.macs == graph.macs
    inputs = build.random.normal(size=(3, 6)).astype(np.float32)
    (expected,) = run(graph, [inputs])
    np.testing.assert_array_equal(run(rolled, [inputs])[0], expected)
    for factor in (None, 2, 3):
        (found,) = run(unroll(rolled, factor).graph, [inputs])
        np.testing.assert_array_equal(found, expected)
    assert not unroll(rolled).graph.loops
