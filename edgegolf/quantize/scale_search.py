"""Finds how far activations and weights are best clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from edgegolf.ir.graph import Graph, Node, replace_constants
from edgegolf.ir.ops import FullyConnected, Softmax
from edgegolf.ir.tensor import Array, QuantParams, Tensor
from edgegolf.quantize.quantization import Quantization, rounded

CLIPPINGS = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4)  # of the largest value
SMALLEST_PROBABILITY = 1 / 512  # what int8 rounds to 0

Calibrate: TypeAlias = Callable[[Graph], Quantization]
#: The probabilities that the rounded graph gives for the images, [n, classes].
Judge: TypeAlias = Callable[[Graph, Quantization], Array]


def search_scales(
    graph: Graph,
    exact: Array,
    calibrate: Calibrate,
    judge: Judge,
    temperatures: tuple[float, ...] = (1.0,),
) -> tuple[Graph, Quantization]:
    """Multiply all scales but those of pixels and probabilities by the factor that is best.

    Few values come near the extremes, so that it pays to clip these and to round all others less.
    The best scales are those that give the probabilities nearest to the exact ones, by cross
    entropy.

    Args:
        graph: A classifier that ends with softmax; others come back with their first scales.
        exact: The probabilities that it gives for some images, [n, classes].
        calibrate: Gives scales that hold all values.
        judge: Tells what the rounded graph gives for the same images.
        temperatures: What to try dividing the values before softmax by, because where all tensors
            have one scale these should not be much larger than others.

    Returns:
        The graph that computes the same, and its scales.
    """
    if not isinstance(graph.nodes[-1].op, Softmax):
        return graph, calibrate(graph)

    def loss(choice: tuple[Graph, Quantization]) -> float:
        found = judge(*choice)
        return float(-(exact * np.log(found + SMALLEST_PROBABILITY)).sum(axis=1).mean())

    def choices() -> Iterator[tuple[Graph, Quantization]]:
        for temperature in temperatures:
            tempered = _tempered(graph, temperature)
            quantization = calibrate(tempered)
            for clipping in CLIPPINGS:
                yield tempered, _scaled(tempered, quantization, clipping)

    return min(choices(), key=loss)


def _tempered(graph: Graph, temperature: float) -> Graph:
    """The last dense layer divided by a temperature, and softmax multiplying by it."""
    if temperature == 1.0 or len(graph.nodes) < 2:
        return graph
    *_, dense, last = graph.nodes
    if not isinstance(dense.op, FullyConnected) or dense.op.activation is not None:
        return graph
    applications = [node.constant(1) for node in graph.walk()].count(dense.filter)
    if applications > 1 or len(graph.readers[dense.output]) > 1:
        return graph
    softmax = Node(Softmax(temperature), last.inputs, last.outputs)
    changed = {
        weight: Tensor.constant(weight.values / np.float32(temperature), weight.name)
        for weight in dense.parameters
    }
    nodes = (*graph.nodes[:-1], softmax)
    return replace_constants(Graph(graph.inputs, graph.outputs, nodes), changed)


def _scaled(graph: Graph, quantization: Quantization, factor: float) -> Quantization:
    fixed = {quantization.activations[tensor] for tensor in (*graph.inputs, *graph.outputs)}
    activations = {
        tensor: params
        if params in fixed
        else QuantParams((params.scale[0] * factor,), params.zero_point)
        for tensor, params in quantization.activations.items()
    }
    return replace(quantization, activations=activations)


def best_common_scale(noises: Mapping[Tensor, Array]) -> QuantParams:
    """The one scale for several weights with the least noise, given their importances.

    Clipping a few large weights can cost less than rounding all others more coarsely.

    Args:
        noises: The noise that an error of 1 causes, for each element or to be broadcast.
    """
    pairs = [np.broadcast_arrays(weight.values, noise) for weight, noise in noises.items()]
    values, noise = (
        np.concatenate([np.ravel(part) for part in column]) for column in zip(*pairs, strict=True)
    )
    largest = max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny)) / 127
    best = min(
        (np.float32(largest * share) for share in np.linspace(1, 0.4, 121)),
        key=lambda scale: float(noise @ np.square(values - rounded(values, scale) * scale)),
    )
    return QuantParams((float(best),))


def best_scales(weights: tuple[Tensor, ...]) -> dict[Tensor, QuantParams]:
    """The scale of each weight with the least noise."""
    return {weight: best_common_scale({weight: np.ones(weight.shape)}) for weight in weights}
