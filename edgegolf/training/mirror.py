"""Filters in mirror pairs: a net to which an image and its mirror image are the same.

Every filter has a twin, half of the filters further on, that is its mirror image, left to right,
and takes the twins of its channels. Of a mirrored image, a layer then makes the mirror image of
what it made of the image, with twins exchanged, and a classifier that weighs twins alike cannot
tell the two apart. Layers and parameters are those of any net, and half of the weights are free
(Cohen and Welling 2016, https://arxiv.org/abs/1602.07576, for the group of one mirror).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgegolf.errors import EdgegolfError, require

if TYPE_CHECKING:
    import keras

Twin = Callable[[Any], Any]

ROUNDING = 1e-3  # of the largest score


def keep_mirror_pairs(model: keras.Model) -> None:
    """Make a net's filters mirror pairs, and have its optimizer keep them.

    Every variable becomes the mean of itself and its twin, and in every step each gradient does.

    Args:
        model: A compiled net of convolutions, normalizations, sums and a classifier of one
            position, whose optimizer has no state yet.

    Raises:
        EdgegolfError: The net is another one, or has an odd number of filters.
    """
    twins = _paired(model)
    optimizer = model.optimizer
    plain = optimizer.apply

    def apply(gradients: Any, trainable_variables: Any = None) -> None:
        paths = [each.path for each in trainable_variables or model.trainable_variables]
        means = [_mean(each, twins[path]) for each, path in zip(gradients, paths, strict=True)]
        plain(means, trainable_variables)

    optimizer.apply = apply


def twin_places(model: keras.Model) -> list[NDArray[np.int64]]:
    """Make a net's filters mirror pairs, and tell where the twin of each weight is.

    Returns:
        For each variable of the net, int64 of its shape: places in all variables, one after the
        other.

    Raises:
        EdgegolfError: As `keep_mirror_pairs`.
    """
    twins = _paired(model)
    places, start = [], 0
    for variable in model.weights:
        size = math.prod(variable.shape)
        own = np.arange(start, start + size).reshape(variable.shape)
        places.append(np.array(twins[variable.path](own), np.int64))
        start += size
    return places


def _paired(model: keras.Model) -> dict[str, Twin]:
    """Give every variable the mean of itself and its twin; what makes twins, by its path."""
    twins = dict(_twins(model))
    for variable in model.weights:
        variable.assign(_mean(variable.value, twins[variable.path]))
    if not _is_mirrored(model):
        raise EdgegolfError(f"the net {model.name!r} adds channels that have twins to some without")
    return twins


def _mean(value: Any, twin: Twin) -> Any:
    return (value + twin(value)) / 2


def _is_mirrored(model: keras.Model) -> bool:
    """Whether an image and its mirror image are the same to the net."""
    image = np.random.default_rng(0).random((1, *model.input_shape[1:])).astype(np.float32)
    own, mirrored = (np.array(model(each)) for each in (image, image[:, :, ::-1]))
    return bool(np.abs(own - mirrored).max() <= ROUNDING * np.abs(own).max())


def _twins(model: keras.Model) -> Iterator[tuple[str, Twin]]:
    """The paths of weights and statistics, each with what makes its twin of its value."""
    keras = require("keras", extra="train")
    layers = keras.layers
    paired = False  # the colours of an image have no twins
    for layer in model.layers:
        separable = isinstance(layer, layers.SeparableConv2D)
        if not _is_symmetric(layer) or (separable and not paired):
            raise EdgegolfError(f"a net with {layer.name!r} cannot be kept in mirror pairs")
        channels = [-2] if paired else []
        if isinstance(layer, layers.Conv2D):
            paired = paired or layer.kernel_size[1] > 1  # a single column is its own mirror image
            yield layer.kernel.path, _twin([1], channels + [-1] * paired)
        elif separable:
            yield layer.depthwise_kernel.path, _twin([1], [-2])
            yield layer.pointwise_kernel.path, _twin([], [-2, -1])
        elif isinstance(layer, layers.Dense):
            yield layer.kernel.path, _twin([], channels)
            paired = False
        if paired and layer.output.shape[-1] % 2:
            raise EdgegolfError(f"{layer.name!r} has {layer.output.shape[-1]} filters: no pairs")
        for variable in layer.weights:
            if len(variable.shape) == 1:
                yield variable.path, _twin([], [-1] * paired)


def _is_symmetric(layer: Any) -> bool:
    """Whether a layer, its weights apart, does the same from the right as from the left."""
    layers = require("keras", extra="train").layers
    everywhere = (
        layers.InputLayer, layers.Dense, layers.BatchNormalization, layers.ReLU, layers.Dropout,
        layers.Add, layers.Identity, layers.GlobalAveragePooling2D,
    )  # fmt: skip
    if type(layer) in (layers.Conv2D, layers.SeparableConv2D, layers.MaxPooling2D):
        return _sees_both_sides_alike(layer)
    if isinstance(layer, layers.Flatten):
        return bool(layer.input.shape[1:3] == (1, 1))
    return isinstance(layer, everywhere)


def _sees_both_sides_alike(layer: Any) -> bool:
    """Whether a window skips as many columns on the left as on the right, and adds as many."""
    pools = isinstance(layer, require("keras", extra="train").layers.MaxPooling2D)
    window = (layer.pool_size if pools else layer.kernel_size)[1]
    columns, stride = layer.input.shape[2], layer.strides[1]
    added = 0
    if layer.padding == "same":
        added = max(0, (-(-columns // stride) - 1) * stride + window - columns)
    return bool(added % 2 == 0 and (columns + added - window) % stride == 0)


def _twin(mirrored: list[int], paired: list[int]) -> Twin:
    """What mirrors some axes, and exchanges the halves of others."""
    ops = require("keras", extra="train").ops

    def twin(value: Any) -> Any:
        value = ops.flip(value, axis=mirrored) if mirrored else value
        for axis in paired:
            first, second = ops.split(value, 2, axis=axis)
            value = ops.concatenate([second, first], axis=axis)
        return value

    return twin
