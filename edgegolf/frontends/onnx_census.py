"""The operators of an ONNX file as they are, counted in: what they read, write and take."""

from __future__ import annotations

import struct
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

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
from edgegolf.formats.onnx.operators import PARAMETER_INPUTS
from edgegolf.formats.onnx.protobuf import Message
from edgegolf.formats.onnx.schema import DATA_TYPES
from edgegolf.frontends.onnx_shapes import infer_types, standard_of
from edgegolf.ir import Graph, Node, Tensor
from edgegolf.ir.opaque import Opaque, parameter_inputs
from edgegolf.ir.ops import Inputs
from edgegolf.ir.tensor import BITS, UNKNOWN, Array, Shape

# Their multiplications are not counted here: they would need more than shapes.
_UNKNOWN_WORK = {"Attention", "DeformConv", "Einsum", "LinearAttention"}

MAXIMUM_OUTSIDE = 1 << 48  # bytes of a tensor that another file holds

Scope: TypeAlias = MutableMapping[str, Tensor]
Types: TypeAlias = Mapping[str, tuple[Shape | None, int]]


def read_onnx_census(path: Path) -> Graph:
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
    return _Reader(types, str(path)).graph(root.graph, {}, 0)


class _Reader:
    def __init__(self, types: Mapping[int, Types], name: str) -> None:
        self.types = types
        self.name = name
        self.contents: dict[bytes, Array] = {}
        self.decoded: set[Tensor] = set()

    def graph(self, graph: Message, outer: Scope, depth: int) -> Graph:
        """A graph; it sees the values of those around it."""
        if depth > MAXIMUM_NESTING:
            raise EdgegolfError(f"{self.name} has graphs nested too deeply")
        types = self.types[id(graph)]
        known: dict[str, Tensor] = {}
        for info in graph.input:
            known[info.name] = _typed(*types.get(info.name, (None, 0)))
        for tensor in graph.initializer:
            known[tensor.name] = self.tensor(tensor)
        for sparse in graph.sparse_initializer:
            if sparse.values is not None:
                values = self.tensor(sparse.values)
                known[sparse.values.name] = replace(values, shape=_dims(sparse.dims) or ())
        scope = ChainMap(known, outer)
        nodes = []
        for node in graph.node:
            if operator_name(node) == "Constant":
                known[node.output[0] if node.output else ""] = self.constant(node)
            else:
                nodes.append(self.node(node, scope, types, depth))
        inputs = (known[info.name] for info in graph.input)
        outputs = (scope[info.name] for info in graph.output if info.name in scope)
        return Graph(tuple(t for t in inputs if t.data is None), tuple(outputs), tuple(nodes))

    def node(self, node: Message, scope: Scope, types: Types, depth: int) -> Node:
        name, values = operator_name(node), attributes(node)
        inputs = tuple(scope.get(item) if item else None for item in node.input)
        runs = self.runs(name, node, inputs, scope, depth)
        outputs = [_typed(*types.get(item, (None, 0))) if item else None for item in node.output]
        scope.update({item: t for item, t in zip(node.output, outputs, strict=True) if t})
        weights, decodes = parameter_inputs(inputs, PARAMETER_INPUTS.get(name), self.decoded)
        made = tuple(tensor for tensor in outputs if tensor is not None)
        if decodes:
            self.decoded.update(made)
        captured = {t: None for graph, _ in runs for t in _captured(graph)}
        op = Opaque(name, _work(node, values, inputs, outputs), weights, decodes, runs)
        return Node(op, (*inputs, *captured), made)

    def tensor(self, tensor: Message) -> Tensor:
        """A constant, of the bytes that the file has for it."""
        kind = DATA_TYPES.get(tensor.data_type, (UNKNOWN, None))[0]
        shape, data = _dims(tensor.dims), tensor_bytes(tensor)
        if data is not None:
            stored = self.contents.setdefault(data, np.frombuffer(data, np.uint8))
        else:  # as many bytes as it has elsewhere, without taking as much memory
            size = sum(map(len, tensor.string_data))
            size = size or (tensor_elements(tensor) or 0) * BITS.get(kind, 0) // 8
            stored = np.broadcast_to(np.uint8(1), min(size, MAXIMUM_OUTSIDE))
        return Tensor(shape or (), UNKNOWN if shape is None else kind, data=stored)

    def constant(self, node: Message) -> Tensor:
        values = attributes(node)
        tensor = values.get("value")
        if isinstance(tensor, Message) and tensor.kind == "TensorProto":
            return self.tensor(tensor)
        for name, kind in (("value_int", "<i8"), ("value_ints", "<i8"), ("value_float", "<f4")):
            if name in values:
                numbers = np.array(values[name], kind)
                return Tensor(numbers.shape, numbers.dtype.name, data=numbers)
        return Tensor((), UNKNOWN, data=np.zeros(0, np.uint8))

    def runs(
        self, name: str, node: Message, inputs: Inputs, scope: Scope, depth: int
    ) -> tuple[tuple[Graph, int | None], ...]:
        """The graphs that a control-flow operator runs, and how often."""
        bodies = list(subgraphs(node))
        trips = None
        if name == "Loop" and len(bodies) == 1:
            own = {each.name: self.tensor(each) for each in bodies[0].initializer}
            own |= {n.output[0]: self.constant(n) for n in _of(bodies[0]) if _is_constant(n)}
            trips = _loop_trips(bodies[0], inputs, ChainMap(own, scope))
        elif name == "Scan":
            trips = _scan_length(node, inputs)
        return tuple((self.graph(body, scope, depth + 1), trips) for body in bodies)


def _captured(graph: Graph) -> Iterator[Tensor]:
    """What a graph reads of the graphs around it."""
    own = {*graph.inputs, *(tensor for node in graph.nodes for tensor in node.outputs)}
    for node in graph.nodes:
        yield from (t for t in node.inputs if t is not None and t.data is None and t not in own)


def _nested(graph: Message) -> Iterator[Message]:
    """A graph and those inside it, outer ones first."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _nested(inner)


def _of(graph: Message) -> Iterator[Message]:
    return (node for node in graph.node if node.output)


def _is_constant(node: Message) -> bool:
    return operator_name(node) == "Constant"


def _loop_trips(body: Message, inputs: Inputs, constants: Mapping[str, Tensor]) -> int | None:
    """The trip count of a ``Loop`` that is constant, with conditions that are, too.

    Args:
        body: What it runs.
        inputs: Of the loop.
        constants: What the body sees around it, and its own.
    """
    limit, first = (*inputs, None, None)[:2]
    if limit is None or limit.data is None or (first is not None and first.data is None):
        return None
    code = {("int32", 4): "<i", ("int64", 8): "<q"}.get((limit.dtype, limit.data.nbytes))
    if code is None or not body.output:
        return None
    (trips,) = struct.unpack(code, limit.data)
    if first is not None and not np.any(first.data):
        return 0
    before = {node.output[0]: node for node in _of(body) if not _is_constant(node)}
    condition, kept = body.output[0].name, body.input[1].name if len(body.input) > 1 else None
    for _ in body.node:  # a copy of what?
        node = before.get(condition)
        if node is None or node.op_type not in ("Identity", "Cast") or not node.input:
            break
        condition = node.input[0]
    if condition != kept:
        again = None if condition in before else constants.get(condition)
        if again is None or again.data is None:
            return None
        trips = trips if np.any(again.data) else min(trips, 1)
    return min(max(0, int(trips)), 2**31)


def _scan_length(node: Message, inputs: Inputs) -> int | None:
    values = attributes(node)
    scanned = values.get("num_scan_inputs")
    if not isinstance(scanned, int) or not 0 < scanned <= len(inputs):
        return None
    axes = values.get("scan_input_axes") or (0,)
    shape = _known_shape(inputs[-scanned])
    axis = axes[0] if isinstance(axes, tuple) else 0
    return shape[axis] if shape and -len(shape) <= axis < len(shape) else None


def _work(node: Message, values: Mapping[str, Any], inputs: Inputs, outputs: Inputs) -> int | None:
    """Multiply-accumulates of one run of an operator, without graphs it runs; None if unknown.

    Those of convolutions and matrix products count, elementwise ones do not.
    """
    name = operator_name(node)
    standard = standard_of(node)
    if standard is not None:
        name = standard.name
        inputs = [inputs[i] for i in standard.positions(len(inputs))]
    shapes: list[Any] = [_known_shape(tensor) for tensor in inputs]
    output: Any = _known_shape(outputs[0]) if outputs else None
    try:
        match name:
            case "Conv" | "ConvInteger":
                return prod(output) * prod(shapes[1][1:])
            case "QLinearConv":
                return prod(output) * prod(shapes[3][1:])
            case "ConvTranspose":
                return prod(shapes[0]) * prod(shapes[1][1:])
            case "MatMul" | "MatMulInteger" | "QLinearMatMul":
                return prod(output) * shapes[0][-1]
            case "Gemm":
                rows, columns = shapes[0]
                return prod(output) * (rows if values.get("transA") else columns)
            case "LSTM" | "GRU" | "RNN":
                return prod(shapes[0][:2]) * (prod(shapes[1]) + prod(shapes[2]))
    except (TypeError, IndexError, ValueError):  # an operand of unknown shape or missing
        return None
    return None if name in _UNKNOWN_WORK or "." in name else 0


def _known_shape(tensor: Tensor | None) -> Shape | None:
    return None if tensor is None or tensor.dtype == UNKNOWN else tensor.shape


def _typed(shape: Shape | None, kind: int) -> Tensor:
    """A value of a shape and a type of ``TensorProto.DataType``."""
    name = DATA_TYPES.get(kind, ("undefined", None))[0]
    return Tensor(shape or (), UNKNOWN if shape is None else name)


def _dims(dims: Sequence[int]) -> Shape | None:
    if len(dims) > MAXIMUM_RANK:
        return None
    return tuple(1 if size < 0 else size for size in dims)
