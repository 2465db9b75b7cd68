"""Gradients of compiled C against those of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgegolf.backends.c.compiling import find_compiler
from edgegolf.backends.gradient.source import NotCompiledError
from edgegolf.training.gradients import CompiledNet
from edgegolf.zoo import find_recipe

tensorflow = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.skipif(find_compiler(None) is None, reason="no C compiler here")
layers = keras.layers

CLASSES = 4
TOLERANCE = 1e-4  # of the largest gradient


def classifier(*parts: Any, shape: tuple[int, ...] = (9, 8, 3)) -> keras.Model:
    """Layers, or functions of a tensor, one after the other, before a dense classifier."""
    image = keras.Input(shape)
    hidden = image
    for part in parts:
        hidden = part(hidden)
    if len(hidden.shape) > 2:
        hidden = layers.Flatten()(hidden)
    return keras.Model(image, layers.Dense(CLASSES, "softmax")(hidden))


def check(model: keras.Model, count: int = 21) -> None:
    """Loss, gradients and scores of a batch that does not fill its last vectors."""
    random = np.random.default_rng(0)
    for weight in model.weights:  # biases, too
        weight.assign(weight + random.normal(0, 0.2, weight.shape))
    images = random.integers(0, 256, (count, *model.input_shape[1:]), np.uint8)
    targets = random.dirichlet(np.ones(model.output_shape[-1]), count).astype(np.float32)
    with tensorflow.GradientTape() as tape:
        scores = model(images.astype(np.float32) / 255)
        loss = tensorflow.reduce_mean(keras.losses.categorical_crossentropy(targets, scores))
    expected = {
        weight.path: np.array(gradient)
        for weight, gradient in zip(
            model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True
        )
    }
    net = CompiledNet(model)
    found_loss, found = net.gradients(net.read(), images, targets)
    zeros = (np.zeros(weight.shape) for weight in model.weights)
    wanted = net.arranged(
        [expected.get(w.path, zero) for w, zero in zip(model.weights, zeros, strict=True)]
    )
    assert found_loss == pytest.approx(float(loss), rel=TOLERANCE)
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    np.testing.assert_allclose(net.predict(net.read(), images), scores, atol=TOLERANCE)


def residual(layer: Any) -> Callable[[Any], Any]:
    return lambda hidden: layers.Add()([hidden, layer(layers.ReLU()(hidden))])


def branches(merge: Any, *parts: Any) -> Callable[[Any], Any]:
    return lambda hidden: merge([part(hidden) for part in parts])


NETS: dict[str, Callable[[], list[Any]]] = {
    "nothing": list,
    "conv same": lambda: [layers.Conv2D(5, 3, padding="same", activation="relu")],
    "conv valid": lambda: [layers.Conv2D(5, (2, 3)), layers.Conv2D(13, 3)],
    "conv strides": lambda: [layers.Conv2D(6, 3, strides=2, padding="same")] * 1
    + [layers.Conv2D(7, (3, 2), strides=(2, 1))],
    "conv dilated": lambda: [layers.Conv2D(5, 1), layers.Conv2D(3, 3, dilation_rate=(1, 2))],
    "conv of one channel": lambda: [layers.Conv2D(1, 3), layers.Conv2D(3, 3, padding="same")],
    "conv without bias": lambda: [layers.Conv2D(30, 1, use_bias=False), layers.Conv2D(2, 1)],
    "depthwise": lambda: [
        layers.Conv2D(5, 1), layers.DepthwiseConv2D(3, padding="same"),
        layers.DepthwiseConv2D((2, 3), dilation_rate=2),
    ],
    "depthwise strides": lambda: [
        layers.Conv2D(5, 1), layers.DepthwiseConv2D(3, strides=2, padding="same"),
    ],
    "depthwise multiplier": lambda: [
        layers.DepthwiseConv2D(3, depth_multiplier=2), layers.DepthwiseConv2D(3, depth_multiplier=3)
    ],
    "depthwise then conv": lambda: [
        layers.Conv2D(4, 1), layers.DepthwiseConv2D(3, padding="same", use_bias=False),
        layers.Conv2D(4, 3, padding="same", strides=2),
    ],
    "separable": lambda: [layers.SeparableConv2D(6, 3, padding="same"), layers.LeakyReLU(0.1)],
    "relu6": lambda: [layers.Conv2D(6, 3), layers.ReLU(0.3), layers.Activation("leaky_relu")],
    "max pool": lambda: [layers.Conv2D(5, 1, activation="relu"), layers.MaxPooling2D(2)],
    "max pool same": lambda: [
        layers.Conv2D(5, 1), layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.Conv2D(5, 3, padding="same"),
    ],
    "average pool": lambda: [
        layers.Conv2D(5, 3, padding="same"), layers.AveragePooling2D(3, strides=2, padding="same"),
        layers.AveragePooling2D(1, strides=2),
    ],
    "global average": lambda: [layers.Conv2D(5, 3), layers.GlobalAveragePooling2D()],
    "global max": lambda: [
        layers.Conv2D(5, 3), layers.GlobalMaxPooling2D(keepdims=True), layers.Conv2D(3, 1),
    ],
    "pad and crop": lambda: [
        layers.Conv2D(5, 3), layers.ZeroPadding2D(((1, 2), (0, 3))),
        layers.Conv2D(3, 3, padding="same"), layers.Cropping2D(((1, 2), (3, 0))),
    ],
    "concatenate": lambda: [
        branches(layers.Concatenate(), layers.Conv2D(3, 1), layers.Identity(), layers.Conv2D(2, 1)),
        branches(layers.Concatenate(axis=1), layers.Conv2D(4, 3), layers.Conv2D(4, (1, 3))),
    ],
    "reshape": lambda: [
        layers.Conv2D(4, 3, padding="same"), layers.Reshape((18, 4, 4)),
        layers.Conv2D(3, 3, padding="same"), layers.Reshape((-1, 6)), layers.Dense(5, "relu"),
    ],
    "subtract": lambda: [
        branches(layers.Subtract(), layers.Conv2D(3, 3), layers.Cropping2D(1)),
        branches(layers.Add(), layers.ReLU(), layers.ReLU(6.0)),
    ],
    "twice": lambda: [
        layers.Conv2D(4, 1), lambda hidden: layers.Add()([hidden, hidden]),
        lambda hidden: layers.Subtract()([hidden, hidden]),
    ],
    "residuals of one layer": lambda: [
        layers.Conv2D(6, 3),
        *[residual(layers.SeparableConv2D(6, 3, padding="same"))] * 3,
        layers.MaxPooling2D(2), layers.Cropping2D(1),
    ],
    "sums of sums": lambda: [
        layers.Conv2D(4, 1),
        lambda h: layers.Add()([h, layers.Conv2D(4, 3, padding="same")(h), layers.ReLU()(h)]),
        branches(layers.Add(), layers.Identity(), layers.Conv2D(4, 1), layers.Conv2D(4, 1)),
        lambda h: layers.Add()([layers.Conv2D(4, 1)(h), layers.Add()([h, layers.ReLU()(h)])]),
    ],
    "frozen": lambda: [
        layers.Conv2D(4, 3, trainable=False, activation="relu"),
        layers.Conv2D(3, 3), layers.Conv2D(2, 1, trainable=False), layers.Dropout(0.0),
    ],
    "dense": lambda: [layers.Flatten(), layers.Dense(33, "relu"), layers.Dense(7, use_bias=False)],
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_those_of_tensorflow(name: str) -> None:
    keras.utils.set_random_seed(0)
    check(classifier(*NETS[name]()))


def test_a_layer_at_several_scales_adds_up_its_gradients() -> None:
    keras.utils.set_random_seed(0)
    check(find_recipe("fewest_parameters").build((28, 28, 1), 10))


def test_pixels_that_nothing_depends_on_are_not_computed() -> None:
    """The gradient is the same, and the corners are no part of the C's loops."""
    keras.utils.set_random_seed(0)
    check(classifier(layers.Conv2D(3, 3, padding="same"), layers.Conv2D(3, 3, padding="same"),
                     layers.Cropping2D(3)))  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([layers.BatchNormalization()], "BatchNormalization"),
        ([layers.Dropout(0.5)], "Dropout"),
        ([layers.Conv2D(3, 1, groups=3)], "groups"),
        ([layers.UpSampling2D()], "UpSampling2D"),
    ],
)
def test_what_has_no_gradient_is_named(parts: list[Any], why: str) -> None:
    with pytest.raises(NotCompiledError, match=why):
        CompiledNet(classifier(*parts))


def test_a_net_without_probabilities_is_refused() -> None:
    with pytest.raises(NotCompiledError, match="softmax"):
        CompiledNet(keras.Sequential([keras.Input((4,)), layers.Dense(3)]))


def test_weights_go_back_to_where_they_came_from() -> None:
    model = classifier(layers.SeparableConv2D(5, 3))
    before = model.get_weights()
    net = CompiledNet(model)
    net.assign(net.read() + 1)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old + 1, rtol=1e-6)


def test_arrays_of_another_size_are_refused_before_c_sees_them() -> None:
    net = CompiledNet(classifier())
    images, targets = np.zeros((2, 9, 8, 3), np.uint8), np.zeros((2, CLASSES), np.float32)
    with pytest.raises(ValueError, match="targets"):
        net.gradients(net.read(), images, targets[:1])
    with pytest.raises(ValueError, match="another net"):
        net.predict(net.read()[1:], images)
    with pytest.raises(ValueError, match="another net"):
        net.predict(net.read(), images[:, 1:])
