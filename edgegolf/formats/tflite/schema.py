"""The TensorFlow Lite flatbuffer schema as data, read from `tables.txt` and `enumerations.txt`."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from edgegolf.formats.paragraphs import read_paragraphs

FILE_IDENTIFIER = b"TFL3"

UNION_NAMES = frozenset(
    {"BuiltinOptions", "BuiltinOptions2", "QuantizationDetails", "SparseIndexVector"}
)

#: ``struct`` format character and size in bytes of each scalar type.
SCALARS = MappingProxyType(
    {
        "bool": ("?", 1),
        "int8": ("b", 1),
        "uint8": ("B", 1),
        "int16": ("h", 2),
        "uint16": ("H", 2),
        "int32": ("i", 4),
        "uint32": ("I", 4),
        "float32": ("f", 4),
        "int64": ("q", 8),
        "uint64": ("Q", 8),
        "float64": ("d", 8),
    }
)


@dataclass(frozen=True)
class Field:
    """One slot of a table."""

    name: str  # its name
    type: str  # ``int32``, ``[Tensor]``, ..
    default: int | float | bool  # its value where a file leaves it out
    slot: int  # its number
    # What it holds the index of: ``tensor``, ``buffer``, ``subgraph``, ...; empty if it holds no
    # index.
    refers_to: str
    deprecated: bool  # whether only old files have it

    @property
    def is_vector(self) -> bool:
        """Whether the field is a vector."""
        return self.type.startswith("[")

    @property
    def element(self) -> str:
        """The type without the brackets of a vector."""
        return self.type.strip("[]")


def _parse_field(text: str, slot: int) -> Field:
    text, _, refers_to = text.partition("@")
    name, _, rest = text.partition(":")
    kind, _, written = rest.partition("=")
    default: int | float | bool = int(written or 0) if kind != "bool" else written == "true"
    if kind in ("float32", "float64"):
        default = float(default)
    return Field(name.removeprefix("-"), kind, default, slot, refers_to, name.startswith("-"))


#: The fields of each table in slot order.
TABLES: MappingProxyType[str, tuple[Field, ...]] = MappingProxyType(
    {
        name: tuple(_parse_field(text, slot) for slot, text in enumerate(fields))
        for name, *fields in read_paragraphs(__package__, "tables.txt")
    }
)

#: The same fields by name.
FIELDS: MappingProxyType[str, MappingProxyType[str, Field]] = MappingProxyType(
    {
        name: MappingProxyType({field.name: field for field in fields})
        for name, fields in TABLES.items()
    }
)

#: The members of each enumeration and union; a member's position is its number.
ENUMERATIONS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(members) for name, *members in read_paragraphs(__package__, "enumerations.txt")}
)


def number(enumeration: str, member: str) -> int:
    """The number of a member: ``number("BuiltinOperator", "CONV_2D") == 3``."""
    return ENUMERATIONS[enumeration].index(member)
