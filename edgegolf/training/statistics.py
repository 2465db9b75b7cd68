"""The statistics of batch normalizations, for weights that they were not gathered with.

An average of weights is another net than any of them, whose statistics have to be gathered anew
(Izmailov et al. 2018, https://arxiv.org/abs/1803.05407). The last weights' own follow them slowly:
after one epoch of large batches they are still partly those that the net began with. And dropout,
which a net in use has none of, makes variances larger than they will be (Li et al. 2019,
https://arxiv.org/abs/1801.05134), so it does not act here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    if not layers:
        return None

    def forward(images: Any, momentum: Any) -> None:
        with _set(layers, "momentum", momentum), _set(dropouts, "rate", 0):
            model(keras.ops.cast(images, "float32") / 255, training=True)

    if keras.backend.backend() == "tensorflow":
        forward = import_tensorflow().function(forward, reduce_retracing=True)

    def gather(batches: NDArray[np.uint8]) -> None:
        for index, images in enumerate(batches):
            # All batches then count alike; where a layer is applied several times, later ones more.
            forward(images, np.array(index / (index + 1), np.float32))

    return gather


@contextmanager
def _set(layers: Sequence[Any], name: str, value: Any) -> Iterator[None]:
    """Another value of the layers' attribute for a while."""
    own = [getattr(layer, name) for layer in layers]
    for layer in layers:
        setattr(layer, name, value)
    yield
    for layer, each in zip(layers, own, strict=True):
        setattr(layer, name, each)
