"""Tiny nets that the tests export. No test module, so that a child process can import it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgegolf.data import Split
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import accuracy


def tight_resnet() -> Any:
    """One separable convolution that is used eight times, and a dropout."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1), name="image")
    features = layers.Conv2D(20, 5, strides=2)(image)
    shared = layers.SeparableConv2D(20, 3, padding="same", name="shared")
    for _ in range(8):
        features = layers.Add()([features, shared(layers.ReLU()(features))])
    features = layers.AveragePooling2D(3)(features)
    features = layers.Flatten()(layers.Cropping2D(1)(features))
    scores = layers.Dense(10, activation="softmax")(layers.Dropout(0.2)(features))
    return keras.Model(image, scores)


def normalized() -> Any:
    """A Sequential net with batch normalization."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SpatialDropout2D(0.1),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )


def two_in_two_out() -> Any:
    """Names whose alphabetical order is not the model's, and shapes that differ."""
    import keras
    from keras import layers

    left, right = keras.Input((8,), name="zeta"), keras.Input((4,), name="alpha")
    merged = layers.Concatenate()([layers.Dense(4, activation="relu")(left), right])
    return keras.Model(
        [left, right], [layers.Dense(3, name="second")(merged), layers.Dense(2)(merged)]
    )


def measure(path: Path, runtime: str, split: Split) -> float:
    """The accuracy of a file; called in a child process, which has no TensorFlow."""
    with open_session(path, runtime) as session:
        return accuracy(session, split)
