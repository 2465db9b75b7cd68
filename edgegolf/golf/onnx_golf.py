"""Rewrite an ONNX file into fewer bytes without changing what it computes."""

from __future__ import annotations

import string
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.model import (
    attributes,
    is_complete,
    operator_name,
    parse_onnx,
    tensor_bytes,
    tensor_type,
)
from edgegolf.formats.onnx.protobuf import (
    Message,
    array_of,
    message,
    transform,
    walk,
    write_protobuf,
)
from edgegolf.golf.golfing import Golfed, Keep, Stage
from edgegolf.golf.onnx_checks import needed_types, without_functions
from edgegolf.golf.onnx_functions import with_functions

# Attribute values that mean the same as their absence, by operator.
# Source: https://onnx.ai/onnx/operators/
_DEFAULT_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Conv": {"auto_pad": b"NOTSET", "group": 1},
    "ConvTranspose": {"auto_pad": b"NOTSET", "group": 1},
    "ConvInteger": {"auto_pad": b"NOTSET", "group": 1},
    "QLinearConv": {"auto_pad": b"NOTSET", "group": 1},
    "AveragePool": {"auto_pad": b"NOTSET", "ceil_mode": 0, "count_include_pad": 0},
    "MaxPool": {"auto_pad": b"NOTSET", "ceil_mode": 0, "storage_order": 0},
    "Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
    "Gather": {"axis": 0},
    "Flatten": {"axis": 1},
    "Reshape": {"allowzero": 0},
    "QuantizeLinear": {"axis": 1, "saturate": 1},
    "DequantizeLinear": {"axis": 1},
    "LeakyRelu": {"alpha": struct.unpack("<f", struct.pack("<f", 0.01))[0]},
    "BatchNormalization": {"training_mode": 0},
}

# Attributes that mean the same as their absence where all their numbers have one value.
_UNIFORM_ATTRIBUTES: dict[str, dict[str, int]] = {
    name: {"dilations": 1, "strides": 1, "pads": 0}
    for name in (
        "Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "AveragePool", "MaxPool",
    )
}  # fmt: skip

# The share of a file's bytes that a step must save which makes other readers refuse the file:
# OpenVINO has no functions, OpenCV wants the kernel_shape of convolutions.
WORTH_A_READER = 0.01

# Before, every initializer had to be an input of the graph, which a caller may set.
FIRST_IR_VERSION_OF_CONSTANTS = 4

_INTS = 7  # the type of an attribute of integers
_WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}


def golf_onnx(
    data: bytes,
    keep: Keep,
    name: str = "the file",
    functions: bool = True,
    types: bool = False,
) -> Golfed:
    """Rewrite an ``.onnx`` file.

    Args:
        data: The file's bytes.
        keep: What to keep although no runtime needs it. Signatures do not exist here: names of
            inputs and outputs stay in any case.
        name: What error messages call the file.
        functions: Store groups of nodes that repeat as functions, where `keep` does not forbid it
            and it saves more than `WORTH_A_READER`.
        types: Keep all types of intermediate values, also those that runtimes infer.

    Returns:
        The smallest file found, and its size after each stage.

    Raises:
        EdgegolfError: The file is damaged, or it is one that cannot be rewritten.
    """
    root = parse_onnx(data, name, locate=False).root
    _refuse_what_cannot_be_rewritten(root, name)
    stages = [Stage("encoding", len(write_protobuf(root)))]
    may_grow = bool(keep.portable and root.functions)
    if may_grow:
        root = parse_onnx(without_functions(data), name, locate=False).root
        stages.append(Stage("inlined functions", len(write_protobuf(root))))
    shaped = _with_kernel_shapes(root) if keep.portable else root
    if shaped is not root:
        root = shaped
        stages.append(Stage("added kernel shapes", len(write_protobuf(root))))
        may_grow = True
    for cause, step in _steps(keep, functions and not keep.portable, types):
        root = step(root)
        stages.append(Stage(cause, len(write_protobuf(root))))
    return Golfed(write_protobuf(root), tuple(stages), may_grow)


def _refuse_what_cannot_be_rewritten(root: Message, name: str) -> None:
    if root.training_info:
        raise EdgegolfError(f"{name} holds a training graph, which golf cannot rewrite")
    for node in walk(root):
        if "device_configurations" in node.fields:
            raise EdgegolfError(f"{name} is split over devices, which golf cannot rewrite")
        if "external_data" in node.fields:
            raise EdgegolfError(
                f"{name} keeps weights in another file",
                hint="store it as one file first: onnx.save(onnx.load(path), other_path)",
            )


def _steps(
    keep: Keep, functions: bool, types: bool
) -> Iterator[tuple[str, Callable[[Message], Message]]]:
    if not keep.metadata:
        yield "metadata", _without_metadata
    if not types:
        yield "types of intermediate values", _without_derivable_types
    yield "unused operator sets", _without_unused_domains
    yield "constants", _with_distinct_constants
    yield "number encoding", _with_short_numbers
    yield "default attributes", _without_default_attributes
    if not keep.portable:
        yield "kernel shapes", _if_worth_a_reader(_without_kernel_shapes)
    if not keep.names:
        yield "node names", _without_node_names
        yield "value names", _with_short_names
    if functions:
        # Functions need fewer names; what they are worth shows once these are short again.
        shorten = _as_it_is if keep.names else _with_short_names
        yield "repeated nodes", _if_worth_a_reader(lambda root: with_functions(root, shorten))


def _as_it_is(root: Message) -> Message:
    return root


def _without_metadata(root: Message) -> Message:
    bare = root.replace(producer_name=None, producer_version=None, domain=None, model_version=None)
    kinds = {
        "ModelProto", "GraphProto", "NodeProto", "AttributeProto", "TensorProto",
        "ValueInfoProto", "FunctionProto",
    }  # fmt: skip

    def strip(node: Message) -> Message:
        changes = {
            field: None
            for field in ("doc_string", "metadata_props", "quantization_annotation")
            if field in node.fields
        }
        return node.replace(**changes) if changes else node

    return transform(bare, dict.fromkeys(kinds, strip))


def _if_worth_a_reader(step: Callable[[Message], Message]) -> Callable[[Message], Message]:
    """A step that makes some readers refuse the file, taken where it saves enough."""

    def guarded(root: Message) -> Message:
        changed = step(root)
        before, after = len(write_protobuf(root)), len(write_protobuf(changed))
        return changed if before - after > WORTH_A_READER * before else root

    return guarded


def _without_derivable_types(root: Message) -> Message:
    if not any(node.kind != "ModelProto" and "value_info" in node.fields for node in walk(root)):
        return root
    needed = needed_types(write_protobuf(root))
    if needed is None:
        return root
    names, inside = needed

    def strip(node: Message) -> Message:
        return node.replace(value_info=None)

    graph = root.graph
    if not inside:
        root = transform(root, {"GraphProto": strip, "FunctionProto": strip})
    types = [info for info in graph.value_info if info.name in names]
    return root.replace(graph=root.graph.replace(value_info=types))


def _without_unused_domains(root: Message) -> Message:
    """Drop operator sets that no node uses; the standard one stays."""
    used = {"", "ai.onnx"}
    used |= {node.domain for node in walk(root) if node.kind in ("NodeProto", "FunctionProto")}

    def strip(node: Message) -> Message:
        return node.replace(
            opset_import=[item for item in node.opset_import if item.domain in used]
        )

    return transform(root, {"ModelProto": strip, "FunctionProto": strip})


def _with_distinct_constants(root: Message) -> Message:
    """Turn constant nodes of the main graph into initializers, store equal ones once."""
    if root.ir_version < FIRST_IR_VERSION_OF_CONSTANTS:
        return root
    graph = root.graph
    fixed = {info.name for info in (*graph.input, *graph.output)}
    initializers = list(graph.initializer)
    nodes = []
    for node in graph.node:
        tensor = _constant_of(node)
        if tensor is not None and node.output[0] not in fixed:
            initializers.append(tensor.replace(name=node.output[0]))
        else:
            nodes.append(node)
    used = _used_names(graph.replace(node=nodes, initializer=None))
    first: dict[object, str] = {}
    renamed: dict[str, str] = {}
    kept = []
    for tensor in initializers:
        if tensor.name in fixed:
            kept.append(tensor)
            continue
        if tensor.name not in used:
            continue
        data = tensor_bytes(tensor)
        key = (tensor.data_type, tensor.dims, data) if is_complete(tensor) else tensor.name
        if key in first:
            renamed[tensor.name] = first[key]
        else:
            first[key] = tensor.name
            kept.append(tensor)
    graph = graph.replace(node=nodes, initializer=kept)
    return root.replace(graph=_renamed(graph, renamed))


def _constant_of(node: Message) -> Message | None:
    """The tensor that a ``Constant`` node holds, if it holds a dense one."""
    if operator_name(node) != "Constant" or len(node.output) != 1 or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    if attribute.ref_attr_name or attribute.name != "value" or attribute.t is None:
        return None
    tensor: Message = attribute.t
    return tensor


def _used_names(graph: Message) -> set[str]:
    used = {info.name for info in graph.output}
    for node in walk(graph):
        if node.kind == "NodeProto":
            used.update(node.input)
        elif node.kind == "GraphProto":
            used.update(info.name for info in node.output)
    return used


def _with_short_numbers(root: Message) -> Message:
    """Store each tensor's numbers raw or typed, whichever is shorter."""

    def short(tensor: Message) -> Message:
        if not is_complete(tensor):
            return tensor
        raw = tensor_bytes(tensor)
        kind = tensor_type(tensor)[0]
        bare = tensor.replace(
            float_data=None, int32_data=None, int64_data=None, double_data=None, uint64_data=None
        )
        forms = [tensor, bare.replace(raw_data=raw)]
        code, field = {
            "int64": ("q", "int64_data"),
            "int32": ("i", "int32_data"),
            "uint64": ("Q", "uint64_data"),
            "uint32": ("I", "uint64_data"),
        }.get(kind, ("", ""))
        if code and raw:
            numbers = array_of(code, raw)
            forms.append(bare.replace(raw_data=None, **{field: numbers}))
        return min(forms, key=lambda form: len(write_protobuf(form)))

    return transform(root, {"TensorProto": short})


def _without_default_attributes(root: Message) -> Message:
    def is_implied(node: Message, name: str, value: Any) -> bool:
        operator = operator_name(node)
        default = _DEFAULT_ATTRIBUTES.get(operator, {}).get(name)
        uniform = _UNIFORM_ATTRIBUTES.get(operator, {}).get(name)
        return (default is not None and value == default) or _is_uniform(value, uniform)

    return _without_attributes(root, is_implied)


def _without_kernel_shapes(root: Message) -> Message:
    shapes = {tensor.name: tensor.dims for tensor in root.graph.initializer}

    def is_implied(node: Message, name: str, value: Any) -> bool:
        position = _WEIGHT_INPUT.get(operator_name(node), len(node.input))
        weight = node.input[position] if position < len(node.input) else None
        return name == "kernel_shape" and value == shapes.get(weight, ())[2:]

    return _without_attributes(root, is_implied)


def _with_kernel_shapes(root: Message) -> Message:
    """Say of each convolution in real numbers what its weights tell, too; OpenCV asks for it."""
    shapes = {tensor.name: tensor.dims for tensor in root.graph.initializer}

    def complete(node: Message) -> Message:
        weight = node.input[1] if len(node.input) > 1 else None
        lacks = operator_name(node) in ("Conv", "ConvTranspose") and weight in shapes
        if not lacks or "kernel_shape" in attributes(node):
            return node
        shape = message("AttributeProto", name="kernel_shape", ints=shapes[weight][2:], type=_INTS)
        return node.replace(attribute=[*node.attribute, shape])

    return transform(root, {"NodeProto": complete})


def _without_attributes(root: Message, is_implied: Callable[[Message, str, Any], bool]) -> Message:
    def strip(node: Message) -> Message:
        values = attributes(node)
        kept = [
            attribute
            for attribute in node.attribute
            if attribute.ref_attr_name
            or values[attribute.name] is None
            or not is_implied(node, attribute.name, values[attribute.name])
        ]
        return node.replace(attribute=kept) if len(kept) < len(node.attribute) else node

    return transform(root, {"NodeProto": strip})


def _is_uniform(value: Any, expected: int | None) -> bool:
    return (
        expected is not None
        and isinstance(value, tuple)
        and all(number == expected for number in value)
    )


def _without_node_names(root: Message) -> Message:
    return transform(
        root,
        {
            "NodeProto": lambda node: node.replace(name=None),
            # The checker wants graphs to have a name.
            "GraphProto": lambda graph: graph.replace(name="g"),
        },
    )


def _with_short_names(root: Message) -> Message:
    """Give the shortest names to the values that are named most often."""
    graph = root.graph
    fixed = {info.name for info in (*graph.input, *graph.output)}
    renamed = root.replace(graph=_renamed(graph, _short_names(graph, fixed)))
    functions = [_renamed(function, _short_names(function, set())) for function in root.functions]
    return renamed.replace(functions=functions)


def _short_names(scope: Message, fixed: set[str]) -> dict[str, str]:
    uses: Counter[str] = Counter()
    for names in _name_lists(scope):
        uses.update(name for name in names if name)
    fresh = (name for name in _identifiers() if name not in fixed)
    chosen = [name for name, _ in uses.most_common() if name not in fixed]
    return dict(zip(chosen, fresh, strict=False))


def _name_lists(scope: Message) -> Iterator[Iterable[str]]:
    """Every place in a graph or function, graphs inside included, that names values."""
    for node in walk(scope):
        if node.kind == "NodeProto" or node.kind == "FunctionProto":
            yield node.input
            yield node.output
        elif node.kind in ("ValueInfoProto", "TensorProto"):
            yield (node.name,)
        elif node.kind == "TensorAnnotation":
            yield (node.tensor_name,)
            yield (entry.value for entry in node.quant_parameter_tensor_names)


def _identifiers() -> Iterator[str]:
    first = string.ascii_letters + "_"
    for length in range(1, 8):
        for letters in product(first, *[first + string.digits] * (length - 1)):
            yield "".join(letters)


def _renamed(scope: Message, names: Mapping[str, str]) -> Message:
    """Rename values in a graph or function, graphs inside included."""

    def rename(name: str) -> str:
        return names.get(name, name)

    def own_name(node: Message) -> Message:
        return node.replace(name=rename(node.name)) if node.name else node

    def lists(node: Message) -> Message:
        return node.replace(
            input=[rename(name) for name in node.input],
            output=[rename(name) for name in node.output],
        )

    def annotation(node: Message) -> Message:
        return node.replace(
            tensor_name=rename(node.tensor_name),
            quant_parameter_tensor_names=[
                entry.replace(value=rename(entry.value))
                for entry in node.quant_parameter_tensor_names
            ],
        )

    return transform(
        scope,
        {
            "NodeProto": lists,
            "FunctionProto": lists,
            "ValueInfoProto": own_name,
            "TensorProto": own_name,
            "TensorAnnotation": annotation,
        },
    )
