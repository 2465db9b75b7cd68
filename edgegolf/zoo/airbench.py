"""The net of airbench94, whose 2 million parameters learn CIFAR-10 in ten epochs.

Jordan 2024, https://arxiv.org/abs/2404.00498: beside the ten layers of our article it is as large
and computes as much, but pads its images, so that they keep their size, and halves them four
times. Ours begins with learnt filters in place of whitening, which is for its batches of 1,024, and
has ReLU for GELU, which an int8 file computes at no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegolf.errors import require
from edgegolf.zoo.recipe import PHOTO, Article, Training, net

if TYPE_CHECKING:
    import keras

TITLE = "94 % on CIFAR-10 in 3.29 seconds"

BLOCKS = ((32, 64), (64, 256), (256, 256), (256,))  # filters, and then images are halved
WHOLE = 4  # pixels that the last pooling covers, either way: all that are left

TRAINING = Training(
    epochs=24,
    learning_rate=0.01,
    optimizer="muon",
    batch_size=128,
    warm_up_epochs=1.0,
    shift=4,
    cutout=8,
    weight_decay=0.1,
    background=PHOTO,
    mirror_pairs=True,
    cutmix=0.5,
    cutmix_share=0.75,
)


def _parameters() -> int:
    """Of the convolutions without biases, their normalizations, and the classifier."""
    total, channels = 0, 3
    for filters in (filters for block in BLOCKS for filters in block):
        total += filters * (9 * channels + 4)
        channels = filters
    return total + 10 * (channels + 1)


@net(TRAINING, Article(TITLE, dataset="cifar10"), parameters=_parameters())
def airbench(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Seven convolutions with padding in four blocks, each of which ends with a max pooling."""
    keras = require("keras", extra="train")
    layers = keras.layers
    parts: list[Any] = []
    for index, block in enumerate(BLOCKS):
        for filters in block:
            parts += [
                layers.Conv2D(filters, 3, padding="same", use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
            ]
        parts.append(layers.MaxPooling2D(2 if index < len(BLOCKS) - 1 else WHOLE))
    return keras.Sequential(
        [
            keras.Input(image_shape, name="image"),
            *parts,
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ],
        name="airbench",
    )
