"""What one inference of a model takes: operators, parameters, work and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from edgegolf.formats.model_format import model_format
from edgegolf.frontends.onnx_census import read_onnx_census
from edgegolf.frontends.tflite_census import read_tflite_census
from edgegolf.ir import Graph, Tensor
from edgegolf.ir.graph import plus, product
from edgegolf.ir.opaque import Opaque, stored_elements


@dataclass(frozen=True)
class GraphStatistics:
    """What one inference with batch size 1 takes.

    All is unknown of an ``.onnx`` file where the ``onnx`` package is not installed.
    """

    SCHEMA: ClassVar[str] = "edgegolf.graph-statistics/1"

    # Weights and biases, those stored once counted once. Biases of only zeros, which converters add
    # to layers that have none, do not count.
    parameters: int | None = None
    # The same, counted at each use: the parameters of the net without sharing. ``None`` if a loop's
    # trip count is unknown.
    parameter_uses: int | None = None
    # Multiply-accumulates of convolutions and matrix products; ``None`` if the shape of an operand
    # or a loop's trip count is unknown, or an operator is.
    macs: int | None = None
    weights_bytes: int | None = None  # size of all constants that are read, equal ones counted once
    # Largest total size of the tensors alive at one time, in the file's execution order and without
    # state; ``None`` if a shape is unknown.
    activation_peak_bytes: int | None = None
    # Total size of what is kept from one inference to the next: variable tensors and resource
    # variables; ``None`` if a size is unknown.
    state_bytes: int | None = None
    # How often each operator occurs in the file.
    operators: dict[str, int] = field(default_factory=dict)


def read_census(path: Path) -> Graph:
    """The main graph of a ``.tflite`` or ``.onnx`` file as it is, of `Opaque` operators.

    Raises:
        EdgegolfError: The file cannot be read, or is neither.
    """
    return read_tflite_census(path) if model_format(path) == "tflite" else read_onnx_census(path)


def graph_statistics(path: Path) -> GraphStatistics:
    """Parameters, work and memory of a ``.tflite`` or ``.onnx`` file.

    Raises:
        EdgegolfError: The file cannot be read, or is neither.
    """
    if model_format(path) == "onnx" and find_spec("onnx") is None:
        return GraphStatistics()
    graph = read_census(path)
    nodes = [node for inner in graph.distinct for node in inner.nodes]
    read = [tensor for node in nodes for tensor in node.inputs if tensor is not None]
    read += [tensor for inner in graph.distinct for tensor in inner.outputs]
    parameters = {id(t.data): t for node in nodes for t in _parameters(node.parameters)}
    operators = [node.op for node in nodes if isinstance(node.op, Opaque)]
    written = [tensor for node in nodes for tensor in node.outputs]
    kept: dict[object, int | None] = {t: t.size_bytes for t in (*read, *written) if t.is_state}
    for op in operators:
        kept.update(op.state)
    return GraphStatistics(
        parameters=sum(map(stored_elements, parameters.values())),
        parameter_uses=_Uses().of(graph),
        macs=graph.macs,
        weights_bytes=sum({id(t.data): t.data.nbytes for t in read if t.data is not None}.values()),
        activation_peak_bytes=graph.peak_bytes,
        state_bytes=None if None in kept.values() else sum(filter(None, kept.values())),
        operators=dict(sorted(Counter(op.name for op in operators).items())),
    )


def _parameters(constants: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in constants if tensor.values.any()]


class _Uses:
    """Parameters at each of their uses, each called graph computed once."""

    def __init__(self) -> None:
        self.known: dict[Graph, int | None] = {}

    def of(self, graph: Graph) -> int | None:
        if graph not in self.known:
            total: int | None = 0
            decoded: dict[Tensor | None, int] = {}
            for node in graph.nodes:
                own = sum(map(stored_elements, _parameters(node.parameters)))
                own += sum(decoded.get(tensor, 0) for tensor in node.inputs)
                if isinstance(node.op, Opaque) and node.op.decodes:
                    decoded.update(dict.fromkeys(node.outputs, own))
                else:
                    total = plus(total, own)
                for called, times in node.runs:
                    total = plus(total, product(self.of(called), times))
            self.known[graph] = total
        return self.known[graph]
