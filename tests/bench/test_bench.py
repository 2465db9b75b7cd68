from __future__ import annotations

import importlib.util
import os
import zlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from ir_nets import images, outputs, plain_net

from edgegolf.backends import tflite
from edgegolf.bench.accuracy import dataset_of, measure_accuracy
from edgegolf.bench.bench import BenchOptions, bench
from edgegolf.bench.inspect_file import inspect_file, weight_files
from edgegolf.cards import Card, FileFacts, stale_warning, write_card
from edgegolf.compare.models import open_model
from edgegolf.deploy.sample import take_sample
from edgegolf.emulation.guest import mark_inferences
from edgegolf.errors import EdgegolfError
from edgegolf.files import sha256
from edgegolf.footprint.measure import file_costs, measure_heap
from edgegolf.ir.graph import replace_constants
from edgegolf.ir.ops import Conv2D
from edgegolf.ir.tensor import QuantParams
from edgegolf.runtimes import open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.classify import scores

QUICK = {"min_time": 0.02, "warm_up": 0.0}
WEIGHTS = np.random.default_rng(0).normal(size=(10, 784)).astype(np.float32)


@pytest.fixture(autouse=True)
def packages():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")


def one(path, **options):
    (result,) = bench([path], BenchOptions(**QUICK, **options))
    return result


def test_int4_filters_of_float_convolutions_are_garbage_in_tflite_runtime(tmp_path):
    pytest.importorskip("tflite_runtime")
    graph = plain_net()
    filters = [node.filter for node in graph.nodes if isinstance(node.op, Conv2D)]
    scales = [float(np.abs(each.values).max() / 7) for each in filters]
    stored = {
        each: replace(
            each, dtype="int4", data=np.int8(each.values / scale), quant=QuantParams((scale,))
        )
        for each, scale in zip(filters, scales, strict=True)
    }
    path = tmp_path / "int4.tflite"
    path.write_bytes(tflite.write(replace_constants(graph, stored)))
    old, new = bench([path], BenchOptions(**QUICK, runtimes=("tflite-runtime", "litert")))
    assert (old.runtime, new.runtime) == ("tflite-runtime", "litert")
    assert any("garbage" in warning for warning in old.warnings)
    assert not any("garbage" in warning for warning in new.warnings)
    with open_session(path, "tflite-runtime") as session:
        assert not np.allclose(scores(session, images(graph)), outputs(graph, 200), atol=0.2)


def test_every_figure_is_there(tmp_path):
    path = models.tflite_dense(tmp_path / "dense.tflite", WEIGHTS)
    result = one(path, runtimes=("litert",))
    assert result.error is None
    assert (result.file, result.runtime, result.provider) == (str(path), "litert", "cpu")
    assert result.inputs == ("x float32[1,784]",)
    data = path.read_bytes()
    assert result.size_bytes == len(data)
    assert result.compressed_bytes == len(zlib.compress(data, 9))
    assert result.parameters == result.macs == 7840
    latency, memory = result.latency_us, result.memory
    assert 0 < latency.minimum <= latency.p50 <= latency.p90 <= latency.p99
    assert latency.samples > 10
    assert min(latency.load, latency.first, latency.input_copy, latency.output_copy) > 0
    assert 0 < latency.overhead < latency.load
    assert memory.weights_bytes == 7840 * 4
    assert memory.activation_peak_bytes == (784 + 10) * 4
    added = memory.runtime_rss_bytes + memory.load_rss_bytes + memory.first_inference_rss_bytes
    assert memory.peak_rss_bytes >= 0.9 * added > 0
    assert result.system.cpu
    assert result.system.packages["ai-edge-litert"]


def test_rows_are_files_times_runtimes_times_threads(tmp_path):
    tflite = models.tflite_dense(tmp_path / "a.tflite", np.eye(3))
    onnx = models.onnx_dense(tmp_path / "b.onnx", np.eye(3))
    options = BenchOptions(("litert", "onnxruntime"), threads=(1, 2), **QUICK)
    results = list(bench([tflite, onnx], options))
    assert [(Path(row.file).name, row.runtime, row.threads) for row in results] == [
        ("a.tflite", "litert", 1),
        ("a.tflite", "litert", 2),
        ("b.onnx", "onnxruntime", 1),
        ("b.onnx", "onnxruntime", 2),
    ]
    assert not any(row.error for row in results)


def test_loading_weights_takes_their_memory(tmp_path):
    """16 MiB of weights must show in the resident set, a factor of two apart at most."""
    path = models.onnx_dense(tmp_path / "large.onnx", np.ones((2048, 2048)))
    memory = one(path).memory
    grown = memory.load_rss_bytes + memory.first_inference_rss_bytes
    assert memory.weights_bytes == 2**24
    assert 2**24 <= grown <= 3 * 2**24


def test_broken_files_do_not_stop_the_others(tmp_path):
    fine = models.onnx_dense(tmp_path / "fine.onnx", np.eye(3))
    missing = tmp_path / "missing.onnx"
    empty, random, cut, odd = (tmp_path / f"{name}.tflite" for name in ("e", "r", "t", "o"))
    empty.touch()
    random.write_bytes(np.random.default_rng(0).bytes(5000))
    cut.write_bytes(models.tflite_dense(tmp_path / "whole.tflite", WEIGHTS).read_bytes()[:300])
    models.tflite_custom_operator(odd)
    crashing = models.tflite_crashing(tmp_path / "crashing.tflite")
    broken = [missing, empty, random, cut, odd, crashing]
    *failed, last = bench([*broken, fine], BenchOptions(("litert", "onnxruntime"), **QUICK))
    assert last.error is None
    for path, result in zip(broken, failed, strict=True):
        assert path.name in result.error
        assert result.latency_us is None
    assert "NobodyHasThis" in failed[4].error
    assert "SIG" in failed[5].error


def test_several_inputs_open_dimensions_and_float16(tmp_path):
    two = models.tflite_two_inputs(tmp_path / "two.tflite")
    half = models.onnx_dense(tmp_path / "half.onnx", np.eye(3), batch="n", kind="FLOAT16")
    int8 = models.tflite_int8_identity(tmp_path / "int8.tflite", (2, 2, 1))
    results = list(bench([two, half, int8], BenchOptions(**QUICK)))
    assert [result.error for result in results] == [None] * 3
    assert results[0].inputs == ("x float32[1,3]", "y float32[1,3]")
    assert "open dimensions of the input x float16[?,3] were set to 1" in results[1].warnings


def test_a_model_that_refuses_1_is_run_with_3(tmp_path):
    path = models.onnx_model(
        tmp_path / "windows.onnx",
        [("Conv", ["x", "w"], ["y"])],
        {"x": ("FLOAT", [1, 1, "n"])},
        {"y": ("FLOAT", [1, 1, "m"])},
        {"w": np.ones((1, 1, 3), np.float32)},
    )
    result = one(path)
    assert result.error is None
    (warning,) = [each for each in result.warnings if "open dimensions" in each]
    assert "were set to 3: it fails with 1" in warning
    assert run_in_child(measure_heap, path, "onnxruntime")
    assert run_in_child(mark_inferences, [(path, "onnxruntime")]) == [None]
    assert take_sample(path, None, None).inputs[0].shape[1:] == (1, 1, 3)


def test_text_inputs_are_refused(tmp_path):
    text = ("STRING", [1])
    path = models.onnx_model(
        tmp_path / "text.onnx", [("Identity", ["x"], ["y"])], {"x": text}, {"y": text}
    )
    assert "x string[1]" in one(path).error


def test_external_weights_count(tmp_path):
    path = models.onnx_external(tmp_path / "external.onnx")
    result = one(path)
    assert result.size_bytes == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    (tmp_path / "weights.bin").unlink()
    assert "'weights.bin', which is missing" in one(path).error


def test_external_weights_stay_in_their_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = models.onnx_external(inner / "external.onnx")
    path.write_bytes(path.read_bytes().replace(b"weights.bin", b"../gets.bin"))
    (tmp_path / "gets.bin").write_bytes(b"x" * 64 * 64 * 4)
    with pytest.raises(EdgegolfError, match="outside its own folder"):
        weight_files(path)


def test_nonsense_is_refused_before_anything_is_measured(tmp_path):
    path = models.onnx_dense(tmp_path / "fine.onnx", np.eye(3))
    for paths, runtimes in [([path], ("theano",)), ([path], ("litert",)), ([tmp_path / "a.h"], ())]:
        with pytest.raises(EdgegolfError):
            bench(paths, BenchOptions(runtimes))


GOLF_CASES = Path(__file__).parents[1] / "golf" / "cases"


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "weights.bin/\0", ""])
def test_odd_names_of_external_weights_are_one_clear_line(tmp_path, name):
    import onnx

    path = models.onnx_external(tmp_path / "external.onnx")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EdgegolfError, match="keeps weights in") as raised:
        weight_files(path)
    assert len(raised.value.message) < len(str(path)) + 150


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-4"), ("length", "99999999"), ("offset", "x")]
)
def test_external_bytes_are_inside_their_file(tmp_path, key, value):
    import onnx

    path = models.onnx_external(tmp_path / "external.onnx")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        kept = [each for each in tensor.external_data if each.key != key]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)
        if kept:
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EdgegolfError, match="outside the file that it names"):
        weight_files(path)


@pytest.mark.parametrize("name", ["while_if.tflite", "ext_nul.onnx"])
def test_hostile_files_fail_in_one_clear_line(name):
    result = one(GOLF_CASES / name)
    assert name in result.error
    assert "Error" not in result.error
    assert "process ended" not in result.error


@pytest.mark.long
def test_an_inference_of_shapes_without_end_is_ended(monkeypatch):
    monkeypatch.setattr(import_module("edgegolf.runtimes.child"), "SECONDS", 1.0)
    path = GOLF_CASES / "endless_inference.onnx"
    assert "not finished after 1 s" in one(path).error
    for read in (inspect_file, open_model, lambda path: list(file_costs(path))):
        with pytest.raises(EdgegolfError, match="not finished after 1 s"):
            read(path)


@pytest.mark.long
def test_a_loop_without_end_is_ended(monkeypatch):
    monkeypatch.setattr(import_module("edgegolf.runtimes.child"), "SECONDS", 2.0)
    path = GOLF_CASES / "endless_loop.onnx"
    assert "not finished after 2 seconds of processor time" in one(path).error
    with pytest.raises(EdgegolfError, match="not finished after 2 seconds"):
        open_model(path).outputs([np.ones(4, np.float32)])


def test_state_is_measured_too():
    memory = one(GOLF_CASES / "svdf_state_not_counted.tflite").memory
    assert (memory.activation_peak_bytes, memory.state_bytes) == (288, 10_240)


def test_options_are_checked_before_anything_is_measured(tmp_path):
    path = models.onnx_dense(tmp_path / "fine.onnx", np.eye(3))
    tflite = models.tflite_dense(tmp_path / "fine.tflite", np.eye(3))
    for files, options, said in [
        ([path], {"accuracy": "fashion"}, "no data set is called 'fashion'"),
        ([path], {"providers": ("cdua",)}, "cdua"),
        ([tflite], {"providers": ("azure",)}, "azure"),
        ([path], {"threads": (1, 100_000)}, "100000 threads"),
        ([path], {"cpu": 4096}, "no core 4096"),
    ]:
        with pytest.raises(EdgegolfError, match=said):
            bench(files, BenchOptions(**QUICK, **options))


def command(*arguments):
    from click.testing import CliRunner

    from edgegolf.cli import cli

    return CliRunner().invoke(cli, ["bench", *map(str, arguments)], standalone_mode=False)


def test_the_command_checks_where_it_writes_and_what_it_compares_with(tmp_path):
    path = models.onnx_dense(tmp_path / "fine.onnx", np.eye(3))
    (tmp_path / "file").touch()
    (tmp_path / "none.json").write_text("[]")
    for arguments, said in [
        (("--output", tmp_path), "is a folder"),
        (("--output", tmp_path / "file" / "x.json"), "cannot be written"),
        (("--baseline", tmp_path / "missing.json"), "does not exist"),
        (("--baseline", tmp_path / "none.json"), "no row with figures"),
        (("--tolerance", "much"), "is no fraction"),
    ]:
        done = command(path, "--min-time", "600", *arguments)
        assert said in done.exception.message


def test_one_fault_is_told_once_however_many_rows_it_has(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"    TFL3" + bytes(range(64)))
    done = command(broken, "--runtime", "litert,litert-reference", "--threads", "1,2")
    assert done.return_value == 2
    assert done.output.count("error: ") == 1


def test_the_gate_tells_every_row(tmp_path):
    path = models.onnx_dense(tmp_path / "net.onnx", np.eye(3))
    old, moved = tmp_path / "old.json", tmp_path / "elsewhere" / "net.onnx"
    assert command(path, "--min-time", "0.02", "--json", "--output", old).return_value == 0
    moved.parent.mkdir()
    path.rename(moved)
    gate = ("--min-time", "0.02", "--baseline", old, "--tolerance", "100%")
    text = command(moved, *gate).output
    assert f"{moved} (onnxruntime, cpu, 1 thread): size " in text
    assert "is not in the baseline" not in text
    markdown = command(moved, "--markdown", *gate).output
    assert "| figure | before | after | change |" in markdown


def test_files_that_are_not_of_the_model_beside_them_are_told(tmp_path):
    path = models.onnx_dense(tmp_path / "int8.onnx", np.eye(3))
    keras = tmp_path / "model.keras"
    keras.write_bytes(b"a model")
    assert stale_warning(path) is None  # no card

    def card(model, file, name="int8.onnx"):
        known = {name: FileFacts(1, file, 0.0, 0.0, 0.0)}
        write_card(tmp_path, Card("net", "digits", "", 0, 0, 0, {}, None, None, (), 0, model, {},
                                  None, known))  # fmt: skip

    card(sha256(keras), sha256(path))
    assert stale_warning(path) is None
    card(sha256(keras), "another")
    assert "not the file that its card tells of" in stale_warning(path)
    card(sha256(keras), sha256(path), "other.onnx")
    assert "may be of an older model" in stale_warning(path)
    card(sha256(keras), sha256(path))
    keras.write_bytes(b"a newer model")
    assert "int8.onnx is older than model.keras" in stale_warning(path)


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn")
def test_accuracy_by_name_and_by_card(tmp_path):
    path = models.onnx_model(
        tmp_path / "constant.onnx",  # always says "3", whatever the image
        [
            ("Flatten", ["x"], ["flat"]),
            ("MatMul", ["flat", "zero"], ["n"]),
            ("Add", ["n", "b"], ["y"]),
        ],
        {"x": ("FLOAT", [1, 28, 28, 1])},
        {"y": ("FLOAT", [1, 10])},
        {"zero": np.zeros((784, 10), np.float32), "b": np.eye(10, dtype=np.float32)[3]},
    )
    from edgegolf.data import load_dataset

    share = float(np.mean(load_dataset("digits").split("test").labels == 3))
    assert dataset_of(path) is None
    assert measure_accuracy(path, "onnxruntime", "cpu", 1, "digits") == pytest.approx(share)
    facts = FileFacts(1, sha256(path), 0.0, 0.0, 0.0)
    card = Card("constant", "digits", "", 0, 0, 0, {}, None, None, (), 0, "", {}, None,
                {path.name: facts})  # fmt: skip
    write_card(tmp_path, card)
    result = one(path)
    assert (result.dataset, result.accuracy) == ("digits", pytest.approx(share))
    small = models.onnx_pixels(tmp_path / "small.onnx", (2, 2, 1))
    with pytest.raises(EdgegolfError, match="28 x 28 x 1"):
        measure_accuracy(small, "onnxruntime", "cpu", 1, "digits")


@pytest.mark.skipif(not models.real_models(), reason="EDGEGOLF_DATA has no models")
def test_models_of_other_people():
    paths = models.real_models()
    results = list(bench(paths, BenchOptions(**QUICK)))
    assert len(results) == len(paths)
    for result in results:
        assert result.error is None
        assert result.parameters > 10_000
        assert result.macs > 1_000_000
        assert result.size_bytes == os.path.getsize(result.file)
