"""Nets that cannot tell an image from its mirror image."""

from __future__ import annotations

import numpy as np
import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.training.mirror import keep_mirror_pairs
from edgegolf.training.muon import muon
from edgegolf.zoo import find_recipe

keras = pytest.importorskip("keras")
layers = keras.layers


@pytest.fixture(autouse=True)
def same_weights() -> None:
    keras.utils.set_random_seed(0)


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


@pytest.mark.parametrize(
    "name",
    [
        "tencnn:dropout=0",
        "tencnn:kernels=531,dropout=0",
        "loop_resnet:16",
        "loop_resnet_unshared:16",
        "loop_resnet_no_norm:16",
    ],
)
def test_nets_of_the_zoo_can_be_kept_in_pairs(name: str) -> None:
    model = find_recipe(name).build((32, 32, 3), 10)
    model.compile("sgd", "sparse_categorical_crossentropy")
    keep_mirror_pairs(model)
    images = np.random.default_rng(0).random((4, 32, 32, 3)).astype("float32")
    scores = [model(each, training=True).numpy() for each in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(*scores, atol=1e-5)
    assert scores[0].std() > 1e-3
    moved = model(images[:, :, np.r_[1:32, 0]], training=True).numpy()
    assert np.abs(moved - scores[0]).max() > 1e-4


def residual_net(*first: keras.Layer, stride: int = 1, window: int = 3) -> keras.Model:
    image = hidden = keras.Input((10, 10, 6))
    for layer in first:
        hidden = layer(hidden)
    separable = layers.SeparableConv2D(6, window, strides=stride, padding="same")
    hidden = separable(hidden) if stride > 1 else layers.Add()([hidden, separable(hidden)])
    scores = layers.Dense(5)(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(image, scores)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(("stride", "window"), [(1, 3), (2, 4)])
def test_separable_convolutions_of_twins_are_kept_in_pairs(stride: int, window: int) -> None:
    model = residual_net(layers.Conv2D(6, 3, padding="same"), stride=stride, window=window)
    image = np.random.default_rng(0).random((1, 10, 10, 6)).astype("float32")
    before = np.abs(model(image) - model(image[:, :, ::-1])).max()
    keep_mirror_pairs(model)
    assert np.abs(model(image) - model(image[:, :, ::-1])).max() < 1e-5 < before


def test_what_would_tell_an_image_from_its_mirror_image_is_refused() -> None:
    with pytest.raises(EdgegolfError, match="separable"):  # of channels without twins
        keep_mirror_pairs(residual_net())
    with pytest.raises(EdgegolfError, match="separable"):  # an odd window that skips columns
        keep_mirror_pairs(residual_net(layers.Conv2D(6, 3, padding="same"), stride=2))
    image = keras.Input((10, 10, 6))
    total = layers.Add()([image, layers.Conv2D(6, 3, padding="same")(image)])
    hidden = layers.Conv2D(6, 3, activation="relu")(total)
    scores = layers.Dense(5)(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(image, scores, name="mixture")
    model.compile("sgd", "mse")
    with pytest.raises(EdgegolfError, match="'mixture' adds channels"):
        keep_mirror_pairs(model)


def test_images_may_be_padded() -> None:
    padded = [layers.Conv2D(6, 3, padding="same", activation="relu") for _ in range(2)]
    pool = [layers.MaxPooling2D(10), layers.Flatten(), layers.Dense(5)]
    model = keras.Sequential([keras.Input((10, 10, 3)), *padded, *pool])
    model.compile("sgd", "mse")
    assert difference(model) > 1e-2
    keep_mirror_pairs(model)
    assert difference(model) < 1e-5


def test_filters_without_a_twin_are_refused() -> None:
    with pytest.raises(EdgegolfError, match="7 filters"):
        keep_mirror_pairs(net(filters=7))


@pytest.mark.parametrize(
    "layer",
    [layers.DepthwiseConv2D(1), layers.UpSampling2D(2), layers.Conv2D(4, 2, padding="same")],
)
def test_layers_that_cannot_be_mirrored_are_refused(layer: keras.Layer) -> None:
    with pytest.raises(EdgegolfError, match=layer.name):
        keep_mirror_pairs(net(layer))


def test_columns_must_not_be_left_over_on_one_side() -> None:
    pools = [keras.Input((8, 8, 2)), layers.MaxPooling2D((1, 3)), layers.Conv2D(2, (8, 2))]
    model = keras.Sequential([*pools, layers.Flatten(), layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(EdgegolfError, match="max_pooling2d"):
        keep_mirror_pairs(model)
