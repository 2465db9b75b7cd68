"""Filters that are mirror images of each other, folded into half of the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_nets import (
    Builder,
    constant,
    mirror_pairs_loop,
    mirror_pairs_net,
    mirrored,
    outputs,
    pixels,
    plain_net,
)

from edgegolf.frontends.keras import read_model
from edgegolf.ir import Graph, Node, Op
from edgegolf.ir.graph import replace_constants
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import Add, Conv2D, DepthwiseConv2D, FullyConnected
from edgegolf.passes.mirror_pairs import fold_mirror_pairs
from edgegolf.passes.normalization import fold_normalizations


def multiplications(graph: Graph) -> int:
    return sum(
        node.filter.elements * int(np.prod(node.output.shape[1:3]))
        for node in layers(graph, Conv2D)
    )


def weights(graph: Graph) -> int:
    return sum(weight.elements for weight in graph.weights)


def layers(graph: Graph, kind: type[Op]) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.op, kind)]


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    filters=st.sampled_from([2, 6, 8]),
    height=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    channels=st.sampled_from([3, 8]),
)
def test_the_result_stays_the_same(
    widths: tuple[int, ...], filters: int, height: int, stride: int, padding: int, channels: int
) -> None:
    graph = mirror_pairs_net(widths, filters, height, stride, padding, channels)
    folded = fold_mirror_pairs(graph)
    assert (folded is graph) == (set(widths) == {1})
    assert folded.inputs == graph.inputs
    assert folded.outputs[0].shape == graph.outputs[0].shape
    np.testing.assert_allclose(outputs(folded), outputs(graph), atol=2e-5)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_half_of_the_weights_and_multiplications_are_left(width: int, padding: int) -> None:
    graph = mirror_pairs_net((width, 1, width), filters=8, padding=padding)
    folded = fold_mirror_pairs(graph)
    assert multiplications(folded) * 2 == multiplications(graph)
    biases = 3 * 8 // 2
    assert weights(folded) == (weights(graph) - 5 - 2 * biases) / 2 + 5 + biases


@pytest.mark.parametrize("multiplier", [1, 2])
def test_residuals_of_separable_convolutions_are_folded_and_stay_multiples(multiplier: int) -> None:
    graph = mirror_pairs_loop(multiplier)
    folded = fold_mirror_pairs(graph)
    np.testing.assert_allclose(outputs(folded), outputs(graph), rtol=1e-4, atol=1e-5)
    pointwise = [n for n in layers(folded, Conv2D) if n.output.shape[1:3] == (4, 4)]
    pointwise = pointwise[2:]  # behind the halves of the stem
    assert len(pointwise) == 6
    for each, first in zip(pointwise, pointwise[:2] * 3, strict=True):
        assert each.filter.base is first.filter.base is not None
        ratios = each.filter.values / first.filter.values
        np.testing.assert_allclose(ratios, np.broadcast_to(ratios[..., :1], ratios.shape), 1e-3)
    assert pointwise[0].filter.base is not pointwise[1].filter.base
    assert len({node.layer for node in layers(folded, DepthwiseConv2D)}) == 2


def test_of_few_channels_halves_of_the_filters_are_applied_as_they_are() -> None:
    graph = mirror_pairs_net((3, 1), channels=3)
    folded = fold_mirror_pairs(graph)
    whole = layers(graph, Conv2D)[0].filter.values
    halves = [node.filter.values for node in layers(folded, Conv2D)[:2]]
    np.testing.assert_array_equal(np.concatenate(halves, axis=0), whole)
    np.testing.assert_allclose(outputs(folded), outputs(graph), atol=2e-5)


def test_the_net_of_the_article_is_folded_once_it_is_kept_in_mirror_pairs() -> None:
    keras = pytest.importorskip("keras")
    from edgegolf.training.mirror import keep_mirror_pairs
    from edgegolf.zoo import find_recipe

    keras.utils.set_random_seed(0)
    model = find_recipe("tencnn:dropout=0").build((32, 32, 3), 10)
    plain = fold_normalizations(read_model(model))
    assert fold_mirror_pairs(plain) is plain
    model.compile("sgd", "sparse_categorical_crossentropy")
    keep_mirror_pairs(model)
    shown = np.random.default_rng(0).random((4, 32, 32, 3)).astype("float32")
    both = np.concatenate([shown, shown[:, :, ::-1]])  # else twins have other statistics
    model.train_on_batch(both, np.arange(8) % 4)
    graph = fold_normalizations(read_model(model))
    folded = fold_mirror_pairs(graph)
    np.testing.assert_allclose(outputs(folded, 2), outputs(graph, 2), atol=1e-5)
    assert weights(folded) < 0.501 * weights(graph)
    assert multiplications(folded) < 0.505 * multiplications(graph)


def test_residual_nets_of_the_zoo_are_folded() -> None:
    keras = pytest.importorskip("keras")
    from edgegolf.training.mirror import keep_mirror_pairs
    from edgegolf.zoo import find_recipe

    keras.utils.set_random_seed(0)
    model = find_recipe("loop_resnet:48").build((32, 32, 3), 10)
    model.compile("sgd", "sparse_categorical_crossentropy")
    keep_mirror_pairs(model)
    shown = np.random.default_rng(0).random((4, 32, 32, 3)).astype("float32")
    both = np.concatenate([shown, shown[:, :, ::-1]])
    model.train_on_batch(both, np.arange(8) % 4)
    graph = fold_normalizations(read_model(model))
    folded = fold_mirror_pairs(graph)
    np.testing.assert_allclose(outputs(folded, 2), outputs(graph, 2), atol=1e-5)
    of_stem = 32 * 32 * 3 * 3 * 3 * 32
    assert multiplications(folded) * 2 == multiplications(graph) + of_stem
    kernels = {node.filter.base or node.layer for node in layers(folded, Conv2D)}
    # Of the stem, both halvings and two convolutions in each of two stages, of twins each.
    assert len(kernels) == 2 * (1 + 2 + 2 * 2)


def test_filters_that_are_no_twins_stay_as_they_are() -> None:
    plain = plain_net()
    assert fold_mirror_pairs(plain) is plain
    graph = mirror_pairs_net()
    for node in layers(graph, Conv2D):
        changed = node.filter.values.copy()
        changed[0, 0, 0, 0] += 0.02
        graph = replace_constants(graph, {node.filter: constant(changed)})
    assert fold_mirror_pairs(graph) is graph


@pytest.mark.parametrize("broken", [Conv2D, FullyConnected])
def test_what_tells_twins_apart_gets_them_side_by_side(broken: type[Op]) -> None:
    graph = mirror_pairs_net((3, 5, 3))
    weight = layers(graph, broken)[-1].filter
    values = np.random.default_rng(1).normal(size=weight.shape)
    graph = replace_constants(graph, {weight: constant(values)})
    folded = fold_mirror_pairs(graph)
    assert len(layers(folded, Conv2D)) == (5 if broken is Conv2D else 6)
    np.testing.assert_allclose(outputs(folded), outputs(graph), atol=2e-5)


def test_a_layer_that_is_applied_twice_has_its_weights_once() -> None:
    build = Builder(9, 11, 8)
    first, second = build.weight(6, 3, 3, 8).values, build.weight(6, 3, 3, 6).values
    first, second = first + mirrored(first, False), second + mirrored(second, True)
    hidden, layer = build.convolve(build.source, constant(first)), constant(second)
    graph = build.graph(build.convolve(build.convolve(hidden, layer), layer))
    folded = fold_mirror_pairs(graph)
    assert weights(folded) * 2 == weights(graph)
    np.testing.assert_allclose(outputs(folded), outputs(graph), rtol=1e-4, atol=1e-4)


def test_halves_may_be_read_several_times_and_be_the_output() -> None:
    build = Builder(7, 9, 4)
    values = build.weight(6, 3, 3, 4).values
    values = (values + mirrored(values, paired=False)) / 2
    hidden = build.convolve(build.source, constant(values))
    rectified = build.relu(hidden)
    total = build.apply(Add(), hidden, rectified)
    graph = build.graph(total, build.flatten(rectified), hidden)
    folded = fold_mirror_pairs(graph)
    assert folded.outputs == graph.outputs
    assert len(layers(folded, Conv2D)) == 2
    shown = [pixels(graph, 3)]
    for found, expected in zip(run(folded, shown), run(graph, shown), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    "options", [{"strides": (1, 2)}, {"dilation": (1, 2)}, {"padding": ((0, 0), (0, 1))}]
)
def test_columns_that_are_skipped_or_added_on_one_side_are_not_folded(
    options: dict[str, tuple],
) -> None:
    build = Builder(7, 9, 4)
    values = build.weight(6, 3, 3, 4).values
    values = (values + mirrored(values, paired=False)) / 2
    graph = build.graph(build.convolve(build.source, constant(values), **options))
    assert fold_mirror_pairs(graph) is graph
