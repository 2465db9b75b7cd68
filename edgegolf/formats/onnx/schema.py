"""The ONNX protobuf schema as data, read from `messages.txt`."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from edgegolf.formats.paragraphs import read_paragraphs

_DATA_TYPES = """float32:32 uint8:8 int8:8 uint16:16 int16:16 int32:32 int64:64 string: bool:8
    float16:16 float64:64 uint32:32 uint64:64 complex64:64 complex128:128 bfloat16:16 float8e4m3fn:8
    float8e4m3fnuz:8 float8e5m2:8 float8e5m2fnuz:8 uint4:4 int4:4 float4e2m1:4 float8e8m0:8 uint2:2
    int2:2 float6e2m3:6 float6e3m2:6"""

#: Name and size in bits of a tensor's elements by their number in ``TensorProto.DataType``.
DATA_TYPES: MappingProxyType[int, tuple[str, int | None]] = MappingProxyType(
    {
        number: (name, int(bits) if bits else None)
        for number, text in enumerate(_DATA_TYPES.split(), 1)
        for name, bits in [text.split(":")]
    }
)

INTEGERS = frozenset({"int32", "int64", "uint64", "enum"})
#: ``struct`` format character and size in bytes of the fixed-size numbers.
FIXED = MappingProxyType({"float": ("f", 4), "double": ("d", 8)})


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    number: int
    name: str
    type: str
    is_repeated: bool
    is_packed: bool

    @property
    def is_message(self) -> bool:
        """Whether the field holds messages."""
        return self.type in FIELDS


def _parse_field(text: str) -> Field:
    number, name, kind = text.split(":")
    return Field(int(number), name, kind.rstrip("*p"), "*" in kind, kind.endswith("*p"))


#: The fields of each message by name.
FIELDS: MappingProxyType[str, MappingProxyType[str, Field]] = MappingProxyType(
    {
        message: MappingProxyType({field.name: field for field in map(_parse_field, fields)})
        for message, *fields in read_paragraphs(__package__, "messages.txt")
    }
)

#: The fields of each message by number.
NUMBERED: MappingProxyType[str, MappingProxyType[int, Field]] = MappingProxyType(
    {
        message: MappingProxyType({field.number: field for field in fields.values()})
        for message, fields in FIELDS.items()
    }
)
