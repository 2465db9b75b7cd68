"""Where every byte of an ONNX file goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgegolf.anatomy import parts as part
from edgegolf.anatomy.parts import Content, Dissection, by_name, sizes_by_part
from edgegolf.formats.onnx.model import (
    function_key,
    operator_name,
    parse_onnx,
    subgraphs,
    tensor_bytes,
    tensor_elements,
    tensor_type,
)
from edgegolf.formats.onnx.operators import BIAS_INPUTS, PARAMETER_INPUTS
from edgegolf.formats.onnx.protobuf import Message, Span, walk
from edgegolf.ir.opaque import WEIGHT_TYPES

# The data operands of operators that take all other inputs as scales and zero points.
_QUANTIZED_OPERANDS = {
    "QuantizeLinear": (0,),
    "DequantizeLinear": (0,),
    "QLinearConv": (0, 3, 8),
    "QLinearMatMul": (0, 3),
    "com.microsoft.QGemm": (0, 3, 6),
    "com.microsoft.QLinearAdd": (0, 3),
    "com.microsoft.QLinearMul": (0, 3),
    "com.microsoft.QLinearAveragePool": (0,),
    "com.microsoft.QLinearGlobalAveragePool": (0,),
    "com.microsoft.QLinearSigmoid": (0,),
    "com.microsoft.QLinearLeakyRelu": (0,),
    "com.microsoft.QLinearSoftmax": (0,),
}

# Operators that pass weights on in another form.
_DECODERS = {"DequantizeLinear", "Cast", "Mul", "Identity", "Reshape", "Transpose"}

_MAXIMUM_NESTING = 32

_DATA_FIELDS = {
    "raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data",
    "string_data",
}  # fmt: skip

_PART_OF_FIELD = by_name(
    {
        part.METADATA: "ModelProto.producer_name ModelProto.producer_version ModelProto.domain "
        "ModelProto.model_version",
        part.NAMES: "NodeProto.input NodeProto.output NodeProto.name GraphProto.name "
        "FunctionProto.input FunctionProto.output TensorProto.name ValueInfoProto.name",
        part.OPTIONS: "NodeProto.attribute",
        part.OPERATORS: "GraphProto.node FunctionProto.node",
        part.TENSORS: "GraphProto.initializer GraphProto.sparse_initializer",
        part.SHAPES: "GraphProto.input GraphProto.output GraphProto.value_info "
        "FunctionProto.value_info TensorProto.dims TensorProto.data_type",
        part.QUANTIZATION: "GraphProto.quantization_annotation",
    }
)

_PART_OF_MESSAGE = by_name(
    {
        part.OPERATORS: "NodeProto",
        part.OPTIONS: "AttributeProto",
        part.TENSORS: "TensorProto SparseTensorProto",
        part.SHAPES: "ValueInfoProto TypeProto TensorType SequenceType MapType OpaqueType "
        "TensorShapeProto Dimension",
        part.QUANTIZATION: "TensorAnnotation",
        part.METADATA: "StringStringEntryProto",
    }
)


def dissect_onnx(data: bytes, name: str) -> Dissection:
    """Take an ``.onnx`` file apart.

    Raises:
        EdgegolfError: The file is damaged.
    """
    parsed = parse_onnx(data, name)
    uses = _Model(parsed.root).uses
    tensors = _named_tensors(parsed.root)
    roles = {id(tensor): uses.role(name, tensor) for name, tensor in tensors}
    ranges = [(span.start, span.end, _part_of(span, roles)) for span in parsed.spans]
    contents = [
        Content((name,), roles[id(tensor)], content, uses.operators[name])
        for name, tensor in tensors
        if (content := tensor_bytes(tensor))
    ]
    return Dissection(sizes_by_part(ranges, data), tuple(contents))


def _part_of(span: Span, roles: Mapping[int, str]) -> str:
    kind = span.owner.kind
    if span.field in ("doc_string", "metadata_props"):
        return part.METADATA
    if kind == "TensorProto" and span.field in _DATA_FIELDS:
        return roles.get(id(span.owner), part.CONSTANTS)
    default = _PART_OF_MESSAGE.get(kind, part.STRUCTURE)
    return _PART_OF_FIELD.get(f"{kind}.{span.field}", default)


def _named_tensors(root: Message) -> list[tuple[str, Message]]:
    """Every tensor in the file with the name of the value that it gives."""
    found = []
    seen: set[int] = set()
    for node in walk(root):
        if node.kind == "GraphProto":
            found += [(tensor.name, tensor) for tensor in node.initializer]
        elif node.kind == "NodeProto" and node.op_type == "Constant" and node.output:
            found += [
                (node.output[0], attribute.t)
                for attribute in node.attribute
                if attribute.t is not None
            ]
        elif node.kind == "TensorProto":
            found.append((node.name, node))
    distinct = []
    for name, tensor in found:
        if id(tensor) not in seen:
            seen.add(id(tensor))
            distinct.append((name, tensor))
    return distinct


@dataclass
class _Uses:
    """What the values of a graph or function are used for."""

    roles: dict[str, str] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, role: str, operators: int) -> None:
        # A value may have several uses; the most telling one names it.
        order = (part.WEIGHTS, part.BIASES, part.QUANTIZATION, part.CONSTANTS)
        known = self.roles.get(name, part.CONSTANTS)
        self.roles[name] = min(known, role, key=order.index)
        self.operators[name] += operators

    def role(self, name: str, tensor: Message) -> str:
        """The role of a constant, also where its use does not tell."""
        if name not in self.roles:
            return part.UNUSED
        role = self.roles[name]
        several = (tensor_elements(tensor) or 0) > 1
        if role == part.WEIGHTS and not (several and tensor_type(tensor)[0] in WEIGHT_TYPES):
            return part.CONSTANTS
        return role


class _Model:
    """What the values of a model and of its functions are used for, each function once."""

    def __init__(self, root: Message) -> None:
        self.functions = {function_key(function): function for function in root.functions}
        self.known: dict[tuple[str, str, str], _Uses] = {}
        self.uses = _Uses()
        self.add_graph(root.graph, self.uses, 0)
        for key in self.functions:  # constants inside functions
            for name, role in self.of_function(key, 0).roles.items():
                self.uses.roles.setdefault(name, role)

    def add_graph(self, graph: Message, uses: _Uses, depth: int) -> None:
        for info in graph.output:
            uses.roles.setdefault(info.name, part.CONSTANTS)
        self.add_nodes(graph.node, uses, depth)

    def of_function(self, key: tuple[str, str, str], depth: int) -> _Uses:
        if key not in self.known:
            self.known[key] = _Uses()
            if depth < _MAXIMUM_NESTING:
                self.add_nodes(self.functions[key].node, self.known[key], depth + 1)
        return self.known[key]

    def add_nodes(self, nodes: Sequence[Message], uses: _Uses, depth: int) -> None:
        """Add the uses of values by nodes, last node first so that decoded weights are known."""
        for node in reversed(nodes):
            for graph in subgraphs(node):
                if depth < _MAXIMUM_NESTING:
                    self.add_graph(graph, uses, depth + 1)
            key = function_key(node)
            if key in self.functions:
                inner = self.of_function(key, depth)
                for formal, actual in zip(self.functions[key].input, node.input, strict=False):
                    if formal in inner.roles:
                        uses.add(actual, inner.roles[formal], inner.operators[formal])
                continue
            name = operator_name(node)
            output = node.output[0] if node.output else ""
            passed_on = uses.roles.get(output) if name in _DECODERS else None
            operands = _QUANTIZED_OPERANDS.get(name)
            for position, value in enumerate(node.input):
                if operands is not None and position not in operands:
                    uses.add(value, part.QUANTIZATION, 1)
                elif passed_on in (part.WEIGHTS, part.BIASES):
                    role = passed_on if position == 0 else part.QUANTIZATION
                    uses.add(value, role, uses.operators[output])
                else:
                    uses.add(value, _role(name, position), 1)


def _role(operator: str, position: int) -> str:
    if BIAS_INPUTS.get(operator) == position:
        return part.BIASES
    if operator in PARAMETER_INPUTS and position not in PARAMETER_INPUTS[operator]:
        return part.CONSTANTS
    return part.WEIGHTS
