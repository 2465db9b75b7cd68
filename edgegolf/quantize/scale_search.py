"""Finds how far activations and weights are best clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from edgegolf.ir.graph import Graph, Node, replace_constants
from edgegolf.ir.ops import FullyConnected, Softmax
from edgegolf.ir.tensor import Array, QuantParams, Tensor
from edgegolf.quantize.quantization import Quantization, rounded, weight_limits
from edgegolf.sqnr import sqnr

CLIPPINGS = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4)  # of the largest value
SMALLEST_PROBABILITY = 1 / 512  # what int8 rounds to 0

# Scales of a tensor are tried one after the other, each with all samples.
MOST_TRIALS = 40
LEAST_GAIN = 0.98  # of the loss: below is chance

Calibrate: TypeAlias = Callable[[Graph], Quantization]
#: The outputs that the rounded graph gives for the samples, float32 [n, …] each.
Judge: TypeAlias = Callable[[Graph, Quantization], Sequence[Array]]
#: For each group of tensors that have one scale, other scales to try.
Alternatives: TypeAlias = Callable[[Graph], Sequence[Sequence[Mapping[Tensor, QuantParams]]]]

_Choice: TypeAlias = tuple[Graph, Quantization]


def search_scales(
    graph: Graph,
    exact: Sequence[Array],
    calibrate: Calibrate,
    judge: Judge,
    temperatures: tuple[float, ...] = (1.0,),
    alternatives: Alternatives = lambda graph: (),
) -> _Choice:
    """The scales with which the outputs are nearest to the exact ones.

    Few values come near the extremes, so that it pays to clip these and to round all others less.
    First all scales but those of pixels and probabilities are multiplied by one factor. Then each
    group of tensors gets the best of its alternatives on every other sample, if the samples
    between agree that it is better.

    Args:
        graph: In float32. What ends with softmax is judged by the relative entropy of its
            probabilities, others by the signal-to-quantization-noise ratio of their outputs.
        exact: Its outputs for some samples, [n, …] each.
        calibrate: Gives scales that hold all values.
        judge: Tells what the rounded graph gives for the same samples.
        temperatures: What to try dividing the values before softmax by, because where all tensors
            have one scale these should not be much larger than others.
        alternatives: Gives other scales to try, most promising groups first.

    Returns:
        The graph that computes the same, and its scales.
    """
    loss = loss_of(graph)

    def choices() -> Iterator[_Choice]:
        for temperature in temperatures:
            tempered = _tempered(graph, temperature)
            quantization = calibrate(tempered)
            for clipping in CLIPPINGS:
                yield tempered, _scaled(tempered, quantization, clipping)

    def halves(choice: _Choice) -> tuple[float, float]:
        found = judge(*choice)
        first, second = (
            loss([a[start::2] for a in exact], [b[start::2] for b in found]) for start in (0, 1)
        )
        return first, second

    judged = [(choice, loss(exact, judge(*choice))) for choice in choices()]
    chosen, quantization = min(judged, key=lambda pair: pair[1])[0]
    options = alternatives(chosen)
    if not options or len(exact[0]) < 2:
        return chosen, quantization
    best, trials = halves((chosen, quantization)), 0
    for group in options:
        trials += len(group)
        if trials > MOST_TRIALS:
            break
        tried = [
            replace(quantization, activations={**quantization.activations, **scales})
            for scales in group
        ]
        losses = [halves((chosen, each)) for each in tried]
        index = min(range(len(tried)), key=lambda index: losses[index][0])
        if all(new < LEAST_GAIN * old for new, old in zip(losses[index], best, strict=True)):
            quantization, best = tried[index], losses[index]
    return chosen, quantization


def loss_of(graph: Graph) -> Callable[[Sequence[Array], Sequence[Array]], float]:
    """What a graph loses where its outputs, given first, are not exact: 0 for none."""
    return _relative_entropy if isinstance(graph.nodes[-1].op, Softmax) else _relative_noise


def _relative_entropy(exact: Sequence[Array], found: Sequence[Array]) -> float:
    """Of probabilities: what cross entropy has above the exact ones' own entropy."""
    p, q = (np.log(each[0] + SMALLEST_PROBABILITY) for each in (exact, found))
    return float((exact[0] * (p - q)).sum(axis=1).mean())


def _relative_noise(exact: Sequence[Array], found: Sequence[Array]) -> float:
    """Noise in relation to signal, mean of the outputs."""
    return float(np.mean([10 ** (-sqnr(a, b) / 10) for a, b in zip(exact, found, strict=True)]))


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
    ends = (*graph.inputs, *graph.outputs)  # among which may be integers that are just numbers
    fixed = {quantization.activations.get(tensor) for tensor in ends}
    activations = {
        tensor: params
        if params in fixed
        else QuantParams((params.scale[0] * factor,), params.zero_point)
        for tensor, params in quantization.activations.items()
    }
    return replace(quantization, activations=activations)


def best_common_scale(noises: Mapping[Tensor, Array], bits: int = 8) -> QuantParams:
    """The one scale for several weights with the least noise, given their importances.

    Clipping a few large weights can cost less than rounding all others more coarsely.

    Args:
        noises: The noise that an error of 1 causes, for each element or to be broadcast.
        bits: Of each integer.
    """
    pairs = [np.broadcast_arrays(weight.values, noise) for weight, noise in noises.items()]
    values, noise = (
        np.concatenate([np.ravel(part) for part in column]) for column in zip(*pairs, strict=True)
    )
    largest = max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny))
    unit = largest / weight_limits(bits)[1]
    best = min(
        (np.float32(unit * share) for share in np.linspace(1, 0.4 if bits == 8 else 0.1, 121)),
        key=lambda scale: float(noise @ np.square(values - rounded(values, scale, bits) * scale)),
    )
    return QuantParams((float(best),))


def best_scales(weights: tuple[Tensor, ...]) -> dict[Tensor, QuantParams]:
    """The scale of each weight with the least noise."""
    return {weight: best_common_scale({weight: np.ones(weight.shape)}) for weight in weights}
