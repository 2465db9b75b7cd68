"""The operators of a TFLite file as they are, counted in: what they read, write and take.

Unlike `frontends.tflite`, which reads what is computed, this takes every file that runtimes may
take: open dimensions are 1, and of an operator only its name and its facts are known.
"""

from __future__ import annotations

import struct
from functools import cached_property
from math import ceil, inf, nextafter, prod
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import MAXIMUM_DEPTH, Table
from edgegolf.formats.tflite.model import TfliteModel, called_subgraphs, read_tflite, type_name
from edgegolf.formats.tflite.operators import MACS, PARAMETER_INPUTS, RECURRENT, UNKNOWN_WORK
from edgegolf.ir import Graph, Node, Tensor
from edgegolf.ir.opaque import Opaque, parameter_inputs
from edgegolf.ir.ops import Inputs
from edgegolf.ir.tensor import BITS, UNKNOWN, Array

_SCALAR_FORMATS = {"int32": "<i", "int64": "<q", "float32": "<f"}


def read_tflite_census(path: Path) -> Graph:
    """The first subgraph of a ``.tflite`` file, with those it calls.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, or its subgraphs call themselves.
    """
    return tflite_subgraphs(path)[0]


def tflite_subgraphs(path: Path) -> dict[int, Graph]:
    """The same, and the others by their numbers in the file.

    Raises:
        EdgegolfError: As `read_tflite_census`.
    """
    model = read_tflite(path)
    if not model.root.subgraphs:
        raise EdgegolfError(f"{path} has no graph")
    reader = _Reader(model, str(path))
    reader.graph(0, 0)
    return {index: graph for index, graph in reader.graphs.items() if graph is not None}


class _Reader:
    def __init__(self, model: TfliteModel, name: str) -> None:
        self.model = model
        self.name = name
        self.graphs: dict[int, Graph | None] = {}
        self.contents: dict[bytes, Array] = {}

    def graph(self, index: int, depth: int) -> Graph:
        if index not in self.graphs:
            self.graphs[index] = None
            self.graphs[index] = self.build(self.model.root.subgraphs[index], depth)
        graph = self.graphs[index]
        if graph is None or depth > MAXIMUM_DEPTH:
            raise EdgegolfError(f"{self.name} has subgraphs that call themselves")
        return graph

    def build(self, subgraph: Table, depth: int) -> Graph:
        tensors = {-1: None} | {i: self.tensor(each) for i, each in enumerate(subgraph.tensors)}
        decoded: set[Tensor] = set()
        nodes = []
        for operator in subgraph.operators:
            name = self.model.operator_name(operator)
            inputs = tuple(tensors[i] for i in operator.inputs)
            outputs = tuple(t for i in operator.outputs if (t := tensors[i]) is not None)
            weights, decodes = parameter_inputs(inputs, PARAMETER_INPUTS.get(name), decoded)
            if decodes:
                decoded.update(outputs)
            first = tensors[operator.outputs[0]] if operator.outputs else None
            work = _work(name, operator, inputs, first)
            runs = self.runs(name, operator, inputs, depth)
            op = Opaque(name, work, weights, decodes, runs, self.state(name, operator))
            nodes.append(Node(op, inputs, outputs))
        inputs, outputs = (
            tuple(t for i in indices if (t := tensors[i]) is not None)
            for indices in (subgraph.inputs, subgraph.outputs)
        )
        return Graph(inputs, outputs, tuple(nodes))

    def tensor(self, table: Table) -> Tensor:
        shape = tuple(size if size >= 0 else 1 for size in table.shape)
        data = b""
        if self.model.root.buffers and not table.is_variable:
            data = self.model.buffer_data(table.buffer)
        stored = self.contents.setdefault(data, np.frombuffer(data, np.uint8)) if data else None
        known = "shape" in table.fields or stored is not None
        kind = type_name(table).lower() if known else UNKNOWN
        return Tensor(shape, kind, data=stored, is_state=bool(table.is_variable))

    def runs(
        self, name: str, operator: Table, inputs: Inputs, depth: int
    ) -> tuple[tuple[Graph, int | None], ...]:
        if name == "WHILE" and _options(operator, "WhileOptions") is None:
            raise EdgegolfError(
                f"{self.name} is not a valid TFLite file: a WHILE does not name its two graphs"
            )
        called = [
            self.graph(index, depth + 1)
            for index in called_subgraphs(operator).values()
            if index >= 0
        ]
        if name == "WHILE" and len(called) == 2:
            condition, body = called
            trips = _trips(condition, body, inputs)
            return ((condition, None if trips is None else trips + 1), (body, trips))
        once = name in ("CALL", "CALL_ONCE", "STABLEHLO_COMPOSITE")
        return tuple((graph, 1 if once else None) for graph in called)

    def state(self, name: str, operator: Table) -> tuple[tuple[object, int | None], ...]:
        """The variable that an operator opens, with its size, or the tables that it has."""
        if name in ("HASHTABLE", "HASHTABLE_IMPORT"):
            return ((name, None),)
        variable = _variable(operator)
        return ((variable, self.variables.get(variable)),) if name == "VAR_HANDLE" else ()

    @cached_property
    def variables(self) -> dict[object, int | None]:
        """The size of each resource variable, by what names it: that of its largest content."""
        sizes: dict[object, list[int | None]] = {}
        for subgraph in self.model.root.subgraphs:
            handles: dict[int, object] = {}
            named = [(self.model.operator_name(each), each) for each in subgraph.operators]
            for name, operator in named:
                if name == "VAR_HANDLE":
                    handles.update(dict.fromkeys(operator.outputs, _variable(operator)))
            for name, operator in named:
                moved = {
                    "READ_VARIABLE": operator.outputs[:1],
                    "ASSIGN_VARIABLE": operator.inputs[1:2],
                }.get(name, ())
                if operator.inputs and operator.inputs[0] in handles:
                    sizes.setdefault(handles[operator.inputs[0]], []).extend(
                        _size(self.tensor(subgraph.tensors[index])) if index >= 0 else None
                        for index in moved
                    )
        return {
            variable: None if None in found else max(filter(None, found), default=0)
            for variable, found in sizes.items()
            if found
        }


def _size(tensor: Tensor) -> int | None:
    return tensor.size_bytes if tensor.dtype in BITS else None


def _options(operator: Table, kind: str) -> Table | None:
    """An operator's options if they are of the table of its own kind."""
    options: Table | None = operator.builtin_options
    return options if options is not None and options.table_name == kind else None


def _variable(operator: Table) -> object:
    options = _options(operator, "VarHandleOptions")
    return None if options is None else (options.container, options.shared_name)


def _work(name: str, operator: Table, inputs: Inputs, output: Tensor | None) -> int | None:
    """Multiply-accumulates of one run of an operator, None if unknown."""
    if name.startswith(("CUSTOM:", "BUILTIN_")) or name in UNKNOWN_WORK:
        return None
    known = [None if t is None or t.dtype == UNKNOWN else t for t in (*inputs, output)]
    shapes: list[Any] = [None if tensor is None else tensor.shape for tensor in known]
    try:
        if name in RECURRENT:
            matrices = [t.shape for t in known[1:-1] if t and t.data is not None]
            return prod(shapes[0][:-1]) * sum(prod(m) for m in matrices if len(m) == 2)
        options = _options(operator, "BatchMatMulOptions")
        if options is not None and options.adj_x and name == "BATCH_MATMUL":
            shapes[0] = shapes[0][:-2] + shapes[0][-2:][::-1]
        return MACS[name](shapes[:-1], shapes[-1]) if name in MACS else 0
    except (TypeError, IndexError):  # an operand that is not there or of unknown shape
        return None


def _trips(condition: Graph, body: Graph, state: Inputs) -> int | None:
    """How often a ``WHILE`` runs its body, if it counts up to a constant or doubles to it."""
    comparison = condition.producers.get(condition.outputs[0]) if condition.outputs else None
    if comparison is None or _name(comparison) not in ("LESS", "LESS_EQUAL"):
        return None
    if len(comparison.inputs) != 2 or comparison.inputs[0] not in condition.inputs:
        return None
    counter = condition.inputs.index(comparison.inputs[0])
    if counter >= min(len(body.inputs), len(body.outputs), len(state)):
        return None
    increment = body.producers.get(body.outputs[counter])
    if increment is None or _name(increment) != "ADD" or len(increment.inputs) != 2:
        return None
    if body.inputs[counter] not in increment.inputs:
        return None
    start, limit = _scalar(state[counter]), _scalar(comparison.inputs[1])
    if start is None or limit is None:
        return None
    if _name(comparison) == "LESS_EQUAL":
        limit = nextafter(limit, inf)
    steps = [tensor for tensor in increment.inputs if tensor is not body.inputs[counter]]
    if not steps:
        return _doublings(start, limit)
    step = _scalar(steps[0])
    return max(0, ceil((limit - start) / step)) if step is not None and step > 0 else None


def _name(node: Node) -> str:
    return node.op.name if isinstance(node.op, Opaque) else ""


def _doublings(start: float, limit: float) -> int | None:
    """How often a positive number is below a limit when it is doubled each time."""
    if start <= 0:
        return None
    trips = 0
    while start < limit:
        start *= 2
        trips += 1
    return trips


def _scalar(tensor: Tensor | None) -> float | None:
    if tensor is None or tensor.data is None:
        return None
    code = _SCALAR_FORMATS.get(tensor.dtype)
    if code is None or tensor.data.nbytes != struct.calcsize(code):
        return None
    value = float(struct.unpack(code, tensor.data)[0])
    return value if abs(value) < 2**31 else None
