"""Two files side by side: what is said of them, against what their runtimes give."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ir_nets import pixels, plain_net, shared_net
from onnx import TensorProto, helper
from rich.console import Console

from edgegolf.backends import onnx, tflite
from edgegolf.compare.compare import Comparison, compare, finding
from edgegolf.compare.layers import LayerError
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import quantized
from edgegolf.records import from_json, to_json
from edgegolf.report.compare_table import SUFFIXES, check_output, compare_tables, write_comparison
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import dequantize, quantize
from edgegolf.sqnr import sqnr


def int8(graph: Graph) -> Graph:
    fused = fuse_activations(graph)
    scales = calibrate(
        fused, ranges(fused, [pixels(fused)]), Scheme("requantize", "own", "channel")
    )
    return quantized(fused, scales)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float.tflite, int8.tflite, float.onnx, other.tflite, and data.npz with labels."""
    folder = tmp_path_factory.mktemp("files")
    graph = plain_net()
    (folder / "float.tflite").write_bytes(tflite.write(graph))
    (folder / "int8.tflite").write_bytes(tflite.write(int8(graph)))
    (folder / "float.onnx").write_bytes(onnx.write(graph))
    (folder / "int8.onnx").write_bytes(onnx.write(int8(graph)))
    (folder / "other.tflite").write_bytes(tflite.write(other_net()))
    images = np.random.default_rng(0).integers(0, 256, (40, *graph.inputs[0].shape[1:]), np.uint8)
    outputs = graph.outputs[0].shape[-1]
    np.savez(folder / "data.npz", images=images, labels=np.arange(40) % outputs)
    return folder


def other_net() -> Graph:
    from ir_nets import Builder

    build = Builder(5, 5, 2)
    filters = build.weight(3, 3, 3, 2)
    return Graph((build.source,), (build.convolve(build.source, filters),), tuple(build.nodes))


@pytest.fixture(scope="module")
def found(files: Path) -> Comparison:
    return compare(files / "float.tflite", files / "int8.tflite", str(files / "data.npz"))


def outputs(path: Path, images: np.ndarray) -> np.ndarray:
    with open_session(path) as session:
        info = session.inputs[0]
        results = [
            dequantize(session.run([quantize(image[None], info)])[0], session.outputs[0])
            for image in images
        ]
    return np.concatenate(results)


def test_outputs_are_those_of_the_runtimes(found: Comparison, files: Path) -> None:
    with np.load(files / "data.npz") as data:
        images, labels = data["images"], data["labels"]
    right, wrong = (outputs(files / name, images) for name in ("float.tflite", "int8.tflite"))
    assert found.outputs == (pytest.approx(sqnr(right, wrong), abs=1e-3),)
    assert found.agreement == np.mean(right.argmax(1) == wrong.argmax(1))
    assert found.first.accuracy == np.mean(right.argmax(1) == labels)
    assert found.second.accuracy == np.mean(wrong.argmax(1) == labels)
    assert found.first.bytes == (files / "float.tflite").stat().st_size
    assert found.samples == 40


def test_it_is_a_record(found: Comparison) -> None:
    assert from_json(to_json(found), Comparison) == found


def test_tables_fit_80_columns(found: Comparison) -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(*compare_tables(found))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("own, dB" in line for line in lines)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_is_written_as_whatever_the_suffix_says(found: Comparison, tmp_path, suffix) -> None:
    path = tmp_path / f"why{suffix}"
    check_output(path)
    write_comparison(found, path)
    start = {".html": b"<!doctype", ".svg": b"<svg", ".png": b"\x89PNG", ".csv": b"layer,"}
    data = path.read_bytes()
    assert data.startswith(start.get(suffix, found.finding.encode()))
    if suffix not in (".png", ".csv", ".md"):
        assert all(error.name.encode() in data for error in found.layers)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgegolfError, match=r"\.pdf is none of"):
        check_output(tmp_path / "why.pdf")


def test_random_inputs_are_called_so(files: Path) -> None:
    found = compare(files / "float.tflite", files / "int8.tflite")
    assert "random inputs" in found.data
    assert found.first.accuracy is None


@pytest.mark.parametrize("first", ["float.tflite", "float.onnx"])
def test_formats_are_compared_by_layer(files: Path, first: str) -> None:
    found = compare(files / first, files / "float.onnx")
    assert found.outputs == (None,)
    assert "gives the same as" in found.finding
    wrong = compare(files / first, files / "int8.onnx")
    for each in (found, wrong):
        assert not each.why_no_layers
        assert not each.unmatched
        assert len(each.layers) > 2
    assert all(error.own is None for error in found.layers)
    assert all(20 < error.own < 60 for error in wrong.layers[:-1] if error.own is not None)
    assert sum(error.own is None for error in wrong.layers) <= 1  # its softmax is saturated


def test_axes_of_one_length_are_told_apart(tmp_path: Path) -> None:
    """An image of 8×8 pixels with 8 channels, whose layout no shape can tell."""
    from ir_nets import Builder

    build = Builder(8, 8, 8)
    filters = build.weight(8, 3, 3, 8)
    graph = Graph((build.source,), (build.convolve(build.source, filters),), tuple(build.nodes))
    (tmp_path / "a.tflite").write_bytes(tflite.write(graph))
    (tmp_path / "a.onnx").write_bytes(onnx.write(graph))
    for first, second in (("a.tflite", "a.onnx"), ("a.onnx", "a.tflite")):
        found = compare(tmp_path / first, tmp_path / second)
        assert found.outputs == (None,)
        assert [error.own for error in found.layers] == [None]


def test_a_file_is_as_itself(files: Path) -> None:
    found = compare(files / "int8.tflite", files / "int8.tflite")
    assert found.outputs == (None,)
    assert all(error.own is None and error.total is None for error in found.layers)


@pytest.mark.parametrize(
    ("first", "second", "data", "message"),
    [
        ("float.tflite", "other.tflite", None, "takes"),
        ("float.tflite", "missing.tflite", None, "missing.tflite"),
        ("float.tflite", "data.npz", None, "data.npz"),
        ("float.tflite", "int8.tflite", "nothing.npz", "nothing.npz"),
        ("float.tflite", "int8.tflite", "nonsense", "no data set is called"),
        ("float.tflite", "int8.tflite", "digits", "shape"),
    ],
)
def test_bad_input_is_one_clear_error(files: Path, first, second, data, message) -> None:
    taken = str(files / data) if data and data.endswith(".npz") else data
    with pytest.raises(EdgegolfError, match=message):
        compare(files / first, files / second, taken)


def test_texts_are_no_random_numbers(tmp_path: Path) -> None:
    texts = helper.make_tensor_value_info("x", TensorProto.STRING, (3,))
    same = helper.make_tensor_value_info("y", TensorProto.STRING, (3,))
    node = helper.make_node("Identity", ["x"], ["y"])
    opset = [helper.make_opsetid("", 13)]
    graph = helper.make_graph([node], "g", [texts], [same])
    model = helper.make_model(graph, ir_version=8, opset_imports=opset)
    (tmp_path / "texts.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EdgegolfError, match="takes no random numbers"):
        compare(tmp_path / "texts.onnx", tmp_path / "texts.onnx")


def test_the_command_line(files: Path) -> None:
    def edgegolf(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgegolf", "compare", *arguments]
        return subprocess.run(command, cwd=files, capture_output=True, text=True)

    done = edgegolf("float.tflite", "int8.tflite", "--data", "data.npz", "--json", "-o", "why.md")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "edgegolf.compare/1"
    assert (files / "why.md").read_text().startswith("int8.tflite keeps")
    done = edgegolf("float.tflite", "other.tflite")
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def error(name: str, share: float, own: float | None = 20.0) -> LayerError:
    return LayerError(name, "Conv2D", own, own, 30.0, share)


@pytest.mark.parametrize(
    ("ratios", "errors", "words"),
    [
        ((None,), (), "b gives the same as a, but for the order of additions."),
        ((30.0, None), (), "b keeps 30.0 dB of a's output."),
        ((30.0,), (error("x", 0.8), error("y", 0.2)), "most of the error arises in x (80%)"),
        ((30.0,), (error("x", 0.8),), "whose own error leaves 20.0 dB of its result"),
        ((30.0,), (error("x", 0.4), error("y", 0.35)), "many layers, most in x (40%), y (35%)"),
        ((-2.0,), (error("x", 1.0),), "b computes something else than a (-2.0 dB)"),
    ],
)
def test_the_finding_is_one_sentence(ratios, errors, words) -> None:
    assert words in finding("a", "b", ratios, errors)


def test_a_loop_and_what_is_written_out_are_the_same_network(tmp_path: Path) -> None:
    from edgegolf.passes.rerolling import reroll

    graph = shared_net()
    for name, each in (("straight", graph), ("loop", reroll(graph))):
        (tmp_path / f"{name}.tflite").write_bytes(tflite.write(each))
    found = compare(tmp_path / "straight.tflite", tmp_path / "loop.tflite")
    assert found.outputs == (None,)
    assert len(found.layers) > 10
    assert not found.unmatched
