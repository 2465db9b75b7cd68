"""Filters that are mirror images of each other, folded into half of the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sharing_nets import (
    Builder,
    images,
    mirror_pairs_loop,
    mirror_pairs_network,
    mirrored,
    plain_network,
)

from edgegolf.data import Split
from edgegolf.export.sharing.drafts import tflite_drafts
from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.measuring import measure
from edgegolf.export.sharing.mirror_pairs import fold_mirror_pairs
from edgegolf.export.sharing.network import (
    Add,
    Convolution,
    Dense,
    DepthwiseConvolution,
    Network,
    Node,
    Operation,
    Rectifier,
    Reshape,
    Weight,
    replace_operations,
)
from edgegolf.export.sharing.reader import read_network


def outputs(network: Network, count: int = 5) -> np.ndarray:
    return evaluate(network, images(network, count) / np.float32(255))


def multiplications(network: Network) -> int:
    return sum(
        node.operation.filter.values.size * int(np.prod(node.output.shape[:2]))
        for node in network.nodes
        if isinstance(node.operation, Convolution)
    )


def weights(network: Network) -> int:
    return sum(weight.values.size for weight in network.weights)


def layers(network: Network, kind: type[Operation]) -> list[Node]:
    return [node for node in network.nodes if isinstance(node.operation, kind)]


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
    network = mirror_pairs_network(widths, filters, height, stride, padding, channels)
    folded = fold_mirror_pairs(network)
    assert (folded is network) == (set(widths) == {1})
    assert folded.inputs == network.inputs
    assert folded.outputs[0].shape == network.outputs[0].shape
    np.testing.assert_allclose(outputs(folded), outputs(network), atol=2e-5)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_half_of_the_weights_and_multiplications_are_left(width: int, padding: int) -> None:
    network = mirror_pairs_network((width, 1, width), filters=8, padding=padding)
    folded = fold_mirror_pairs(network)
    assert multiplications(folded) * 2 == multiplications(network)
    biases = 3 * 8 // 2
    assert weights(folded) == (weights(network) - 5 - 2 * biases) / 2 + 5 + biases


@pytest.mark.parametrize("multiplier", [1, 2])
def test_residuals_of_separable_convolutions_are_folded_and_stay_multiples(multiplier: int) -> None:
    network = mirror_pairs_loop(multiplier)
    folded = fold_mirror_pairs(network)
    np.testing.assert_allclose(outputs(folded), outputs(network), rtol=1e-4, atol=1e-5)
    pointwise = [
        node.operation for node in layers(folded, Convolution) if node.output.shape[:2] == (4, 4)
    ][2:]  # behind the halves of the stem
    assert len(pointwise) == 6
    for each, first in zip(pointwise, pointwise[:2] * 3, strict=True):
        assert each.filter.base is first.filter.base is not None
        ratios = each.filter.values / first.filter.values
        np.testing.assert_allclose(ratios, np.broadcast_to(ratios[:, :, :1], ratios.shape), 1e-3)
    assert pointwise[0].filter.base is not pointwise[1].filter.base
    assert len({node.operation for node in layers(folded, DepthwiseConvolution)}) == 2


def test_of_few_channels_halves_of_the_filters_are_applied_as_they_are() -> None:
    network = mirror_pairs_network((3, 1), channels=3)
    folded = fold_mirror_pairs(network)
    whole = layers(network, Convolution)[0].operation.filter.values
    halves = [node.operation.filter.values for node in layers(folded, Convolution)[:2]]
    np.testing.assert_array_equal(np.concatenate(halves, axis=3), whole)
    np.testing.assert_allclose(outputs(folded), outputs(network), atol=2e-5)


def test_the_net_of_the_article_is_folded_once_it_is_kept_in_mirror_pairs() -> None:
    keras = pytest.importorskip("keras")
    from edgegolf.training.mirror import keep_mirror_pairs
    from edgegolf.zoo import find_recipe

    keras.utils.set_random_seed(0)
    model = find_recipe("tencnn:dropout=0").build((32, 32, 3), 10)
    assert fold_mirror_pairs(plain := read_network(model)) is plain
    model.compile("sgd", "sparse_categorical_crossentropy")
    keep_mirror_pairs(model)
    pixels = np.random.default_rng(0).random((4, 32, 32, 3)).astype("float32")
    both = np.concatenate([pixels, pixels[:, :, ::-1]])  # else twins have other statistics
    model.train_on_batch(both, np.arange(8) % 4)
    folded = fold_mirror_pairs(network := read_network(model))
    np.testing.assert_allclose(outputs(folded, 2), outputs(network, 2), atol=1e-5)
    assert weights(folded) < 0.501 * weights(network)
    assert multiplications(folded) < 0.505 * multiplications(network)


def test_residual_nets_of_the_zoo_are_folded() -> None:
    keras = pytest.importorskip("keras")
    from edgegolf.training.mirror import keep_mirror_pairs
    from edgegolf.zoo import find_recipe

    keras.utils.set_random_seed(0)
    model = find_recipe("loop_resnet:48").build((32, 32, 3), 10)
    model.compile("sgd", "sparse_categorical_crossentropy")
    keep_mirror_pairs(model)
    pixels = np.random.default_rng(0).random((4, 32, 32, 3)).astype("float32")
    both = np.concatenate([pixels, pixels[:, :, ::-1]])
    model.train_on_batch(both, np.arange(8) % 4)
    folded = fold_mirror_pairs(network := read_network(model))
    np.testing.assert_allclose(outputs(folded, 2), outputs(network, 2), atol=1e-5)
    of_stem = 32 * 32 * 3 * 3 * 3 * 32
    assert multiplications(folded) * 2 == multiplications(network) + of_stem
    kernels = {node.operation.filter.base or node.operation for node in layers(folded, Convolution)}
    # Of the stem, both halvings and two convolutions in each of two stages, of twins each.
    assert len(kernels) == 2 * (1 + 2 + 2 * 2)


def test_filters_that_are_no_twins_stay_as_they_are() -> None:
    assert fold_mirror_pairs(plain := plain_network()) is plain
    network = mirror_pairs_network()
    for node in layers(network, Convolution):
        operation = node.operation
        changed = operation.filter.values.copy()
        changed[0, 0, 0, 0] += 0.02
        other = replace(operation, filter=Weight("w", changed))
        network = replace_operations(network, {operation: other})
    assert fold_mirror_pairs(network) is network


@pytest.mark.parametrize("broken", [Convolution, Dense])
def test_what_tells_twins_apart_gets_them_side_by_side(broken: type[Operation]) -> None:
    network = mirror_pairs_network((3, 5, 3))
    operation = layers(network, broken)[-1].operation
    weight = operation.weights[0]
    values = np.random.default_rng(1).normal(size=weight.values.shape).astype(np.float32)
    field = "filter" if broken is Convolution else "matrix"
    other = replace(operation, **{field: Weight("w", values)})
    network = replace_operations(network, {operation: other})
    folded = fold_mirror_pairs(network)
    assert len(layers(folded, Convolution)) == (5 if broken is Convolution else 6)
    np.testing.assert_allclose(outputs(folded), outputs(network), atol=2e-5)


def test_a_layer_that_is_applied_twice_has_its_weights_once() -> None:
    build = Builder(9, 11, 8)
    first, second = build.weight(3, 3, 8, 6).values, build.weight(3, 3, 6, 6).values
    first, second = first + mirrored(first, False), second + mirrored(second, True)
    hidden = build.apply(Convolution(Weight("w", first), None), build.source)
    layer = Convolution(Weight("v", second), None)
    output = build.apply(layer, build.apply(layer, hidden))
    network = Network((build.source,), (output,), tuple(build.nodes))
    folded = fold_mirror_pairs(network)
    assert weights(folded) * 2 == weights(network)
    np.testing.assert_allclose(outputs(folded), outputs(network), rtol=1e-4, atol=1e-4)


def test_halves_may_be_read_several_times_and_be_the_output() -> None:
    build = Builder(7, 9, 4)
    values = build.weight(3, 3, 4, 6).values
    values = (values + mirrored(values, paired=False)) / 2
    hidden = build.apply(Convolution(Weight("w", values), None), build.source)
    rectified = build.apply(Rectifier(), hidden)
    total = build.apply(Add(), hidden, rectified)
    flat = build.apply(Reshape((5 * 7 * 6,)), rectified)
    network = Network((build.source,), (total, flat, hidden), tuple(build.nodes))
    folded = fold_mirror_pairs(network)
    assert folded.outputs == network.outputs
    assert len(layers(folded, Convolution)) == 2
    pixels = images(network, 3) / np.float32(255)
    for index in range(3):
        one, other = (
            Network(each.inputs, (each.outputs[index],), each.nodes) for each in (network, folded)
        )
        np.testing.assert_allclose(evaluate(other, pixels), evaluate(one, pixels), atol=2e-5)


@pytest.mark.parametrize(
    "options", [{"strides": (1, 2)}, {"dilation": (1, 2)}, {"padding": ((0, 0), (0, 1))}]
)
def test_columns_that_are_skipped_or_added_on_one_side_are_not_folded(
    options: dict[str, tuple],
) -> None:
    build = Builder(7, 9, 4)
    values = build.weight(3, 3, 4, 6).values
    values = (values + mirrored(values, paired=False)) / 2
    output = build.apply(Convolution(Weight("w", values), None, **options), build.source)
    network = Network((build.source,), (output,), tuple(build.nodes))
    assert fold_mirror_pairs(network) is network


@pytest.mark.parametrize("padding", [0, 1])
def test_the_folded_network_is_among_what_may_be_deployed(padding: int) -> None:
    network = mirror_pairs_network((3, 5, 3), filters=64, padding=padding)
    shown = images(network)
    labels = evaluate(network, shown / np.float32(255)).argmax(axis=1)
    split = Split(shown, labels)
    drafts = tflite_drafts(network, split, steps=0, seed=0)
    found = {(each.name, each.compute): each for each in measure(drafts, ".tflite", split)}
    folded = [each for name, each in found.items() if name[0].startswith("mirror pairs, ")]
    assert {each.compute for each in folded} == {"int8", "int8-weights"}
    for each in folded:
        plain = found[each.name.removeprefix("mirror pairs, "), each.compute]
        assert each.size_bytes < 0.6 * plain.size_bytes
        assert each.accuracy > 0.95
