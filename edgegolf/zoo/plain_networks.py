"""The article of the smallest plain nets: how few parameters reach 97 % on MNIST?

Four families, each shrunk by one number `n` until 97 % breaks: two hidden layers, the same on a
pooled image, the Keras example's CNN, and a CNN with two pairs of convolutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegolf.errors import require
from edgegolf.zoo.recipe import Article, Training, family

if TYPE_CHECKING:
    import keras

TITLE = "the fewest parameters of a plain net for 97 % on MNIST"


def _mlp_training(n: int) -> Training:
    return Training(
        epochs=20,
        learning_rate=0.006 if n <= 64 else 0.002,
        shift=1,  # pixels: without convolutions every position is learnt anew
    )


def _cnn_training(n: int) -> Training:
    if n >= 16:
        return Training(epochs=8, learning_rate=0.002, shift=2)
    return Training(epochs=10, learning_rate=0.01, shift=1)


def _double_cnn_training(n: int) -> Training:
    if n <= 4:
        return Training(epochs=12, learning_rate=0.015, shift=1)
    return Training(epochs=12, learning_rate=0.004, shift=2)


@family(
    _mlp_training,
    lambda n: Article(TITLE, {32: 0.9711}.get(n), epochs=12),
    parameters=lambda n: n * n + 796 * n + 10,
    sizes=(32,),
)
def mlp(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """Two hidden layers of n units on all pixels."""
    return _two_hidden_layers(image_shape, classes, n, pooled=False)


@family(
    _mlp_training,
    lambda n: Article(TITLE, {64: 0.9704}.get(n), epochs=12),
    parameters=lambda n: n * n + 208 * n + 10,
    sizes=(64,),
)
def pooled_mlp(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """Two hidden layers of n units on the image pooled by 2."""
    return _two_hidden_layers(image_shape, classes, n, pooled=True)


@family(
    _cnn_training,
    lambda n: Article(TITLE, {2: 0.9748}.get(n), epochs=12),
    parameters=lambda n: 1170 * n * n + 56 * n + 10,
    sizes=(2, 32),
)
def cnn(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """The Keras example's CNN: two convolutions of n and 2n filters, 4n hidden units."""
    keras = require("keras", extra="train")
    layers = keras.layers
    # The example's dropouts, which only a net with parameters to spare can afford.
    early, late = (0.25, 0.5) if n >= 16 else (0.0, 0.0)
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            layers.Conv2D(n, 3, activation="relu"),
            layers.Conv2D(2 * n, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(early),
            layers.Flatten(),
            layers.Dense(4 * n, activation="relu"),
            layers.Dropout(late),
            layers.Dense(classes, activation="softmax"),
        ],
        name=f"cnn_{n}",
    )


@family(
    _double_cnn_training,
    lambda n: Article(TITLE, {2: 0.97}.get(n), epochs=12),
    parameters=lambda n: 63 * n * n + 335 * n + 10,
    sizes=(2,),
)
def double_cnn(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """Two pairs of convolutions, of n and of 2n filters, each pair pooled by 2."""
    keras = require("keras", extra="train")
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            layers.Conv2D(n, 3, activation="relu"),
            layers.Conv2D(n, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(2 * n, 3, activation="relu"),
            layers.Conv2D(2 * n, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ],
        name=f"double_cnn_{n}",
    )


def _two_hidden_layers(
    image_shape: tuple[int, int, int], classes: int, n: int, pooled: bool
) -> keras.Model:
    keras = require("keras", extra="train")
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            *([layers.MaxPooling2D(2)] if pooled else []),
            layers.Flatten(),
            layers.Dense(n, activation="relu"),
            layers.Dense(n, activation="relu"),
            layers.Dense(classes, activation="softmax"),
        ],
        name=f"{'pooled_' if pooled else ''}mlp_{n}",
    )
