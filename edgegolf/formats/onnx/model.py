"""An ONNX file with the few facts about it that are not its schema's."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from math import ceil, prod
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.formats.onnx.protobuf import Message, ParsedMessage, little_endian, read_protobuf
from edgegolf.formats.onnx.schema import DATA_TYPES

MAXIMUM_RANK = 64

# The field that holds a tensor's elements where ``raw_data`` does not, and how one element of the
# field is stored in ``raw_data``, as the code of an array.
_TYPED_FIELDS = {
    "float32": ("float_data", "f"),
    "complex64": ("float_data", "f"),
    "float64": ("double_data", "d"),
    "complex128": ("double_data", "d"),
    "int64": ("int64_data", "q"),
    "uint64": ("uint64_data", "Q"),
    "uint32": ("uint64_data", "I"),
    "int32": ("int32_data", "i"),
    "int16": ("int32_data", "h"),
    "uint16": ("int32_data", "H"),
    "float16": ("int32_data", "H"),
    "bfloat16": ("int32_data", "H"),
    "bool": ("int32_data", "?"),
    "int8": ("int32_data", "b"),
}


def read_onnx(path: Path) -> ParsedMessage:
    """Read an ``.onnx`` file.

    Raises:
        EdgegolfError: The file cannot be read or is damaged, or has no graph.
    """
    return parse_onnx(read_bounded(path), str(path))


def parse_onnx(data: bytes, name: str = "the file", locate: bool = True) -> ParsedMessage:
    """As `read_onnx`, from the file's bytes; the other arguments are those of `read_protobuf`."""
    parsed = read_protobuf(data, name, locate=locate)
    if parsed.root.graph is None:
        raise EdgegolfError(f"{name} is not a valid ONNX file: it has no graph")
    return parsed


def tensor_type(tensor: Message) -> tuple[str, int | None]:
    """Name and size in bits of a tensor's elements; the size is ``None`` for strings."""
    return DATA_TYPES.get(tensor.data_type, (f"type {tensor.data_type}", None))


def tensor_bytes(tensor: Message) -> bytes | None:
    """A numeric tensor's elements as ``raw_data`` holds them; ``None`` if they are elsewhere.

    Elsewhere means in another file, in strings, or in a form that is not understood here.
    """
    if tensor.external_data or tensor.data_location or tensor.segment or tensor.string_data:
        return None
    kind, bits = tensor_type(tensor)
    if bits is None:
        return None
    if "raw_data" in tensor.fields:
        raw: bytes = tensor.raw_data
        return raw
    if bits == 6:
        return None  # one in each number, where raw ones are packed
    if kind in ("uint8", "int4", "uint4") or kind not in _TYPED_FIELDS:
        field, code = "int32_data", "B"
    else:
        field, code = _TYPED_FIELDS[kind]
    numbers = getattr(tensor, field)
    try:
        if code == "?":
            numbers, code = (bool(number) for number in numbers), "B"
        return little_endian(array(code, numbers))
    except OverflowError:
        return None


def tensor_elements(tensor: Message) -> int | None:
    """Number of elements that a tensor's dimensions declare; ``None`` if they are absurd."""
    if len(tensor.dims) > MAXIMUM_RANK or any(size < 0 for size in tensor.dims):
        return None
    elements: int = prod(tensor.dims)
    return elements


def is_complete(tensor: Message) -> bool:
    """Whether a numeric tensor's data are in the file and as long as its dimensions say."""
    data, elements, bits = tensor_bytes(tensor), tensor_elements(tensor), tensor_type(tensor)[1]
    if data is None or elements is None or bits is None:
        return False
    return len(data) == ceil(elements * bits / 8)


def attributes(node: Message) -> dict[str, Any]:
    """A node's attribute values by name."""
    found = {}
    for attribute in node.attribute:
        values = [
            value
            for name, value in attribute.fields.items()
            if name not in ("name", "type", "doc_string", "ref_attr_name")
        ]
        found[attribute.name] = values[0] if values else None
    return found


def subgraphs(node: Message) -> Iterator[Message]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.g is not None:
            yield attribute.g
        yield from attribute.graphs


def operator_name(node: Message) -> str:
    """What a node is, such as ``Conv`` or ``com.microsoft.QLinearAdd``."""
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    return f"{domain}{node.op_type}"


def function_key(message: Message) -> tuple[str, str, str]:
    """What a node calls or a function is called by: domain, name, overload."""
    name = message.op_type if message.kind == "NodeProto" else message.name
    return "" if message.domain == "ai.onnx" else message.domain, name, message.overload
