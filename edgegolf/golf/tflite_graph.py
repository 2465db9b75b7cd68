"""The graph of a TFLite file: what its operators read, write and compute."""

from __future__ import annotations

import hashlib
import struct
from functools import cached_property
from math import ceil, inf, nextafter, prod
from pathlib import Path

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import MAXIMUM_DEPTH, Table
from edgegolf.formats.tflite.model import (
    TYPE_BITS,
    TfliteModel,
    called_subgraphs,
    read_tflite,
    type_name,
)
from edgegolf.golf.computation import (
    Constant,
    Graph,
    Operation,
    Value,
    multiply,
    parameter_inputs,
    product,
)

# The inputs of each operator that hold weights or biases.
PARAMETER_INPUTS = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
    "CONV_3D": (1, 2),
    "CONV_3D_TRANSPOSE": (1, 3),
    "BATCH_MATMUL": (0, 1),
    "RNN": tuple(range(1, 4)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": tuple(range(1, 4)),
    "SVDF": tuple(range(1, 4)),
    "LSTM": tuple(range(1, 18)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 18)),
    "RESHAPE": (),
}

WEIGHT_TYPES = {
    "FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64", "INT16", "INT8", "UINT8", "INT4", "UINT4", "INT2",
    "FLOAT8_E4M3FN", "FLOAT8_E5M2",
}  # fmt: skip

# Their multiplications are not counted here: they would need more than shapes.
_UNKNOWN_WORK = {
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "STABLEHLO_CONVOLUTION",
    "STABLEHLO_DOT_GENERAL",
    "STABLEHLO_CUSTOM_CALL",
    "DELEGATE",
}

_SCALAR_FORMATS = {"INT32": "<i", "INT64": "<q", "FLOAT32": "<f"}


def read_tflite_graph(path: Path) -> Graph:
    """The first subgraph of a ``.tflite`` file, with those it calls.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, or its subgraphs call themselves.
    """
    model = read_tflite(path)
    if not model.root.subgraphs:
        raise EdgegolfError(f"{path} has no graph")
    return _Builder(model, str(path)).graph(0, 0)


class _Builder:
    def __init__(self, model: TfliteModel, name: str) -> None:
        self.model = model
        self.name = name
        self.graphs: dict[int, Graph | None] = {}
        self.producers: dict[int, dict[int, Table | None]] = {}
        self.buffers: dict[int, tuple[bytes, int, bool]] = {}

    def graph(self, index: int, depth: int) -> Graph:
        if index not in self.graphs:
            self.graphs[index] = None
            self.graphs[index] = self.build(self.model.root.subgraphs[index], depth)
        graph = self.graphs[index]
        if graph is None or depth > MAXIMUM_DEPTH:
            raise EdgegolfError(f"{self.name} has subgraphs that call themselves")
        return graph

    def build(self, subgraph: Table, depth: int) -> Graph:
        values = {str(i): self.value(tensor) for i, tensor in enumerate(subgraph.tensors)}
        decoded: set[str] = set()
        operations = []
        for operator in subgraph.operators:
            name = self.model.operator_name(operator)
            inputs = tuple(str(i) if i >= 0 else "" for i in operator.inputs)
            outputs = tuple(str(i) for i in operator.outputs if i >= 0)
            present = tuple(filter(None, inputs))
            constants = {i: constant for i in present if (constant := values[i].constant)}
            decodes = bool(present) and all(i in constants or i in decoded for i in present)
            if decodes:
                decoded.update(outputs)
            weight_like = {
                i for i in constants if type_name(subgraph.tensors[int(i)]) in WEIGHT_TYPES
            }
            operations.append(
                Operation(
                    name,
                    present,
                    outputs,
                    parameter_inputs(
                        constants, inputs, PARAMETER_INPUTS.get(name), weight_like, decodes
                    ),
                    _macs(name, operator, [values.get(i) for i in inputs], values),
                    self.calls(name, operator, subgraph, depth),
                    decodes,
                    self.state(name, operator, subgraph),
                )
            )
        return Graph(
            tuple(operations),
            tuple(str(i) for i in subgraph.inputs if i >= 0),
            tuple(str(i) for i in subgraph.outputs if i >= 0),
            values,
        )

    def value(self, tensor: Table) -> Value:
        bits = TYPE_BITS.get(type_name(tensor))
        shape = tuple(max(size, 0) if size >= 0 else 1 for size in tensor.shape)
        known = "shape" in tensor.fields
        size = None if bits is None or not known else ceil(prod(shape) * bits / 8)
        constant = self.constant(tensor, shape, bits)
        return Value(shape if known else None, size, constant, bool(tensor.is_variable))

    def state(
        self, name: str, operator: Table, subgraph: Table
    ) -> tuple[tuple[object, int | None], ...]:
        """The variable that an operator opens, with its size, or the tables that it has."""
        if name in ("HASHTABLE", "HASHTABLE_IMPORT"):
            return ((name, None),)
        if name != "VAR_HANDLE":
            return ()
        variable = _variable(operator)
        return ((variable, self.variables.get(variable)),)

    @cached_property
    def variables(self) -> dict[object, int | None]:
        """The size of each resource variable, by what names it: that of its largest content."""
        sizes: dict[object, int | None] = {}
        for subgraph in self.model.root.subgraphs:
            handles = {
                index: _variable(operator)
                for operator in subgraph.operators
                if self.model.operator_name(operator) == "VAR_HANDLE"
                for index in operator.outputs
            }
            for operator in subgraph.operators:
                name = self.model.operator_name(operator)
                moved = {
                    "READ_VARIABLE": operator.outputs[:1],
                    "ASSIGN_VARIABLE": operator.inputs[1:2],
                }.get(name, ())
                if operator.inputs and operator.inputs[0] in handles:
                    variable = handles[operator.inputs[0]]
                    found = [
                        self.value(subgraph.tensors[index]).bytes if index >= 0 else None
                        for index in moved
                    ]
                    known = [*found, *([sizes[variable]] if variable in sizes else [])]
                    if known:
                        sizes[variable] = (
                            None if None in known else max(filter(None, known), default=0)
                        )
        return sizes

    def constant(self, tensor: Table, shape: tuple[int, ...], bits: int | None) -> Constant | None:
        if not self.model.root.buffers or tensor.is_variable:
            return None
        if tensor.buffer not in self.buffers:
            data = self.model.buffer_data(tensor.buffer)
            digest = hashlib.sha256(data).digest()
            self.buffers[tensor.buffer] = (digest, len(data), not data.strip(b"\0"))
        digest, size, is_zero = self.buffers[tensor.buffer]
        if not size:
            return None
        # A sparse tensor stores fewer elements than its shape has.
        stored = size * 8 // bits if bits else 0
        return Constant(digest, min(stored, prod(shape)) if shape else stored, size, is_zero)

    def calls(
        self, name: str, operator: Table, subgraph: Table, depth: int
    ) -> tuple[tuple[Graph, int | None], ...]:
        if name == "WHILE" and _options(operator, "WhileOptions") is None:
            raise EdgegolfError(
                f"{self.name} is not a valid TFLite file: a WHILE does not name its two graphs"
            )
        called = {
            field: self.graph(index, depth + 1)
            for field, index in called_subgraphs(operator).items()
            if index >= 0
        }
        if name == "WHILE" and len(called) == 2:
            trips = self.trip_count(operator, subgraph)
            return (
                (called["cond_subgraph_index"], None if trips is None else trips + 1),
                (called["body_subgraph_index"], trips),
            )
        once = name in ("CALL", "CALL_ONCE", "STABLEHLO_COMPOSITE")
        return tuple((graph, 1 if once else None) for graph in called.values())

    def trip_count(self, operator: Table, subgraph: Table) -> int | None:
        """How often a ``WHILE`` runs its body, if it counts up to a constant or doubles to it."""
        model, options = self.model, operator.builtin_options
        condition = model.root.subgraphs[options.cond_subgraph_index]
        body = model.root.subgraphs[options.body_subgraph_index]
        comparison = self.producer(condition, condition.outputs[0]) if condition.outputs else None
        if comparison is None or model.operator_name(comparison) not in ("LESS", "LESS_EQUAL"):
            return None
        if len(comparison.inputs) != 2 or comparison.inputs[0] not in condition.inputs:
            return None
        counter = condition.inputs.index(comparison.inputs[0])
        if counter >= min(len(body.inputs), len(body.outputs), len(operator.inputs)):
            return None
        increment = self.producer(body, body.outputs[counter])
        if increment is None or model.operator_name(increment) != "ADD":
            return None
        if body.inputs[counter] not in increment.inputs or len(increment.inputs) != 2:
            return None
        start = _scalar(model, subgraph, operator.inputs[counter])
        limit = _scalar(model, condition, comparison.inputs[1])
        if start is None or limit is None:
            return None
        if model.operator_name(comparison) == "LESS_EQUAL":
            limit = nextafter(limit, inf)
        steps = [index for index in increment.inputs if index != body.inputs[counter]]
        if not steps:
            return _doublings(start, limit)
        step = _scalar(model, body, steps[0])
        return max(0, ceil((limit - start) / step)) if step is not None and step > 0 else None

    def producer(self, subgraph: Table, tensor: int) -> Table | None:
        """The only operator that writes a tensor."""
        if id(subgraph) not in self.producers:
            found: dict[int, Table | None] = {}
            for operator in subgraph.operators:
                for index in operator.outputs:
                    found[index] = None if index in found else operator
            self.producers[id(subgraph)] = found
        return self.producers[id(subgraph)].get(tensor)


def _options(operator: Table, kind: str) -> Table | None:
    """An operator's options if they are of the table of its own kind."""
    options: Table | None = operator.builtin_options
    return options if options is not None and options.table_name == kind else None


def _largest(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return max(known) if len(known) == len(sizes) else None


def _variable(operator: Table) -> object:
    options = _options(operator, "VarHandleOptions")
    return None if options is None else (options.container, options.shared_name)


def _macs(
    name: str, operator: Table, inputs: list[Value | None], values: dict[str, Value]
) -> int | None:
    """Multiply-accumulates of one run of an operator."""

    def shape(position: int) -> tuple[int, ...] | None:
        value = inputs[position] if position < len(inputs) else None
        return value.shape if value else None

    def kernel(position: int, part: slice) -> int | None:
        found = shape(position)
        return None if found is None else prod(found[part])

    if name.startswith("CUSTOM:") or name.startswith("BUILTIN_") or name in _UNKNOWN_WORK:
        return None
    first_output = operator.outputs[0] if operator.outputs else -1
    output = product(values[str(first_output)].shape) if first_output >= 0 else None
    if name == "CONV_2D":
        return multiply(output, kernel(1, slice(1, None)))
    if name == "DEPTHWISE_CONV_2D":
        return multiply(output, kernel(1, slice(1, 3)))
    if name == "FULLY_CONNECTED":
        return multiply(output, kernel(1, slice(-1, None)))
    if name == "CONV_3D":
        return multiply(output, kernel(1, slice(0, 4)))
    if name == "TRANSPOSE_CONV":
        return multiply(product(shape(2)), kernel(1, slice(0, 3)))
    if name == "CONV_3D_TRANSPOSE":
        return multiply(product(shape(2)), kernel(1, slice(0, 4)))
    if name == "BATCH_MATMUL":
        options = _options(operator, "BatchMatMulOptions")
        transposed = options is not None and options.adj_x
        return multiply(output, kernel(0, slice(-2, -1) if transposed else slice(-1, None)))
    if name in ("RNN", "LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM"):
        matrices = [value for value in inputs[1:] if value and value.constant]
        weights = sum(
            prod(value.shape) for value in matrices if value.shape and len(value.shape) == 2
        )
        return multiply(kernel(0, slice(0, -1)), weights)
    if name == "SVDF":
        features, times = product(shape(1)), product(shape(2))
        return None if features is None or times is None else features + times
    return 0


def _doublings(start: float, limit: float) -> int | None:
    """How often a positive number is below a limit when it is doubled each time."""
    if start <= 0:
        return None
    trips = 0
    while start < limit:
        start *= 2
        trips += 1
    return trips


def _scalar(model: TfliteModel, subgraph: Table, index: int) -> float | None:
    if index < 0:
        return None
    tensor = subgraph.tensors[index]
    data = model.buffer_data(tensor.buffer) if model.root.buffers else b""
    code = _SCALAR_FORMATS.get(type_name(tensor))
    if code is None or len(data) != struct.calcsize(code):
        return None
    value = float(struct.unpack(code, data)[0])
    return value if abs(value) < 2**31 else None
