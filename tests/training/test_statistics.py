"""Against a normalization's own definition, and against what Keras gathers itself."""

from __future__ import annotations

import numpy as np
import pytest

from edgegolf.training.faster import faster
from edgegolf.training.statistics import statistics_gatherer

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")


def random_images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 10, 5, 5, 2), np.uint8)


def test_they_are_the_means_over_batches() -> None:
    image = keras.Input((5, 5, 2))
    first = keras.layers.BatchNormalization()
    second = keras.layers.BatchNormalization(momentum=0.5)
    model = keras.Model(image, second(keras.layers.ReLU()(first(image))))
    first.gamma.assign([2.0, 3.0])
    first.beta.assign([0.5, -0.5])
    gather = statistics_gatherer(model)
    assert gather is not None
    gather(random_images(0))  # which the next call is to forget
    gather(random_images(1))
    pixels = random_images(1).astype(np.float64) / 255
    axes = (1, 2, 3)
    mean, variance = pixels.mean(axes), pixels.var(axes)
    np.testing.assert_allclose(first.moving_mean, mean.mean(0), rtol=1e-5)
    np.testing.assert_allclose(first.moving_variance, variance.mean(0), rtol=1e-5)
    each = (slice(None), None, None, None)
    normalized = (pixels - mean[each]) / np.sqrt(variance[each] + first.epsilon)
    hidden = np.maximum(normalized * [2.0, 3.0] + [0.5, -0.5], 0)
    np.testing.assert_allclose(second.moving_mean, hidden.mean(axes).mean(0), rtol=1e-4)
    np.testing.assert_allclose(second.moving_variance, hidden.var(axes).mean(0), rtol=1e-4)
    assert (first.momentum, second.momentum) == (0.99, 0.5)


def test_all_applications_of_a_normalization_count() -> None:
    image = keras.Input((5, 5, 2))
    twice = keras.layers.BatchNormalization(center=False)
    model = keras.Model(image, twice(keras.layers.Rescaling(1, offset=3)(twice(image))))
    gather = statistics_gatherer(model)
    assert gather is not None
    gather(np.repeat(random_images(0), 10, axis=0))
    pixels = random_images(0).astype(np.float64) / 255
    between = (pixels.mean((0, 1, 2, 3)) + 3) / 2  # normalized ones have a mean of 0, before + 3
    np.testing.assert_allclose(twice.moving_mean, between, atol=0.05)


def test_the_fast_copy_of_a_net_gathers_the_same() -> None:
    image = keras.Input((5, 5, 2))
    hidden = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3)(image))
    model = keras.Model(image, keras.layers.BatchNormalization()(hidden))
    fast = faster(model)
    assert fast is not model
    for each in (model, fast):
        gather = statistics_gatherer(each)
        assert gather is not None
        gather(random_images(2))
    for found, wanted in zip(fast.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_dropout_does_not_act() -> None:
    image = keras.Input((5, 5, 2))
    normalization, dropout = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)
    model = keras.Model(image, normalization(dropout(image)))
    gather = statistics_gatherer(model)
    assert gather is not None
    gather(random_images(0))
    pixels = random_images(0).astype(np.float64) / 255
    variance = pixels.var((1, 2, 3)).mean(0)  # with dropout five times as large
    np.testing.assert_allclose(normalization.moving_variance, variance, rtol=1e-5)
    assert dropout.rate == 0.5


def test_a_net_without_normalization_has_none() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert statistics_gatherer(model) is None
