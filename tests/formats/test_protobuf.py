from __future__ import annotations

import pytest
from golf_models import onnx_chain
from hypothesis import given
from hypothesis import strategies as st

from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.protobuf import message, read_protobuf, varint, write_protobuf
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx


def test_what_is_written_reads_back() -> None:
    data = onnx_chain(["conv", "relu", "mul", "pool"])
    read = read_protobuf(data)
    assert write_protobuf(read.root) == data
    assert sum(span.end - span.start for span in read.spans) == len(data)


def test_the_onnx_package_reads_the_same() -> None:
    onnx = pytest.importorskip("onnx")
    data = onnx_chain(["conv", "mul", "pool"])
    model = onnx.load_from_string(data)
    # Its writer does not pack numbers; ours must read either form.
    assert repr(read_protobuf(model.SerializeToString()).root) == repr(read_protobuf(data).root)
    onnx.checker.check_model(model)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.integers(-(2**31), 2**31 - 1))
def test_numbers_survive(numbers: list[int], small: int) -> None:
    tensor = message("TensorProto", int64_data=numbers, data_type=small, dims=numbers)
    read = read_protobuf(write_protobuf(tensor), kind="TensorProto").root
    assert tuple(read.int64_data) == read.dims == tuple(numbers)
    assert read.data_type == small


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x08" + b"\xff" * 11,
        b"\x3a\x05\x0a",
        b"\x3a\x00\x3a\x00",
        b"\x0d\x00\x00\x00\x00",
        varint(999 << 3),
    ],
)
def test_damaged_messages_are_refused(data: bytes) -> None:
    with pytest.raises(EdgegolfError):
        read_protobuf(data)


def test_deep_nesting_is_refused() -> None:
    graph = b""
    for _ in range(150):
        attribute = b"\x32" + varint(len(graph)) + graph
        node = b"\x2a" + varint(len(attribute)) + attribute
        graph = b"\x0a" + varint(len(node)) + node
    with pytest.raises(EdgegolfError, match="deeply"):
        read_protobuf(b"\x3a" + varint(len(graph)) + graph)


def test_functions_are_found_within_functions() -> None:
    names = ["conv", "relu", "relu", "add", "conv", "relu", "relu", "mul"] * 5
    root = read_protobuf(golf_onnx(onnx_chain(names), Keep()).data).root
    assert len(root.functions) >= 2
    called = {
        node.op_type for function in root.functions for node in function.node if node.domain == "f"
    }
    assert called <= {function.name for function in root.functions}
    assert called
