"""The graph of an ONNX file: what its operators read, write and compute."""

from __future__ import annotations

import hashlib
import struct
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.formats.onnx.inlining import MAXIMUM_NESTING, inlined
from edgegolf.formats.onnx.model import (
    MAXIMUM_RANK,
    attributes,
    operator_name,
    parse_onnx,
    subgraphs,
    tensor_bytes,
    tensor_elements,
)
from edgegolf.formats.onnx.protobuf import Message
from edgegolf.formats.onnx.schema import DATA_TYPES
from edgegolf.golf.computation import (
    Constant,
    Graph,
    Operation,
    Value,
    multiply,
    parameter_inputs,
    product,
)
from edgegolf.golf.onnx_shapes import infer_types, standard_of

# The inputs of each operator that hold weights or biases. Scales and zero points do not count.
PARAMETER_INPUTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
    "BatchNormalization": (1, 2, 3, 4),
    "DequantizeLinear": (0,),
    "QuantizeLinear": (0,),
    "Resize": (),
    "Upsample": (),
    "com.microsoft.FusedConv": (1, 2),
    "com.microsoft.QGemm": (0, 3, 6),
    "com.microsoft.QLinearAdd": (0, 3),
    "com.microsoft.QLinearMul": (0, 3),
}

WEIGHT_TYPES = {
    "float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "uint16", "int4",
    "uint4", "int2", "uint2", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
    "float4e2m1",
}  # fmt: skip


# Their multiplications are not counted here: they would need more than shapes.
_UNKNOWN_WORK = {"Attention", "DeformConv", "Einsum", "LinearAttention"}


def read_onnx_graph(path: Path) -> Graph:
    """The graph of an ``.onnx`` file, its functions inlined.

    Needs the ``onnx`` package.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, or its functions unfold to an absurd
            number of nodes.
    """
    data = read_bounded(path)
    parse_onnx(data, str(path))
    try:
        model = inlined(data, str(path))
        root = parse_onnx(model.SerializeToString(), str(path)).root
        types = dict(zip(map(id, _nested(root.graph)), infer_types(model), strict=True))
    except UnicodeDecodeError:  # the package decodes a name when it is read
        raise EdgegolfError(f"{path} is not a valid ONNX file: a name is no UTF-8") from None
    return _Builder(types, str(path)).graph(root.graph, {}, 0)


@dataclass(frozen=True)
class Known:
    """What is known of a value.

    Attributes:
        shape: Its dimensions; ``None`` if unknown.
        type: Its element type in ``TensorProto.DataType``; 0 if unknown.
        constant: Its content, where that is part of the file.
        numbers: Its elements, where they are few, integers and known, as a loop's limit is.
        decoded: Whether it is computed from constants alone.
    """

    shape: tuple[int, ...] | None = None
    type: int = 0
    constant: Constant | None = None
    numbers: tuple[int, ...] | None = None
    decoded: bool = False


@dataclass
class _Scope:
    """Values by name while one graph is built; inner graphs see the outer ones' values."""

    known: dict[str, Known]
    outer: MutableMapping[str, Known]
    types: Mapping[str, tuple[tuple[int, ...] | None, int]]
    operations: list[Operation] = field(default_factory=list)

    def get(self, name: str) -> Known | None:
        return self.known.get(name) or self.outer.get(name)

    def typed(self, name: str) -> Known:
        return Known(*self.types.get(name, (None, 0)))


class _Builder:
    def __init__(
        self, types: Mapping[int, Mapping[str, tuple[tuple[int, ...] | None, int]]], name: str
    ) -> None:
        self.types = types
        self.name = name

    def graph(self, graph: Message, outer: MutableMapping[str, Known], depth: int) -> Graph:
        if depth > MAXIMUM_NESTING:
            raise EdgegolfError(f"{self.name} has graphs nested too deeply")
        scope = _Scope({}, outer, self.types[id(graph)])
        formal = [info.name for info in graph.input]
        for name in formal:
            scope.known[name] = scope.typed(name)
        for tensor in graph.initializer:
            scope.known[tensor.name] = self.tensor(tensor)
        for sparse in graph.sparse_initializer:
            if sparse.values is not None:
                values = self.tensor(sparse.values)
                scope.known[sparse.values.name] = replace(values, shape=_dims(sparse.dims))
        for node in graph.node:
            if operator_name(node) == "Constant":
                scope.known[node.output[0] if node.output else ""] = self.constant(node)
            else:
                self.operation(node, scope, depth)
        return Graph(
            tuple(scope.operations),
            tuple(name for name in formal if scope.known[name].constant is None),
            tuple(info.name for info in graph.output),
            {name: _value(known) for name, known in self.visible(scope).items()},
        )

    @staticmethod
    def visible(scope: _Scope) -> dict[str, Known]:
        used = {name for operation in scope.operations for name in operation.inputs}
        captured = {name: scope.outer[name] for name in used if name in scope.outer}
        return {**captured, **scope.known}

    def tensor(self, tensor: Message) -> Known:
        """What is known of a constant."""
        data = tensor_bytes(tensor)
        bits = DATA_TYPES.get(tensor.data_type, ("", None))[1]
        elements = tensor_elements(tensor)
        numbers: tuple[int, ...] | None = None
        if data is None:
            size = sum(map(len, tensor.string_data)) or (elements or 0) * (bits or 0) // 8
            constant = Constant(id(tensor), elements or 0, size, False)
        else:
            stored = len(data) * 8 // bits if bits else 0
            constant = Constant(
                hashlib.sha256(data).digest(), stored, len(data), not data.strip(b"\0")
            )
            if tensor.data_type in (6, 7) and len(data) <= 8 * MAXIMUM_RANK:
                code, width = ("i", 4) if tensor.data_type == 6 else ("q", 8)
                numbers = struct.unpack_from(f"<{len(data) // width}{code}", data)
        return Known(_dims(tensor.dims), tensor.data_type, constant, numbers)

    def constant(self, node: Message) -> Known:
        values = attributes(node)
        tensor = values.get("value")
        if isinstance(tensor, Message) and tensor.kind == "TensorProto":
            return self.tensor(tensor)
        for name, numeric in (("value_int", 7), ("value_ints", 7), ("value_float", 1)):
            if name in values:
                items = values[name] if isinstance(values[name], tuple) else (values[name],)
                shape = (len(items),) if isinstance(values[name], tuple) else ()
                size = len(items) * (8 if numeric == 7 else 4)
                constant = Constant(id(node), len(items), size, not any(items))
                return Known(shape, numeric, constant, items if numeric == 7 else None)
        return Known(None, 0, Constant(id(node), 0, 0, False))

    def operation(self, node: Message, scope: _Scope, depth: int) -> None:
        name = operator_name(node)
        values = attributes(node)
        inputs = [scope.get(item) if item else None for item in node.input]
        calls = self.calls(name, node, inputs, scope, depth)
        for output in filter(None, node.output):
            scope.known[output] = scope.typed(output)
        known_inputs = {
            item: known for item, known in zip(node.input, inputs, strict=True) if known
        }
        constants = {item: known.constant for item, known in known_inputs.items() if known.constant}
        decodes = bool(known_inputs) and all(
            known.constant or known.decoded for known in known_inputs.values()
        )
        if decodes:
            for item in filter(None, node.output):
                scope.known[item] = replace(scope.known[item], decoded=True)
        weight_like = {
            item
            for item in constants
            if DATA_TYPES.get(known_inputs[item].type, ("", 0))[0] in WEIGHT_TYPES
        }
        captured = {
            item
            for graph, _ in calls
            for operation in graph.operations
            for item in operation.inputs
            if scope.get(item)
        }
        scope.operations.append(
            Operation(
                name,
                tuple(dict.fromkeys([*filter(None, node.input), *sorted(captured)])),
                tuple(filter(None, node.output)),
                parameter_inputs(
                    constants, node.input, PARAMETER_INPUTS.get(name), weight_like, decodes
                ),
                _macs(node, values, inputs, [scope.get(item) for item in node.output]),
                calls,
                decodes,
            )
        )

    def calls(
        self, name: str, node: Message, inputs: list[Known | None], scope: _Scope, depth: int
    ) -> tuple[tuple[Graph, int | None], ...]:
        """The graphs that a control-flow operator runs, and how often."""
        outer = ChainMap(scope.known, scope.outer)
        bodies = list(subgraphs(node))
        trips = None
        if name == "Loop" and len(bodies) == 1:
            trips = _loop_trips(bodies[0], inputs)
        elif name == "Scan":
            trips = _scan_length(node, inputs)
        return tuple((self.graph(body, outer, depth + 1), trips) for body in bodies)


def _nested(graph: Message) -> Iterator[Message]:
    """A graph and those inside it, outer ones first."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _nested(inner)


def _loop_trips(body: Message, inputs: list[Known | None]) -> int | None:
    """The trip count of a ``Loop`` that is constant and not cut short by its condition."""
    limit = inputs[0] if inputs else None
    if limit is None or limit.numbers is None or len(limit.numbers) != 1:
        return None
    if len(inputs) > 1 and inputs[1] is not None and inputs[1].constant is None:
        return None
    condition = body.output[0].name if body.output else ""
    kept = body.input[1].name if len(body.input) > 1 else None
    constants = {tensor.name for tensor in body.initializer}
    for node in body.node:
        if condition in node.output:
            if node.op_type == "Constant" or (node.op_type == "Identity" and node.input == (kept,)):
                break
            return None
    else:
        if condition != kept and condition not in constants:
            return None
    return min(max(0, limit.numbers[0]), 2**31)


def _scan_length(node: Message, inputs: list[Known | None]) -> int | None:
    values = attributes(node)
    scanned = values.get("num_scan_inputs")
    if not isinstance(scanned, int) or not 0 < scanned <= len(inputs):
        return None
    axes = values.get("scan_input_axes") or (0,)
    first = inputs[-scanned]
    shape = first.shape if first else None
    axis = axes[0] if isinstance(axes, tuple) else 0
    return shape[axis] if shape and -len(shape) <= axis < len(shape) else None


def _macs(
    node: Message,
    values: Mapping[str, Any],
    inputs: Sequence[Known | None],
    outputs: Sequence[Known | None],
) -> int | None:
    """Multiply-accumulates of one run of an operator, without graphs it runs; ``None`` if unknown.

    Those of convolutions and matrix products count, elementwise ones do not.
    """
    name = operator_name(node)
    standard = standard_of(node)
    if standard is not None:
        name = standard.name
        inputs = [inputs[i] for i in standard.positions(len(inputs))]

    def shape(position: int) -> tuple[int, ...] | None:
        known = inputs[position] if position < len(inputs) else None
        return known.shape if known else None

    def kernel(position: int) -> int | None:
        found = shape(position)
        return None if found is None else prod(found[1:])

    output = product(outputs[0].shape) if outputs and outputs[0] else None
    if name in ("Conv", "ConvInteger", "QLinearConv"):
        return multiply(output, kernel(3 if name == "QLinearConv" else 1))
    if name == "ConvTranspose":
        return multiply(product(shape(0)), kernel(1))
    if name in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        left = shape(0)
        return multiply(output, left[-1] if left else None)
    if name == "Gemm":
        left = shape(0)
        if left is None or len(left) != 2:
            return None
        return multiply(output, left[0 if values.get("transA") else 1])
    if name in ("LSTM", "GRU", "RNN"):
        data, weights, recurrence = shape(0), product(shape(1)), product(shape(2))
        if data is None or weights is None or recurrence is None:
            return None
        return prod(data[:2]) * (weights + recurrence)
    return None if name in _UNKNOWN_WORK or "." in name else 0


def _dims(dims: Sequence[int]) -> tuple[int, ...] | None:
    if len(dims) > MAXIMUM_RANK:
        return None
    return tuple(1 if size < 0 else size for size in dims)


def _value(known: Known) -> Value:
    bits = DATA_TYPES.get(known.type, ("", None))[1]
    size = None
    if known.shape is not None and bits is not None:
        size = ceil(prod(known.shape) * bits / 8)
    return Value(known.shape, size, known.constant)
