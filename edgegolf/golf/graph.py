"""What one inference of a model takes: operators, parameters, work and memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from edgegolf.formats.model_format import model_format
from edgegolf.golf.computation import Constant, Graph, Operation, multiply
from edgegolf.golf.onnx_graph import read_onnx_graph
from edgegolf.golf.tflite_graph import read_tflite_graph


@dataclass(frozen=True)
class GraphStatistics:
    """What one inference with batch size 1 takes.

    All is unknown of an ``.onnx`` file where the ``onnx`` package is not installed.

    Attributes:
        parameters: Weights and biases, those stored once counted once. Biases of only zeros,
            which converters add to layers that have none, do not count.
        parameter_uses: The same, counted at each use: the parameters of the net without sharing.
            ``None`` if a loop's trip count is unknown.
        macs: Multiply-accumulates of convolutions and matrix products; ``None`` if the shape of
            an operand or a loop's trip count is unknown, or an operator is.
        weights_bytes: Size of all constants that are read, equal ones counted once.
        activation_peak_bytes: Largest total size of the tensors alive at one time, in the file's
            execution order and without state; ``None`` if a shape is unknown.
        state_bytes: Total size of what is kept from one inference to the next: variable tensors
            and resource variables; ``None`` if a size is unknown.
        operators: How often each operator occurs in the file.
    """

    SCHEMA: ClassVar[str] = "edgegolf.graph-statistics/1"

    parameters: int | None = None
    parameter_uses: int | None = None
    macs: int | None = None
    weights_bytes: int | None = None
    activation_peak_bytes: int | None = None
    state_bytes: int | None = None
    operators: dict[str, int] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """The main graph of a ``.tflite`` or ``.onnx`` file.

    Raises:
        EdgegolfError: The file cannot be read, or is neither.
    """
    return read_tflite_graph(path) if model_format(path) == "tflite" else read_onnx_graph(path)


def graph_statistics(path: Path) -> GraphStatistics:
    """Parameters, work and memory of a ``.tflite`` or ``.onnx`` file.

    Raises:
        EdgegolfError: The file cannot be read, or is neither.
    """
    if model_format(path) == "onnx" and find_spec("onnx") is None:
        return GraphStatistics()
    return statistics_of(read_graph(path))


def statistics_of(graph: Graph) -> GraphStatistics:
    """Parameters, work and memory of a graph."""
    constants: dict[object, Constant] = {}
    parameters: dict[object, Constant] = {}
    operators: Counter[str] = Counter()
    kept: dict[object, int | None] = {}
    for nested in _distinct_graphs(graph):
        read = {name for operation in nested.operations for name in operation.inputs}
        for name in read.union(nested.outputs) & nested.values.keys():
            constant = nested.values[name].constant
            if constant:
                constants[constant.identity] = constant
        for name, value in nested.values.items():
            if value.state:
                kept[id(nested), name] = value.bytes
        for operation in nested.operations:
            operators[operation.name] += 1
            kept.update(operation.state)
            for constant in _parameters(nested, operation):
                parameters[constant.identity] = constant
    work = _Work()
    return GraphStatistics(
        parameters=sum(constant.elements for constant in parameters.values()),
        parameter_uses=work.of(graph)[0],
        macs=work.of(graph)[1],
        weights_bytes=sum(constant.bytes for constant in constants.values()),
        activation_peak_bytes=_PeakMemory().of(graph),
        state_bytes=None if None in kept.values() else sum(filter(None, kept.values())),
        operators=dict(sorted(operators.items())),
    )


def _distinct_graphs(graph: Graph) -> list[Graph]:
    seen = {id(graph): graph}
    pending = [graph]
    while pending:
        for operation in pending.pop().operations:
            for called, _ in operation.calls:
                if id(called) not in seen:
                    seen[id(called)] = called
                    pending.append(called)
    return list(seen.values())


def _parameters(graph: Graph, operation: Operation) -> list[Constant]:
    constants = (graph.values[name].constant for name in operation.parameters)
    return [constant for constant in constants if constant and not constant.is_zero]


class _Work:
    """Parameter uses and multiply-accumulates, each called graph computed once."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int | None, int | None]] = {}

    def of(self, graph: Graph) -> tuple[int | None, int | None]:
        if id(graph) not in self.known:
            uses: int | None = 0
            macs: int | None = 0
            decoded: dict[str, int] = {}
            for operation in graph.operations:
                own = sum(constant.elements for constant in _parameters(graph, operation))
                own += sum(decoded.get(name, 0) for name in operation.inputs)
                if operation.decodes:
                    decoded.update(dict.fromkeys(operation.outputs, own))
                else:
                    uses = _add(uses, own)
                macs = _add(macs, operation.macs)
                for called, times in operation.calls:
                    called_uses, called_macs = self.of(called)
                    uses = _add(uses, multiply(called_uses, times))
                    macs = _add(macs, multiply(called_macs, times))
            self.known[id(graph)] = uses, macs
        return self.known[id(graph)]


def _add(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


class _PeakMemory:
    """Largest total size of simultaneously live activations, each called graph computed once."""

    def __init__(self) -> None:
        self.known: dict[int, int | None] = {}

    def of(self, graph: Graph) -> int | None:
        if id(graph) not in self.known:
            self.known[id(graph)] = self._compute(graph)
        return self.known[id(graph)]

    def _compute(self, graph: Graph) -> int | None:
        end = len(graph.operations)
        last_use: dict[str, int] = dict.fromkeys(graph.outputs, end)
        for step, operation in enumerate(graph.operations):
            for name in (*operation.inputs, *operation.outputs):
                last_use[name] = max(step, last_use.get(name, 0))
        dying: dict[int, list[str]] = {}
        for name, step in last_use.items():
            dying.setdefault(step, []).append(name)
        live: dict[str, int] = {}
        total = peak = 0

        def allocate(name: str) -> bool:
            nonlocal total
            value = graph.values.get(name)
            if name in live or (value and (value.constant or value.state)):
                return True
            if value is None or value.bytes is None:
                return False
            live[name] = value.bytes
            total += value.bytes
            return True

        if not all([allocate(name) for name in graph.inputs]):
            return None
        peak = total
        for step, operation in enumerate(graph.operations):
            if not all([allocate(name) for name in operation.outputs]):
                return None
            inside = [self.of(called) for called, _ in operation.calls]
            if None in inside:
                return None
            peak = max(peak, total + max((size for size in inside if size), default=0))
            for name in dying.get(step, ()):
                total -= live.pop(name, 0)
        return peak
