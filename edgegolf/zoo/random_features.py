"""The article of the random CNN: untrained convolutions are a good feature extractor.

Three nets to compare: a linear classifier on the pixels, one on the features of frozen random
convolutions, and one on the pooled image alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegolf.errors import require
from edgegolf.zoo.recipe import Article, Training, net

if TYPE_CHECKING:
    import keras

TITLE = "a random CNN as feature extractor"

FILTERS = 4  # of the first random convolution; the second has twice as many

TRAINING = Training(epochs=12, learning_rate=0.004)

# So few features underfit so much that only large steps arrive in a dozen epochs.
POOLED_TRAINING = Training(epochs=12, learning_rate=0.02)


@net(TRAINING, Article(TITLE, accuracy=0.926), parameters=7_850)
def linear(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A linear classifier on the pixels."""
    keras = require("keras", extra="train")
    return _classifier("linear", image_shape, classes, [keras.layers.Flatten()])


@net(
    TRAINING,
    Article(TITLE, accuracy=0.942),
    parameters=lambda filters=FILTERS: (
        5 * filters + 2 * filters * (4 * filters + 1) + 980 * filters + 10
    ),
)
def random_cnn(
    image_shape: tuple[int, int, int], classes: int, filters: int = FILTERS
) -> keras.Model:
    """A linear classifier on two frozen, random convolutions."""
    layers = require("keras", extra="train").layers

    def random_convolution(filters: int) -> keras.layers.Layer:
        # Orthogonal draws never give the same filter twice, which so few filters cannot afford.
        return layers.Conv2D(
            filters,
            2,
            padding="same",
            activation="relu",
            kernel_initializer="orthogonal",
            trainable=False,
        )

    features = [
        random_convolution(filters),
        layers.MaxPooling2D(2),
        random_convolution(2 * filters),
        layers.MaxPooling2D(2),
        layers.Flatten(),
    ]
    return _classifier("random_cnn", image_shape, classes, features)


@net(POOLED_TRAINING, Article(TITLE, accuracy=0.831), parameters=500)
def pooled_linear(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A linear classifier on the image pooled twice."""
    layers = require("keras", extra="train").layers
    features = [layers.MaxPooling2D(2), layers.MaxPooling2D(2), layers.Flatten()]
    return _classifier("pooled_linear", image_shape, classes, features)


def _classifier(
    name: str, image_shape: tuple[int, int, int], classes: int, features: list[keras.layers.Layer]
) -> keras.Model:
    keras = require("keras", extra="train")
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            *features,
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name=name,
    )
