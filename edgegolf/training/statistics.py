"""The statistics of batch normalizations, for weights that they were not gathered with.

An average of weights is another net than any of them, whose statistics have to be gathered anew
(Izmailov et al. 2018, https://arxiv.org/abs/1803.05407). The last weights' own follow them slowly:
after one epoch of large batches they are still partly those that the net began with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.errors import require
from edgegolf.quiet import import_tensorflow

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

# From batches, uint8 [batches, batch, height, width, channels], to statistics in the net.
Gather = Callable[["NDArray[np.uint8]"], None]


def statistics_gatherer(model: keras.Model) -> Gather | None:
    """What sets a net's moving means and variances to the mean of those of some batches.

    Returns:
        A function of the batches, for the weights that the net has then; None for a net without
        batch normalizations.
    """
    keras = require("keras", extra="train")
    kind = keras.layers.BatchNormalization
    layers = [layer for layer in model.layers if isinstance(layer, kind)]
    if not layers:
        return None

    def forward(images: Any, momentum: Any) -> None:
        own = [layer.momentum for layer in layers]
        for layer in layers:
            layer.momentum = momentum
        model(keras.ops.cast(images, "float32") / 255, training=True)
        for layer, value in zip(layers, own, strict=True):
            layer.momentum = value

    if keras.backend.backend() == "tensorflow":
        forward = import_tensorflow().function(forward, reduce_retracing=True)

    def gather(batches: NDArray[np.uint8]) -> None:
        for index, images in enumerate(batches):
            # All batches then count alike; where a layer is applied several times, later ones more.
            forward(images, np.array(index / (index + 1), np.float32))

    return gather
