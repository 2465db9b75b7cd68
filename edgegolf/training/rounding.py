"""Trains weights that are rounded with compiled gradients: as `edgegolf.quantize.finetuning`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgegolf.backends.gradient.source import write
from edgegolf.ir.graph import Graph, replace_constants
from edgegolf.ir.tensor import Array, QuantParams, Tensor
from edgegolf.passes.rerolling import unroll
from edgegolf.progress import track
from edgegolf.quantize.quantization import Quantization, weight_limits
from edgegolf.training.gradients import CompiledGraph, Floats, Pixels
from edgegolf.training.optimizers import Adam

BATCH_SIZE = 64
_EXACT = QuantParams((1.0,))  # of weights that are not rounded


def as_pixels(samples: Array) -> Pixels | None:
    """Samples of which 255 steps are 1 as uint8; None where they are others."""
    found = np.rint(samples * np.float32(255))
    if found.min() < 0 or found.max() > 255 or np.abs(found / 255 - samples).max() > 1e-6:
        return None
    return found.astype(np.uint8)


def finetune_weights(
    graph: Graph,
    quantization: Quantization,
    images: Pixels,
    *,
    steps: int,
    seed: int,
    learning_rate: float,
) -> tuple[Graph, Quantization]:
    """Adapt weights and their scales to each other.

    Args:
        graph: In float32, a classifier of one image, with or without loops.
        quantization: The scales of its weights. Equal ones stay equal.
        images: uint8 [n, height, width, channels].
        steps: How many batches to train on.
        seed: What batches are drawn from.
        learning_rate: The first, of Adam; it falls to 0 along half a cosine.

    Returns:
        The graph with other weights, and other scales for it.

    Raises:
        NotCompiledError: No gradient is written for something in the graph, or there is no C
            compiler here.
    """
    source = write(unroll(graph).graph)
    net = CompiledGraph(source)
    weights = np.concatenate([weight.values.ravel() for weight in source.weights])
    targets = net.predict(weights, images)
    units = _Units(source.weights, quantization)
    count = len(weights)
    parameters = np.concatenate([weights, units.logarithms])
    adam, generator = Adam(len(parameters)), np.random.default_rng(seed)
    for step in track(range(steps), "fine-tuning the rounded network", total=steps):
        chosen = generator.integers(len(images), size=BATCH_SIZE)
        rounded, inside, moved = units.rounded(parameters[:count], parameters[count:])
        _, gradient = net.gradients(rounded, images[chosen], targets[chosen])
        scales = np.bincount(units.places, gradient * moved, len(units.logarithms))
        rate = learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        both = np.concatenate([gradient * inside, scales.astype(np.float32)])
        parameters += adam(both, step, rate)
    return units.applied(graph, parameters[:count], parameters[count:])


class _Units:
    """Which scale each parameter is rounded to multiples of, and between which of them."""

    def __init__(self, weights: tuple[Tensor, ...], quantization: Quantization) -> None:
        self.weights, self.quantization = weights, quantization
        self.starts: dict[tuple[float, ...], int] = {}  # of scales that are equal, the first
        scales: list[float] = []
        places, limits = [], []
        for weight in weights:
            params = quantization.weights.get(weight, _EXACT)
            if params.scale not in self.starts:
                self.starts[params.scale] = len(scales)
                scales += params.scale
            channels = np.indices(weight.shape)[params.axis] if params.is_per_channel else 0
            channel = np.broadcast_to(channels, weight.shape).ravel()
            places.append(self.starts[params.scale] + channel)
            bounds: tuple[float, float] = weight_limits(quantization.bits.get(weight, 8))
            if params is _EXACT:
                bounds = -np.inf, np.inf
            limits.append(np.repeat([bounds], weight.elements, axis=0))
        self.places: NDArray[np.int64] = np.concatenate(places)
        self.low, self.high = np.concatenate(limits).astype(np.float32).T
        self.logarithms = np.log(np.array(scales, np.float32))

    def rounded(self, weights: Floats, logarithms: Floats) -> tuple[Floats, Floats, Floats]:
        """The rounded weights, and what they change by with the weights and the logarithms.

        Rounding is passed through; what is clipped moves its scale only.
        """
        scales = np.exp(logarithms)[self.places]
        units = weights / scales
        integers = np.clip(np.rint(units), self.low, self.high)
        integers = np.where(np.isinf(self.high), units, integers)
        inside = ((units >= self.low) & (units <= self.high)).astype(np.float32)
        return integers * scales, inside, (integers - inside * units) * scales

    def applied(
        self, graph: Graph, weights: Floats, logarithms: Floats
    ) -> tuple[Graph, Quantization]:
        """A graph with these weights, and its scales."""
        ends = np.cumsum([weight.elements for weight in self.weights])[:-1]
        tuned = {
            weight: Tensor.constant(part.reshape(weight.shape), weight.name)
            for weight, part in zip(self.weights, np.split(weights, ends), strict=True)
        }
        scales = {}
        for weight in self.weights:
            if (params := self.quantization.weights.get(weight)) is None:
                continue
            first = self.starts[params.scale]
            found = np.exp(logarithms[first : first + len(params.scale)])
            scales[tuned[weight]] = replace(params, scale=tuple(map(float, found)))
        bits = {tuned[weight]: bits for weight, bits in self.quantization.bits.items()}
        return replace_constants(graph, tuned), Quantization({}, scales, bits)
