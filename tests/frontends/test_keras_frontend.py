from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from edgegolf.backends import tflite
from edgegolf.export.model import import_keras_on_tensorflow
from edgegolf.frontends.keras import UnsupportedLayerError, read_model
from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import Conv2D, DepthwiseConv2D
from edgegolf.passes.normalization import fold_normalizations
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import (
    quantized,
    weight_integers,
    weight_reals,
    with_decoded_weights,
)

keras: Any = import_keras_on_tensorflow()
layers = keras.layers


def shared() -> Any:
    image = keras.Input((12, 12, 1))
    hidden = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(image)
    separable = layers.SeparableConv2D(6, 3, padding="same")
    for _ in range(3):
        hidden = layers.Add()([hidden, separable(layers.ReLU()(hidden))])
    hidden = layers.MaxPooling2D(2)(hidden)
    for _ in range(2):
        hidden = layers.Add()([hidden, separable(layers.ReLU()(hidden))])
    hidden = layers.GlobalAveragePooling2D()(layers.Cropping2D(1)(hidden))
    return keras.Model(image, layers.Dense(4, activation="softmax")(hidden))


def unshared() -> Any:
    return keras.Sequential(
        [
            keras.Input((9, 9, 2)),
            layers.ZeroPadding2D(((1, 0), (0, 2))),
            layers.Conv2D(4, 3, strides=2, dilation_rate=1, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(negative_slope=0.1),
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="valid"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.AveragePooling2D(2, padding="same"),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(5),
            layers.Softmax(),
        ]
    )


def branches() -> Any:
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 1, activation="relu")])
    joined = layers.Concatenate()([inner(image), inner(layers.ReLU()(image)), image])
    scaled = layers.BatchNormalization()(layers.Reshape((4, 4, 36))(joined))
    return keras.Model(image, layers.GlobalMaxPooling2D()(scaled))


def results(graph: Graph, images: np.ndarray) -> np.ndarray:
    (found,) = run(graph, [images])
    return found


@pytest.mark.parametrize("make", [shared, unshared, branches])
def test_the_graph_computes_what_the_model_does(make) -> None:
    model = make()
    random = np.random.default_rng(0)
    for weight in model.weights:
        positive = "variance" in weight.name
        weight.assign(random.uniform(0.5 if positive else -0.5, 1.0, size=weight.shape))
    images = random.random((6, *model.inputs[0].shape[1:])).astype(np.float32)
    graph = read_model(model)
    expected = model.predict(images, verbose=0)
    for each in (graph, fold_normalizations(graph), reroll(graph)):
        np.testing.assert_allclose(results(each, images), expected, rtol=1e-4, atol=1e-4)


def test_a_layer_has_one_weight_however_often_it_is_applied() -> None:
    graph = read_model(shared())
    assert len(graph.weights) == 7
    assert [loop.iterations for loop in reroll(graph).loops] == [3, 2]


def test_batch_normalization_becomes_part_of_the_convolution_before_it() -> None:
    graph = read_model(unshared())
    counts = [
        sum(isinstance(node.op, Conv2D | DepthwiseConv2D) for node in each.nodes)
        for each in (graph, fold_normalizations(graph))
    ]
    assert counts == [4, 2]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Conv2D(4, 3, activation="gelu"),
        lambda: layers.ReLU(max_value=6, negative_slope=0.1),
        lambda: layers.UpSampling2D(2),
    ],
)
def test_what_is_not_supported_is_refused(layer) -> None:
    model = keras.Sequential([keras.Input((8, 8, 4)), layer()])
    with pytest.raises(UnsupportedLayerError):
        read_model(model)


@pytest.mark.parametrize(
    "call",
    [
        lambda image: image + 1.5,
        lambda image: 1 - image,
        lambda image: image * 2,
        lambda image: layers.Add()([image, np.ones((1, 8, 8, 4), np.float32)]),
        lambda image: layers.BatchNormalization()(image, training=True),
    ],
)
def test_calls_with_other_values_than_tensors_are_refused(call) -> None:
    image = keras.Input((8, 8, 4))
    with pytest.raises(UnsupportedLayerError):
        read_model(keras.Model(image, call(image)))


def test_sums_and_differences_of_two_tensors_are_read() -> None:
    image = keras.Input((8, 8, 4))
    hidden = layers.Conv2D(4, 3, padding="same")(image)
    normal = layers.BatchNormalization()(hidden, training=False)
    model = keras.Model(image, (normal - image) + normal)
    images = np.random.default_rng(0).normal(0, 5, (3, 8, 8, 4)).astype(np.float32)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(results(read_model(model), images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "layer", [lambda: layers.Conv2D(4, 3, groups=2), lambda: layers.ReLU(max_value=6)]
)
def test_groups_and_bounds_are_read(layer) -> None:
    model = keras.Sequential([keras.Input((8, 8, 4)), layer()])
    images = np.random.default_rng(0).normal(0, 5, (3, 8, 8, 4)).astype(np.float32)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(results(read_model(model), images), expected, atol=1e-4)


def normalized_loop(least_factor: float) -> Any:
    """One convolution, each time with a normalization of its own; the factors begin at `least`."""
    image = keras.Input((8, 8, 6))
    hidden = image
    convolution = layers.Conv2D(6, 3, padding="same", use_bias=False)
    for _ in range(3):
        hidden = layers.Add()([hidden, layers.BatchNormalization()(convolution(hidden))])
        hidden = layers.ReLU()(hidden)
    scores = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(image, scores)
    random = np.random.default_rng(0)
    for weight in model.weights:
        positive = "variance" in weight.name or "gamma" in weight.name
        weight.assign(random.uniform(0.5 if positive else -0.5, 1.0, size=weight.shape))
        if "gamma" in weight.name:
            weight.assign(np.linspace(least_factor, 1, 6))
    return model


@pytest.mark.parametrize("least", [0.1, 0.0])
def test_normalizations_of_their_own_leave_a_convolution_its_integers(least: float) -> None:
    model = normalized_loop(least)
    graph = fold_normalizations(read_model(model))
    images = np.random.default_rng(1).random((6, 8, 8, 6), np.float32)
    # A factor of 0 becomes a ten-thousandth of the largest.
    np.testing.assert_allclose(results(graph, images), model.predict(images), atol=1e-3)
    filters = [node.filter for node in graph.nodes if isinstance(node.op, Conv2D)]
    assert len({id(weight) for weight in filters}) == 3
    assert len({id(weight.base) for weight in filters}) == 1
    assert not any(isinstance(node.op, DepthwiseConv2D) for node in graph.nodes)
    quantization = calibrate(graph, ranges(graph, [images]), Scheme("requantize", "own", "channel"))
    integers = [weight_integers(weight, quantization.weights[weight]) for weight in filters]
    for weight, found in zip(filters, integers, strict=True):
        np.testing.assert_array_equal(found, integers[0])
        rounded = weight_reals(weight, quantization.weights[weight])
        largest = np.abs(weight.values).max((1, 2, 3), keepdims=True)
        assert (np.abs(rounded - weight.values) <= 0.51 * largest / 127).all()
    whole = quantized(graph, quantization)
    for node in whole.nodes:
        if isinstance(node.op, Conv2D):
            assert (np.abs(node.bias.values.astype(np.int64)) < 2**30).all()
    stored = np.ascontiguousarray(integers[0]).tobytes()
    assert tflite.write(whole).count(stored) == 1
    assert tflite.write(with_decoded_weights(graph, quantization)).count(stored) == 1


def test_a_negative_factor_keeps_its_normalization() -> None:
    model = normalized_loop(-0.5)
    graph = fold_normalizations(read_model(model))
    images = np.random.default_rng(1).random((6, 8, 8, 6), np.float32)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(results(graph, images), expected, rtol=1e-4, atol=1e-4)
    assert sum(isinstance(node.op, DepthwiseConv2D) for node in graph.nodes) == 3
