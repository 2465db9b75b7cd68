"""Rescales the channels of a network so that one scale fits all of its weights.

A ReLU, a sum, a pooling and a copy commute with a positive factor for each channel, so each
channel may have a factor that one layer multiplies by and the next ones divide by: the network
computes the same. This is the cross-layer equalization of Nagel et al. 2019
(https://arxiv.org/abs/1906.04721), here for any network, with layers that are applied several
times, and with factors that minimise the noise that rounding causes on real images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegolf.ir import ops
from edgegolf.ir.graph import Graph, Node, replace_constants
from edgegolf.ir.interpreter import run
from edgegolf.ir.tensor import Tensor
from edgegolf.quantize.quantization import is_layer

Indices: TypeAlias = NDArray[np.int64]
Array: TypeAlias = NDArray[np.float32]

_FIXED = 0  # the group of channels whose factor is 1: those of the input and of the output
_STEPS = 1500
_STEP_SIZE = 0.05
_EXPONENT = 24.0  # of the norm that stands for the largest weight, to have a gradient
_LEAST_POWER = 1e-3  # of a channel, as a share of that of the strongest channel


def equalize(graph: Graph, inputs: Sequence[Array]) -> Graph:
    """A graph that computes the same with weights that suffer less from one common scale.

    Args:
        graph: With or without loops, its activations not fused.
        inputs: For each input typical samples [n, …].
    """
    groups = _Groups()
    for tensor in (*graph.inputs, *graph.outputs):
        groups.fix(tensor)
    groups.join_nodes(graph)
    factors = np.exp(_best_logarithms(groups.terms(importances(graph, inputs))))
    scaled = {
        weight: Tensor.constant(
            (weight.values * groups.scaling(weight, factors)).astype(np.float32), weight.name
        )
        for weight in groups.weights
    }
    return replace_constants(graph, scaled)


@dataclass
class _Groups:
    """Which channels must have the same factor, as a disjoint-set forest of numbers."""

    parents: list[int] = field(default_factory=lambda: [_FIXED])
    tensors: dict[Tensor, Indices] = field(default_factory=dict)
    # Of each weight: what its elements are divided by, and multiplied by, as arrays of numbers
    # that broadcast to its shape.
    weights: dict[Tensor, tuple[Indices, Indices]] = field(default_factory=dict)

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

    def channels(self, tensor: Tensor) -> Indices:
        """One number for each element along the last axis."""
        if tensor not in self.tensors:
            self.tensors[tensor] = self.fresh(tensor.shape[-1] if tensor.shape else 1)
        return self.tensors[tensor]

    def fix(self, tensor: Tensor) -> None:
        self.join(self.channels(tensor), np.array(_FIXED))

    def join_tensors(self, first: Tensor, second: Tensor) -> None:
        self.join(self.channels(first), self.channels(second))

    def join_nodes(self, graph: Graph) -> None:
        for node in graph.nodes:
            self.join_node(node, node.op)

    def join_node(self, node: Node, op: Any) -> None:
        if isinstance(op, ops.Loop):
            body = op.body
            for start, *others in zip(
                node.inputs, body.inputs, body.outputs, node.outputs, strict=True
            ):
                assert start is not None
                for other in others:
                    self.join_tensors(start, other)
                if start.data is not None:
                    self.fix(start)
            self.join_nodes(body)
        elif is_layer(node):
            self.join_weights(node)
        elif isinstance(op, ops.Reshape):
            self.join_elements(node, np.reshape(self.elements(node.source), node.output.shape))
        elif isinstance(op, ops.Concatenate) and len(node.computed) == len(node.inputs):
            parts = [self.elements(tensor) for tensor in node.computed]
            self.join_elements(node, np.concatenate(parts, op.axis))
        elif _is_homogeneous(node):
            for tensor in node.computed:
                self.join_tensors(tensor, node.output)
        else:
            for tensor in (*node.computed, *node.outputs):
                self.fix(tensor)

    def join_weights(self, node: Node) -> None:
        before, after = self.input_channels(node), self.channels(node.output)
        if isinstance(node.op, ops.DepthwiseConv2D):
            before = np.repeat(before, len(after) // len(before))
            numbers = before, after
        elif isinstance(node.op, ops.Conv2D | ops.TransposeConv2D):
            numbers = before, after[:, None, None, None]
        else:
            numbers = before, after[:, None]
        found = {node.filter: numbers}
        if node.bias is not None:
            found[node.bias] = np.array(_FIXED), after
        for weight, pair in found.items():
            for known, now in zip(self.weights.setdefault(weight, pair), pair, strict=True):
                self.join(known, now)

    def input_channels(self, node: Node) -> Indices:
        """The numbers of what each column of a layer's weights is multiplied with."""
        if isinstance(node.op, ops.FullyConnected):  # takes values in any shape
            return self.elements(node.source).reshape(-1)[: node.filter.shape[1]]
        if isinstance(node.op, ops.Conv2D) and node.filter.shape[3] != node.source.shape[3]:
            self.fix(node.source)  # groups
            return np.full(node.filter.shape[3], _FIXED)
        return self.channels(node.source)

    def elements(self, tensor: Tensor) -> Indices:
        numbers = self.channels(tensor)
        return np.broadcast_to(numbers if tensor.shape else numbers[0], tensor.shape)

    def join_elements(self, node: Node, elements: Indices) -> None:
        self.join(elements, self.elements(node.output))

    def scaling(self, weight: Tensor, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        divisors, multipliers = (factors[self.roots(n)] for n in self.weights[weight])
        return multipliers / divisors

    def terms(self, importances: dict[Tensor, Array]) -> _Terms:
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
    """Groups of weights with common factors."""

    groups: int  # how many factors there are
    divisors: Indices  # the numbers of the factors that the weights are divided by
    multipliers: Indices  # the numbers of those that they are multiplied by
    sizes: NDArray[np.float64]  # the logarithm of the largest weight
    noises: NDArray[np.float64]  # the sum of the weights' importances

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


def importances(graph: Graph, inputs: Sequence[Array]) -> dict[Tensor, Array]:
    """How much noise an error of 1 in each weight causes, relative to its channel's signal.

    The noise is the mean square over the samples, added up over all applications of the weight.
    The arrays broadcast to the shapes of the weights.
    """
    powers = _powers(graph, inputs)
    found: dict[Tensor, Array] = {}
    for node in graph.walk():
        if not is_layer(node):
            continue
        before, after = powers[node.source], powers[node.output]
        # A channel that is hardly ever active must not outweigh the others.
        after = np.maximum(after, _LEAST_POWER * after.max() + np.finfo(np.float32).tiny)
        if isinstance(node.op, ops.DepthwiseConv2D):
            noise = np.repeat(before, len(after) // len(before)) / after
        else:
            columns = node.filter.shape[-1]
            repeated = np.resize(before, columns) if len(before) != columns else before
            noise = repeated / after.reshape(-1, *(1,) * (len(node.filter.shape) - 1))
        found[node.filter] = found.get(node.filter, 0) + noise
        if node.bias is not None:
            found[node.bias] = found.get(node.bias, 0) + 1 / after
    return found


def _powers(graph: Graph, inputs: Sequence[Array]) -> dict[Tensor, NDArray[np.float64]]:
    """The mean square of each channel of each tensor; in a loop, over all iterations."""
    sums: dict[Tensor, NDArray[np.float64]] = {}
    counts: Counter[Tensor] = Counter()

    def observe(tensor: Tensor, array: Array) -> None:
        pixels = array.reshape(-1, array.shape[-1])
        sums[tensor] = sums.get(tensor, 0) + np.square(pixels, dtype=np.float64).sum(axis=0)
        counts[tensor] += len(pixels)

    run(graph, inputs, observe)
    return {tensor: total / counts[tensor] for tensor, total in sums.items()}


def _is_homogeneous(node: Node) -> bool:
    """Whether a positive factor for each channel passes through a node."""
    op: Any = node.op
    if len(node.computed) != len(node.inputs):
        return False
    if isinstance(op, ops.Slice):
        return op.margins(node.source.shape) is not None
    if isinstance(op, ops.Pad):
        return op.value is None and op.margins[-1] == (0, 0)
    if isinstance(op, ops.Add | ops.Sub):
        same = all(tensor.shape == node.output.shape for tensor in node.computed)
        return same and (op.activation is None or _is_ray(op.activation))
    if isinstance(op, ops.ReLU):
        return _is_ray(op)
    return isinstance(op, ops.LeakyReLU | ops.MaxPool2D | ops.AveragePool2D)


def _is_ray(relu: ops.ReLU) -> bool:
    return (relu.low, relu.high) == (0.0, inf)
