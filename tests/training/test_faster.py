"""Against Keras's own layers: outputs, gradients and moving averages."""

from __future__ import annotations

import numpy as np
import pytest

from edgegolf.training.faster import faster
from edgegolf.zoo.recipe import MIXED_BFLOAT16

keras = pytest.importorskip("keras")
tensorflow = pytest.importorskip("tensorflow")


def shared_normalizations() -> keras.Model:
    """One convolution twice, first with one normalization, then with the other."""
    image = keras.Input((6, 6, 3))
    convolution = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)
    first = keras.layers.BatchNormalization(gamma_constraint="non_neg", momentum=0.9)
    second = keras.layers.BatchNormalization(epsilon=0.01)
    hidden = first(convolution(image))
    hidden = second(convolution(hidden))
    scores = keras.layers.Dense(4)(keras.layers.Flatten()(first(hidden)))
    return keras.Model(image, scores)


def gradients(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    with tensorflow.GradientTape() as tape:
        loss = tensorflow.reduce_sum(model(images, training=True) ** 2)
    found = tape.gradient(loss, model.trainable_variables)
    return [value.numpy() for value in found]


def test_it_trains_as_keras_layers_do() -> None:
    model = shared_normalizations()
    for variable in model.trainable_variables:
        variable.assign(variable + np.random.default_rng(0).normal(0, 0.1, variable.shape))
    fused = faster(model)
    assert not any(type(layer) is keras.layers.BatchNormalization for layer in fused.layers)
    images = np.random.default_rng(1).normal(2, 3, (5, 6, 6, 3)).astype(np.float32)
    for _ in range(3):
        for found, wanted in zip(gradients(fused, images), gradients(model, images), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)
    for found, wanted in zip(fused.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fused(images), model(images), rtol=1e-4, atol=1e-4)
    assert [weight.constraint for weight in fused.trainable_variables][1] is not None


def test_a_net_without_normalization_is_left_alone() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert faster(model) is model


def test_bfloat16_is_for_all_but_the_classifier_and_the_weights() -> None:
    model = shared_normalizations()
    copy = faster(model, MIXED_BFLOAT16)
    computed = {type(layer).__name__: layer.compute_dtype for layer in copy.layers[1:]}
    assert (computed.pop("Dense"), set(computed.values())) == ("float32", {"bfloat16"})
    assert {str(weight.dtype) for weight in copy.weights} == {"float32"}
    images = np.random.default_rng(1).normal(0, 1, (5, 6, 6, 3)).astype(np.float32)
    for training in (False, True):
        found, wanted = copy(images, training=training), model(images, training=training)
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, wanted, atol=0.05 * np.abs(wanted).max())
        assert np.abs(found - wanted).max() > 1e-4  # which rounding is to be seen in
