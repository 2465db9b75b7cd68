"""The article of the ten-layer CNN: how far do plain convolutions get on CIFAR-10?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegolf.errors import EdgegolfError, require
from edgegolf.zoo.recipe import MIXED_BFLOAT16, PHOTO, Article, Training, net

if TYPE_CHECKING:
    import keras

TITLE = "CIFAR-10 at 90 % with ten layers"

FILTERS = (64, 128, 256)  # of the three sets
KERNELS = 135  # the sizes in a set, in their order
DROPOUT = 25  # percent, after each set

TRAINING = Training(
    epochs=22,
    learning_rate=0.01,
    optimizer="muon",
    batch_size=128,
    warm_up_epochs=2.0,
    shift=4,
    cutout=8,
    label_smoothing=0.1,
    weight_decay=0.1,
    precision=MIXED_BFLOAT16,
    background=PHOTO,
    dropout_share=0.1,
    mirror_pairs=True,
    cutmix=0.5,
    cutmix_share=0.7,
    validation_images=1000,
)


def _sizes(kernels: int) -> tuple[int, ...]:
    sizes = tuple(map(int, str(kernels)))
    if sorted(sizes) != [1, 3, 5]:
        raise EdgegolfError(
            f"the net 'tencnn' has kernels of 1, 3 and 5, not {kernels}", hint="kernels=531"
        )
    return sizes


def _parameters(kernels: int = KERNELS, dropout: int = DROPOUT) -> int:
    """Of the convolutions with biases, their normalizations, and the classifier."""
    total, channels = 0, 3
    for filters in FILTERS:
        for size in _sizes(kernels):
            total += filters * (size * size * channels + 1) + 4 * filters
            channels = filters
    return total + 10 * (channels + 1)


@net(
    TRAINING,
    Article(TITLE, accuracy=0.901, epochs=326, dataset="cifar10"),
    parameters=_parameters,
    may_be_zero=("dropout",),
)
def tencnn(
    image_shape: tuple[int, int, int],
    classes: int,
    kernels: int = KERNELS,
    dropout: int = DROPOUT,
) -> keras.Model:
    """Nine convolutions in three sets, each with sizes 1, 3 and 5, and a classifier."""
    keras = require("keras", extra="train")
    layers = keras.layers
    parts: list[Any] = []
    for index, filters in enumerate(FILTERS):
        for size in _sizes(kernels):
            parts += [layers.Conv2D(filters, size), layers.BatchNormalization(), layers.ReLU()]
        if index == 0:
            parts.append(layers.MaxPooling2D(2))
        parts.append(layers.Dropout(dropout / 100))
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            *parts,
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ],
        name="tencnn",
    )
