from __future__ import annotations

import struct
import tracemalloc

import pytest
from golf_models import chain, loop, naive

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import (
    Table,
    read_flatbuffer,
    table,
    transform,
    walk,
    write_flatbuffer,
)
from edgegolf.formats.tflite.schema import FIELDS


def as_plain(value: object) -> object:
    """A comparable form of a tree."""
    if isinstance(value, Table):
        fields = {name: as_plain(item) for name, item in sorted(value.fields.items())}
        return (value.table_name, tuple(fields.items()))
    return tuple(map(as_plain, value)) if isinstance(value, tuple) else value


def without_defaults(node: Table) -> Table:
    def drop(item: Table) -> Table:
        fields = FIELDS[item.table_name]
        kept = {
            name: value
            for name, value in item.fields.items()
            if isinstance(value, (Table, tuple, str, bytes)) or value != fields[name].default
        }
        return Table(item.table_name, kept)

    kinds = {item.table_name for item in walk(node)}
    return transform(node, dict.fromkeys(kinds, drop))


@pytest.mark.parametrize("data", [chain(["conv", "relu", "conv"], int8=True), loop()])
def test_what_is_written_reads_back(data: bytes) -> None:
    root = read_flatbuffer(data).root
    for share in (True, False):
        written = write_flatbuffer(root, share=share, keep_defaults=True)
        assert as_plain(read_flatbuffer(written).root) == as_plain(root)
    shared = write_flatbuffer(root)
    assert as_plain(read_flatbuffer(shared).root) == as_plain(without_defaults(root))
    assert len(shared) < len(data)


def test_written_files_pass_an_independent_reader() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    data = naive(read_flatbuffer(chain(["conv", "add"], int8=True)).root)
    shared = write_flatbuffer(read_flatbuffer(data).root)
    models = [schema.ModelT.InitFromPackedBuf(bytearray(item), 0) for item in (data, shared)]
    first, second = (model.subgraphs[0] for model in models)
    assert len(first.tensors) == len(second.tensors)
    for left, right in zip(first.tensors, second.tensors, strict=True):
        assert left.name == right.name
        assert list(left.shape) == list(right.shape)
        scales = [
            list(item.quantization.scale)
            for item in (left, right)
            if item.quantization.scale is not None
        ]
        assert len(scales) != 1
        assert scales[:1] == scales[1:]
    for left, right in zip(models[0].buffers, models[1].buffers, strict=True):
        assert (left.data is None) == (right.data is None)
        assert left.data is None or bytes(left.data) == bytes(right.data)


def test_objects_are_aligned_for_what_they_hold() -> None:
    quantization = table("QuantizationParameters", scale=[1.0], zero_point=[7])
    buffers = [table("Buffer", data=bytes(size)) for size in (1, 2, 3, 5)]
    sort = table("StablehloSortOptions", dimension=3, is_stable=True)
    root = table(
        "Model",
        version=3,
        buffers=buffers,
        subgraphs=[
            table(
                "SubGraph",
                tensors=[table("Tensor", quantization=quantization, type=9)],
                operators=[table("Operator", builtin_options_2=sort)],
            )
        ],
    )
    data = write_flatbuffer(root)
    spans = read_flatbuffer(data).spans
    for span in spans:
        if span.kind == "vtable":
            assert span.start % 2 == 0
        elif span.kind in ("vector", "string", "table"):
            assert span.start % 4 == 0
        if span.field == "zero_point":
            assert (span.start + 4) % 8 == 0
        if span.kind == "table" and span.owner and span.owner.table_name.startswith("Stablehlo"):
            assert (span.start + 4) % 8 == 0


def test_equal_objects_are_stored_once_and_unequal_ones_are_not() -> None:
    # Zeros of either sign compare equal in Python but are different bytes.
    tensors = [
        table("Tensor", quantization=table("QuantizationParameters", scale=[value]))
        for value in (0.0, -0.0, 0.0)
    ]
    root = table("Model", version=3, subgraphs=[table("SubGraph", tensors=tensors)])
    read = read_flatbuffer(write_flatbuffer(root)).root.subgraphs[0].tensors
    assert read[0] is read[2]
    assert read[0] is not read[1]
    signs = [struct.pack("<f", item.quantization.scale[0]) for item in read]
    assert signs == [struct.pack("<f", value) for value in (0.0, -0.0, 0.0)]


def test_equal_trees_give_equal_bytes() -> None:
    root = read_flatbuffer(chain(["conv", "relu", "conv", "add"])).root
    once = write_flatbuffer(root)
    assert write_flatbuffer(read_flatbuffer(once).root) == once


def test_tables_are_immutable_and_know_their_fields() -> None:
    tensor = table("Tensor", shape=[1, 2], type=9)
    assert tensor.shape == (1, 2)
    assert tensor.name == ""
    assert tensor.quantization is None
    assert tensor.replace(type=None).type == 0
    with pytest.raises(AttributeError):
        tensor.shape = (3,)
    with pytest.raises(AttributeError):
        tensor.colour  # noqa: B018
    with pytest.raises(EdgegolfError, match="no field colour"):
        table("Tensor", colour=1)
    with pytest.raises(EdgegolfError, match="no table Tensors"):
        table("Tensors")
    with pytest.raises(EdgegolfError, match="does not fit"):
        write_flatbuffer(table("Model", version=-1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TFL3",
        bytes(4) + b"TFL3",
        b"\xff\xff\xff\xffTFL3",
        struct.pack("<I4si", 8, b"TFL3", 2**31 - 1),
        struct.pack("<I4siHH", 8, b"TFL3", -4, 2, 4),
        struct.pack("<I4siHH", 8, b"TFL3", -4, 0xFFFE, 4),
    ],
)
def test_damaged_files_are_refused(data: bytes) -> None:
    with pytest.raises(EdgegolfError):
        read_flatbuffer(data)


def test_fields_of_a_newer_schema_are_refused() -> None:
    vtable = struct.pack("<HH40H", 84, 8, *[0] * 39, 4)
    data = struct.pack("<I4s", 8 + len(vtable), b"TFL3") + vtable
    data += struct.pack("<ii", len(vtable), 1)
    with pytest.raises(EdgegolfError, match="unknown"):
        read_flatbuffer(data)


def test_a_graph_that_unfolds_without_end_is_refused_quickly() -> None:
    # 30,000 references to one graph that has 30,000 references to one tensor.
    tensor = table("Tensor", type=9)
    subgraph = table("SubGraph", tensors=[tensor] * 30_000)
    data = write_flatbuffer(table("Model", version=3, subgraphs=[subgraph] * 30_000))
    assert len(data) < 300_000
    tracemalloc.start()
    with pytest.raises(EdgegolfError, match="unfolds"):
        read_flatbuffer(data)
    assert tracemalloc.get_traced_memory()[1] < 40 * len(data)
    tracemalloc.stop()
