"""TightResNet's idea on CIFAR-10: residual nets that apply one convolution again and again.

No article shows these nets. A stage halves the image, and then adds to it, several times, what one
convolution makes of it. The weights of that convolution are shared, its normalization is not: the
statistics of the iterations differ too much for one (Jastrzębski et al. 2018,
https://arxiv.org/abs/1710.04773). A normalization of its own costs an iteration four numbers per
channel, and none of the sharing: folded into the convolution it scales each filter, which in a
quantized file is the filter's scale and bias, not its weights. Therefore no scale may be negative.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from edgegolf.errors import require
from edgegolf.zoo.recipe import Article, Training, family

if TYPE_CHECKING:
    import keras

TITLE = "a question of our own: CIFAR-10 with a shared convolution"

STEM = 3 / 8  # of the channels of the last stage, n
# Of each stage, its channels as a share of n, and how often its convolution is applied.
STAGES = ((3 / 4, 2), (1, 4))

TRAINING = Training(
    epochs=30,
    learning_rate=0.2,
    optimizer="sgd",
    batch_size=128,
    warm_up_epochs=6.0,
    shift=2,
    flip=0.5,
    label_smoothing=0.1,
    weight_decay=0.005,
)


# Without normalization a step of that length diverges.
TRAINING_WITHOUT_NORMS = replace(TRAINING, learning_rate=0.02, clip_norm=1.0)

Norms = Literal["each", "one", "none"]


def _parameters(n: int, shared: bool = True, norms: Norms = "each") -> int:
    """Of the stem, every stage's two kinds of convolutions, their norms, and the classifier."""
    each = 1 if norms == "none" else 4  # numbers per channel: a bias, or a normalization
    channels = round(STEM * n)
    total = (27 + each) * channels
    for share, iterations in STAGES:
        width = round(share * n)
        total += (9 * channels + each) * width
        total += 9 * width * width * (1 if shared else iterations)
        total += each * width * (iterations if norms == "each" else 1)
        channels = width
    return total + 10 * (channels + 1)


@family(
    lambda n: TRAINING,
    lambda n: Article(TITLE, dataset="cifar10"),
    parameters=_parameters,
    sizes=(64, 112),
)
def loop_resnet(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """A residual net of up to n channels whose stages apply one convolution several times."""
    return _build(image_shape, classes, n)


@family(
    lambda n: TRAINING,
    lambda n: Article(TITLE, dataset="cifar10"),
    parameters=lambda n: _parameters(n, shared=False),
    sizes=(64, 112),
)
def loop_resnet_unshared(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """Its twin: loop_resnet with a convolution of its own for every application."""
    return _build(image_shape, classes, n, shared=False)


@family(
    lambda n: TRAINING,
    lambda n: Article(TITLE, dataset="cifar10"),
    parameters=lambda n: _parameters(n, norms="one"),
    sizes=(),
)
def loop_resnet_one_norm(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """loop_resnet with one normalization for all applications of a convolution, to compare."""
    return _build(image_shape, classes, n, norms="one")


@family(
    lambda n: TRAINING_WITHOUT_NORMS,
    lambda n: Article(TITLE, dataset="cifar10"),
    parameters=lambda n: _parameters(n, norms="none"),
    sizes=(),
)
def loop_resnet_no_norm(image_shape: tuple[int, int, int], classes: int, n: int) -> keras.Model:
    """loop_resnet with biases instead of normalizations, to compare."""
    return _build(image_shape, classes, n, norms="none")


def _build(
    image_shape: tuple[int, int, int],
    classes: int,
    n: int,
    shared: bool = True,
    norms: Norms = "each",
) -> keras.Model:
    library = require("keras", extra="train")
    layers = library.layers

    def convolution(
        filters: int, name: str, strides: int = 1, applications: int = 1
    ) -> keras.layers.Layer:
        # A normalization takes care of the scale; without one, what all applications add must.
        scale = 2.0 / (applications**2 if norms == "none" else 1)
        return layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding="same",
            use_bias=norms == "none",
            kernel_initializer=library.initializers.VarianceScaling(scale),
            name=name,
        )

    def normalization(name: str) -> keras.layers.Layer:
        if norms == "none":
            return layers.Identity(name=name)
        return layers.BatchNormalization(gamma_constraint="non_neg", name=name)

    image = library.Input(image_shape, name="image")
    hidden = normalization("stem_norm")(convolution(round(STEM * n), "stem")(image))
    hidden = layers.ReLU(name="stem_relu")(hidden)
    for stage, (share, iterations) in enumerate(STAGES):
        width = round(share * n)
        hidden = convolution(width, f"halve_{stage}", strides=2)(hidden)
        hidden = normalization(f"halve_{stage}_norm")(hidden)
        hidden = layers.ReLU(name=f"halve_{stage}_relu")(hidden)
        convolutions = [
            convolution(width, f"loop_{stage}_{index}", applications=iterations)
            for index in range(1 if shared else iterations)
        ]
        normalizations = [
            normalization(f"norm_{stage}_{index}")
            for index in range(iterations if norms == "each" else 1)
        ]
        for iteration in range(iterations):
            residual = convolutions[iteration % len(convolutions)](hidden)
            residual = normalizations[iteration % len(normalizations)](residual)
            hidden = layers.Add(name=f"add_{stage}_{iteration}")([hidden, residual])
            hidden = layers.ReLU(name=f"relu_{stage}_{iteration}")(hidden)
    hidden = layers.GlobalAveragePooling2D(name="pool")(hidden)
    scores = layers.Dense(classes, activation="softmax", name="classifier")(hidden)
    return library.Model(image, scores, name=f"loop_resnet{'' if shared else '_unshared'}_{n}")
