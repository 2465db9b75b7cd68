"""TightResNet's idea on CIFAR-10: residual nets that apply a few convolutions again and again.

No article shows these nets. A stage halves the image, and then adds to it, several times, what one
of two separable convolutions makes of it, which take turns. Their weights are shared among the
iterations, their normalizations are not: the statistics of the iterations differ too much for one
(Jastrzębski et al. 2018, https://arxiv.org/abs/1710.04773). A normalization of its own costs an
iteration four numbers per channel, and none of the sharing: folded into the convolution it scales
each filter, which in a quantized file is the filter's scale and bias, not its weights. Therefore no
scale may be negative.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from edgegolf.errors import require
from edgegolf.zoo.recipe import NETS, PHOTO, Article, Net, Training

if TYPE_CHECKING:
    import keras

TITLE = "a question of our own: CIFAR-10 with shared convolutions"

STEM = 32  # channels
STAGES = (2 / 3, 1)  # channels of each, as a share of n
ITERATIONS = 4  # of a stage
HALVING = 4  # side of the window that halves an image; an odd one would favour one side
SHARED = 2  # separable convolutions of a stage, each for every other iteration

TRAINING = Training(
    epochs=25,
    learning_rate=0.01,
    optimizer="muon",
    batch_size=128,
    warm_up_epochs=2.0,
    shift=4,
    cutout=8,
    label_smoothing=0.1,
    weight_decay=0.1,
    background=PHOTO,
    mirror_pairs=True,
    validation_images=1000,
)

# Without normalization steps of that length diverge.
TRAINING_WITHOUT_NORMS = replace(TRAINING, learning_rate=0.002)

Norms = Literal["each", "one", "none"]


def _width(share: float, n: int) -> int:
    """Channels of a stage: an even number, for pairs."""
    return 2 * round(share * n / 2)


def _parameters(n: int, shared: bool = True, norms: Norms = "each") -> int:
    """Of the stem, every stage's two kinds of convolutions, their norms, and the classifier."""
    each = 1 if norms == "none" else 4  # numbers per channel: a bias, or a normalization
    convolutions = SHARED if shared else ITERATIONS
    total, channels = (27 + each) * STEM, STEM
    for share in STAGES:
        width = _width(share, n)
        total += HALVING**2 * channels + (channels + each) * width
        total += convolutions * (9 + width) * width
        total += each * width * {"each": ITERATIONS, "one": 1, "none": convolutions}[norms]
        channels = width
    return total + 10 * (channels + 1)


def _enter(name: str, summary: str, sizes: tuple[int, ...] = (), **how: Any) -> None:
    """Enter a net of up to n channels."""
    training = TRAINING_WITHOUT_NORMS if how.get("norms") == "none" else TRAINING
    NETS[name] = Net(
        summary,
        partial(_build, **how),
        lambda n: training,
        lambda n: Article(TITLE, dataset="cifar10"),
        partial(_parameters, **how),
        sizes=sizes,
    )


def _build(
    image_shape: tuple[int, int, int],
    classes: int,
    n: int,
    shared: bool = True,
    norms: Norms = "each",
) -> keras.Model:
    library = require("keras", extra="train")
    layers = library.layers
    with_biases = norms == "none"
    scaled = library.initializers.VarianceScaling

    def separable(
        filters: int, name: str, window: int = 3, strides: int = 1, residual: bool = False
    ) -> Any:
        # A normalization takes care of the scale; without one, what all iterations add must.
        scale = 2.0 / (ITERATIONS**2 if with_biases and residual else 1)
        return layers.SeparableConv2D(
            filters,
            window,
            strides=strides,
            padding="same",
            use_bias=with_biases,
            depthwise_initializer=scaled(2.0, mode="fan_out" if with_biases else "fan_in"),
            pointwise_initializer=scaled(scale),
            name=name,
        )

    def normalization(name: str) -> keras.layers.Layer:
        if with_biases:
            return layers.Identity(name=name)
        return layers.BatchNormalization(gamma_constraint="non_neg", name=name)

    image = library.Input(image_shape, name="image")
    stem = layers.Conv2D(
        STEM,
        3,
        padding="same",
        use_bias=with_biases,
        kernel_initializer=scaled(2.0),
        name="stem",
    )
    hidden = layers.ReLU(name="stem_relu")(normalization("stem_norm")(stem(image)))
    for stage, share in enumerate(STAGES):
        width = _width(share, n)
        hidden = separable(width, f"halve_{stage}", HALVING, strides=2)(hidden)
        hidden = normalization(f"halve_{stage}_norm")(hidden)
        hidden = layers.ReLU(name=f"halve_{stage}_relu")(hidden)
        convolutions = [
            separable(width, f"loop_{stage}_{index}", residual=True)
            for index in range(SHARED if shared else ITERATIONS)
        ]
        normalizations = [
            normalization(f"norm_{stage}_{index}")
            for index in range(ITERATIONS if norms == "each" else 1)
        ]
        for iteration in range(ITERATIONS):
            residual = convolutions[iteration % len(convolutions)](hidden)
            residual = normalizations[iteration % len(normalizations)](residual)
            hidden = layers.Add(name=f"add_{stage}_{iteration}")([hidden, residual])
            hidden = layers.ReLU(name=f"relu_{stage}_{iteration}")(hidden)
    hidden = layers.GlobalAveragePooling2D(name="pool")(hidden)
    scores = layers.Dense(classes, activation="softmax", name="classifier")(hidden)
    return library.Model(image, scores, name=f"loop_resnet{'' if shared else '_unshared'}_{n}")


_enter(
    "loop_resnet",
    "A residual net of up to n channels whose stages apply two convolutions in turns",
    sizes=(144, 264),
)
_enter(
    "loop_resnet_unshared",
    "Its twin: loop_resnet with a convolution of its own for every iteration",
    sizes=(144, 264),
    shared=False,
)
_enter(
    "loop_resnet_one_norm",
    "loop_resnet with one normalization for all iterations of a stage, to compare",
    norms="one",
)
_enter(
    "loop_resnet_no_norm",
    "loop_resnet with biases instead of normalizations, to compare",
    norms="none",
)
