from __future__ import annotations

from pathlib import Path

import pytest
from golf_models import OPERATORS, chain, loop, onnx_chain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegolf.anatomy.anatomy import AnatomyChange, anatomy, anatomy_change
from edgegolf.formats.tflite.flatbuffer import read_flatbuffer
from edgegolf.golf.golf import golf_file
from edgegolf.records import from_json, to_json
from edgegolf.report.file_tables import anatomy_change_markdown


def taken_apart(folder: Path, data: bytes, suffix: str):
    path = folder / f"model{suffix}"
    path.write_bytes(data)
    return anatomy(path)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=8),
    st.sampled_from([".tflite", ".onnx"]),
    st.booleans(),
)
def test_parts_add_up_to_the_file(
    tmp_path: Path, names: list[str], suffix: str, golfed: bool
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(chain(names, 1, int8=True) if suffix == ".tflite" else onnx_chain(names))
    if golfed:
        golf_file(path, path)
    found = anatomy(path)
    assert sum(part.bytes for part in found.parts) == found.bytes == path.stat().st_size
    assert from_json(to_json(found), type(found)) == found


def test_what_is_appended_is_not_called_dead(tmp_path: Path) -> None:
    data = chain(["conv"])
    found = taken_apart(tmp_path, data + b"\1" * 1000, ".tflite")
    assert {part.name: part.bytes for part in found.parts}["unexplained bytes"] == 1000


def test_weights_are_exact(tmp_path: Path) -> None:
    data = chain(["conv", "relu", "depthwise", "conv"], 1, int8=True)
    found = taken_apart(tmp_path, data, ".tflite")
    parts = {part.name: part.bytes for part in found.parts}
    # A vector's data and its length; the biases are int32.
    assert parts["weights"] == 3 * 3 * 4 * 4 + 4 + 3 * 3 * 4 + 4
    assert parts["biases"] == 2 * (4 * 4 + 4)
    names = sum(
        4 + len(tensor.name) + 1 for tensor in read_flatbuffer(data).root.subgraphs[0].tensors
    )
    assert parts["names"] == names + 4 + len("main") + 1
    shared = [weight for weight in found.weights if weight.operators == 2]
    assert {(weight.role, weight.bytes) for weight in shared} == {("weights", 144), ("biases", 16)}


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_sharing_and_copies(tmp_path: Path, suffix: str) -> None:
    names = ["conv", "relu", "conv"]
    make = chain if suffix == ".tflite" else onnx_chain
    shared = taken_apart(tmp_path, make(names), suffix)
    assert max(weight.operators for weight in shared.weights) == 2
    assert not shared.duplicates
    copied = taken_apart(tmp_path, make(names, shared=False), suffix)
    # Biases of zeros are the only equal data: the kernels are random.
    (duplicate,) = copied.duplicates
    assert (duplicate.copies, duplicate.bytes) == (2, 16)
    assert copied.sharing_would_save == 16


def test_several_subgraphs(tmp_path: Path) -> None:
    data = loop()
    found = taken_apart(tmp_path, data, ".tflite")
    assert sum(part.bytes for part in found.parts) == len(data)


def test_onnx_functions_pass_weights_on(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_chain(["conv", "relu", "add"] * 6))
    golf_file(path, path)
    found = anatomy(path)
    assert sum(part.bytes for part in found.parts) == path.stat().st_size
    (weight,) = [weight for weight in found.weights if weight.role == "weights"]
    assert weight.operators == 6
    assert weight.bytes == 4 * 3 * 3 * 4 * 4


def test_changes_add_up_to_the_sizes(tmp_path: Path) -> None:
    old, new = tmp_path / "old.onnx", tmp_path / "new.onnx"
    old.write_bytes(onnx_chain(OPERATORS[:3]))
    golf_file(old, new)
    found = anatomy_change(old, new)
    assert (found.before, found.after) == (old.stat().st_size, new.stat().st_size)
    assert sum(each.before for each in found.changes) == found.before
    assert sum(each.after for each in found.changes) == found.after
    assert found.changes[0].name == "names"
    assert from_json(to_json(found), AnatomyChange) == found
    markdown = anatomy_change_markdown(found)
    assert f"{found.before:,} → {found.after:,} bytes" in markdown
    assert f"{found.after - found.before:+,} |" in markdown
    assert "total" not in anatomy_change_markdown(anatomy_change(old, old))


def test_files_of_two_formats_are_compared_by_cause() -> None:
    folder = Path(__file__).parents[2] / "models" / "mnist" / "linear"
    found = anatomy_change(folder / "int8.tflite", folder / "int8.onnx")
    assert {"weights", "vtables", "names"} <= {each.name for each in found.changes}
