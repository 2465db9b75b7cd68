"""The article of TightResNet: one separable convolution, applied eight times.

Sharing the weights makes the net small but saves no computation; what it does save is the
question that this project answers. The unshared twin is its control.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgegolf.errors import require
from edgegolf.zoo.recipe import Article, Training, net

if TYPE_CHECKING:
    import keras

CHANNELS = 20
ITERATIONS = 8

TITLE = "MNIST at 99 % with one shared separable convolution"

TRAINING = Training(
    epochs=40,
    learning_rate=0.008,
    shift=2,  # pixels: digits keep a margin of 4
)

# Three times the parameters learn faster; `make train export` has minutes for both.
UNSHARED_TRAINING = replace(TRAINING, epochs=12, learning_rate=0.005)
UNO_TRAINING = replace(TRAINING, epochs=80)


def _parameters(separables: int, channels: int) -> int:
    """Of the stem, the separable convolutions and the classifier of 4 positions × 10 classes."""
    return 26 * channels + separables * channels * (9 + channels + 1) + 40 * channels + 10


@net(
    TRAINING,
    Article(TITLE, accuracy=0.9908),
    parameters=lambda iterations=ITERATIONS, channels=CHANNELS, crop=1: _parameters(1, channels),
    may_be_zero=("crop",),
)
def tight_resnet(
    image_shape: tuple[int, int, int],
    classes: int,
    iterations: int = ITERATIONS,
    channels: int = CHANNELS,
    crop: int = 1,
) -> keras.Model:
    """A residual net whose one separable convolution is applied eight times."""
    return build_tight_resnet(image_shape, classes, True, iterations, channels, crop=crop)


@net(
    UNSHARED_TRAINING,
    Article(TITLE),
    parameters=lambda iterations=ITERATIONS, channels=CHANNELS: _parameters(iterations, channels),
)
def tight_resnet_unshared(
    image_shape: tuple[int, int, int],
    classes: int,
    iterations: int = ITERATIONS,
    channels: int = CHANNELS,
) -> keras.Model:
    """TightResNet's twin with eight separable convolutions of its own."""
    return build_tight_resnet(image_shape, classes, False, iterations, channels)


@net(
    UNO_TRAINING,
    Article("a question of our own: 98.8 % in the 2,048 bytes of an Arduino Uno"),
    parameters=lambda iterations=ITERATIONS, channels=CHANNELS: _parameters(1, channels),
)
def uno_resnet(
    image_shape: tuple[int, int, int],
    classes: int,
    iterations: int = ITERATIONS,
    channels: int = CHANNELS,
) -> keras.Model:
    """TightResNet on 8 × 8 positions in the place of 12 × 12, so that it fits an Arduino Uno."""
    return build_tight_resnet(image_shape, classes, True, iterations, channels, stride=3)


def build_tight_resnet(
    image_shape: tuple[int, int, int],
    classes: int,
    shared: bool,
    iterations: int = ITERATIONS,
    channels: int = CHANNELS,
    stride: int = 2,
    crop: int = 1,
) -> keras.Model:
    """TightResNet or its twin, with any number of iterations and channels.

    Args:
        image_shape: Height, width, channels.
        classes: Units of the classifier.
        shared: Whether all iterations apply one separable convolution, or each its own.
        iterations: Residual additions.
        channels: Filters of every convolution.
        stride: Pixels from one position to the next.
        crop: How many of four means a side are left out at each border: 1, or with 0 the means
            are of a quarter each, which takes fewer bytes.
    """
    library = require("keras", extra="train")
    layers = library.layers
    names = ["separable"] if shared else [f"separable_{index}" for index in range(iterations)]
    separables = [layers.SeparableConv2D(channels, 3, padding="same", name=name) for name in names]
    image = library.Input(image_shape, name="image")
    hidden = layers.Conv2D(channels, 5, strides=stride, name="stem")(image)
    for iteration in range(iterations):
        activated = layers.ReLU(name=f"relu_{iteration}")(hidden)
        residual = separables[iteration % len(separables)](activated)
        hidden = layers.Add(name=f"add_{iteration}")([hidden, residual])
    hidden = layers.AveragePooling2D(hidden.shape[1] // (2 + 2 * crop), name="pool")(hidden)
    hidden = layers.Cropping2D(crop, name="crop")(hidden)
    hidden = layers.Flatten(name="flatten")(hidden)
    # The article's dropout; at a rate above 0 so small a net only underfits more.
    hidden = layers.Dropout(0.0, name="dropout")(hidden)
    scores = layers.Dense(classes, activation="softmax", name="classifier")(hidden)
    kind = "uno_resnet" if stride > 2 else "tight_resnet" if shared else "tight_resnet_unshared"
    return library.Model(image, scores, name=kind)
