"""Rescales the channels of a network so that one scale fits all of its weights.

A ReLU, a sum, a pooling and a copy commute with a positive factor for each channel, so each
channel may have a factor that one layer multiplies by and the next ones divide by: the network
computes the same. This is the cross-layer equalization of Nagel et al. 2019
(https://arxiv.org/abs/1906.04721), here for any network, with layers that are applied several
times, and with factors that minimise the noise that rounding causes on real images.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegolf.export.sharing.evaluate import evaluate
from edgegolf.export.sharing.network import (
    Concatenate,
    Convolution,
    Dense,
    DepthwiseConvolution,
    Loop,
    Network,
    Node,
    Operation,
    Reshape,
    Softmax,
    Value,
    Weight,
    replace_operations,
)

Indices: TypeAlias = NDArray[np.int64]
Array: TypeAlias = NDArray[np.float32]

_FIXED = 0  # the group of channels whose factor is 1: those of the input and of the output
_STEPS = 1500
_STEP_SIZE = 0.05
_EXPONENT = 24.0  # of the norm that stands for the largest weight, to have a gradient
_LEAST_POWER = 1e-3  # of a channel, as a share of that of the strongest channel


def equalize(network: Network, images: Array) -> Network:
    """A network that computes the same with weights that suffer less from one common scale.

    Args:
        network: With or without loops.
        images: float32 [n, ...], typical inputs.
    """
    groups = _Groups()
    groups.fix(network.inputs[0])
    groups.join_nodes(network)
    groups.fix(network.outputs[0])
    factors = np.exp(_best_logarithms(groups.terms(importances(network, images))))
    scaled = {
        weight: Weight(
            weight.name,
            (weight.values * groups.scaling(weight, factors)).astype(np.float32),
        )
        for weight in network.weights
    }
    operations = {node.operation for node in network.walk() if node.operation.weights}
    return replace_operations(network, {old: _with_weights(old, scaled) for old in operations})


def _with_weights(operation: Operation, changed: dict[Weight, Weight]) -> Operation:
    named = {part.name: getattr(operation, part.name) for part in fields(operation)}
    return replace(
        operation, **{name: changed[w] for name, w in named.items() if isinstance(w, Weight)}
    )


@dataclass
class _Groups:
    """Which channels must have the same factor, as a disjoint-set forest of numbers."""

    parents: list[int] = field(default_factory=lambda: [_FIXED])
    values: dict[Value, Indices] = field(default_factory=dict)
    # Of each weight: what its elements are divided by, and multiplied by, as arrays of numbers
    # that broadcast to its shape.
    weights: dict[Weight, tuple[Indices, Indices]] = field(default_factory=dict)

    def fresh(self, count: int) -> Indices:
        start = len(self.parents)
        self.parents += range(start, start + count)
        return np.arange(start, start + count)

    def root(self, number: int) -> int:
        while self.parents[number] != number:
            self.parents[number] = self.parents[self.parents[number]]
            number = self.parents[number]
        return number

    def roots(self, numbers: Indices) -> Indices:
        return np.array([self.root(n) for n in numbers.ravel()], np.int64).reshape(numbers.shape)

    def join(self, first: Indices, second: Indices) -> None:
        pairs = np.broadcast_arrays(first, second)
        for a, b in zip(pairs[0].ravel().tolist(), pairs[1].ravel().tolist(), strict=True):
            low, high = sorted((self.root(a), self.root(b)))
            self.parents[high] = low

    def channels(self, value: Value) -> Indices:
        """One number for each element along the last axis."""
        if value not in self.values:
            self.values[value] = self.fresh(value.shape[-1])
        return self.values[value]

    def fix(self, value: Value) -> None:
        self.join(self.channels(value), np.array(_FIXED))

    def join_values(self, first: Value, second: Value) -> None:
        self.join(self.channels(first), self.channels(second))

    def join_nodes(self, network: Network) -> None:
        for node in network.nodes:
            self.join_node(node, node.operation)

    def join_node(self, node: Node, operation: Operation) -> None:
        if isinstance(operation, Loop):
            body = operation.body
            for values in zip(node.inputs, body.inputs, body.outputs, node.outputs, strict=True):
                for other in values[1:]:
                    self.join_values(values[0], other)
            self.join_nodes(body)
        elif isinstance(operation, Convolution | DepthwiseConvolution | Dense):
            self.join_weights(node, operation)
        elif isinstance(operation, Softmax):
            self.fix(node.inputs[0])
            self.fix(node.output)
        elif isinstance(operation, Reshape):
            self.join_reshaped(node)
        elif isinstance(operation, Concatenate):
            self.join_concatenated(node, operation.axis)
        else:
            for value in node.inputs:
                self.join_values(value, node.output)

    def join_weights(
        self, node: Node, operation: Convolution | DepthwiseConvolution | Dense
    ) -> None:
        before, after = self.channels(node.inputs[0]), self.channels(node.output)
        main, *biases = operation.weights
        if isinstance(operation, DepthwiseConvolution):
            numbers = before[:, None], after.reshape(len(before), -1)
        else:
            numbers = before[:, None], after[None, :]
        for weight, found in ((main, numbers), *((b, (np.array(_FIXED), after)) for b in biases)):
            for known, now in zip(self.weights.setdefault(weight, found), found, strict=True):
                self.join(known, now)

    def join_reshaped(self, node: Node) -> None:
        before, after = node.inputs[0].shape, node.output.shape
        elements = np.broadcast_to(self.channels(node.inputs[0]), before).reshape(after)
        self.join(elements, np.broadcast_to(self.channels(node.output), after))

    def join_concatenated(self, node: Node, axis: int) -> None:
        shapes = [np.broadcast_to(self.channels(value), value.shape) for value in node.inputs]
        elements = np.concatenate(shapes, axis)
        self.join(elements, np.broadcast_to(self.channels(node.output), node.output.shape))

    def scaling(self, weight: Weight, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        divisors, multipliers = (factors[self.roots(n)] for n in self.weights[weight])
        return multipliers / divisors

    def terms(self, importances: dict[Weight, Array]) -> _Terms:
        """All weights, those with the same two factors merged."""
        rows = [
            [
                np.ravel(part)
                for part in np.broadcast_arrays(
                    *map(self.roots, self.weights[weight]), np.abs(weight.values), importance
                )
            ]
            for weight, importance in importances.items()
        ]
        divisors, multipliers, sizes, noises = map(np.concatenate, zip(*rows, strict=True))
        pairs, places = np.unique(divisors * len(self.parents) + multipliers, return_inverse=True)
        largest = np.full(len(pairs), np.finfo(np.float32).tiny, np.float64)
        np.maximum.at(largest, places, sizes)
        return _Terms(
            len(self.parents),
            pairs // len(self.parents),
            pairs % len(self.parents),
            np.log(largest),
            np.bincount(places, noises),
        )


@dataclass(frozen=True)
class _Terms:
    """Groups of weights with common factors.

    Attributes:
        groups: How many factors there are.
        divisors: The numbers of the factors that the weights are divided by.
        multipliers: The numbers of those that they are multiplied by.
        sizes: The logarithm of the largest weight.
        noises: The sum of the weights' importances.
    """

    groups: int
    divisors: Indices
    multipliers: Indices
    sizes: NDArray[np.float64]
    noises: NDArray[np.float64]

    def gradient(self, logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of log(largest weight · √noise), a convex function of the factors' logarithms."""
        ratios = logarithms[self.multipliers] - logarithms[self.divisors]
        sizes = self.sizes + ratios
        share = np.exp(_EXPONENT * (sizes - sizes.max()))
        noise = self.noises * np.exp(-2 * ratios)
        push = share / share.sum() - noise / noise.sum()
        result: NDArray[np.float64] = np.bincount(self.multipliers, push, self.groups)
        result -= np.bincount(self.divisors, push, self.groups)
        result[_FIXED] = 0
        return result


def _best_logarithms(terms: _Terms) -> NDArray[np.float64]:
    """Adam (Kingma and Ba 2015) on a convex function, with steps that shrink to nothing."""
    position, mean, square = (np.zeros(terms.groups) for _ in range(3))
    for step in range(1, _STEPS + 1):
        gradient = terms.gradient(position)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        direction = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        position = position - _STEP_SIZE * (1 - step / _STEPS) * direction
    return position


def importances(network: Network, images: Array) -> dict[Weight, Array]:
    """How much noise an error of 1 in each weight causes, relative to its channel's signal.

    The noise is the mean square over the images, added up over all applications of the weight.
    The arrays broadcast to the shapes of the weights.
    """
    powers = _powers(network, images)
    found: dict[Weight, Array] = {}
    for node in network.walk():
        operation = node.operation
        if isinstance(operation, Convolution | DepthwiseConvolution | Dense):
            before, after = powers[node.inputs[0]], powers[node.output]
            # A channel that is hardly ever active must not outweigh the others.
            after = np.maximum(after, _LEAST_POWER * after.max() + np.finfo(np.float32).tiny)
            main, *biases = operation.weights
            if isinstance(operation, DepthwiseConvolution):
                noise = before[:, None] / after.reshape(len(before), -1)
            else:
                noise = before[:, None] / after
            found[main] = found.get(main, 0) + noise
            for bias in biases:
                found[bias] = found.get(bias, 0) + 1 / after
    return found


def _powers(network: Network, images: Array) -> dict[Value, NDArray[np.float64]]:
    """The mean square of each channel of each value; in a loop, over all iterations."""
    sums: dict[Value, NDArray[np.float64]] = {}
    counts: Counter[Value] = Counter()

    def observe(value: Value, array: Array) -> None:
        pixels = array.reshape(-1, array.shape[-1])
        sums[value] = sums.get(value, 0) + np.square(pixels, dtype=np.float64).sum(axis=0)
        counts[value] += len(pixels)

    evaluate(network, images, observe)
    return {value: total / counts[value] for value, total in sums.items()}
