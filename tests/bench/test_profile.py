"""Time by type of operator."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from edgegolf.bench.graph_statistics import graph_statistics
from edgegolf.bench.profile import Profile, folded, profile
from edgegolf.errors import EdgegolfError
from edgegolf.records import from_json, to_json
from edgegolf.report.bench_table import profile_table

NET = Path(__file__).parents[2] / "models" / "mnist" / "double_cnn-2"


def test_a_profile_has_the_operators_and_their_work() -> None:
    found = profile(NET / "float32.onnx")
    assert found.inferences > 1
    assert (
        sum(each.macs or 0 for each in found.operators)
        == graph_statistics(NET / "float32.onnx").macs
    )
    convolutions = next(each for each in found.operators if "Conv" in each.operator)
    assert (convolutions.provider, convolutions.calls) == ("CPU", 4)
    assert convolutions.bytes > 0
    assert 0 < sum(each.microseconds for each in found.operators) <= found.microseconds
    assert from_json(to_json(found), Profile) == found


def test_events_are_folded_by_type_and_place() -> None:
    def kernel(name: str, provider: str, microseconds: int) -> dict[str, object]:
        sizes = {"activation_size": "100", "parameter_size": "40", "output_size": "60"}
        told = {"op_name": name, "provider": f"{provider}ExecutionProvider", **sizes}
        return {"cat": "Node", "name": "n_kernel_time", "dur": microseconds, "args": told}

    run = {"cat": "Session", "name": "model_run", "dur": 100}
    once = [
        kernel("FusedConv", "CUDA", 30),
        kernel("FusedConv", "CUDA", 20),
        kernel("Add", "CPU", 4),
    ]
    fence = {"cat": "Node", "name": "n_fence_before", "dur": 9, "args": {"op_name": "Add"}}
    found = folded([run, *once, fence, run, *once], {"Conv": 7, "Add": None}, "a.onnx", "cuda", 1)
    assert [(e.operator, e.provider, e.calls, e.microseconds, e.bytes, e.macs)
            for e in found.operators] == [
        ("FusedConv", "CUDA", 2, 50, 400, 7), ("Add", "CPU", 1, 4, 200, None),
    ]  # fmt: skip
    console = Console(width=80)
    with console.capture() as captured:
        console.print(profile_table(found))
    assert "between them" in captured.get()
    assert "46.0%" in captured.get()
    with pytest.raises(EdgegolfError, match="no inference"):
        folded(once, {}, "a.onnx", "cpu", 1)


def test_other_formats_are_told() -> None:
    with pytest.raises(EdgegolfError, match="only onnxruntime"):
        profile(NET / "int8.tflite")
