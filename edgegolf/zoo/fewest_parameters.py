"""How few parameters reach 95 % on MNIST? Here, 200 do: one separable convolution, applied often.

No article shows this net; its ideas are the project's own. One convolution of ten channels serves
five residual steps at three sizes of the image, its ten channels are the ten classes in the end,
and what needs no parameters is free: eight differences with the neighbouring pixels tell the
convolution where edges are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegolf.errors import require
from edgegolf.zoo.recipe import Article, Training, net

if TYPE_CHECKING:
    import keras

TITLE = "a question of our own: the fewest parameters for 95 %"

NEIGHBOURS = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
SLOPE = 0.1  # of the leaky ReLU: a dead channel is a tenth of this net

TRAINING = Training(
    epochs=40,
    optimizer="full_matrix_adam",  # plain Adam stays a point lower: the shared weights interact
    learning_rate=0.05,
    warm_up_epochs=4.0,
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
    hidden = _edges(layers, image)
    hidden = residual_steps(hidden, 1)
    hidden = layers.MaxPooling2D(2)(hidden)
    hidden = residual_steps(hidden, 2)
    hidden = layers.MaxPooling2D(3, strides=2)(hidden)
    hidden = residual_steps(hidden, 2)
    centre = layers.Flatten()(layers.Cropping2D(1)(hidden))
    return library.Model(image, layers.Softmax()(centre), name="fewest_parameters")


def _edges(layers: Any, image: keras.KerasTensor) -> keras.KerasTensor:
    """Ten channels at half the size: the image, eight edges, and an empty one to write to."""
    padded = layers.ZeroPadding2D(1)(image)
    neighbours = [
        layers.Cropping2D(((row, 2 - row), (column, 2 - column)))(padded)
        for row, column in NEIGHBOURS
    ]
    centre = layers.Concatenate()([image] * len(neighbours))
    rises = layers.ReLU()(layers.Subtract()([layers.Concatenate()(neighbours), centre]))
    empty = layers.Subtract()([image, image])
    channels = layers.Concatenate()([image, layers.Add()([rises, rises]), empty])
    return layers.AveragePooling2D(2)(channels)
