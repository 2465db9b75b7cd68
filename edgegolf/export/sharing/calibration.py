"""Chooses the grids of a network from what its values are on training images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.network import (
    AveragePooling,
    Concatenate,
    Crop,
    Loop,
    MaxPooling,
    Network,
    Node,
    Operation,
    Pad,
    Rectifier,
    Reshape,
    Softmax,
    Value,
    Weight,
    fused_rectifiers,
)
from edgegolf.export.sharing.quantization import Grid, Quantization, channel_scales

Range = tuple[float, float]

# Pixels and probabilities have known ranges.
PIXELS: Range = (0.0, 1.0)
PROBABILITIES: Range = (0.0, 255 / 256)

_KEEPING_THE_GRID = (MaxPooling, AveragePooling, Crop, Pad, Reshape, Concatenate)


@dataclass(frozen=True)
class Style:
    """How many grids a file spends.

    Attributes:
        rectifier: `leaky`: a ReLU that is not fused keeps its input's grid and has zero point 0.
            `requantize`: it has its own grid.
        activations: `own`: each value has its grid, unless an operator asks for equal ones.
            `shared`: the values that one layer is applied to have one, so that its bias is one.
            `one`: all values have one scale and zero point 0, except pixels and probabilities.
        weights: Scales of weights: for each `channel`, for each `tensor`, or `one` for all.
    """

    rectifier: Literal["leaky", "requantize"]
    activations: Literal["own", "shared", "one"]
    weights: Literal["channel", "tensor", "one"]


def ranges(network: Network, images: NDArray[np.float32]) -> dict[Value, Range]:
    """The smallest and largest element of every value, over images and iterations."""
    found: dict[Value, Range] = {}

    def observe(value: Value, array: NDArray[np.float32]) -> None:
        low, high = found.get(value, (0.0, 0.0))  # a grid has to have a zero
        found[value] = min(low, float(array.min())), max(high, float(array.max()))

    evaluate(network, images, observe)
    found[network.inputs[0]] = PIXELS
    for node in network.walk():
        if isinstance(node.operation, Softmax):
            found[node.output] = PROBABILITIES
    return found


def calibrate(network: Network, found: Mapping[Value, Range], style: Style) -> Quantization:
    """Grids that just hold the ranges."""
    fixed = {network.inputs[0], *_probabilities(network)}
    groups = _groups(network, style)
    activations: dict[Value, Grid] = {}
    for group in groups:
        low = min(found[value][0] for value in group)
        high = max(found[value][1] for value in group)
        symmetric = style.activations == "one" or (style.rectifier == "leaky" and low < 0)
        exact = bool(fixed & group)
        if style.activations == "one" and network.inputs[0] in group:
            low, high = PROBABILITIES  # a grid less; white becomes 255/256
        grid = symmetric_grid(low, high) if symmetric and not exact else asymmetric_grid(low, high)
        activations.update(dict.fromkeys(group, grid))
    return Quantization(activations, weight_scales(network, style))


def weight_scales(network: Network, style: Style) -> dict[Weight, tuple[float, ...]]:
    """Scales that just hold the filters and matrices."""
    filters = filters_of(network)
    largest = {weight: float(np.abs(weight.values).max()) or 1.0 for weight in filters}
    if style.weights == "one":
        return dict.fromkeys(filters, (max(largest.values(), default=1.0) / 127,))
    if style.weights == "tensor":
        return {weight: (value / 127,) for weight, value in largest.items()}
    return {weight: _channel_scales(node) for weight, node in filters.items()}


def filters_of(network: Network) -> dict[Weight, Node]:
    """The weights of each layer but its bias, with a node that applies it."""
    return {node.operation.weights[0]: node for node in network.walk() if node.operation.weights}


def symmetric_grid(low: float, high: float) -> Grid:
    """With zero point 0."""
    return Grid((float(np.float32((max(-low, high) or 1.0) / 127)),))


def asymmetric_grid(low: float, high: float) -> Grid:
    """With the zero point that uses all 256 integers."""
    scale = np.float32(((high - low) or 1.0) / 255)
    return Grid((float(scale),), int(np.clip(np.rint(-128 - low / scale), -128, 127)))


def _channel_scales(node: Node) -> tuple[float, ...]:
    values = node.operation.weights[0].values.reshape(-1, node.output.shape[-1])
    return tuple(map(float, channel_scales(values)))


def _probabilities(network: Network) -> set[Value]:
    return {n.output for n in network.walk() if isinstance(n.operation, Softmax)}


def _groups(network: Network, style: Style) -> list[set[Value]]:
    """The values that must have one grid."""
    group_of: dict[Value, set[Value]] = {}

    def unite(values: Iterable[Value]) -> None:
        together: set[Value] = set()
        for value in values:
            together |= group_of.get(value, {value})
        for value in together:
            group_of[value] = together

    sources: dict[Operation, list[Value]] = {}
    for graph in (network, *(loop.body for loop in network.loops)):
        fused = fused_rectifiers(graph)
        for node in graph.nodes:
            for value in (*node.inputs, *node.outputs):
                unite([value])
            operation = node.operation
            if isinstance(operation, Loop):
                for values in zip(
                    node.inputs,
                    node.outputs,
                    operation.body.inputs,
                    operation.body.outputs,
                    strict=True,
                ):
                    unite(values)
            elif isinstance(operation, _KEEPING_THE_GRID) or (
                isinstance(operation, Rectifier)
                and (operation.slope or style.rectifier == "leaky")
                and node not in fused.values()
            ):
                unite([*node.inputs, *node.outputs])
            if operation.weights:
                sources.setdefault(operation, []).append(node.inputs[0])
    if style.activations == "shared":
        for inputs in sources.values():
            unite(inputs)
    if style.activations == "one":
        fixed = {network.inputs[0], *_probabilities(network)}
        unite(value for value, group in list(group_of.items()) if not group & fixed)
    return list({id(group): group for group in group_of.values()}.values())
