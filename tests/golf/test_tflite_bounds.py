"""Golf and anatomy of files that are built to exhaust them: bounded memory and work."""

from __future__ import annotations

import contextlib
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from golf_models import TfliteBuilder, chain

from edgegolf.anatomy.anatomy import anatomy
from edgegolf.bench.graph_statistics import graph_statistics
from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import Table, read_flatbuffer, table, write_flatbuffer
from edgegolf.golf.golf import golf_file
from edgegolf.records import to_json
from edgegolf.runtimes.child import run_in_child

pytestmark = pytest.mark.long

KB_FREE = 50_000
FACTOR = 20
SECONDS = 60.0


def model(*subgraphs: Table, **fields: object) -> bytes:
    fields = {"buffers": [table("Buffer")], **fields}
    return write_flatbuffer(table("Model", version=3, subgraphs=subgraphs, **fields))


def long_name_of_many_tensors() -> bytes:
    buffers = [table("Buffer"), *(table("Buffer", data=struct.pack("<I", i)) for i in range(7500))]
    name = "n" * 60_000
    tensors = [table("Tensor", name=name, buffer=index) for index in range(7500)]
    return model(table("SubGraph", tensors=tensors), buffers=buffers)


def long_scales_of_many_tensors() -> bytes:
    scales = table("QuantizationParameters", scale=[float(i) for i in range(100_000)])
    tensors = [table("Tensor", quantization=scales, buffer=i, name=str(i)) for i in range(40)]
    return model(table("SubGraph", tensors=tensors), buffers=[table("Buffer")] * 40)


def references_to_one_tensor(count: int = 28_000) -> bytes:
    return model(table("SubGraph", tensors=[table("Tensor", type=9)] * count))


def too_many_references_to_one_tensor() -> bytes:
    return references_to_one_tensor(250_000)


def references_to_one_subgraph() -> bytes:
    tensors = [table("Tensor", name=str(number)) for number in range(150)]
    operators = [table("Operator", inputs=list(range(80)))] * 100
    subgraph = table("SubGraph", tensors=tensors, operators=operators)
    return model(*[subgraph] * 110, operator_codes=[table("OperatorCode")])


def tiny_tables() -> bytes:
    """Empty tables, 8 bytes each in the file."""
    codes = [table("OperatorCode") for _ in range(29_000)]
    return write_flatbuffer(table("Model", version=3, operator_codes=codes), share=False)


def rich_tables() -> bytes:
    """As many tables as may be, with lists and names of their own."""
    tensors = [
        table(
            "Tensor",
            name=f"{number}",
            shape=[number],
            type=number % 4,
            buffer=number % 2,
            quantization=table("QuantizationParameters", scale=[number + 0.5]),
        )
        for number in range(12_000)
    ]
    buffers = [table("Buffer"), table("Buffer", data=b"1234")]
    used = [table("SubGraph", tensors=tensors, inputs=list(range(12_000)))]
    return model(*used, buffers=buffers)


def sparsity_of_sparsity() -> bytes:
    dimension = table("DimensionMetadata", array_segments=table("Int32Vector", values=range(40)))
    sparsity = table("SparsityParameters", dim_metadata=[dimension] * 120)
    return model(table("SubGraph", tensors=[table("Tensor", sparsity=sparsity)] * 120))


def buffers_on_each_other() -> bytes:
    inside = model(buffers=[table("Buffer")] * 2000)
    buffers = [table("Buffer", offset=2, size=400_000 - i) for i in range(2000)]
    return model(buffers=buffers).ljust(400_000 + len(inside), b"x")


def programs_on_each_other() -> bytes:
    """Operators whose programs begin everywhere in the same bytes."""
    builder = TfliteBuilder()
    image, out = builder.tensor((1, 4)), builder.tensor((1, 4))
    builder.operator("CUSTOM:DISPATCH_OP", [image], [out])
    root = builder.model([builder.subgraph([image], [out])])
    (operator,) = root.subgraphs[0].operators
    case = Path(__file__).parent / "cases" / "npu_precompiled_qualcomm.tflite"
    (known,) = read_flatbuffer(case.read_bytes()).root.subgraphs[0].operators
    start = 1_500_000
    operators = []
    for number in range(4000):
        options = bytearray(known.custom_options)
        where = options.index(struct.pack("<Q", 1168))
        struct.pack_into("<QQ", options, where, start + 64 * number, 32)
        operators.append(operator.replace(custom_options=bytes(options)))
    changed = root.replace(subgraphs=[root.subgraphs[0].replace(operators=operators)])
    return write_flatbuffer(changed).ljust(start, b"\0") + b"p" * 64 * 4000


def map_of_one_long_key() -> bytes:
    """Options that are a map of 60,000 keys, all of them the same 60,000 bytes."""
    count = 60_000
    text = b"k" * count + b"\0"
    keys = b"".join(struct.pack("<I", len(text) + 4 * index) for index in range(count))
    head = struct.pack("<III", 4 * count + 8, 4, count)
    # Root: 4 bytes back to the values, then its type (a map of 4-byte values) and width.
    values = bytes(4 * count) + b"\x06" * count
    body = text + keys + head + values
    root = struct.pack("<I", len(values)) + bytes([9 << 2 | 2, 4])
    custom = table("OperatorCode", builtin_code=32, custom_code="DISPATCH_OP")
    operator = table("Operator", custom_options=body + root)
    return model(table("SubGraph", operators=[operator]), operator_codes=[custom])


def many_files_in_an_archive() -> bytes:
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", *[0] * 16)
    archive = b"PK\3\4" + bytes(26) + entry * 60_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 60_000, 60_000, 46 * 60_000, 30, 0)
    return chain(["conv"]) + archive + end


HOSTILE = [
    long_name_of_many_tensors,
    long_scales_of_many_tensors,
    references_to_one_tensor,
    too_many_references_to_one_tensor,
    references_to_one_subgraph,
    tiny_tables,
    rich_tables,
    sparsity_of_sparsity,
    buffers_on_each_other,
    programs_on_each_other,
    map_of_one_long_key,
    many_files_in_an_archive,
]


def peak_kb(path: Path, what: str) -> int:
    """By how many kB the memory of this fresh process grows."""
    before = status_kb("VmRSS")
    with contextlib.suppress(EdgegolfError):
        if what == "golf":
            golf_file(path, path.with_suffix(".golfed.tflite"))
        elif what == "anatomy":
            to_json(anatomy(path))
        else:
            graph_statistics(path)
    return status_kb("VmHWM") - before


def status_kb(field: str) -> int:
    # Not ru_maxrss, in which a child also counts what its parent took.
    (found,) = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("make", HOSTILE)
def test_memory_is_bounded_by_the_file(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "hostile.tflite"
    path.write_bytes(make())
    limit = KB_FREE + FACTOR * path.stat().st_size // 1000
    for what in ("golf", "anatomy", "statistics"):
        assert run_in_child(peak_kb, path, what, timeout=SECONDS) < limit, what
