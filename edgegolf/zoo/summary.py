"""What a built net consists of: layers, parameters, multiply-accumulates, sharing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LayerSummary:
    """One layer of a net.

    Attributes:
        name: The layer's name.
        kind: Its Keras class.
        output_shape: Of one image, without the batch.
        parameters: Counted once, however often the layer is applied.
        macs: Multiply-accumulates of all its applications to one image.
        applications: How often it is applied; above 1 its weights are shared.
        trained: Whether its parameters are trained.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    applications: int
    trained: bool


def summarize(model: keras.Model) -> tuple[LayerSummary, ...]:
    """The layers of a functional or sequential model, in order."""
    return tuple(_summarize_layer(layer) for layer in model.layers)


def _summarize_layer(layer: keras.layers.Layer) -> LayerSummary:
    nodes = [node for node in layer._inbound_nodes if node.output_tensors]
    # A Sequential calls its layers once more for its own functional twin: same inputs, same node.
    calls = {tuple(id(tensor) for tensor in node.input_tensors) for node in nodes}
    applications = max(1, len(calls))
    output_shape = tuple(nodes[0].output_tensors[0].shape[1:])
    return LayerSummary(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=output_shape,
        parameters=layer.count_params(),
        macs=applications * _macs(layer, output_shape),
        applications=applications,
        trained=layer.trainable and bool(layer.trainable_weights),
    )


def _macs(layer: keras.layers.Layer, output_shape: tuple[int, ...]) -> int:
    """Each kernel element is used once per output position (and, if depthwise, per channel)."""
    positions = math.prod(output_shape[:-1])
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)
