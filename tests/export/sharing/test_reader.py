from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from edgegolf.data import Split
from edgegolf.export.model import import_keras_on_tensorflow
from edgegolf.export.sharing.blocks import roll
from edgegolf.export.sharing.calibration import Style, calibrate, filters_of, ranges
from edgegolf.export.sharing.drafts import tflite_drafts
from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.network import Convolution, DepthwiseConvolution
from edgegolf.export.sharing.quantization import (
    dequantized_weight,
    quantized_bias,
    quantized_weight,
)
from edgegolf.export.sharing.reader import UnsupportedLayerError, read_network
from edgegolf.export.sharing.tflite import write_int8

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


@pytest.mark.parametrize("make", [shared, unshared, branches])
def test_the_network_computes_what_the_model_does(make) -> None:
    model = make()
    random = np.random.default_rng(0)
    for weight in model.weights:
        positive = "variance" in weight.name
        weight.assign(random.uniform(0.5 if positive else -0.5, 1.0, size=weight.shape))
    images = random.random((6, *model.inputs[0].shape[1:])).astype(np.float32)
    network = read_network(model)
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(evaluate(network, images), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(evaluate(roll(network), images), expected, rtol=1e-4, atol=1e-4)


def test_a_layer_has_one_weight_however_often_it_is_applied() -> None:
    network = read_network(shared())
    assert len(network.weights) == 7
    assert [loop.iterations for loop in roll(network).loops] == [3, 2]


def test_batch_normalization_becomes_part_of_the_convolution_before_it() -> None:
    operations = [node.operation for node in read_network(unshared()).nodes]
    convolutions = (Convolution, DepthwiseConvolution)
    assert sum(isinstance(operation, convolutions) for operation in operations) == 2


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Conv2D(4, 3, groups=2),
        lambda: layers.Conv2D(4, 3, activation="gelu"),
        lambda: layers.ReLU(max_value=6),
        lambda: layers.UpSampling2D(2),
    ],
)
def test_what_is_not_supported_is_refused(layer) -> None:
    model = keras.Sequential([keras.Input((8, 8, 4)), layer()])
    with pytest.raises(UnsupportedLayerError):
        read_network(model)


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
    network = read_network(model)
    images = np.random.default_rng(1).random((6, 8, 8, 6), np.float32)
    # A factor of 0 becomes a ten-thousandth of the largest.
    np.testing.assert_allclose(evaluate(network, images), model.predict(images), atol=1e-3)
    filters = [
        node.operation.filter for node in network.nodes if isinstance(node.operation, Convolution)
    ]
    assert len({id(weight) for weight in filters}) == 3
    assert len({id(weight.base) for weight in filters}) == 1
    assert not any(isinstance(node.operation, DepthwiseConvolution) for node in network.nodes)
    style = Style("requantize", "own", "channel")
    quantization = calibrate(network, ranges(network, images), style)
    integers = [quantized_weight(weight, quantization) for weight in filters]
    for weight, found in zip(filters, integers, strict=True):
        np.testing.assert_array_equal(found, integers[0])
        rounded = dequantized_weight(weight, quantization)
        largest = np.abs(weight.values).max((0, 1, 2))
        assert (np.abs(rounded - weight.values) <= 0.51 * largest / 127).all()
        biases = quantized_bias(filters_of(network)[weight], quantization)
        assert (np.abs(biases.astype(np.int64)) < 2**30).all()
    stored = np.ascontiguousarray(integers[0].transpose(3, 0, 1, 2)).tobytes()
    assert write_int8(network, quantization).count(stored) == 1
    split = Split(np.rint(images * 255).astype(np.uint8), np.zeros(6, np.int64))
    drafts = {draft.name: draft for draft in tflite_drafts(network, split, steps=0, seed=0)}
    assert drafts["scale per channel"].compute == "int8-weights"
    assert drafts["scale per channel"].data.count(stored) == 1


def test_a_negative_factor_keeps_its_normalization() -> None:
    model = normalized_loop(-0.5)
    network = read_network(model)
    images = np.random.default_rng(1).random((6, 8, 8, 6), np.float32)
    np.testing.assert_allclose(
        evaluate(network, images), model.predict(images, verbose=0), rtol=1e-4, atol=1e-4
    )
    scalings = [n for n in network.nodes if isinstance(n.operation, DepthwiseConvolution)]
    assert len(scalings) == 3
