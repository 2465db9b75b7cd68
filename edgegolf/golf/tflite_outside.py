"""What a TFLite file holds outside its flatbuffer, and who refers to it.

Buffers and custom options may lie behind the flatbuffer, and two things that its schema does not
know: programs for accelerators, which operators named ``DISPATCH_OP`` point to by offset and size
in their options (LiteRT, ``litert/core/dispatch_op_schema.cc``), and a ZIP archive of the files
that TFLite Metadata associates with a model. What remains is padding, or nobody here knows what.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from edgegolf.errors import EdgegolfError
from edgegolf.golf.flatbuffer import Table, transform
from edgegolf.golf.tflite_model import TfliteModel

DISPATCH = "CUSTOM:DISPATCH_OP"
MAXIMUM_PADDING = 63
# Programs are mapped into memory: what was aligned to a page, or to less, stays so.
MAXIMUM_ALIGNMENT = 4096

# Custom operators whose options are known to hold no offsets: their kernels read nothing else.
_PLAIN_CUSTOM_OPERATORS = frozenset(
    {"TFLite_Detection_PostProcess", "edgetpu-custom-op", "ethos-u", "Convolution2DTransposeBias"}
)
#: Metadata whose content names no number of a tensor or buffer and no place in the file.
PLAIN_METADATA = frozenset(
    {
        "min_runtime_version",
        "CONVERSION_METADATA",
        "TFLITE_METADATA",
        "reduced_precision_support",
        "LiteRtStamp",
        "model_control_dependencies",
        "DEBUG_METADATA",
    }
)

_END_OF_ARCHIVE = struct.Struct("<4s4H2IH")
_ARCHIVE_ENTRY = struct.Struct("<4s6H3I5H2I")

Range = tuple[int, int]


@dataclass(frozen=True)
class Outside:
    """Where what lies outside the flatbuffer's own objects is, as pairs of start and end.

    Attributes:
        programs: Programs for accelerators, overlapping ones together.
        archive: The ZIP archive behind all else, or an empty range.
        unexplained: Other bytes in or behind the flatbuffer that are more than padding.
    """

    programs: tuple[Range, ...]
    archive: Range
    unexplained: tuple[Range, ...]


def outside(model: TfliteModel, name: str = "the file") -> Outside:
    """Find what lies outside the flatbuffer's own objects.

    Raises:
        EdgegolfError: An operator's program lies outside the file.
    """
    size = len(model.data)
    programs = tuple(_union(_program(item, size, name) for item in _dispatches(model)))
    claimed = [(span.start, span.end) for span in model.spans]
    claimed += [*programs, *_external(model)]
    gaps = [gap for gap in _gaps(_union(claimed), size) if not is_padding(model.data, gap)]
    archive = (size, size)
    if gaps and gaps[-1][1] == size and (start := _archive_start(model.data, gaps[-1])) < size:
        archive = (start, size)
        before = (gaps.pop()[0], start)
        if not is_padding(model.data, before):
            gaps.append(before)
    return Outside(programs, archive, tuple(gaps))


def is_padding(data: bytes, gap: Range) -> bool:
    """Whether bytes are few and zero."""
    start, end = gap
    return end - start <= MAXIMUM_PADDING and not data[start:end].strip(b"\0")


def unknown_referrer(model: TfliteModel) -> str:
    """Something whose content is unknown here and may refer to places in the file, or ``""``."""
    for metadata in model.root.metadata:
        if metadata.name not in PLAIN_METADATA:
            return f"the metadata {metadata.name!r}"
    for subgraph in model.root.subgraphs:
        for operator in subgraph.operators:
            kind, _, custom = model.operator_name(operator).partition(":")
            plain = custom in _PLAIN_CUSTOM_OPERATORS or custom.startswith("Flex")
            has_options = operator.custom_options or operator.large_custom_options_size
            if kind == "CUSTOM" and has_options and not plain and custom != "DISPATCH_OP":
                return f"the custom operator {custom!r}"
    return ""


def with_programs(
    root: Table, programs: tuple[Range, ...], data: bytes, write: Callable[[Table], bytes]
) -> bytes:
    """Write a model with its programs behind it, and let its operators point to them.

    Args:
        root: The table ``Model``.
        programs: Where the programs lie in the file that it was read from.
        data: That file.
        write: Writes a model without programs.

    Raises:
        EdgegolfError: An operator's options cannot hold where its program is.
    """
    if not programs:
        return write(root)
    size = len(write(root))
    for _ in range(8):
        places = list(_places(programs, size))

        def moved(offset: int, places: list[int] = places) -> int:
            starts = zip(programs, places, strict=True)
            return next(new + offset - old for (old, end), new in starts if old <= offset <= end)

        written = write(_pointing(root, moved))
        if len(written) == size:
            for (start, end), place in zip(programs, places, strict=True):
                written = written.ljust(place, b"\0") + data[start:end]
            return written
        size = len(written)
    raise EdgegolfError("the programs behind the model have no settled place")


def moved_archive(archive: bytes, distance: int) -> bytes:
    """A ZIP archive for another place: its offsets count from the beginning of the file.

    Args:
        archive: The archive, as `outside` found it.
        distance: By how many bytes it moves, negative towards the beginning.
    """
    if not archive:
        return archive
    changed = bytearray(archive)
    end = archive.rfind(b"PK\x05\x06")
    *_, count, size, _, _ = fields = list(_END_OF_ARCHIVE.unpack_from(archive, end))
    position = end - size
    shift = fields[6] - position  # where offsets count from, in the archive's own numbers
    fields[6] = position + shift + distance
    _END_OF_ARCHIVE.pack_into(changed, end, *fields)
    for _ in range(count):
        entry = list(_ARCHIVE_ENTRY.unpack_from(archive, position))
        entry[-1] += distance
        _ARCHIVE_ENTRY.pack_into(changed, position, *entry)
        position += _ARCHIVE_ENTRY.size + sum(entry[10:13])
    return bytes(changed)


# ---------------------------------------------------------------------------------------- finding


def _dispatches(model: TfliteModel) -> Iterator[Table]:
    for subgraph in model.root.subgraphs:
        for operator in subgraph.operators:
            if model.operator_name(operator) == DISPATCH and operator.custom_options:
                yield operator


def _program(operator: Table, size: int, name: str) -> Range:
    numbers = map_numbers(operator.custom_options)
    if not {"bytecode_offset", "bytecode_size"} <= numbers.keys():
        return (0, 0)
    start, length = (numbers[key][2] for key in ("bytecode_offset", "bytecode_size"))
    if start + length > size:
        raise EdgegolfError(f"{name}: the program of an operator lies outside the file")
    return (start, start + length)


def _external(model: TfliteModel) -> Iterator[Range]:
    for buffer in model.root.buffers:
        if buffer.offset > 1 and buffer.size:
            yield buffer.offset, buffer.offset + buffer.size
    for subgraph in model.root.subgraphs:
        for operator in subgraph.operators:
            start, length = operator.large_custom_options_offset, operator.large_custom_options_size
            if start > 1 and length:
                yield start, start + length


def _union(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes in ranges that do not overlap, in order; empty ones are left out."""
    found: list[Range] = []
    for start, end in sorted(item for item in ranges if item[0] < item[1]):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _gaps(ranges: list[Range], size: int) -> Iterator[Range]:
    position = 0
    for start, end in [*ranges, (size, size)]:
        if position < start:
            yield position, start
        position = max(position, end)


def _archive_start(data: bytes, gap: Range) -> int:
    """Where a sound ZIP archive begins that reaches to the end of the file, else the end."""
    tail = data[gap[0] : gap[1]]
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + _END_OF_ARCHIVE.size > len(tail):
        return gap[1]
    fields = _END_OF_ARCHIVE.unpack_from(tail, end)
    _, disk, first_disk, here, count, size, offset, comment = fields
    position = end - size
    if disk or first_disk or here != count or position < 0 or count == 0xFFFF:
        return gap[1]
    if end + _END_OF_ARCHIVE.size + comment != len(tail):
        return gap[1]
    starts = []
    for _ in range(count):
        if position + _ARCHIVE_ENTRY.size > end:
            return gap[1]
        entry = _ARCHIVE_ENTRY.unpack_from(tail, position)
        start = entry[-1] + end - size - offset
        if entry[0] != b"PK\x01\x02" or not 0 <= start < end - size:
            return gap[1]
        if tail[start : start + 4] != b"PK\x03\x04":
            return gap[1]
        starts.append(start)
        position += _ARCHIVE_ENTRY.size + sum(entry[10:13])
    if position != end or not starts:
        return gap[1]
    try:  # what else an archive must be, ZIP64 included, the library knows
        with zipfile.ZipFile(io.BytesIO(tail[min(starts) :])) as archive:
            sound = len(archive.infolist()) == count
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        sound = False
    return gap[0] + min(starts) if sound else gap[1]


# --------------------------------------------------------------------------------------- patching


def _places(programs: tuple[Range, ...], size: int) -> Iterator[int]:
    """Where each program comes to lie behind a flatbuffer, aligned as it was."""
    for start, end in programs:
        alignment = min(start & -start, MAXIMUM_ALIGNMENT) or MAXIMUM_ALIGNMENT
        size += -size % alignment
        yield size
        size += end - start


def _pointing(root: Table, moved: Callable[[int], int]) -> Table:
    codes = [
        index for index, code in enumerate(root.operator_codes) if code.custom_code == "DISPATCH_OP"
    ]

    def point(operator: Table) -> Table:
        if operator.opcode_index not in codes or not operator.custom_options:
            return operator
        numbers = map_numbers(operator.custom_options)
        if not {"bytecode_offset", "bytecode_size"} <= numbers.keys():
            return operator
        position, width, offset = numbers["bytecode_offset"]
        if not numbers["bytecode_size"][2]:
            return operator
        options = bytearray(operator.custom_options)
        try:
            options[position : position + width] = moved(offset).to_bytes(width, "little")
        except OverflowError:
            raise EdgegolfError(
                "an operator's options cannot hold where its program comes to lie"
            ) from None
        return operator.replace(custom_options=bytes(options))

    return transform(root, {"Operator": point})


def map_numbers(options: bytes) -> dict[str, tuple[int, int, int]]:
    """Position, width in bytes and value of the integers in a FlexBuffers map, by key.

    Empty if the bytes are no such map. Format: https://flatbuffers.dev/internals/#flexbuffers
    """
    size = len(options)

    def read(position: int, width: int) -> int:
        if not 0 <= position <= size - width:
            raise ValueError
        return int.from_bytes(options[position : position + width], "little")

    try:
        kind, width = read(size - 2, 1), read(size - 1, 1)
        root = size - 2 - width
        if kind >> 2 != _MAP or width not in (1, 2, 4, 8):
            return {}
        values = root - read(root, width)
        width = 1 << (kind & 3)
        count = read(values - width, width)
        keys = values - 3 * width - read(values - 3 * width, width)
        key_width = read(values - 2 * width, width)
        if count > size or key_width not in (1, 2, 4, 8):
            return {}
        found = {}
        for index in range(count):
            place = keys + index * key_width
            start = place - read(place, key_width)
            if not 0 <= start < size:
                return {}
            key = options[start : options.index(b"\0", start)].decode("utf-8", "replace")
            kind = read(values + count * width + index, 1)
            position, stored = values + index * width, width
            if kind >> 2 in _INDIRECT_INTEGERS:
                stored = 1 << (kind & 3)
                position -= read(position, width)
            if kind >> 2 in _INTEGERS | _INDIRECT_INTEGERS:
                found[key] = (position, stored, read(position, stored))
    except ValueError:
        return {}
    return found


# Types of FlexBuffers. LiteRT reads an integer of either sign.
_MAP = 9
_INTEGERS = frozenset({1, 2})
_INDIRECT_INTEGERS = frozenset({6, 7})
