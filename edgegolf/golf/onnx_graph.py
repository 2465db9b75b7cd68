"""The graph of an ONNX file: what its operators read, write and compute.

Functions are inlined, as runtimes do. Shapes are inferred here, because small files do not store
them and the ``onnx`` package is not available on every device.
"""

from __future__ import annotations

import hashlib
import struct
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.golf.computation import Constant, Graph, Operation, Value, parameter_inputs
from edgegolf.golf.onnx_model import (
    MAXIMUM_RANK,
    attributes,
    function_key,
    operator_name,
    read_onnx,
    tensor_bytes,
    tensor_elements,
)
from edgegolf.golf.onnx_schema import DATA_TYPES
from edgegolf.golf.onnx_shapes import Known, infer_outputs, macs_of
from edgegolf.golf.protobuf import Message

# Nodes, and arguments of function calls.
MAXIMUM_WORK = 500_000
MAXIMUM_NESTING = 32

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


def read_onnx_graph(path: Path) -> Graph:
    """The graph of an ``.onnx`` file.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, or its functions unfold to an absurd
            number of nodes.
    """
    root = read_onnx(path).root
    builder = _Builder(root, str(path))
    return builder.graph(root.graph, {}, 0, [])


@dataclass
class _Scope:
    """Values by name while one graph is built; inner graphs see the outer ones' values."""

    known: dict[str, Known]
    outer: MutableMapping[str, Known]
    declared: dict[str, Known]
    operations: list[Operation] = field(default_factory=list)

    def get(self, name: str) -> Known | None:
        return self.known.get(name) or self.outer.get(name)


class _Builder:
    def __init__(self, model: Message, name: str) -> None:
        self.name = name
        self.functions = {function_key(function): function for function in model.functions}
        self.opset = {
            "" if item.domain == "ai.onnx" else item.domain: item.version
            for item in model.opset_import
        }
        self.work_left = MAXIMUM_WORK
        self.calls = 0
        self.constants: dict[int, Constant | None] = {}

    def graph(
        self,
        graph: Message,
        outer: MutableMapping[str, Known],
        depth: int,
        inputs: Sequence[Known | None],
    ) -> Graph:
        """Build a graph; ``inputs`` are what a caller passes for its first inputs."""
        if depth > MAXIMUM_NESTING:
            raise EdgegolfError(f"{self.name} has graphs nested too deeply")
        declared = {
            info.name: known
            for info in (*graph.value_info, *graph.output)
            if (known := _declared(info)) is not None
        }
        scope = _Scope({}, outer, declared)
        for position, info in enumerate(graph.input):
            given = inputs[position] if position < len(inputs) else None
            scope.known[info.name] = given or _declared(info) or Known(None, 0)
        formal = [info.name for info in graph.input]
        for tensor in graph.initializer:
            scope.known[tensor.name] = self.tensor(tensor)
        for sparse in graph.sparse_initializer:
            if sparse.values is not None:
                values = self.tensor(sparse.values)
                scope.known[sparse.values.name] = replace(values, shape=_dims(sparse.dims))
        self.nodes(graph.node, scope, depth)
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

    def nodes(self, nodes: Sequence[Message], scope: _Scope, depth: int) -> None:
        for node in nodes:
            self.spend(1)
            function = self.functions.get(function_key(node))
            if function is not None:
                self.inline(function, node, scope, depth)
            elif operator_name(node) == "Constant":
                scope.known[node.output[0] if node.output else ""] = self.constant(node)
            else:
                self.operation(node, scope, depth)

    def spend(self, work: int) -> None:
        """Bound what calls of functions can unfold to."""
        self.work_left -= work
        if self.work_left < 0:
            raise EdgegolfError(f"{self.name} unfolds to an absurd number of nodes")

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

    def inline(self, function: Message, node: Message, scope: _Scope, depth: int) -> None:
        """Add the nodes of a function under names of their own."""
        if depth > MAXIMUM_NESTING:
            raise EdgegolfError(f"{self.name} has functions nested too deeply")
        self.spend(len(function.input) + len(function.output) + len(function.attribute_proto))
        self.calls += 1
        prefix = f"{self.calls}/"
        names = {name: prefix + name for name in function.input}
        for formal, actual in zip(function.input, node.input, strict=False):
            names[formal] = actual
        for formal, actual in zip(function.output, node.output, strict=False):
            if actual and formal not in function.input:
                names[formal] = actual
        given = {attribute.name: attribute for attribute in node.attribute}
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        body = []
        for inner in function.node:
            for name in inner.output:
                names.setdefault(name, prefix + name)
            body.append(
                inner.replace(
                    input=[names.get(name, name) for name in inner.input],
                    output=[names[name] for name in inner.output],
                    attribute=[
                        {**defaults, **given}.get(attribute.ref_attr_name, attribute).replace(
                            name=attribute.name
                        )
                        if attribute.ref_attr_name
                        else attribute
                        for attribute in inner.attribute
                    ],
                )
            )
        self.nodes(body, scope, depth + 1)

    def operation(self, node: Message, scope: _Scope, depth: int) -> None:
        name = operator_name(node)
        values = attributes(node)
        inputs = [scope.get(item) if item else None for item in node.input]
        calls: list[tuple[Graph, int | None]] = []
        outputs: list[Known | None]
        if name in ("Loop", "Scan", "If"):
            outputs = self.control(name, node, values, inputs, scope, depth, calls)
        else:
            outputs = infer_outputs(name, values, inputs, len(node.output), self.opset.get("", 0))
        for output, known in zip(node.output, outputs, strict=True):
            declared = scope.declared.get(output)
            if known is None or known.shape is None:
                known = declared or known or Known(None, 0)
            elif not known.type and declared:
                known = replace(known, type=declared.type)
            if output:
                scope.known[output] = known
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
                macs_of(name, values, inputs, outputs),
                tuple(calls),
                decodes,
            )
        )

    def control(
        self,
        name: str,
        node: Message,
        values: Mapping[str, Any],
        inputs: list[Known | None],
        scope: _Scope,
        depth: int,
        calls: list[tuple[Graph, int | None]],
    ) -> list[Known | None]:
        """Build the graphs of a control-flow operator; the outputs that can be told."""
        outer = ChainMap(scope.known, scope.outer)
        unknown: list[Known | None] = [None] * len(node.output)
        bodies = [value for value in values.values() if isinstance(value, Message)]
        bodies = [body for body in bodies if body.kind == "GraphProto"]
        if name == "If" or len(bodies) != 1:
            calls += [(self.graph(body, outer, depth + 1, []), None) for body in bodies]
            return unknown
        body = bodies[0]
        if name == "Scan":
            calls.append((self.graph(body, outer, depth + 1, []), _scan_length(values, inputs)))
            return unknown
        given = [Known((), 7), Known((), 9), *[_variable(known) for known in inputs[2:]]]
        graph = self.graph(body, outer, depth + 1, given)
        trips = _loop_trips(body, inputs)
        calls.append((graph, trips))
        results: list[Known | None] = []
        carried = len(inputs) - 2
        for position in range(len(node.output)):
            inner = graph.outputs[position + 1] if position + 1 < len(graph.outputs) else ""
            value = graph.values.get(inner)
            if position < carried:
                results.append(_variable(inputs[position + 2]))
            elif value is None or value.shape is None or trips is None:
                results.append(None)
            else:
                results.append(Known((trips, *value.shape), 0))
        return results


def _variable(known: Known | None) -> Known | None:
    """A value of the same shape and type that is no constant."""
    return None if known is None else Known(known.shape, known.type)


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


def _scan_length(values: Mapping[str, Any], inputs: list[Known | None]) -> int | None:
    scanned = values.get("num_scan_inputs")
    last = inputs[-1] if inputs and scanned else None
    return last.shape[0] if last and last.shape else None


def _dims(dims: Sequence[int]) -> tuple[int, ...] | None:
    if len(dims) > MAXIMUM_RANK:
        return None
    return tuple(1 if size < 0 else size for size in dims)


def _declared(info: Message) -> Known | None:
    """Shape and type that a value's description states, unknown dimensions as 1."""
    tensor = info.type.tensor_type if info.type is not None else None
    if tensor is None:
        return None
    if tensor.shape is None:
        return Known(None, tensor.elem_type)
    return Known(
        _dims([size.dim_value if "dim_value" in size.fields else 1 for size in tensor.shape.dim]),
        tensor.elem_type,
    )


def _value(known: Known) -> Value:
    bits = DATA_TYPES.get(known.type, ("", None))[1]
    size = None
    if known.shape is not None and bits is not None:
        size = ceil(prod(known.shape) * bits / 8)
    return Value(known.shape, size, known.constant)
