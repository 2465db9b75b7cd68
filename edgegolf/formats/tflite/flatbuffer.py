"""Read and write flatbuffers as immutable trees, driven by the schema table.

The reader trusts nothing: every offset is checked, an object is read once however often it is
referred to, and files that unfold to absurd sizes are refused. The writer emits each structurally
identical object once, because FlatBuffers references may form a directed acyclic graph, shares
vtables and leaves as little padding as the alignment rules allow.

Format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.schema import (
    ENUMERATIONS,
    FIELDS,
    FILE_IDENTIFIER,
    SCALARS,
    TABLES,
    UNION_NAMES,
    Field,
    number,
)

# The limits of the FlatBuffers verifier: what exceeds them no runtime loads either.
MAXIMUM_DEPTH = 64
MAXIMUM_TABLES = 1_000_000
# A table takes a hundred times more memory as an object than the shortest takes in a file, so that
# small files may have this many and larger ones a share of their size. Real models have a table
# for every 60 bytes and more.
FREE_TABLES = 30_000
BYTES_PER_TABLE = 64
# Longer vectors and strings are encoded once, however many tables share them.
SHORT = 64
MAXIMUM_FILE_SIZE = 2**31 - 1


class Table:
    """One immutable table; its fields are attributes, absent ones read as their default.

    An absent vector reads as an empty tuple (``b""`` for bytes), an absent string as ``""`` and an
    absent table as ``None``. Tables compare by identity.

    Attributes:
        table_name: Name of the table in the schema, such as ``"Tensor"``.
        fields: What is present, by name: numbers, strings, ``bytes`` for byte vectors, tuples for
            the other vectors, and tables.
    """

    __slots__ = ("fields", "table_name")

    table_name: str
    fields: Mapping[str, Any]

    def __init__(self, table_name: str, fields: Mapping[str, Any]) -> None:
        """Keep a copy of the fields."""
        object.__setattr__(self, "table_name", table_name)
        object.__setattr__(self, "fields", MappingProxyType(dict(fields)))

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse any change."""
        raise AttributeError(f"{self.table_name} is immutable: use replace()")

    def __getattr__(self, name: str) -> Any:
        """The value of a field, or its default."""
        try:
            return self.fields[name]
        except KeyError:
            pass
        try:
            field = FIELDS[self.table_name][name]
        except KeyError:
            raise AttributeError(f"{self.table_name} has no field {name}") from None
        return _default(field)

    def __repr__(self) -> str:
        """The fields that are present."""
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"{self.table_name}({fields})"

    def replace(self, **changes: Any) -> Table:
        """A copy with some fields changed; ``None`` removes a field."""
        return table(self.table_name, **{**self.fields, **changes})


def _default(field: Field) -> Any:
    if field.is_vector:
        return b"" if field.type == "[uint8]" else ()
    if field.type in SCALARS:
        return field.default
    return "" if field.type == "string" else None


def table(table_name: str, /, **fields: Any) -> Table:
    """Make a table: ``table("Tensor", shape=[1, 10], type=9, buffer=3)``.

    Sequences become tuples, byte vectors ``bytes``; fields that are ``None`` are left out. The
    member number of a union is filled in.

    Args:
        table_name: Name of the table in the schema.
        **fields: Values by the field's name in the schema.

    Raises:
        EdgegolfError: The schema knows no such table or field.
    """
    if table_name not in FIELDS:
        raise EdgegolfError(f"the TFLite schema has no table {table_name}")
    schema = FIELDS[table_name]
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in schema:
            raise EdgegolfError(f"the TFLite table {table_name} has no field {name}")
        if value is None:
            continue
        field = schema[name]
        if field.type == "[uint8]":
            value = bytes(value)
        elif field.is_vector:
            value = tuple(value)
        elif field.type in UNION_NAMES:
            values[f"{name}_type"] = number(field.type, value.table_name)
        values[name] = value
    return Table(table_name, values)


def walk(root: Table) -> Iterator[Table]:
    """Every distinct table of a tree, each once, parents first."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        for value in node.fields.values():
            pending.extend(reversed(_tables_in(value)))


def transform(root: Table, rules: Mapping[str, Callable[[Table], Table]]) -> Table:
    """Apply a rule to every table of some kinds, innermost first and shared ones once."""
    done: dict[int, Table] = {}
    pending = [root]
    while pending:
        node = pending[-1]
        if id(node) in done:
            pending.pop()
            continue
        children = [child for value in node.fields.values() for child in _tables_in(value)]
        waiting = [child for child in children if id(child) not in done]
        if waiting:
            pending.extend(waiting)
            continue
        pending.pop()
        if any(done[id(child)] is not child for child in children):
            fields = {name: _replaced(value, done) for name, value in node.fields.items()}
            rebuilt = Table(node.table_name, fields)
        else:
            rebuilt = node
        rule = rules.get(node.table_name)
        done[id(node)] = rule(rebuilt) if rule else rebuilt
    return done[id(root)]


def _tables_in(value: Any) -> tuple[Table, ...]:
    if isinstance(value, Table):
        return (value,)
    if isinstance(value, tuple) and value and isinstance(value[0], Table):
        return value
    return ()


def _replaced(value: Any, done: Mapping[int, Table]) -> Any:
    if isinstance(value, Table):
        return done[id(value)]
    if _tables_in(value):
        return tuple(done[id(item)] for item in value)
    return value


# ---------------------------------------------------------------------------------------- reader


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file that one object occupies."""

    start: int  # offset of the first byte
    end: int  # offset behind the last byte
    # ``header``, ``vtable``, ``table``, ``vector`` or ``string``.
    kind: Literal["header", "vtable", "table", "vector", "string"]
    owner: Table | None  # the table that the bytes belong to, or whose field refers to them
    field: str  # name of that field; empty for the table itself and its vtable


@dataclass(frozen=True)
class ParsedFlatbuffer:
    """A tree and, for every object in it, the bytes that hold it."""

    root: Table
    spans: Spans


class Spans:
    """The spans of a file, as numbers until they are asked for: there may be many."""

    def __init__(self) -> None:
        """None yet."""
        self._numbers = array("Q")
        self._labels: dict[tuple[str, str], int] = {}
        self._owners: list[Table | None] = []

    def own(self) -> int:
        """A number for a table that is about to be read."""
        self._owners.append(None)
        return len(self._owners) - 1

    def name(self, owner: int, table: Table) -> None:
        """Say which table a number stands for."""
        self._owners[owner] = table

    def add(self, start: int, end: int, kind: str, owner: int, field: str) -> None:
        """Add a span of the table that a number stands for."""
        label = self._labels.setdefault((kind, field), len(self._labels))
        self._numbers.extend((start, end, label, owner))

    def __iter__(self) -> Iterator[Span]:
        """The header's span, then those of all objects."""
        yield Span(0, 8, "header", None, "")
        labels = list(self._labels)
        for index in range(0, len(self._numbers), 4):
            start, end, label, owner = self._numbers[index : index + 4]
            kind, field = labels[label]
            yield Span(start, end, kind, self._owners[owner], field)  # type: ignore[arg-type]


def read_flatbuffer(data: bytes, name: str = "the file") -> ParsedFlatbuffer:
    """Read a TFLite flatbuffer.

    Args:
        data: The file's bytes.
        name: What error messages call it.

    Returns:
        The root table ``Model`` with the bytes each object occupies. Objects that the file
        stores once are one Python object.

    Raises:
        EdgegolfError: The file is no TFLite file, damaged or hostile, or it has fields that the
            schema known here lacks.
    """
    if len(data) < 8 or data[4:8] != FILE_IDENTIFIER:
        raise EdgegolfError(f"{name} is not a TFLite file", hint="expected the identifier TFL3")
    reader = _Reader(data)
    try:
        root = reader.reference(0, "Model", 0)
    except _DamagedError as error:
        raise EdgegolfError(
            f"{name} is not a valid TFLite file: {error}",
            hint="export it again, or update edgegolf if a newer converter wrote it",
        ) from None
    return ParsedFlatbuffer(root, reader.spans)


class _DamagedError(Exception):
    """The bytes are not a sound flatbuffer."""


class _Reader:
    """Recursive descent over untrusted bytes, with a memo, a depth limit and a work budget."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        # Objects do not overlap in files that tools write, or are the same bytes as two types; a
        # file whose objects add up to much more than its size is built to exhaust the reader.
        self.budget = 2 * len(data)
        self.table_limit = min(MAXIMUM_TABLES, FREE_TABLES + len(data) // BYTES_PER_TABLE)
        self.element_limit = 8 * len(data) + MAXIMUM_TABLES
        self.memo: defaultdict[str, dict[int, tuple[Any, int, int]]] = defaultdict(dict)
        self.vtables: dict[int, tuple[int, ...]] = {}
        self.spans = Spans()
        self.read = 0

    def unpack(self, code: str, position: int) -> int:
        try:
            return int(struct.unpack_from("<" + code, self.data, position)[0])
        except struct.error:
            raise _DamagedError("an offset points outside the file") from None

    def claim(self, start: int, end: int, kind: str, owner: int, field: str) -> None:
        if not 0 <= start <= end <= len(self.data):
            raise _DamagedError(f"a {kind} reaches outside the file")
        self.budget -= end - start
        if self.budget < 0:
            raise _DamagedError("its objects overlap")
        self.spans.add(start, end, kind, owner, field)

    def reference(self, position: int, kind: str, depth: int) -> Any:
        """The table that the offset at a position refers to."""
        return self.table(self.target(position), kind, depth)[0]

    def target(self, position: int) -> int:
        offset = self.unpack("I", position)
        if offset == 0:
            raise _DamagedError("an object refers to itself")
        return position + offset

    def table(self, position: int, kind: str, depth: int) -> tuple[Table, int, int]:
        """A table with the numbers of tables and of elements that it unfolds to."""
        memo = self.memo[kind]
        if position in memo:
            return memo[position]
        if depth > MAXIMUM_DEPTH:
            raise _DamagedError("its tables are nested too deeply")
        self.read += 1
        self.check_work(self.read, 0)
        owner = self.spans.own()
        slots = self.vtable(position - self.unpack("i", position), owner)
        size = slots[0]
        self.claim(position, position + size, "table", owner, "")
        schema = TABLES[kind]
        if any(slots[1 + len(schema) :]):
            raise _DamagedError(f"the table {kind} has fields unknown to this version of edgegolf")
        values: dict[str, Any] = {}
        tables = elements = 1
        for field, offset in zip(schema, slots[1:], strict=False):
            if not offset:
                continue
            width = SCALARS[field.type][1] if field.type in SCALARS else 4
            if not 4 <= offset <= size - width:
                raise _DamagedError(f"a field of the table {kind} lies outside the table")
            value, field_tables, field_elements = self.field(
                position + offset, field, values, owner, depth
            )
            values[field.name] = value
            tables += field_tables
            elements += field_elements
            self.check_work(tables, elements)
        node = Table(kind, values)
        self.spans.name(owner, node)
        memo[position] = node, tables, elements
        return memo[position]

    def check_work(self, tables: int, elements: int) -> None:
        if tables > self.table_limit or elements > self.element_limit:
            raise _DamagedError("it unfolds to too many objects")

    def vtable(self, position: int, owner: int) -> tuple[int, ...]:
        """The size in bytes of the tables that a vtable describes, then their field offsets."""
        if position not in self.vtables:
            size = self.unpack("H", position) if position >= 0 else 0
            if size < 4 or size % 2:
                raise _DamagedError("a vtable has an impossible size")
            self.claim(position, position + size, "vtable", owner, "")
            slots = struct.unpack_from(f"<{size // 2 - 1}H", self.data, position + 2)
            if slots[0] < 4:
                raise _DamagedError("a table has an impossible size")
            self.vtables[position] = slots
        return self.vtables[position]

    def field(
        self, position: int, field: Field, values: dict[str, Any], owner: int, depth: int
    ) -> tuple[Any, int, int]:
        if field.type in SCALARS:
            return struct.unpack_from("<" + SCALARS[field.type][0], self.data, position)[0], 0, 0
        target = self.target(position)
        if field.type in UNION_NAMES:
            members = ENUMERATIONS[field.type]
            member = values.get(f"{field.name}_type", 0)
            if not 0 < member < len(members):
                raise _DamagedError(
                    f"{field.name} is of a kind unknown to this version of edgegolf"
                )
            return self.table(target, members[member], depth + 1)
        if not field.is_vector and field.type != "string":
            return self.table(target, field.type, depth + 1)
        memo = self.memo[field.type]
        if target not in memo:
            memo[target] = self.vector(target, field, owner, depth)
        return memo[target]

    def vector(self, position: int, field: Field, owner: int, depth: int) -> tuple[Any, int, int]:
        count = self.unpack("I", position)
        start = position + 4
        if field.element in TABLES:
            self.check_work(count, 0)
        if field.type == "string":
            end = start + count
            self.claim(position, end + 1, "string", owner, field.name)
            if self.data[end]:
                raise _DamagedError("a string does not end with a zero byte")
            return self.data[start:end].decode("utf-8", "surrogateescape"), 0, 1
        code, width = SCALARS.get(field.element, ("", 4))
        end = start + width * count
        self.claim(position, end, "vector", owner, field.name)
        if field.type == "[uint8]":
            return self.data[start:end], 0, 1
        if code:
            return struct.unpack_from(f"<{count}{code}", self.data, start), 0, count
        items: list[Table] = []
        tables = elements = 0
        for index in range(count):
            where = start + 4 * index
            item, item_tables, item_elements = self.table(
                self.target(where), field.element, depth + 1
            )
            items.append(item)
            tables += item_tables
            elements += item_elements
            self.check_work(tables, elements)
        return tuple(items), tables, elements


# ---------------------------------------------------------------------------------------- writer


class _Encoded(NamedTuple):
    """An object ready to be placed: bytes with holes for the offsets of other objects.

    The byte behind the first four (a table's vtable offset, a vector's length) is the one that
    ``alignment`` holds for.
    """

    data: bytes
    references: tuple[tuple[int, int], ...]
    vtable: bytes


def write_flatbuffer(
    root: Table,
    *,
    share: bool = True,
    keep_defaults: bool = False,
    byte_alignment: int = 4,
    alignments: Mapping[int, int] = MappingProxyType({}),
) -> bytes:
    """Write a tree of tables as a TFLite flatbuffer.

    Args:
        root: The table ``Model``.
        share: Write structurally identical objects once.
        keep_defaults: Write scalar fields even where they have their default value.
        byte_alignment: Alignment in bytes of byte vectors.
        alignments: Stricter alignments of the byte vectors of single tables, by ``id(table)``.

    Returns:
        The bytes of the file. Equal trees give equal bytes.

    Raises:
        EdgegolfError: A value does not fit its field, or the file would exceed 2 GB.
    """
    writer = _Writer(share, keep_defaults, byte_alignment, alignments)
    index = writer.table(root)
    objects, aligned = writer.objects, writer.alignments_by_object
    del writer  # its indices of the objects take more memory than those
    return _placed(objects, aligned).finished(index)


def unshared_size(
    root: Table,
    *,
    keep_defaults: bool = False,
    byte_alignment: int = 4,
    alignments: Mapping[int, int] = MappingProxyType({}),
) -> int:
    """About the size in bytes of a flatbuffer that stores an object for every reference to it.

    It is counted, not built: a few bytes of a hostile file may stand for terabytes. Each object
    is padded to its alignment, where a writer may do a little better.

    Args:
        root: As for `write_flatbuffer`, like the other arguments.
        keep_defaults: The same.
        byte_alignment: The same.
        alignments: The same.
    """
    counter = _Counter(keep_defaults, byte_alignment, alignments)
    total = counter.table(root)
    return 8 + total + sum(4 + 2 * (1 + max(slots, default=-1)) for slots in counter.vtables)


class _Counter:
    """Sizes of objects with all that they refer to."""

    def __init__(
        self, keep_defaults: bool, byte_alignment: int, alignments: Mapping[int, int]
    ) -> None:
        self.keep_defaults = keep_defaults
        self.byte_alignment = byte_alignment
        self.alignments = alignments
        self.sizes: dict[int, int] = {}
        self.vtables: set[tuple[int, ...]] = set()

    def table(self, node: Table) -> int:
        if id(node) not in self.sizes:
            stored = _stored_fields(node, self.keep_defaults)
            self.vtables.add(tuple(field.slot for field, _ in stored))
            widths = [len(data) or 4 for _, data in stored]
            total = _rounded_up(4 + sum(widths), max([4, *widths]))
            for field, data in stored:
                if not data:
                    total += self.value(node, field, node.fields[field.name])
            self.sizes[id(node)] = total
        return self.sizes[id(node)]

    def value(self, node: Table, field: Field, value: Any) -> int:
        if isinstance(value, Table):
            return self.table(value)
        if field.type == "string":
            return _rounded_up(4 + _text_size(value) + 1, 4)
        if field.element not in SCALARS:
            return 4 + 4 * len(value) + sum(map(self.table, value))
        alignment = SCALARS[field.element][1]
        if field.type == "[uint8]" and value:
            alignment = self.alignments.get(id(node), self.byte_alignment)
        return _rounded_up(4 + SCALARS[field.element][1] * len(value), max(4, alignment))


def _rounded_up(size: int, alignment: int) -> int:
    return size + -size % alignment


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def _stored_fields(node: Table, keep_defaults: bool) -> list[tuple[Field, bytes]]:
    """The fields to store; those that are numbers with their bytes."""
    stored = []
    for name, value in node.fields.items():
        field = FIELDS[node.table_name][name]
        if field.type not in SCALARS:
            stored.append((field, b""))
            continue
        data = _pack(field.type, (value,), node.table_name, name)
        if keep_defaults or data != _packed_default(field.type, field.default):
            stored.append((field, data))
    return stored


@cache
def _packed_default(scalar: str, default: int | float | bool) -> bytes:
    return _pack(scalar, (default,), "", "")


class Contents:
    """Numbers tables so that two have the same number if and only if they have equal fields."""

    def __init__(self) -> None:
        """No table has a number yet."""
        self._writer = _Writer(True, False, 4, {})
        self._alive: list[Table] = []  # so that no other table gets the identity of one

    def number(self, node: Table) -> int:
        """The number of a table's content."""
        self._alive.append(node)
        return self._writer.table(node)


class _Writer:
    def __init__(
        self, share: bool, keep_defaults: bool, byte_alignment: int, alignments: Mapping[int, int]
    ) -> None:
        self.share = share
        self.keep_defaults = keep_defaults
        self.byte_alignment = byte_alignment
        self.alignments = alignments
        self.objects: list[_Encoded] = []
        self.alignments_by_object: list[int] = []
        self.by_content: dict[_Encoded, int] = {}
        self.by_identity: dict[int, int] = {}
        self.vectors: dict[tuple[int, str], int] = {}
        self.vtables: dict[bytes, bytes] = {}

    def add(self, encoded: _Encoded, alignment: int) -> int:
        index = self.by_content.get(encoded) if self.share else None
        if index is None:
            index = len(self.objects)
            self.objects.append(encoded)
            self.alignments_by_object.append(alignment)
            if self.share:
                self.by_content[encoded] = index
        self.alignments_by_object[index] = max(alignment, self.alignments_by_object[index])
        return index

    def table(self, node: Table) -> int:
        if self.share and id(node) in self.by_identity:
            return self.by_identity[id(node)]
        slots: list[tuple[int, int, bytes, int | None]] = []  # width, slot, bytes, reference
        for field, data in _stored_fields(node, self.keep_defaults):
            if data:
                slots.append((len(data), field.slot, data, None))
            else:
                target = self.value(node, field, node.fields[field.name])
                slots.append((4, field.slot, bytes(4), target))
        slots.sort(key=lambda slot: (-slot[0], slot[1]))
        offsets = [0] * (1 + max((slot for _, slot, _, _ in slots), default=-1))
        body = bytearray(4)
        references = []
        for _, slot, data, reference in slots:
            offsets[slot] = len(body)
            if reference is not None:
                references.append((len(body), reference))
            body += data
        vtable = struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), len(body), *offsets)
        vtable = self.vtables.setdefault(vtable, vtable)
        alignment = max((width for width, *_ in slots), default=4)
        index = self.add(_Encoded(bytes(body), tuple(references), vtable), max(4, alignment))
        self.by_identity[id(node)] = index
        return index

    def value(self, node: Table, field: Field, value: Any) -> int:
        if isinstance(value, Table):
            return self.table(value)
        alignment = max(4, SCALARS[field.element][1] if field.element in SCALARS else 4)
        if field.type == "[uint8]" and value:
            alignment = max(4, self.alignments.get(id(node), self.byte_alignment))
        if not self.share or len(value) <= SHORT:
            return self.add(self.encoded(node, field, value), alignment)
        key = id(value), field.type
        if key not in self.vectors:
            self.vectors[key] = self.add(self.encoded(node, field, value), alignment)
        index = self.vectors[key]
        self.alignments_by_object[index] = max(alignment, self.alignments_by_object[index])
        return index

    def encoded(self, node: Table, field: Field, value: Any) -> _Encoded:
        if field.type == "string":
            text = value.encode("utf-8", "surrogateescape")
            return _Encoded(struct.pack("<I", len(text)) + text + b"\0", (), b"")
        length = struct.pack("<I", len(value))
        if field.type == "[uint8]":
            return _Encoded(length + value, (), b"")
        if field.element in SCALARS:
            data = _pack(field.element, value, node.table_name, field.name)
            return _Encoded(length + data, (), b"")
        items = [self.table(item) for item in value]
        references = tuple((4 + 4 * index, item) for index, item in enumerate(items))
        return _Encoded(length + bytes(4 * len(items)), references, b"")


def _pack(scalar: str, values: tuple[Any, ...], table_name: str, name: str) -> bytes:
    try:
        return struct.pack(f"<{len(values)}{SCALARS[scalar][0]}", *values)
    except (struct.error, OverflowError) as error:
        raise EdgegolfError(f"{table_name}.{name} does not fit {scalar}: {error}") from None


def _placed(objects: list[_Encoded], alignments: list[int]) -> _Layout:
    """Lay objects out, referrers first because offsets are unsigned.

    Later objects refer to earlier ones only, so reversed order is a topological order. Leaves that
    need more than four-byte alignment and vtables, which may lie anywhere, fill the gaps.
    """
    layout = _Layout(objects, alignments)
    waiting: dict[int, list[int]] = {}
    for index in reversed(range(len(objects))):
        item = objects[index]
        if alignments[index] > 4 and not item.references and not item.vtable:
            waiting.setdefault(alignments[index], []).append(index)
            continue
        layout.put(index)
        for alignment, leaves in waiting.items():
            if leaves and -(layout.end + 4) % alignment < 4:
                layout.put(leaves.pop())
    for leaves in waiting.values():
        for index in leaves:
            layout.put(index)
    layout.put_remaining_vtables()
    return layout


class _Layout:
    """Where each object lies."""

    def __init__(self, objects: list[_Encoded], alignments: list[int]) -> None:
        self.objects = objects
        self.alignments = alignments
        self.end = 8
        # What follows the header: an object, or a vtable or padding as bytes.
        self.pieces: list[int | bytes] = []
        self.positions = array("Q", bytes(8 * len(objects)))
        self.vtables: dict[bytes, int] = {}
        wanted = dict.fromkeys(item.vtable for item in reversed(objects) if item.vtable)
        self.vtables_by_size_modulo_4: dict[int, list[bytes]] = {0: [], 2: []}
        for vtable in wanted:
            self.vtables_by_size_modulo_4[len(vtable) % 4].append(vtable)

    def add(self, piece: int | bytes) -> None:
        self.pieces.append(piece)
        self.end += len(self.objects[piece].data if isinstance(piece, int) else piece)
        if self.end > MAXIMUM_FILE_SIZE:
            raise EdgegolfError("a TFLite file cannot exceed 2 GB")

    def add_vtable(self, vtable: bytes) -> None:
        self.vtables[vtable] = self.end
        self.add(vtable)

    def put(self, index: int) -> None:
        """Place an object so that the byte behind its first four is aligned."""
        self.add(bytes(self.end % 2))
        fillers = self.vtables_by_size_modulo_4[2]
        if self.end % 4 and fillers:
            self.add_vtable(fillers.pop())
        self.add(bytes(-(self.end + 4) % self.alignments[index]))
        self.positions[index] = self.end
        self.add(index)

    def put_remaining_vtables(self) -> None:
        """Place the vtables that filled no gap."""
        self.add(bytes(self.end % 2))
        for vtables in self.vtables_by_size_modulo_4.values():
            for vtable in vtables:
                self.add_vtable(vtable)

    def finished(self, root: int) -> bytes:
        """The file, whose root is an object."""
        data = bytearray(struct.pack("<I4s", self.positions[root], FILE_IDENTIFIER))
        for piece in self.pieces:
            data += self.with_offsets(piece) if isinstance(piece, int) else piece
        return bytes(data)

    def with_offsets(self, index: int) -> bytes:
        item, position = self.objects[index], self.positions[index]
        if not item.vtable and not item.references:
            return item.data
        data = bytearray(item.data)
        if item.vtable:
            struct.pack_into("<i", data, 0, position - self.vtables[item.vtable])
        for where, target in item.references:
            struct.pack_into("<I", data, where, self.positions[target] - position - where)
        return bytes(data)
