"""How few parameters reach 95 % on MNIST? Here, 200 do: one separable convolution, applied often.

No article shows this net; its ideas are the project's own. One convolution of ten channels serves
five residual steps at three sizes of the image, its ten channels are the ten classes in the end,
and what needs no parameters is free: eight differences with the neighbouring pixels tell the
convolution where edges are, and four copies of the image side by side, each pooled at another
offset, vote on the class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegolf.errors import require
from edgegolf.zoo.recipe import Article, Training, net

if TYPE_CHECKING:
    import keras

TITLE = "a question of our own: the fewest parameters for 95 %"

NEIGHBOURS = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
# The copies are pooled by 2 at these offsets, and then begin at multiples of 16 on a canvas of 32:
# the poolings that follow step by 8 together, so they treat all copies alike.
OFFSETS = (0, 1)
PITCH = 16
SLOPE = 0.1  # of the leaky ReLU: a dead channel is a tenth of this net

TRAINING = Training(
    epochs=10,
    optimizer="full_matrix_adam",  # its few weights, which serve five steps, interact
    learning_rate=0.05,
    warm_up_epochs=1.2,
    clip_norm=5.0,
)


@net(TRAINING, Article(TITLE, accuracy=0.95), parameters=200)
def fewest_parameters(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """One separable convolution of 200 parameters, applied at three scales."""
    library = require("keras", extra="train")
    layers = library.layers
    separable = layers.SeparableConv2D(
        classes,
        3,
        padding="same",
        depthwise_initializer=library.initializers.RandomNormal(stddev=0.33),
        pointwise_initializer=library.initializers.RandomNormal(stddev=0.2),
        name="separable",
    )

    def residual_steps(hidden: keras.KerasTensor, count: int) -> keras.KerasTensor:
        for _ in range(count):
            activated = layers.LeakyReLU(negative_slope=SLOPE)(hidden)
            hidden = layers.Add()([hidden, separable(activated)])
        return hidden

    image = library.Input(image_shape, name="image")
    empty = layers.Subtract()([image, image])  # a channel to write to
    features = layers.Concatenate()([*edges(layers, image), empty])
    hidden = side_by_side(layers, features, PITCH)
    hidden = residual_steps(hidden, 1)
    hidden = layers.MaxPooling2D(2)(hidden)
    hidden = residual_steps(hidden, 2)
    hidden = layers.MaxPooling2D(3, strides=2)(hidden)
    hidden = residual_steps(hidden, 2)
    # The centres of the four copies, 4 apart, and the mean of what they say.
    centres = layers.AveragePooling2D(1, strides=4)(layers.Cropping2D(1)(hidden))
    votes = layers.GlobalAveragePooling2D()(centres)
    return library.Model(image, layers.Softmax()(votes), name="fewest_parameters")


def edges(layers: Any, image: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Channels that need no parameters: the image, and in another tensor eight kinds of edges."""
    padded = layers.ZeroPadding2D(1)(image)
    neighbours = [
        layers.Cropping2D(((row, 2 - row), (column, 2 - column)))(padded)
        for row, column in NEIGHBOURS
    ]
    centre = layers.Concatenate()([image] * len(neighbours))
    rises = layers.ReLU()(layers.Subtract()([layers.Concatenate()(neighbours), centre]))
    return [image, layers.Add()([rises, rises])]


def side_by_side(layers: Any, features: keras.KerasTensor, pitch: int) -> keras.KerasTensor:
    """Four copies on one canvas at half the size, each pooled at another offset.

    Args:
        layers: Keras's.
        features: Of one image.
        pitch: How far apart the copies begin, in pixels.
    """
    copies = []
    for down in OFFSETS:
        for right in OFFSETS:
            border = layers.ZeroPadding2D((down, right))
            moved = border(features) if down or right else features
            pooled = layers.AveragePooling2D(2)(moved)
            before = down * pitch, right * pitch
            after = (
                2 * pitch - side - start
                for side, start in zip(pooled.shape[1:3], before, strict=True)
            )
            copies.append(layers.ZeroPadding2D(tuple(zip(before, after, strict=True)))(pooled))
    return layers.Add()(copies)
