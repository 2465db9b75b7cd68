"""Types and shapes of all values in an ONNX file, inferred by the ``onnx`` package.

What the package cannot tell is added here: shapes
that a ``Loop`` keeps from turn to turn, and operators of onnxruntime, for which standard ones of
the same shapes stand in. Dynamic dimensions of the model's inputs are 1.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from edgegolf.formats.onnx.inlining import nested_graphs
from edgegolf.formats.onnx.model import MAXIMUM_RANK

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

MAXIMUM_ROUNDS = 100  # a loop needs two or three
SHAPE_ELEMENTS = 1024  # larger constants are no shapes
POOLING_OPSET = 22
FLOAT, INT64, BOOL = 1, 7, 9

Types = MutableMapping[str, "TypeProto"]


class Standard(NamedTuple):
    """The standard operator that has an operator's shapes and multiply-accumulates.

    Attributes:
        name: What it is called.
        inputs: Which inputs of the other operator it reads.
        type: The element type of its result, where it is not that of its first input.
    """

    name: str
    inputs: slice | tuple[int, ...]
    type: int | None = None

    def positions(self, inputs: int) -> Sequence[int]:
        """Which of a number of inputs are read."""
        if isinstance(self.inputs, slice):
            return range(inputs)[self.inputs]
        return [index for index in self.inputs if index < inputs]


# https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
STANDARD = {
    "BiasGelu": Standard("Add", (0, 1)),
    "DequantizeLinear": Standard("Identity", (0,), FLOAT),
    "DynamicQuantizeMatMul": Standard("MatMul", (0, 1), FLOAT),
    "FastGelu": Standard("Identity", (0,)),
    "FusedConv": Standard("Conv", (0, 1)),
    "FusedGemm": Standard("Gemm", (0, 1)),
    "Gelu": Standard("Identity", (0,)),
    "MatMulIntegerToFloat": Standard("MatMul", (0, 1), FLOAT),
    "QGemm": Standard("Gemm", (0, 3)),
    "QLinearAdd": Standard("Add", (0, 3)),
    "QLinearAveragePool": Standard("AveragePool", (0,)),
    "QLinearConcat": Standard("Concat", slice(2, None, 3)),
    "QLinearGlobalAveragePool": Standard("GlobalAveragePool", (0,)),
    "QLinearLeakyRelu": Standard("Identity", (0,)),
    "QLinearMul": Standard("Mul", (0, 3)),
    "QLinearSigmoid": Standard("Identity", (0,)),
    "QLinearSoftmax": Standard("Identity", (0,)),
    "QuickGelu": Standard("Identity", (0,)),
}


_POOLINGS = {"AveragePool", "LpPool", "MaxPool"}
_OWN_DOMAIN = "edgegolf"
_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow"}


def standard_of(node: Any) -> Standard | None:
    """What stands in for a node of onnxruntime's own operators, ``None`` if nothing does.

    Args:
        node: A ``NodeProto``, or our own `Message` of one.
    """
    if node.domain != "com.microsoft":
        return None
    if any(attribute.name == "channels_last" and attribute.i for attribute in node.attribute):
        return None
    found = STANDARD.get(node.op_type)
    if node.op_type == "QGemm" and not (len(node.input) > 7 and node.input[7]):
        # Without an output scale the result stays floating point.
        return found and found._replace(type=FLOAT)
    return found


def infer_types(model: ModelProto) -> Iterator[dict[str, tuple[tuple[int, ...] | None, int]]]:
    """Shape and element type of the values of every graph of a model without functions.

    Yields:
        For the main graph and the graphs in its nodes, each before those inside it: by name, the
        shape, ``None`` if it is unknown, and the type in ``TensorProto.DataType``.
    """
    graph = _inferred(model).graph
    for each in _nested(graph):
        yield {name: (_shape(kind), _element(kind)) for name, kind in _types(each).items()}


def _inferred(model: ModelProto) -> ModelProto:
    """The model with a type for each value of which one can be told.

    That a value which a loop carries keeps its first shape is assumed, and held against what the
    body returns; what was concluded from a wrong assumption falls with it. Of values that nothing
    tells of, the types that the file declares are taken.
    """
    base = _copy(model)
    declared = _declared(base)
    _prepare(base)
    varying: set[tuple[int, int]] = set()
    assumed, untaken = _copy(base), declared
    for _ in range(MAXIMUM_ROUNDS):
        found = _infer(assumed)
        loops = list(_loops(assumed.graph, found.graph, {}))
        if _assume(loops, varying) or _conclude(loops):
            continue
        if untaken:
            _take(untaken, assumed, found)
            untaken = []
            continue
        doubtful = {
            (number, position)
            for number, loop in enumerate(loops)
            for position, _ in loop.carried()
            if loop.is_assumed(position) and not loop.is_kept(position)
        }
        if not doubtful:
            return found
        varying |= doubtful
        assumed, untaken = _copy(base), declared
    return base


def _copy(model: ModelProto) -> ModelProto:
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _declared(model: ModelProto) -> list[Types]:
    """By graph, the types that the file states; dimensions that inputs leave open are 1."""
    opened = {
        size.dim_param
        for info in model.graph.input
        for size in info.type.tensor_type.shape.dim
        if size.dim_param
    }
    stated = []
    for graph in _nested(model.graph):
        infos = (*graph.value_info, *graph.output)
        for info in infos:
            for size in info.type.tensor_type.shape.dim:
                if size.dim_param in opened:
                    size.dim_value = 1
        stated.append({info.name: info.type for info in infos if _shape(info.type) is not None})
    # Copies, as what they stand in is about to be cleared.
    return [{name: _copied_type(kind) for name, kind in each.items()} for each in stated]


def _copied_type(kind: TypeProto) -> TypeProto:
    import onnx

    copied = onnx.TypeProto()
    copied.CopyFrom(kind)
    return copied


def _infer(model: ModelProto) -> ModelProto:
    import onnx.shape_inference

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # of C++, with types of their own: a model against the specification
        return _copy(model)


def _prepare(model: ModelProto) -> None:
    """Leave what the inference needs: standard operators, shapes of inputs, small constants."""
    # Before version 4 the package reads only those initializers that are inputs, too.
    model.ir_version = max(model.ir_version, 4)
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    opset = versions[0] if versions else 1
    if not versions:
        model.opset_import.add(version=opset)
    for info in model.graph.input:
        for size in info.type.tensor_type.shape.dim:
            if size.dim_value < 0 or not size.HasField("dim_value"):
                size.dim_value = 1
    for graph in _nested(model.graph):
        del graph.value_info[:]
        for info in graph.output:
            info.ClearField("type")
        for node in graph.node:
            for body in nested_graphs(node):
                for info in body.input:
                    info.ClearField("type")
                # Its first inputs are the turn's number and whether to go on.
                for info, element in zip(body.input, (INT64, BOOL), strict=False):
                    if node.op_type == "Loop":
                        info.type.tensor_type.elem_type = element
                        info.type.tensor_type.shape.SetInParent()
        for tensor in graph.initializer:
            _shed(tensor)
        nodes = [each for node in graph.node for each in _stand_in(node, opset)]
        if opset < POOLING_OPSET:
            for node in nodes:
                _round_up_as_runtimes(node, model)
        del graph.node[:]
        graph.node.extend(nodes)


def _shed(tensor: TensorProto) -> None:
    """Remove the content of a tensor that is no shape."""
    if len(tensor.dims) > MAXIMUM_RANK or any(size < 0 for size in tensor.dims):
        return
    if prod(tensor.dims) > SHAPE_ELEMENTS:
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data",
                      "uint64_data", "string_data"):  # fmt: skip
            tensor.ClearField(field)


def _round_up_as_runtimes(node: NodeProto, model: ModelProto) -> None:
    """Infer pooling with ``ceil_mode`` as of the version that knows what runtimes always did.

    A window that would start in the padding behind the data is left out. Only in a function a
    node can be of another version than the model.
    """
    import onnx

    rounds_up = any(each.name == "ceil_mode" and each.i for each in node.attribute)
    if node.op_type not in _POOLINGS or node.domain or not rounds_up:
        return
    if not model.functions:
        model.opset_import.add(domain=_OWN_DOMAIN, version=1)
    name = f"pooling{len(model.functions)}"
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    versions = [onnx.helper.make_opsetid("", POOLING_OPSET)]
    model.functions.append(
        onnx.helper.make_function(
            _OWN_DOMAIN, name, list(node.input), [*filter(None, node.output)], [inner], versions
        )
    )
    node.ClearField("attribute")
    node.op_type, node.domain = name, _OWN_DOMAIN


def _stand_in(node: NodeProto, opset: int) -> list[NodeProto]:
    import onnx

    if (node.op_type, node.domain) == ("Dropout", "") and opset < 10:
        # The package leaves the mask out.
        return [onnx.helper.make_node("Identity", node.input[:1], [name]) for name in node.output]
    if node.op_type in _ARITHMETIC and not node.domain and opset < 7:
        # The second operand was stretched to the first; the package does not know.
        return [onnx.helper.make_node("Identity", node.input[:1], node.output)]
    standard = standard_of(node)
    if standard is None:
        return [node]
    chosen = [node.input[index] for index in standard.positions(len(node.input))]
    outputs = list(node.output[:1])
    made = onnx.NodeProto(op_type=standard.name, input=chosen, output=outputs)
    made.attribute.extend(node.attribute)
    if standard.type is None or not outputs:
        return [made]
    made.output[0] += "/before its cast"
    return [made, onnx.helper.make_node("Cast", [made.output[0]], outputs, to=standard.type)]


@dataclass(frozen=True)
class _Loop:
    """A ``Loop`` and what was inferred."""

    graph: GraphProto  # the graph that it is in
    node: NodeProto  # the operator
    body: GraphProto  # its body
    known: Types  # types that the operator sees
    inner: Types  # types in its body

    def carried(self) -> Iterator[tuple[int, TypeProto]]:
        """Positions and first types of the values that it carries and whose shapes are known."""
        for position, name in enumerate(self.node.input[2 : len(self.body.input)]):
            kind = self.known.get(name)
            if kind is not None and _shape(kind) is not None:
                yield position, kind

    def is_assumed(self, position: int) -> bool:
        return _shape(self.body.input[position + 2].type) is not None

    def is_kept(self, position: int) -> bool:
        """Whether the body returns the shape that it is given."""
        if position + 1 >= len(self.body.output):
            return False
        shape = _shape(self.inner.get(self.body.output[position + 1].name))
        return shape is not None and shape == _shape(self.body.input[position + 2].type)


def _loops(graph: GraphProto, inferred: GraphProto, outer: Types) -> Iterator[_Loop]:
    known = ChainMap(_types(inferred), outer)
    for node, told in zip(graph.node, inferred.node, strict=True):
        for body, told_body in zip(nested_graphs(node), nested_graphs(told), strict=True):
            if node.op_type == "Loop" and not node.domain:
                yield _Loop(graph, node, body, known, _types(told_body))
            yield from _loops(body, told_body, known)


def _assume(loops: list[_Loop], varying: set[tuple[int, int]]) -> bool:
    """Give the bodies of loops the shapes of their first turn; whether there was one to give."""
    new = False
    for number, loop in enumerate(loops):
        for position, kind in loop.carried():
            if (number, position) not in varying and not loop.is_assumed(position):
                loop.body.input[position + 2].type.CopyFrom(kind)
                new = True
    return new


def _conclude(loops: list[_Loop]) -> bool:
    """Give results of loops the shapes that the bodies keep; whether there was a new one."""
    new = False
    for loop in loops:
        kept = {
            name: kind
            for position, kind in loop.carried()
            if position < len(loop.node.output) and loop.is_kept(position)
            if (name := loop.node.output[position]) and _shape(loop.known.get(name)) is None
        }
        _declare(loop.graph, kept)
        new = new or bool(kept)
    return new


def _take(declared: list[Types], assumed: ModelProto, found: ModelProto) -> None:
    """Add declared types of values of which no shape is known."""
    graphs = zip(declared, _nested(assumed.graph), _nested(found.graph), strict=True)
    for stated, graph, inferred in graphs:
        known = _types(inferred)
        _declare(graph, {k: v for k, v in stated.items() if _shape(known.get(k)) is None})


def _declare(graph: GraphProto, types: Types) -> None:
    outputs = {info.name: info for info in graph.output}
    for name, kind in types.items():
        info = outputs[name] if name in outputs else graph.value_info.add(name=name)
        info.type.CopyFrom(kind)


def _nested(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and those inside it, outer ones first."""
    yield graph
    for node in graph.node:
        for inner in nested_graphs(node):
            yield from _nested(inner)


def _types(graph: GraphProto) -> Types:
    import onnx

    found = {
        tensor.name: onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        for tensor in graph.initializer
    }
    infos: tuple[ValueInfoProto, ...] = (*graph.input, *graph.value_info, *graph.output)
    return found | {info.name: info.type for info in infos if info.type.WhichOneof("value")}


def _shape(kind: TypeProto | None) -> tuple[int, ...] | None:
    """The dimensions of a tensor's type if all are known."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    sizes = kind.tensor_type.shape.dim
    if len(sizes) > MAXIMUM_RANK:
        return None
    if not all(size.HasField("dim_value") and size.dim_value >= 0 for size in sizes):
        return None
    return tuple(size.dim_value for size in sizes)


def _element(kind: TypeProto) -> int:
    element: int = kind.tensor_type.elem_type
    return element
