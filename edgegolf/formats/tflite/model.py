"""A TFLite file with its indices checked, and the few facts about it that are not its schema's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.formats.tflite.flatbuffer import Spans, Table, read_flatbuffer, walk, write_flatbuffer
from edgegolf.formats.tflite.schema import ENUMERATIONS, TABLES, Field

MAXIMUM_RANK = 64

_WIDE_TYPES = {"INT64", "UINT64", "FLOAT64", "COMPLEX64", "COMPLEX128"}  # 8 bytes or more


@dataclass(frozen=True)
class TfliteModel:
    """A parsed file."""

    root: Table  # the table ``Model``
    spans: Spans  # which bytes of the file hold which object
    data: bytes  # the whole file
    # Name of each operator code, ``CUSTOM:name`` for custom operators.
    operator_names: tuple[str, ...]

    def operator_name(self, operator: Table) -> str:
        """What an operator is, such as ``CONV_2D``."""
        name: str = self.operator_names[operator.opcode_index]
        return name

    def buffer_data(self, index: int) -> bytes:
        """A buffer's content, inside the flatbuffer or behind it."""
        return external_or_inline(self.root.buffers[index], "data", "offset", "size", self.data)


def external_or_inline(owner: Table, field: str, offset: str, size: str, data: bytes) -> bytes:
    """Bytes of a field that may lie behind the flatbuffer, as in files above 2 GB."""
    start, length = getattr(owner, offset), getattr(owner, size)
    # The converter writes offset 1 as a placeholder for "none".
    if start > 1 and length:
        return data[start : start + length]
    inline: bytes = getattr(owner, field)
    return inline


def read_tflite(path: Path) -> TfliteModel:
    """Read a ``.tflite`` file and check the indices in it.

    Raises:
        EdgegolfError: The file cannot be read, is damaged, or an index in it points nowhere.
    """
    return parse_tflite(read_bounded(path), str(path))


def parse_tflite(data: bytes, name: str = "the file") -> TfliteModel:
    """As `read_tflite`, from the file's bytes; ``name`` is what error messages call them."""
    parsed = read_flatbuffer(data, name)
    problem = _problem(parsed.root, len(data))
    if problem:
        raise EdgegolfError(f"{name} is not a valid TFLite file: {problem}")
    return TfliteModel(parsed.root, parsed.spans, data, operator_names(parsed.root))


def write_tflite(root: Table) -> bytes:
    """Write a model in as few bytes as its content allows.

    Buffers are aligned to four bytes, those of tensors with wider elements to eight.

    Args:
        root: The table ``Model``.

    Raises:
        EdgegolfError: A value does not fit its field, or the file would exceed 2 GB.
    """
    return write_flatbuffer(root, alignments=buffer_alignments(root))


def buffer_alignments(root: Table) -> dict[int, int]:
    """The alignment that the scalars in each buffer need, by ``id`` of the ``Buffer`` table."""
    alignments: dict[int, int] = {}
    for subgraph in root.subgraphs:
        for tensor in subgraph.tensors:
            if type_name(tensor) in _WIDE_TYPES and tensor.buffer < len(root.buffers):
                alignments[id(root.buffers[tensor.buffer])] = 8
    return alignments


def type_name(tensor: Table) -> str:
    """The name of a tensor's element type, such as ``INT8``."""
    names = ENUMERATIONS["TensorType"]
    return names[tensor.type] if 0 <= tensor.type < len(names) else f"TYPE_{tensor.type}"


def called_subgraphs(operator: Table) -> dict[str, int]:
    """The subgraphs that an operator names, by the field of its options."""
    found: dict[str, int] = {}
    for options in (operator.builtin_options, operator.builtin_options_2):
        if options is None:
            continue
        for field in references(options, "subgraph"):
            value = getattr(options, field.name)
            if field.is_vector:
                found |= {f"{field.name}_{number}": index for number, index in enumerate(value)}
            else:
                found[field.name] = value
    return found


@cache
def _fields_that_refer(table_name: str, to: str) -> tuple[Field, ...]:
    return tuple(field for field in TABLES[table_name] if field.refers_to == to)


def references(node: Table, to: str) -> tuple[Field, ...]:
    """The fields of a table that hold indices of ``tensor``, ``buffer``, ``subgraph``, ..."""
    return _fields_that_refer(node.table_name, to)


def referred(node: Table, to: str) -> list[int]:
    """The indices in those fields."""
    found: list[int] = []
    for field in references(node, to):
        value = getattr(node, field.name)
        found.extend(value if field.is_vector else (value,))
    return found


def operator_names(root: Table) -> tuple[str, ...]:
    """What each operator code stands for, such as ``CONV_2D`` or ``CUSTOM:name``."""
    return tuple(_operator_name(code) for code in root.operator_codes)


def _operator_name(code: Table) -> str:
    # Codes above 127 do not fit the deprecated field, which then holds a placeholder.
    builtin = max(code.builtin_code, code.deprecated_builtin_code)
    names = ENUMERATIONS["BuiltinOperator"]
    name = names[builtin] if 0 <= builtin < len(names) else f"BUILTIN_{builtin}"
    return f"CUSTOM:{code.custom_code}" if name == "CUSTOM" else name


def _problem(root: Table, size: int) -> str:
    """What is wrong with the model's indices; empty if nothing is."""
    external = 0
    for buffer in root.buffers:
        if buffer.offset > 1 and buffer.offset + buffer.size > size:
            return "a buffer reaches outside the file"
        external += buffer.size if buffer.offset > 1 else 0
    for subgraph in root.subgraphs:
        if any(len(tensor.shape) > MAXIMUM_RANK for tensor in subgraph.tensors):
            return f"a tensor has more than {MAXIMUM_RANK} dimensions"
        for operator in subgraph.operators:
            start, length = operator.large_custom_options_offset, operator.large_custom_options_size
            if start + length > size:
                return "an operator's options reach outside the file"
            external += length if start > 1 else 0
    if external > 2 * size:
        return "its buffers overlap"
    for signature in root.signature_defs:
        if signature.subgraph_index >= len(root.subgraphs):
            return "a signature belongs to a subgraph that does not exist"
        count = len(root.subgraphs[signature.subgraph_index].tensors)
        if any(item.tensor_index >= count for item in (*signature.inputs, *signature.outputs)):
            return "a signature uses a tensor that does not exist"
    counts = {
        "buffer": max(1, len(root.buffers)),
        "operator_code": len(root.operator_codes),
        "subgraph": len(root.subgraphs),
    }
    for node in walk(root):
        for to, count in counts.items():
            # Some converters leave numbers in the model's own list of buffers, which nobody reads.
            if node is not root and not _within(referred(node, to), count):
                return f"a table {node.table_name} names a {to} that does not exist"
    for subgraph in {id(item): item for item in root.subgraphs}.values():
        for node in walk(subgraph):
            if not _within(referred(node, "tensor"), len(subgraph.tensors)):
                return f"a table {node.table_name} names a tensor that does not exist"
    return ""


def _within(indices: list[int], count: int) -> bool:
    """Whether all exist; -1 stands for none."""
    return not indices or (min(indices) >= -1 and max(indices) < count)
