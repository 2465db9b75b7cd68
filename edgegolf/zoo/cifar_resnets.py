"""TightResNet's idea on CIFAR-10: residual nets that apply one convolution again and again.

No article shows these nets. A stage halves the image, and then adds to it, several times, what one
convolution makes of it. The weights of that convolution are shared, its normalization is not: the
statistics of the iterations differ too much for one (Jastrzębski et al. 2018,
https://arxiv.org/abs/1710.04773). A normalization of its own costs an iteration four numbers per
channel, and none of the sharing: folded into the convolution it scales each filter, which in a
quantized file is the filter's scale and bias, not its weights. Therefore no scale may be negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegolf.errors import require
from edgegolf.zoo.recipe import Article, Training, family

if TYPE_CHECKING:
    import keras

TITLE = "a question of our own: CIFAR-10 with a shared convolution"

STEM = 3 / 8  # of the channels of the last stage, n
# Of each stage, its channels as a share of n, and how often its convolution is applied.
STAGES = ((3 / 4, 2), (1, 4))

TRAINING = Training(
    epochs=18,
    learning_rate=0.2,
    optimizer="sgd",
    batch_size=128,
    warm_up_epochs=4,
    shift=2,
    flip=0.5,
    label_smoothing=0.1,
    weight_decay=0.005,
)


def _parameters(n: int, shared: bool) -> int:
    """Of the stem, every stage's two kinds of convolutions, normalizations, and the classifier."""
    channels = round(STEM * n)
    total = (27 + 4) * channels
    for share, iterations in STAGES:
        width = round(share * n)
        total += (9 * channels + 4) * width
        total += 9 * width * width * (1 if shared else iterations) + 4 * width * iterations
        channels = width
    return total + 10 * (channels + 1)


@family(
    lambda n: TRAINING,
    lambda n: Article(TITLE, dataset="cifar10"),
    parameters=lambda n: _parameters(n, shared=True),
    sizes=(64, 112),
)
def loop_resnet(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """A residual net of up to n channels whose stages apply one convolution several times."""
    return _build(image_shape, classes, n, shared=True)


@family(
    lambda n: TRAINING,
    lambda n: Article(TITLE, dataset="cifar10"),
    parameters=lambda n: _parameters(n, shared=False),
    sizes=(64, 112),
)
def loop_resnet_unshared(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """Its twin, in which every application has a convolution of its own."""
    return _build(image_shape, classes, n, shared=False)


def _build(image_shape: tuple[int, int, int], classes: int, n: int, shared: bool) -> keras.Model:
    library = require("keras", extra="train")
    layers = library.layers

    def convolution(filters: int, name: str, strides: int = 1) -> keras.layers.Layer:
        return layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=name,
        )

    def normalized(hidden: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.BatchNormalization(gamma_constraint="non_neg", name=name)(hidden)

    image = library.Input(image_shape, name="image")
    hidden = convolution(round(STEM * n), "stem")(image)
    hidden = layers.ReLU(name="stem_relu")(normalized(hidden, "stem_norm"))
    for stage, (share, iterations) in enumerate(STAGES):
        width = round(share * n)
        hidden = convolution(width, f"halve_{stage}", strides=2)(hidden)
        hidden = layers.ReLU(name=f"halve_{stage}_relu")(normalized(hidden, f"halve_{stage}_norm"))
        names = [f"loop_{stage}"] if shared else [f"loop_{stage}_{i}" for i in range(iterations)]
        convolutions = [convolution(width, name) for name in names]
        for iteration in range(iterations):
            label = f"{stage}_{iteration}"
            residual = convolutions[iteration % len(convolutions)](hidden)
            residual = normalized(residual, f"norm_{label}")
            hidden = layers.Add(name=f"add_{label}")([hidden, residual])
            hidden = layers.ReLU(name=f"relu_{label}")(hidden)
    hidden = layers.GlobalAveragePooling2D(name="pool")(hidden)
    scores = layers.Dense(classes, activation="softmax", name="classifier")(hidden)
    return library.Model(image, scores, name=f"loop_resnet{'' if shared else '_unshared'}_{n}")
