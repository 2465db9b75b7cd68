"""How much error each layer makes, how much it inherits, and what of it reaches the outputs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from edgegolf.compare.matching import Pair, Step, Values, match, steps, without_loops
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.interpreter import run
from edgegolf.ir.lowering import quantize
from edgegolf.ir.tensor import Array, Tensor
from edgegolf.sqnr import sqnr

MOST_SAMPLES = 32
LEAST_SAMPLES = 4
# What one comparison may hold and compute.
MOST_ELEMENTS = 2**26
MOST_MACS = 2e10
EXACT = 100.0  # dB: less noise than this is the order of additions in float32
LONGEST_NAME = 30

# What converters append to the name of a layer.
_SUFFIXES = frozenset(
    (
        "StatefulPartitionedCall", "PartitionedCall", "Relu", "Relu6", "BiasAdd", "MatMul",
        "Conv2D", "depthwise", "add", "Add", "convolution", "kernel", "bias",
        "depthwise_kernel", "pointwise_kernel",
    )
)  # fmt: skip


@dataclass(frozen=True)
class LayerError:
    """A layer of the second model against the first one's."""

    name: str  # what the layer is called, or its operator and number
    operator: str  # in the second model
    total: float | None  # signal-to-quantization-noise ratio of its result, dB; None if it is exact
    # The same if it is given the first model's values: only its own error is left.
    own: float | None
    output: float | None  # the same of the model's output if only this layer makes its own error
    share: float  # of the noise that all layers make in the output, 0…1


@dataclass(frozen=True)
class Layers:
    """All layers of two models that could be paired."""

    errors: tuple[LayerError, ...]  # in execution order
    samples: int  # how many inputs they were compared on
    unmatched: int  # how many layers with weights of the first model have no counterpart


def compare_layers(
    first: Graph, second: Graph, inputs: Sequence[Array], others: Sequence[Array]
) -> Layers:
    """Pair the layers of two graphs and tell their errors apart.

    Args:
        first: What is right.
        second: What is judged.
        inputs: For each input of the first graph real numbers [samples, …].
        others: The same samples as the second graph takes them.

    Raises:
        EdgegolfError: The interpreter lacks an operator of one of them.
    """
    first, second = without_loops(first), without_loops(second)
    count = _samples(first, second, len(inputs[0]))
    inputs, others = ([array[:count] for array in arrays] for arrays in (inputs, others))
    values, found = _values(first, inputs), _values(second, others)
    of_first, of_second = steps(first), steps(second)
    pairs = match(of_first, of_second, values, found)
    compared = _Comparison(first, second, values, found, pairs)
    errors = [compared.error(number) for number in range(len(pairs))]
    errors = [*compared.input_errors(), *errors]
    noises = [0.0 if each.output is None else 10 ** (-each.output / 10) for each in errors]
    whole = sum(noises)
    shared = (
        LayerError(e.name, e.operator, e.total, e.own, e.output, n / whole if whole else 0.0)
        for e, n in zip(errors, noises, strict=True)
    )
    paired = {pair.step for pair in pairs}
    unmatched = sum(bool(step.weights) and step not in paired for step in of_first)
    return Layers(tuple(shared), count, unmatched)


class _Comparison:
    """Two graphs, their values, and their pairs."""

    def __init__(
        self, first: Graph, second: Graph, values: Values, found: Values, pairs: Sequence[Pair]
    ) -> None:
        self.first, self.second = first, second
        self.values, self.found = values, found
        self.pairs = pairs
        self.names = _names(pairs)
        self.worst = self._worst_output()
        inputs = list(zip(first.inputs, second.inputs, strict=True))
        self.stored_inputs = {other: found[other] for _, other in inputs}
        self.given_inputs = {t: found[other].reshape(values[t].shape) for t, other in inputs}
        self.stored = [self._stored(pair) for pair in pairs]

    def _stored(self, pair: Pair) -> Array | None:
        """The first graph's values as the second one stores them, None if it wants more of them."""
        reference = pair.view.reference(self.values[pair.first])
        found = self.found[pair.second]
        if reference.size != found.size:
            return None
        stored = _stored(pair.second, reference.reshape(found.shape))
        return _reals(pair.second, stored).reshape(reference.shape)

    def error(self, number: int) -> LayerError:
        """Of one pair."""
        pair = self.pairs[number]
        right = self.values[pair.first]
        inherited = pair.view.replaced(right, _whole(self.found[pair.second], right))
        expected, alone = self._alone(number)
        changed = right + pair.view.replaced(expected, _whole(alone, right)) - expected
        seen = pair.view.first
        total, own = (sqnr(right[seen], each[seen]) for each in (inherited, changed))
        output = self._at_output(pair.first, changed)
        return LayerError(
            self.names[number],
            pair.other.kind,
            decibels(total),
            decibels(own),
            decibels(output),
            0.0,
        )

    def input_errors(self) -> list[LayerError]:
        """Of the rounding of inputs, where it is one."""
        errors = []
        for tensor, other in zip(self.first.inputs, self.second.inputs, strict=True):
            right, given = self.values[tensor], self.found[other].reshape(self.values[tensor].shape)
            own = sqnr(right, given)
            if own <= EXACT:
                output = self._at_output(tensor, given)
                name = _layer_name(tensor.name) or "input"
                errors.append(
                    LayerError(name, "input", decibels(own), decibels(own), decibels(output), 0.0)
                )
        return errors

    def _alone(self, number: int) -> tuple[Array, Array]:
        """What both graphs give for a pair if they start from the same values.

        These are the first graph's, as the second one stores them: what that loses is an error of
        the layer before.
        """
        pair = self.pairs[number]
        starts, others = dict(self.given_inputs), dict(self.stored_inputs)
        for earlier, stored in zip(self.pairs[:number], self.stored, strict=False):
            if stored is not None:
                right = self.values[earlier.first]
                starts[earlier.first] = earlier.view.replaced(right, stored)
                others[earlier.second] = stored
        for mine, tensors in ((starts, pair.step.results), (others, pair.other.results)):
            for tensor in tensors:
                mine.pop(tensor, None)
        expected = _continued(self.first, starts, pair.first)
        return expected, _continued(self.second, others, pair.second)

    def _at_output(self, tensor: Tensor, changed: Array) -> float:
        """The ratio at the worst output, with one tensor of the first graph changed."""
        target = self.first.outputs[self.worst]
        after = _downstream(self.first, tensor)
        if target not in after:
            return inf
        given = {t: v for t, v in self.values.items() if t not in after}
        given[tensor] = changed
        return sqnr(self.values[target], _continued(self.first, given, target))

    def _worst_output(self) -> int:
        """Which output has the most noise."""
        ratios = [
            sqnr(self.values[a], self.found[b].reshape(self.values[a].shape))
            if a in self.values and b in self.found and self.values[a].size == self.found[b].size
            else inf
            for a, b in zip(self.first.outputs, self.second.outputs, strict=False)
        ]
        return int(np.argmin(ratios))


def _samples(first: Graph, second: Graph, most: int) -> int:
    """How many samples can be held and computed."""
    elements = sum(t.elements for g in (first, second) for node in g.nodes for t in node.outputs)
    work = sum((graph.macs or 0) * max(1, len(graph.nodes)) / 2 for graph in (first, second))
    fitting = min(MOST_ELEMENTS / max(1, elements), MOST_MACS / max(1.0, work))
    return min(most, MOST_SAMPLES, max(LEAST_SAMPLES, int(fitting)))


def _values(graph: Graph, inputs: Sequence[Array]) -> dict[Tensor, Array]:
    """Every tensor that does not depend on constants alone, in real numbers [samples, …]."""
    parts: dict[Tensor, list[Array]] = {}
    runs = 1

    def observe(tensor: Tensor, array: Array) -> None:
        nonlocal runs
        if tensor is graph.inputs[0]:
            runs = len(array)
        whole = np.broadcast_to(array, (runs, *array.shape[1:]))
        parts.setdefault(tensor, []).append(_reals(tensor, whole))

    stored = [_stored(t, a) for t, a in zip(graph.inputs, inputs, strict=True)]
    run(graph, stored, observe)
    known = {t for node in graph.nodes for t in node.outputs} | set(graph.inputs)
    return {
        tensor: np.concatenate(arrays).reshape(-1, *tensor.shape[1:])
        for tensor, arrays in parts.items()
        if tensor in known
    }


def _reals(tensor: Tensor, array: Array) -> Array:
    if not tensor.is_quantized or tensor.quant is None or tensor.quant.is_per_channel:
        return array.astype(np.float32)
    return (array.astype(np.float32) - tensor.zero_point) * tensor.scale


def _stored(tensor: Tensor, reals: Array) -> Array:
    if not tensor.is_quantized:
        return reals.astype(tensor.dtype)
    return quantize(reals, tensor)


def _continued(graph: Graph, given: Values, wanted: Tensor) -> Array:
    """A result of a graph that starts from the values of some of its tensors."""
    producers = {tensor: node for node in graph.nodes for tensor in node.outputs}
    needed: set[Node] = set()
    starts: dict[Tensor, Array] = {}
    pending = [wanted]
    while pending:
        tensor = pending.pop()
        if tensor in given:
            starts[tensor] = _stored(tensor, given[tensor].reshape(-1, *tensor.shape[1:]))
        elif (node := producers.get(tensor)) is not None and node not in needed:
            needed.add(node)
            pending += node.computed
    nodes = tuple(node for node in graph.nodes if node in needed)
    (result,) = run(Graph(tuple(starts), (wanted,), nodes), list(starts.values()))
    return _reals(wanted, result)


def _whole(found: Array, right: Array) -> Array:
    """A result of the second graph in the shape of the first one's, where it has one for each."""
    return found.reshape(right.shape) if found.size == right.size else found


def _downstream(graph: Graph, tensor: Tensor) -> set[Tensor]:
    """The tensor and all that are computed from it."""
    after = {tensor}
    for node in graph.nodes:
        if after.intersection(node.computed):
            after.update(node.outputs)
    return after


def decibels(ratio: float) -> float | None:
    """A ratio as JSON has it: None for what is exact; what is not finite has lost everything."""
    return None if ratio > EXACT else ratio if isfinite(ratio) else -EXACT


def _names(pairs: Iterable[Pair]) -> list[str]:
    """A name for each pair, numbered where several have the same."""
    names = [_step_name(pair.step) or _step_name(pair.other) for pair in pairs]
    kinds = [pair.step.kind for pair in pairs]
    told = [name or kind for name, kind in zip(names, kinds, strict=True)]
    often, seen = Counter(told), Counter[str]()
    found = []
    for name in told:
        seen[name] += 1
        found.append(f"{name} {seen[name]}" if often[name] > 1 else name)
    return found


def _step_name(step: Step) -> str:
    weights = [t.name for t in step.node.parameters if "/" in t.name]
    candidates = [t.name for t in step.results if t.name] + weights
    return next((name for name in map(_layer_name, candidates) if name), "")


def _layer_name(text: str) -> str:
    """The name of a layer in what a converter calls a tensor, such as `net/conv_1/Relu;…`."""
    parts = [part for part in re.split(r"[/:]", text.split(";")[0]) if not part.isdigit()]
    while len(parts) > 1 and (
        parts[-1] in _SUFFIXES or re.sub(r"_?\d+$", "", parts[-1]) in _SUFFIXES
    ):
        parts.pop()
    name = parts[-1].removeprefix("serving_default_") if parts else ""
    if re.sub(r"_?\d+$", "", name) in _SUFFIXES:
        return ""
    return name[:LONGEST_NAME]
