"""Read and write ONNX protobuf messages as immutable trees, driven by the schema table.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.schema import FIELDS, FIXED, INTEGERS, NUMBERED, Field

# The limits of the protobuf libraries.
MAXIMUM_DEPTH = 100
MAXIMUM_FILE_SIZE = 2**31 - 1
# Each message and string takes about 200 bytes of memory, whatever it takes in the file: a file of
# nothing else would take a hundred times its size.
MAXIMUM_PARTS = 200_000
BYTES_OF_A_PART = 16

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Message:
    """One immutable message; its fields are attributes, absent ones read as their default.

    An absent repeated field reads as an empty tuple, an absent message as ``None``. Messages
    compare by identity.

    Attributes:
        kind: Name of the message in the schema, such as ``"NodeProto"``.
    """

    # A file may hold a message in every few bytes of it: the names of fields are shared between
    # messages that have the same ones.
    __slots__ = ("_encoded", "_names", "_values", "kind")

    kind: str
    _names: tuple[str, ...]
    _values: tuple[Any, ...]
    _encoded: bytes | None  # of a small one that was written

    def __init__(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Keep a copy of the fields."""
        names = tuple(fields)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "_names", _LAYOUTS.setdefault(names, names))
        object.__setattr__(self, "_values", tuple(fields.values()))
        object.__setattr__(self, "_encoded", None)

    @property
    def fields(self) -> Mapping[str, Any]:
        """What is present, by name.

        Numbers, ``str``, ``bytes``, messages, and for repeated fields tuples of these, or arrays
        of the numbers of a tensor.
        """
        return MappingProxyType(dict(zip(self._names, self._values, strict=True)))

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse any change."""
        raise AttributeError(f"{self.kind} is immutable: use replace()")

    def __getattr__(self, name: str) -> Any:
        """The value of a field, or its default."""
        if name in self._names:
            return self._values[self._names.index(name)]
        try:
            field = FIELDS[self.kind][name]
        except KeyError:
            raise AttributeError(f"{self.kind} has no field {name}") from None
        if field.is_repeated:
            return ()
        if field.is_message:
            return None
        if field.type in ("string", "bytes"):
            return "" if field.type == "string" else b""
        return 0.0 if field.type in FIXED else 0

    def __repr__(self) -> str:
        """The fields that are present."""
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"{self.kind}({fields})"

    def replace(self, **changes: Any) -> Message:
        """A copy with some fields changed; ``None`` or an empty sequence removes a field."""
        return message(self.kind, **{**self.fields, **changes})


_LAYOUTS: dict[tuple[str, ...], tuple[str, ...]] = {}
# Tensors' numbers, which the schema packs, are stored as C numbers: tuples would take ten times
# the bytes that they have in the file.
_ARRAYS = {"float": "f", "double": "d", "int32": "i", "int64": "q", "uint64": "Q"}


def message(kind: str, /, **fields: Any) -> Message:
    """Make a message: ``message("NodeProto", op_type="Relu", input=["x"], output=["y"])``.

    Fields that are ``None`` or empty sequences are left out.

    Raises:
        EdgegolfError: The schema knows no such message or field.
    """
    if kind not in FIELDS:
        raise EdgegolfError(f"the ONNX schema has no message {kind}")
    values: dict[str, Any] = {}
    for name, value in fields.items():
        field = FIELDS[kind].get(name)
        if field is None:
            raise EdgegolfError(f"the ONNX message {kind} has no field {name}")
        if field.is_repeated and value is not None:
            if not field.is_packed:
                value = tuple(value) or None
            elif not isinstance(value, array):
                value = array(_ARRAYS[field.type], value) or None
            elif not value:
                value = None
        if value is not None:
            values[name] = value
    return Message(kind, values)


# ---------------------------------------------------------------------------------------- reader


@dataclass(frozen=True)
class Span:
    """Bytes of a file that one field occupies, its tag and length included."""

    start: int  # offset of the first byte
    end: int  # offset behind the last byte; for a message, behind its tag and length
    owner: Message  # the message that has the field
    field: str  # the field's name
    value: Any  # what the bytes hold


@dataclass(frozen=True)
class ParsedMessage:
    """A tree and, for every field in it, the bytes that hold it. The spans cover all bytes."""

    root: Message
    spans: tuple[Span, ...]


class _DamagedError(Exception):
    """The bytes are not a sound message."""


def read_protobuf(
    data: bytes, name: str = "the file", kind: str = "ModelProto", locate: bool = True
) -> ParsedMessage:
    """Read a serialised ONNX message.

    Args:
        data: The file's bytes.
        name: What error messages call it.
        kind: Which message it is.
        locate: Give the spans, which take many times the file's bytes. Without them, a file of
            more parts than any model of its size has is refused.

    Raises:
        EdgegolfError: The bytes are damaged, or have fields that the schema known here lacks.
    """
    spans: list[Span] | None = [] if locate else None
    try:
        if not locate:
            _refuse_small_parts(data, kind)
        root = _read_message(data, 0, len(data), kind, 0, spans)
    except _DamagedError as error:
        raise EdgegolfError(
            f"{name} is not a valid ONNX file: {error}",
            hint="export it again, or update edgegolf if a newer exporter wrote it",
        ) from None
    return ParsedMessage(root, tuple(spans or ()))


def _refuse_small_parts(data: bytes, kind: str) -> None:
    """Count messages and strings before any is made."""
    left = MAXIMUM_PARTS + len(data) // BYTES_OF_A_PART
    pending = [(0, len(data), kind)]
    while pending:
        position, end, kind = pending.pop()
        while position < end:
            tag, position = _read_varint(data, position, end)
            field = NUMBERED[kind].get(tag >> 3)
            if tag & 7 == _VARINT:
                _, position = _read_varint(data, position, end)
            elif tag & 7 != _BYTES:
                position += 4 if tag & 7 == _FIXED32 else 8
            else:
                length, position = _read_varint(data, position, end)
                if field is not None and field.is_message and position + length <= end:
                    pending.append((position, position + length, field.type))
                position += length
            left -= 1
            if left < 0:
                raise _DamagedError("it is made of more parts than a model of its size has")


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= end or shift > 63:
            raise _DamagedError("a number has no end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position
        shift += 7


def _signed(value: int, kind: str) -> int:
    if kind == "uint64":
        return value
    bits = 64 if kind == "int64" else 32
    value &= 2**bits - 1
    return value - 2**bits if value >> (bits - 1) else value


def _read_message(
    data: bytes, start: int, end: int, kind: str, depth: int, spans: list[Span] | None
) -> Message:
    if depth > MAXIMUM_DEPTH:
        raise _DamagedError("its messages are nested too deeply")
    values: dict[str, Any] = {}
    located: list[tuple[int, int, str, Any]] = []
    inner: list[Span] | None = None if spans is None else []
    position = start
    while position < end:
        tag, payload = _read_varint(data, position, end)
        field = NUMBERED[kind].get(tag >> 3)
        if field is None:
            raise _DamagedError(
                f"{kind} has a field {tag >> 3} unknown to this version of edgegolf"
            )
        wire = tag & 7
        value: Any
        if field.is_message and wire == _BYTES:
            length, payload = _read_varint(data, payload, end)
            stop = payload + length
            if stop > end:
                raise _DamagedError(f"a {field.type} reaches outside its message")
            value = _read_message(data, payload, stop, field.type, depth + 1, inner)
            behind = payload
        else:
            value, stop = _read_field(data, payload, end, field, wire)
            behind = stop
        if spans is not None:
            located.append((position, behind, field.name, value))
        if field.is_repeated:
            found = values.get(field.name)
            if found is None:
                found = values[field.name] = array(_ARRAYS[field.type]) if field.is_packed else []
            if isinstance(value, tuple | array):
                found.extend(value)
            else:
                found.append(value)
        elif field.is_message and field.name in values:
            raise _DamagedError(f"a {kind} has its field {field.name} twice")
        else:
            values[field.name] = value
        position = stop
    if spans is None:
        return message(kind, **values) if values else _EMPTY[kind]
    node = message(kind, **values)
    assert inner is not None
    spans += [Span(begin, stop, node, name, value) for begin, stop, name, value in located]
    spans += inner
    return node


def _read_field(data: bytes, position: int, end: int, field: Field, wire: int) -> tuple[Any, int]:
    """A value, a tuple for packed numbers, and the position behind it."""
    if field.type in INTEGERS and wire == _VARINT:
        value, position = _read_varint(data, position, end)
        return _signed(value, field.type), position
    code, width = FIXED.get(field.type, ("", 0))
    if code and wire == (_FIXED32 if width == 4 else _FIXED64):
        if position + width > end:
            raise _DamagedError("a number reaches outside its message")
        return struct.unpack_from("<" + code, data, position)[0], position + width
    if wire != _BYTES or field.is_message:
        raise _DamagedError(f"the field {field.name} is of another type")
    length, position = _read_varint(data, position, end)
    stop = position + length
    if stop > end:
        raise _DamagedError(f"the field {field.name} reaches outside its message")
    if field.type == "bytes":
        return data[position:stop], stop
    if field.type == "string":
        return data[position:stop].decode("utf-8", "surrogateescape"), stop
    if not field.is_repeated:
        raise _DamagedError(f"the field {field.name} is of another type")
    if code:
        if length % width:
            raise _DamagedError(f"the field {field.name} has a fraction of a number")
        if field.is_packed:
            return array_of(code, data[position:stop]), stop
        return struct.unpack_from(f"<{length // width}{code}", data, position), stop
    numbers: Any = array(_ARRAYS[field.type]) if field.is_packed else []
    while position < stop:
        value, position = _read_varint(data, position, stop)
        numbers.append(_signed(value, field.type))
    return numbers if field.is_packed else tuple(numbers), stop


_EMPTY = {kind: Message(kind, {}) for kind in FIELDS}


def array_of(code: str, data: bytes) -> array[Any]:
    """Numbers that are stored in little-endian order."""
    numbers = array(code, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def walk(root: Message) -> Iterator[Message]:
    """Every message of a tree, parents first."""
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        for value in node._values:
            if isinstance(value, Message):
                pending.append(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Message):
                pending.extend(reversed(value))


def transform(node: Message, rules: Mapping[str, Callable[[Message], Message]]) -> Message:
    """Apply a rule to every message of some kinds, innermost first."""
    changes: dict[str, Any] = {}
    for name, value in zip(node._names, node._values, strict=True):
        if isinstance(value, Message):
            changed: Any = transform(value, rules)
            if changed is not value:
                changes[name] = changed
        elif isinstance(value, tuple) and value and isinstance(value[0], Message):
            changed = tuple(transform(item, rules) for item in value)
            if any(new is not old for new, old in zip(changed, value, strict=True)):
                changes[name] = changed
    rebuilt = Message(node.kind, {**node.fields, **changes}) if changes else node
    rule = rules.get(node.kind)
    return rule(rebuilt) if rule else rebuilt


# ---------------------------------------------------------------------------------------- writer


def write_protobuf(root: Message) -> bytes:
    """Serialise a message; numbers of repeated fields are packed where that is shorter.

    Parsers accept either form of repeated numbers, whatever the schema says.

    Raises:
        EdgegolfError: The result would exceed 2 GB.
    """
    data = _message_bytes(root)
    if len(data) > MAXIMUM_FILE_SIZE:
        raise EdgegolfError("an ONNX file cannot exceed 2 GB")
    return data


_ONE_BYTE = tuple(bytes([value]) for value in range(0x80))


def varint(value: int) -> bytes:
    """The variable-length encoding of an integer; negative ones take ten bytes."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    if 0 <= value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    value &= 2**64 - 1
    output = bytearray()
    while value > 0x7F:
        output.append(value & 0x7F | 0x80)
        value >>= 7
    output.append(value)
    return bytes(output)


def _message_bytes(node: Message) -> bytes:
    if node._encoded is not None:
        return node._encoded
    values = node._values
    parts = [_field_bytes(field, values[at]) for at, field in _in_order(node.kind, node._names)]
    data = b"".join(parts)
    # Golf writes a file after each step, of which most change few nodes.
    if node.kind in _REMEMBERED and len(data) <= REMEMBERED_BYTES:
        object.__setattr__(node, "_encoded", data)
    return data


_REMEMBERED = {"AttributeProto", "NodeProto", "TensorProto", "ValueInfoProto"}
REMEMBERED_BYTES = 256


@lru_cache(maxsize=4096)
def _in_order(kind: str, names: tuple[str, ...]) -> tuple[tuple[int, Field], ...]:
    """Positions of the fields in the order of their numbers."""
    fields = ((at, FIELDS[kind][name]) for at, name in enumerate(names))
    return tuple(sorted(fields, key=lambda each: each[1].number))


def _field_bytes(field: Field, value: Any) -> bytes:
    values = value if field.is_repeated else (value,)
    if field.is_message or field.type in ("string", "bytes"):
        tag = varint(field.number << 3 | _BYTES)
        parts: list[bytes] = []
        for item in values:
            content = _content(field, item)
            parts += (tag, varint(len(content)), content)
        return b"".join(parts)
    code, width = FIXED.get(field.type, ("", 0))
    wire = {0: _VARINT, 4: _FIXED32, 8: _FIXED64}[width]
    tag = varint(field.number << 3 | wire)
    if code and isinstance(values, array):
        content = little_endian(values)
    elif code:
        content = struct.pack(f"<{len(values)}{code}", *values)
    else:
        content = _varints(values)
    packed = varint(field.number << 3 | _BYTES) + varint(len(content))
    if field.is_repeated and len(packed) < len(tag) * len(values):
        return packed + content
    if len(values) < 2:
        return tag + content if values else b""
    if code:
        numbers = (content[at : at + width] for at in range(0, len(content), width))
    else:
        numbers = (varint(value) for value in values)
    return b"".join(tag + number for number in numbers)


def _varints(values: Sequence[int]) -> bytes:
    """Integers one after the other; never joined from many pieces, of which each is an object."""
    output = bytearray()
    for start in range(0, len(values), 4096):
        some = values[start : start + 4096]
        encoded = {value: varint(value) for value in set(some)}
        output += b"".join(map(encoded.__getitem__, some))
    return bytes(output)


def little_endian(numbers: array[Any]) -> bytes:
    """The bytes that numbers have in a file."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _content(field: Field, value: Any) -> bytes:
    if field.is_message:
        return _message_bytes(value)
    if field.type == "string":
        return str(value).encode("utf-8", "surrogateescape")
    return bytes(value)
