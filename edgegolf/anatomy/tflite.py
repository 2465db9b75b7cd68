"""Where every byte of a TFLite file goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edgegolf.anatomy import parts as part
from edgegolf.anatomy.parts import Content, Dissection, by_name, sizes_by_part
from edgegolf.formats.tflite.flatbuffer import Span, Table
from edgegolf.formats.tflite.model import TfliteModel, parse_tflite, type_name
from edgegolf.formats.tflite.operators import BIAS_INPUTS, PARAMETER_INPUTS
from edgegolf.formats.tflite.outside import outside, unknown_referrer
from edgegolf.formats.tflite.schema import FIELDS, SCALARS
from edgegolf.ir.opaque import WEIGHT_TYPES

_PART_OF_TABLE = by_name(
    {
        part.STRUCTURE: "Model SubGraph Buffer ExternalBufferGroup ExternalBuffer",
        part.TENSORS: "Tensor",
        part.QUANTIZATION: "QuantizationParameters CustomQuantization BlockwiseQuantization "
        "MultiAxisQuantization",
        part.SHAPES: "SparsityParameters DimensionMetadata Int32Vector Uint16Vector Uint8Vector "
        "VariantSubType",
        part.OPERATORS: "Operator OperatorCode",
        part.METADATA: "Metadata SignatureDef TensorMap",
    }
)

# Fields whose data serve something else than the table that refers to them.
_PART_OF_FIELD = by_name(
    {
        part.SHAPES: "Tensor.shape Tensor.shape_signature",
        part.NAMES: "Tensor.name SubGraph.name",
        part.OPTIONS: "Operator.custom_options",
        part.METADATA: "Model.description Model.metadata Model.metadata_buffer "
        "Model.signature_defs",
        part.OPERATORS: "Model.operator_codes SubGraph.operators",
        part.TENSORS: "SubGraph.tensors",
    }
)

# Many tensors may share a name, and a name may be as long as the file.
MAXIMUM_NAME = 400


def dissect_tflite(data: bytes, name: str) -> Dissection:
    """Take a ``.tflite`` file apart.

    Raises:
        EdgegolfError: The file is damaged.
    """
    model = parse_tflite(data, name)
    roles, operators, names = _buffer_uses(model)
    role_of_table = {
        id(buffer): roles.get(index, part.UNUSED) for index, buffer in enumerate(model.root.buffers)
    }
    ranges = [item for span in model.spans for item in _ranges_of(span, role_of_table)]
    for index, buffer in enumerate(model.root.buffers):
        if buffer.offset > 1 and buffer.size:
            role = roles.get(index, part.UNUSED)
            ranges.append((buffer.offset, buffer.offset + buffer.size, role))
    for subgraph in model.root.subgraphs:
        for operator in subgraph.operators:
            start, size = operator.large_custom_options_offset, operator.large_custom_options_size
            if start > 1 and size:
                ranges.append((start, start + size, part.OPTIONS))
    ranges += _outside(model, name)
    sizes = sizes_by_part(ranges, data)
    return Dissection(
        sizes,
        tuple(
            Content(
                tuple(names.get(index, ())),
                roles.get(index, part.UNUSED),
                model.buffer_data(index),
                operators[index],
            )
            for index in _stored_buffers(model)
        ),
    )


def _outside(model: TfliteModel, name: str) -> Iterator[tuple[int, int, str]]:
    found = outside(model, name)
    for start, end in found.programs:
        yield start, end, part.PROGRAMS
    yield (*found.archive, part.METADATA)
    # Bytes within the flatbuffer are dead if all that may refer to them is known.
    referrer = unknown_referrer(model) if found.unexplained else ""
    for start, end in found.unexplained:
        if start >= found.end or referrer:
            yield start, end, part.UNEXPLAINED


def _ranges_of(span: Span, role_of_table: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    owner = span.owner
    if owner is None:
        yield span.start, span.end, part.STRUCTURE
    elif span.kind == "vtable":
        yield span.start, span.end, part.VTABLES
    elif span.kind == "table":
        # What a table does not use of its own size is padding behind or between its fields.
        used = min(span.end - span.start, 4 + sum(map(_width, _stored_fields(owner))))
        yield span.start, span.start + used, _part_of_table(owner)
        yield span.start + used, span.end, part.PADDING
    elif owner.table_name == "Buffer":
        yield span.start, span.end, role_of_table.get(id(owner), part.UNUSED)
    else:
        yield (
            span.start,
            span.end,
            _PART_OF_FIELD.get(f"{owner.table_name}.{span.field}", _part_of_table(owner)),
        )


def _part_of_table(table: Table) -> str:
    return _PART_OF_TABLE.get(table.table_name, part.OPTIONS)


def _stored_fields(table: Table) -> list[str]:
    return [FIELDS[table.table_name][name].type for name in table.fields]


def _width(kind: str) -> int:
    return SCALARS[kind][1] if kind in SCALARS else 4


def _stored_buffers(model: TfliteModel) -> list[int]:
    """The buffers that have data, one of those that share the same bytes."""
    seen: set[int] = set()
    chosen = []
    for index, buffer in enumerate(model.root.buffers):
        if id(buffer) not in seen and model.buffer_data(index):
            chosen.append(index)
        seen.add(id(buffer))
    return chosen


def _buffer_uses(
    model: TfliteModel,
) -> tuple[dict[int, str], Counter[int], dict[int, list[str]]]:
    """For each buffer its role, the number of operators that use it, and its tensors' names."""
    roles: dict[int, str] = {}
    operators: Counter[int] = Counter()
    names: dict[int, list[str]] = {}
    for entry in model.root.metadata:
        roles[entry.buffer] = part.METADATA
    for number, subgraph in enumerate(model.root.subgraphs):
        for index, tensor in enumerate(subgraph.tensors):
            if tensor.buffer:
                shown = tensor.name[:MAXIMUM_NAME] or f"tensor {index} of graph {number}"
                names.setdefault(tensor.buffer, []).append(shown)
        for operator in subgraph.operators:
            used: set[int] = set()
            for position, index in enumerate(operator.inputs):
                if index < 0 or not subgraph.tensors[index].buffer:
                    continue
                tensor = subgraph.tensors[index]
                role = _role(model.operator_name(operator), position, tensor)
                if roles.get(tensor.buffer) not in (part.WEIGHTS, part.BIASES):
                    roles[tensor.buffer] = role
                used.add(tensor.buffer)
            operators.update(used)
        for index in (*subgraph.inputs, *subgraph.outputs):
            if index >= 0:
                roles.setdefault(subgraph.tensors[index].buffer, part.CONSTANTS)
    return roles, operators, names


def _role(operator: str, position: int, tensor: Table) -> str:
    if BIAS_INPUTS.get(operator) == position:
        return part.BIASES
    if operator in PARAMETER_INPUTS:
        return part.WEIGHTS if position in PARAMETER_INPUTS[operator] else part.CONSTANTS
    several = any(size > 1 for size in tensor.shape)
    return part.WEIGHTS if several and type_name(tensor).lower() in WEIGHT_TYPES else part.CONSTANTS
