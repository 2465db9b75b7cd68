"""The tables of the ONNX schema hold what the descriptors of the `onnx` package hold."""

from __future__ import annotations

import pytest

from edgegolf.formats.onnx.schema import DATA_TYPES, FIELDS

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")

# Nested and look-alike messages that have another name, or none of their own, in our table.
RENAMED = {"Tensor": "TensorType", "SparseTensor": "TensorType", "Sequence": "SequenceType",
           "Optional": "SequenceType", "Map": "MapType", "Opaque": "OpaqueType"}  # fmt: skip


def published() -> dict[str, list]:
    """The fields of all messages, nested ones included, by the name that our table has."""
    found: dict[str, list] = {}
    pending = list(onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values())
    while pending:
        descriptor = pending.pop()
        pending.extend(descriptor.nested_types)
        found.setdefault(RENAMED.get(descriptor.name, descriptor.name), []).append(descriptor)
    return found


def kind_of(field) -> str:
    if field.message_type is not None:
        return RENAMED.get(field.message_type.name, field.message_type.name)
    return "enum" if field.enum_type is not None else field_types()[field.type]


def field_types() -> dict[int, str]:
    from google.protobuf.descriptor import FieldDescriptor as Kind

    names = ("double", "float", "int64", "uint64", "int32", "string", "bytes")
    return {getattr(Kind, f"TYPE_{name.upper()}"): name for name in names}


def test_every_message_and_field_is_known() -> None:
    messages = {name: found for name, found in published().items() if any(d.fields for d in found)}
    assert messages.keys() == FIELDS.keys()
    for name, descriptors in messages.items():
        for descriptor in descriptors:
            theirs = {
                (each.number, each.name, kind_of(each), each.is_repeated)
                for each in descriptor.fields
            }
            ours = {
                (each.number, each.name, each.type, each.is_repeated)
                for each in FIELDS[name].values()
            }
            assert theirs == ours, name


def test_packed_fields_are_those_of_tensors() -> None:
    packed = {
        (name, field.name)
        for name, descriptors in published().items()
        for descriptor in descriptors
        for field in descriptor.fields
        if field.GetOptions().packed
    }
    ours = {(m, f.name) for m, fields in FIELDS.items() for f in fields.values() if f.is_packed}
    assert ours == packed


def test_element_types_and_their_sizes() -> None:
    numbers = dict(onnx.TensorProto.DataType.items())
    named = {"float": "float32", "double": "float64"}
    assert {
        number: named.get(name.lower(), name.lower()) for name, number in numbers.items() if number
    } == {number: name for number, (name, _) in DATA_TYPES.items()}
    for number, (name, bits) in DATA_TYPES.items():
        itemsize = helper.tensor_dtype_to_np_dtype(number).itemsize * 8
        below_a_byte = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4e2m1": 4,
                         "float6e2m3": 6, "float6e3m2": 6}  # fmt: skip
        assert bits == (None if name == "string" else below_a_byte.get(name, itemsize)), name
