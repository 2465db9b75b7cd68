"""Which result of one graph stands for which of another one.

Layers are paired in their order, as sequences are aligned: by operator and shape of weights, by
name, and by how alike their results are, which counts alone where structures differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from edgegolf.ir import ops
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.tensor import Array, Tensor
from edgegolf.passes.rerolling import unroll

#: Values of tensors in real numbers, [samples, …].
Values = Mapping[Tensor, Array]

ALIKE = 0.9  # share of the variance: results that are of one layer though nothing else says so
MOST_ELEMENTS = 2**15  # of a result, to look how alike it is to another
MOST_SHIFTS = 9  # rows and columns that one result may have less than the other, plus one
SMALLEST_FACTOR = 1e-4
# A network was rescaled if a factor and a shift for each channel of some result make the noise so
# many times less, and it was more than such a share of the variance. Else they would be noise.
RESCALED, CLOSE = 10.0, 0.03
SLIGHTLY = 0.1  # better: then the results of the same place in both layers are a pair
MOST_STEPS = 1000
_MOVING = (
    ops.Cast,
    ops.Concatenate,
    ops.Dequantize,
    ops.Pad,
    ops.Quantize,
    ops.Reshape,
    ops.Slice,
    ops.Stack,
    ops.Transpose,
)


@dataclass(frozen=True)
class Step:
    """A layer or another computation that is no mere activation or move of elements."""

    node: Node  # what computes
    results: tuple[Tensor, ...]  # its output, and what activations make of it

    @property
    def kind(self) -> str:
        """The operator's name."""
        return type(self.node.op).__name__

    @property
    def weights(self) -> tuple[int, ...]:
        """Shape of its filters or matrix, empty if it has none."""
        positions = self.node.op.PARAMETERS
        tensor = self.node.inputs[positions[0]] if positions else None
        return () if tensor is None else tensor.shape

    @property
    def names(self) -> frozenset[str]:
        """What its results and weights are called."""
        tensors = (*self.results, *self.node.parameters)
        return frozenset(tensor.name for tensor in tensors if tensor.name)


@dataclass(frozen=True)
class View:
    """How the result of one graph is seen as that of another one."""

    # What of the first result is compared; the rest is pixels that the other one lacks.
    first: tuple[slice, ...]
    second: tuple[slice, ...]  # the same of the second result, in the shape of the first
    # What each channel of the first is multiplied by in the second, as equalization does, also by
    # negative numbers.
    factors: Array
    shifts: Array  # what is then added, as where biases were moved from one layer into the next
    alike: float  # the share of the second's variance that the first explains, 0…1
    is_rescaled: bool  # whether the factors make the second much more alike

    @property
    def unscaled(self) -> View:
        """The same without factors and shifts."""
        ones, zeros = np.ones_like(self.factors), np.zeros_like(self.shifts)
        return replace(self, factors=ones, shifts=zeros)

    def reference(self, values: Array) -> Array:
        """The first result as the second one should be."""
        seen: Array = values[self.first] * self.factors + self.shifts
        return seen

    def replaced(self, values: Array, found: Array) -> Array:
        """The first result with what the second graph found in its place."""
        patched = values.copy()
        patched[self.first] = (found[self.second] - self.shifts) / self.factors
        return patched


@dataclass(frozen=True)
class Pair:
    """A result in the first graph, and what stands for it in the second one."""

    step: Step
    other: Step
    first: Tensor
    second: Tensor
    view: View


def without_loops(graph: Graph) -> Graph:
    """The graph with every counted loop written out."""
    while any(isinstance(node.op, ops.Loop) for node in graph.nodes):
        graph = unroll(graph).graph
    return graph


def steps(graph: Graph) -> list[Step]:
    """The steps of a graph without loops, in execution order."""
    found = []
    for node in graph.nodes:
        if len(node.outputs) != 1 or not node.computed or _is_part(node):
            continue
        results = [node.output]
        while len(readers := graph.readers[results[-1]]) == 1 and _is_activation(readers[0]):
            results.append(readers[0].output)
        found.append(Step(node, tuple(results)))
    return found


def _is_part(node: Node) -> bool:
    return isinstance(node.op, _MOVING) or _is_activation(node)


def _is_activation(node: Node) -> bool:
    """Whether it takes one tensor and gives one of the same shape, without weights of its own.

    A constant that is added or multiplied, as normalizations do, is none.
    """
    return (
        len(node.computed) == len(node.outputs) == 1
        and node.computed[0].shape == node.output.shape
        and not node.parameters
        and not node.graphs
        and not isinstance(node.op, ops.Softmax)
    )


def match(
    first: Sequence[Step], second: Sequence[Step], values: Values, others: Values
) -> list[Pair]:
    """The pairs of steps that together are most alike, both in their order.

    Args:
        first: Steps of the first graph.
        second: Steps of the second graph.
        values: Of the first graph's tensors, for a few samples.
        others: Of the second graph's, for the same samples.
    """
    first, second = first[:MOST_STEPS], second[:MOST_STEPS]
    pairs = {
        (row, column): scored
        for row, column in product(range(len(first)), range(len(second)))
        if (scored := _scored(first[row], second[column], values, others)) is not None
    }
    best = np.zeros((len(first) + 1, len(second) + 1))
    for row, column in product(reversed(range(len(first))), reversed(range(len(second)))):
        score = pairs[row, column][0] if (row, column) in pairs else -1.0
        best[row, column] = max(
            best[row + 1, column], best[row, column + 1], best[row + 1, column + 1] + score
        )
    found, row, column = [], 0, 0
    while row < len(first) and column < len(second):
        score, pair = pairs.get((row, column), (-1.0, None))
        if pair is not None and best[row, column] == best[row + 1, column + 1] + score:
            found.append(pair)
            row, column = row + 1, column + 1
        elif best[row, column] == best[row + 1, column]:
            row += 1
        else:
            column += 1
    if any(pair.view.is_rescaled for pair in found):
        return found
    return [replace(pair, view=pair.view.unscaled) for pair in found]


def _scored(one: Step, other: Step, values: Values, others: Values) -> tuple[float, Pair] | None:
    """How well two steps go together, and what of them does best; None if they do not."""
    is_same = one.kind == other.kind
    is_layer = bool(one.weights) and bool(other.weights)
    if not is_same and not is_layer:
        return None
    structure = float(is_same) + float(is_same and one.weights == other.weights)
    name = float(bool(one.names & other.names))
    best: tuple[float, Pair] | None = None
    for first, second in product(one.results, other.results):
        if first in values and second in others:
            view = view_of(values[first], others[second])
            if view is not None and (structure == 2 or view.alike > ALIKE):
                # Later results are preferred: layers are known by what others see of them.
                score = structure + name + 2 * view.alike
                if best is None or score >= best[0] - SLIGHTLY:
                    best = score, Pair(one, other, first, second, view)
    return best


def view_of(values: Array, others: Array) -> View | None:
    """How the second result is seen as the first one; None if their shapes say that it is not.

    Args:
        values: Real numbers [samples, …].
        others: The same.
    """
    whole = (slice(None),) * values.ndim
    if values.size == others.size:
        return _fitted(values, others.reshape(values.shape), whole, whole)
    if values.ndim != 4 or others.ndim != 4 or values.shape[3] != others.shape[3]:
        return None
    sizes = list(zip(values.shape[1:3], others.shape[1:3], strict=True))
    larger = [one >= other for one, other in sizes]
    if any(abs(one - other) >= MOST_SHIFTS for one, other in sizes):
        return None
    views = []
    edge, all_of = slice(None), [slice(None)] * 2
    for shift in product(*(range(abs(one - other) + 1) for one, other in sizes)):
        cut = [slice(start, start + min(pair)) for start, pair in zip(shift, sizes, strict=True)]
        first, second = (
            (edge, *np.where(chosen, cut, all_of), edge) for chosen in (larger, np.invert(larger))
        )
        views.append(_fitted(values, others, first, second))
    return max(views, key=lambda view: view.alike)


def _fitted(
    values: Array, others: Array, first: tuple[slice, ...], second: tuple[slice, ...]
) -> View:
    """The view through two windows, with what channels were multiplied by and shifted."""
    a, b = _rows(values[first]), _rows(others[second])
    means, other_means = a.mean(axis=0), b.mean(axis=0)
    variances = np.square(a - means).sum(axis=0)
    factors = ((a - means) * b).sum(axis=0) / np.where(variances > 0, variances, 1)
    factors = np.where(np.abs(factors) > SMALLEST_FACTOR, factors, 1)
    shifts = other_means - factors * means
    plain, scaled = (np.square(b - each).sum() for each in (a, a * factors + shifts))
    variance = np.square(b - other_means).sum()
    alike = float(np.clip(1 - scaled / variance, 0, 1)) if variance > 0 else float(scaled == 0)
    is_rescaled = bool(plain > max(RESCALED * scaled, CLOSE * variance))
    scales = factors.astype(np.float32), shifts.astype(np.float32)
    return View(first, second, *scales, alike, is_rescaled)


def _rows(values: Array) -> Array:
    """Channels as columns, float64, of so many samples that it is quickly looked at."""
    few = max(2, MOST_ELEMENTS // max(1, values[:1].size))
    columns = values.shape[-1] if values.ndim > 1 else 1
    return values[:few].reshape(-1, columns).astype(np.float64)
