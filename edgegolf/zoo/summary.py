"""What a built net consists of: layers, parameters, multiply-accumulates, sharing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a net."""

    name: str  # the layer's name
    kind: str  # its Keras class
    output_shape: tuple[int, ...]  # of its first application, without the batch
    parameters: int  # counted once, however often the layer is applied
    macs: int  # multiply-accumulates of all its applications to one image
    applications: int  # how often it is applied; above 1 its weights are shared
    trained: bool  # whether its parameters are trained


def summarize(model: keras.Model) -> tuple[LayerSummary, ...]:
    """The layers of a functional or sequential model, in order."""
    # A Sequential calls its layers once more for its functional twin, and anew for each one that is
    # added; other models may call them, too.
    by_depth = (getattr(model, "_functional", None) or model)._nodes_by_depth
    calls = [node for _, nodes in sorted(by_depth.items(), reverse=True) for node in nodes]
    return tuple(
        _summarize_layer(layer, [node for node in calls if node.operation is layer])
        for layer in model.layers
    )


def _summarize_layer(layer: keras.layers.Layer, calls: Sequence[Any]) -> LayerSummary:
    shapes = [tuple(node.output_tensors[0].shape[1:]) for node in calls]
    return LayerSummary(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=shapes[0],
        parameters=layer.count_params(),
        macs=sum(_macs(layer, shape) for shape in shapes),
        applications=len(shapes),
        trained=layer.trainable and bool(layer.trainable_weights),
    )


def _macs(layer: keras.layers.Layer, output_shape: tuple[int, ...]) -> int:
    """Each kernel element is used once per output position (and, if depthwise, per channel)."""
    positions = math.prod(output_shape[:-1])
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)
