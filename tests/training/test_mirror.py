"""Nets that cannot tell an image from its mirror image."""

from __future__ import annotations

import numpy as np
import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.training.mirror import keep_mirror_pairs
from edgegolf.training.muon import muon

keras = pytest.importorskip("keras")
layers = keras.layers


def net(*more: keras.Layer, filters: int = 6) -> keras.Model:
    """As `tencnn`: sizes of 1, 3 and 5, with all that stands between them."""
    model = keras.Sequential(
        [
            keras.Input((10, 10, 3)),
            layers.Conv2D(3, 1), layers.BatchNormalization(), layers.ReLU(),
            layers.Conv2D(filters, 3), layers.BatchNormalization(), layers.ReLU(),
            layers.MaxPooling2D(2), layers.Dropout(0.1),
            layers.Conv2D(8, (4, 4)), *more,
            layers.Flatten(), layers.Dense(5, activation="softmax"),
        ]
    )  # fmt: skip
    model.compile(muon(0.02), "sparse_categorical_crossentropy")
    return model


def random_images() -> np.ndarray:
    return np.random.default_rng(0).random((20, 10, 10, 3)).astype("float32")


def difference(model: keras.Model) -> float:
    """Between what the net makes of images and of their mirror images, at most."""
    images = random_images()
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0
    scores = [model(each, training=True) for each in (images, images[:, :, ::-1])]
    return float(np.abs(scores[0] - scores[1]).max())


def test_an_image_and_its_mirror_image_are_the_same_to_the_net_before_and_after_training() -> None:
    model = net(layers.ReLU())
    count = model.count_params()
    assert difference(model) > 1e-2
    keep_mirror_pairs(model)
    assert difference(model) < 1e-5
    before = model.get_weights()
    labels = np.arange(20) % 5
    losses = [model.train_on_batch(random_images(), labels) for _ in range(50)]
    assert losses[-1] < losses[0] * 0.9
    assert difference(model) < 1e-4
    trained = zip(before, model.get_weights(), strict=True)
    assert all(np.abs(one - other).max() > 1e-3 for one, other in trained)
    assert model.count_params() == count
    half = model.layers[3].kernel.numpy()  # the first with twins, on channels without
    np.testing.assert_allclose(half[..., 3:], half[:, ::-1, :, :3], atol=1e-5)


def test_filters_without_a_twin_are_refused() -> None:
    with pytest.raises(EdgegolfError, match="7 filters"):
        keep_mirror_pairs(net(filters=7))


@pytest.mark.parametrize("layer", [layers.DepthwiseConv2D(1), layers.UpSampling2D(2)])
def test_layers_that_cannot_be_mirrored_are_refused(layer: keras.Layer) -> None:
    with pytest.raises(EdgegolfError, match="mirror pairs"):
        keep_mirror_pairs(net(layer))
