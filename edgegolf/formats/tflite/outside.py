"""What a TFLite file holds outside its flatbuffer, and who refers to it.

Buffers and custom options may lie behind the flatbuffer, and two things that its schema does not
know: programs for accelerators, which operators named ``DISPATCH_OP`` point to by offset and size
in their options (LiteRT, ``litert/core/dispatch_op_schema.cc``), and a ZIP archive of the files
that TFLite Metadata associates with a model. What remains is padding, or nobody here knows what.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import Table, transform, walk
from edgegolf.formats.tflite.model import TfliteModel

DISPATCH = "CUSTOM:DISPATCH_OP"
_OFFSET, _SIZE = b"bytecode_offset", b"bytecode_size"
MAXIMUM_PADDING = 63
# Programs are mapped into memory: what was aligned to a page, or to less, stays so.
MAXIMUM_ALIGNMENT = 4096

# Custom operators whose options are known to hold settings only: of TFLite's own kernels, of
# MediaPipe's, of accelerators that keep their program in the options or in a tensor.
_PLAIN_CUSTOM_OPERATORS = frozenset(
    {
        "AudioSpectrogram",
        "Convolution2DTransposeBias",
        "Landmarks2TransformMatrix",
        "MaxPoolingWithArgmax2D",
        "MaxUnpooling2D",
        "Mfcc",
        "NumericVerify",
        "TFLite_Detection_PostProcess",
        "TransformLandmarks",
        "TransformTensorBilinear",
        "edgetpu-custom-op",
        "ethos-u",
    }
)
# TensorFlow's operators, whose options hold their definition, and those of TFLM's signal library.
_PLAIN_PREFIXES = ("Flex", "Signal")
# Metadata whose content names no number of a tensor or buffer and no place in the file.
_PLAIN_METADATA = frozenset(
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

_END_SIGNATURE = b"PK\x05\x06"
_END_OF_ARCHIVE = struct.Struct("<4s4H2IH")
_ARCHIVE_ENTRY = struct.Struct("<4s6H3I5H2I")

Range = tuple[int, int]


@dataclass(frozen=True)
class Outside:
    """Where what lies outside the flatbuffer's own objects is, as pairs of start and end."""

    programs: tuple[Range, ...]  # programs for accelerators, overlapping ones together
    archive: Range  # the ZIP archive behind all else, or an empty range
    # Other bytes in or behind the flatbuffer that are more than padding.
    unexplained: tuple[Range, ...]
    end: int  # where the flatbuffer ends


def outside(model: TfliteModel, name: str = "the file") -> Outside:
    """Find what lies outside the flatbuffer's own objects.

    Raises:
        EdgegolfError: An operator's program lies outside the file.
    """
    size = len(model.data)
    programs = tuple(_union(_program(item, size, name) for item in _dispatches(model)))
    spans = ((span.start, span.end) for span in model.spans)
    gaps = list(_gaps(chain(spans, programs, _external(model)), model.data))
    archive = (size, size)
    if gaps and gaps[-1][1] == size and (start := _archive_start(model.data, gaps[-1])) < size:
        archive = (start, size)
        before = (gaps.pop()[0], start)
        if not is_padding(model.data, before):
            gaps.append(before)
    return Outside(programs, archive, tuple(gaps), max(span.end for span in model.spans))


def is_padding(data: bytes, gap: Range) -> bool:
    """Whether bytes are few and zero."""
    start, end = gap
    return end - start <= MAXIMUM_PADDING and not data[start:end].strip(b"\0")


def unknown_referrer(model: TfliteModel) -> str:
    """What may refer to tensors by number or to bytes by place in a way unknown here, or ``""``."""
    for metadata in model.root.metadata:
        if metadata.name not in _PLAIN_METADATA:
            return f"the metadata {metadata.name[:80]!r}"
    for node in walk(model.root):
        if node.table_name == "CustomQuantization":
            return "a custom quantization"
        if node.table_name == "Operator" and _is_opaque(node, model.operator_name(node)):
            return f"the custom operator {model.operator_name(node)[7:87]!r}"
    return ""


def _is_opaque(operator: Table, name: str) -> bool:
    kind, _, custom = name.partition(":")
    if kind != "CUSTOM" or not (operator.custom_options or operator.large_custom_options_size):
        return False
    if name == DISPATCH:
        return len(map_numbers(operator.custom_options, (_OFFSET, _SIZE))) < 2
    return custom not in _PLAIN_CUSTOM_OPERATORS and not custom.startswith(_PLAIN_PREFIXES)


def with_programs(
    root: Table, programs: tuple[Range, ...], data: bytes, write: Callable[[Table], bytes]
) -> tuple[bytes, bytes]:
    """Write a model whose operators point to its programs behind it, and those with padding.

    Args:
        root: The table ``Model``.
        programs: Where the programs lie in the file that it was read from.
        data: That file.
        write: Writes a model without programs.

    Raises:
        EdgegolfError: An operator's options cannot hold where its program is.
    """
    if not programs:
        return write(root), b""
    size = len(write(root))
    starts = [start for start, _ in programs]
    for _ in range(8):
        places = list(_places(programs, size))

        def moved(offset: int, places: list[int] = places) -> int:
            which = bisect_right(starts, offset) - 1
            return places[which] + offset - starts[which]

        written = write(_pointing(root, moved))
        if len(written) == size:
            behind = bytearray()
            for (start, end), place in zip(programs, places, strict=True):
                behind += bytes(place - size - len(behind)) + data[start:end]
            return written, bytes(behind)
        size = len(written)
    raise EdgegolfError("the programs behind the model have no settled place")


def moved_archive(archive: bytes, old: int, new: int) -> bytes:
    """A ZIP archive for another place in a file, as its offsets count from the file's beginning.

    Args:
        archive: The archive, as `outside` found it.
        old: Where it was in the file.
        new: Where it comes to lie.
    """
    if not archive:
        return archive
    changed = bytearray(archive)
    end = archive.rfind(_END_SIGNATURE)
    fields = list(_END_OF_ARCHIVE.unpack_from(archive, end))
    count, size, offset = fields[4:7]
    position = end - size
    if offset != old + position:  # they count from the archive's own beginning
        return archive
    fields[6] += new - old
    _END_OF_ARCHIVE.pack_into(changed, end, *fields)
    for _ in range(count):
        entry = list(_ARCHIVE_ENTRY.unpack_from(archive, position))
        entry[-1] += new - old
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
    numbers = map_numbers(operator.custom_options, (_OFFSET, _SIZE))
    if len(numbers) < 2:
        return (0, 0)
    start, length = numbers[_OFFSET][2], numbers[_SIZE][2]
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


def _gaps(ranges: Iterable[Range], data: bytes) -> Iterator[Range]:
    """Where none of the ranges is, except padding."""
    claimed = bytearray(len(data))
    for start, end in ranges:
        claimed[start:end] = b"\1" * (end - start)
    end = 0
    while (start := claimed.find(0, end)) >= 0:
        end = claimed.find(1, start) % (len(data) + 1)  # the file's end if there is none
        if not is_padding(data, (start, end)):
            yield start, end


def _archive_start(data: bytes, gap: Range) -> int:
    """Where a sound ZIP archive begins that reaches to the end of the file, else the end."""
    tail = data[gap[0] : gap[1]]
    end = tail.rfind(_END_SIGNATURE)
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
    return gap[0] + min(starts)


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
        numbers = map_numbers(operator.custom_options, (_OFFSET, _SIZE))
        if len(numbers) < 2 or not numbers[_SIZE][2]:
            return operator
        position, width, offset = numbers[_OFFSET]
        options = bytearray(operator.custom_options)
        try:
            options[position : position + width] = moved(offset).to_bytes(width, "little")
        except OverflowError:
            raise EdgegolfError(
                "an operator's options cannot hold where its program comes to lie"
            ) from None
        return operator.replace(custom_options=bytes(options))

    return transform(root, {"Operator": point})


def map_numbers(options: bytes, wanted: tuple[bytes, ...]) -> dict[bytes, tuple[int, int, int]]:
    """Position, width in bytes and value of the integers of some keys in a FlexBuffers map.

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
            keyed = [key for key in wanted if options.startswith(key + b"\0", start)]
            if not keyed:
                continue
            kind = read(values + count * width + index, 1)
            position, stored = values + index * width, width
            if kind >> 2 in _INDIRECT_INTEGERS:
                stored = 1 << (kind & 3)
                position -= read(position, width)
            if kind >> 2 in _INTEGERS | _INDIRECT_INTEGERS:
                found[keyed[0]] = (position, stored, read(position, stored))
    except ValueError:
        return {}
    return found


# Types of FlexBuffers. LiteRT reads an integer of either sign.
_MAP = 9
_INTEGERS = frozenset({1, 2})
_INDIRECT_INTEGERS = frozenset({6, 7})
