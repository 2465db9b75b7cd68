"""Time by type of operator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from edgegolf.bench import litert_profile
from edgegolf.bench.graph_statistics import graph_statistics
from edgegolf.bench.litert_profile import BUILT_IN, DELEGATED, INVOKE, Event
from edgegolf.bench.profile import Profile, folded, folded_events, profile
from edgegolf.errors import EdgegolfError
from edgegolf.frontends.tflite_census import tflite_subgraphs
from edgegolf.ir.opaque import Opaque
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


@pytest.mark.parametrize("file", ["tight_resnet/int8.tflite", "linear/int8-weights.tflite"])
def test_a_tflite_file_has_a_profile_and_tells_who_took_what(file: str) -> None:
    """Loops, kernels that XNNPACK does not take, operators that it adds."""
    path = NET.parent / file
    found = profile(path, seconds=0.05)
    statistics = graph_statistics(path)
    assert sum(each.macs or 0 for each in found.operators) == statistics.macs
    loops = {"WHILE": 1} if "resnet" in file else {}
    assert Counter(found.delegated) + Counter(found.left) + Counter(loops) == statistics.operators
    assert found.delegated["FULLY_CONNECTED"] == 1
    assert 0 < sum(each.microseconds for each in found.operators) <= found.microseconds
    assert from_json(to_json(found), Profile) == found
    console = Console(width=80)
    with console.capture() as captured:
        console.print(profile_table(found))
    assert "XNNPACK took" in " ".join(captured.get().split())
    if loops:
        dense = [each for each in found.operators if each.macs]
        assert {(each.provider, each.calls) for each in dense} == {("XNNPACK", 9)}
        assert found.left["ADD"] == found.delegated["ADD"] == 1  # one counts the iterations


def test_work_is_unknown_where_names_do_not_tell() -> None:
    """One event that may be of either of two operators."""
    graphs = tflite_subgraphs(NET / "int8.tflite")
    nodes = [node.op.name for node in graphs[0].nodes if isinstance(node.op, Opaque)]
    own = [Event(BUILT_IN, name, 0, i, 5) for i, name in enumerate(nodes) if name != "CONV_2D"]
    run = [Event(INVOKE, "Invoke", 0, 0, 100), *own]
    unknown = Event(DELEGATED, "Some Product (NHWC) GEMM", 0, 0, 30)
    found = folded_events([[*run, unknown], [*run, unknown]], graphs, "a.tflite", 1)
    by_name = {each.operator: each for each in found.operators}
    assert (by_name["Some Product"].macs, by_name["Some Product"].bytes) == (None, None)
    assert by_name["FULLY_CONNECTED"].macs
    assert (found.inferences, found.microseconds) == (2, 100)


def test_what_has_no_profiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EdgegolfError, match="cpu only, not on cuda"):
        profile(NET / "int8.tflite", provider="cuda")
    monkeypatch.setattr(litert_profile, "version", lambda _: "2.1.0")
    with pytest.raises(EdgegolfError, match="ai-edge-litert 2") as refused:
        list(litert_profile.events(NET / "int8.tflite", 1, 0))
    assert "--upgrade" in (refused.value.hint or "")
