from __future__ import annotations

import importlib.util
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import small_models as models

from edgegolf.bench.accuracy import dataset_of, measure_accuracy
from edgegolf.bench.bench import BenchOptions, bench
from edgegolf.bench.inspect_file import weight_files
from edgegolf.cards import Card, FileFacts, write_card
from edgegolf.errors import EdgegolfError

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
    facts = FileFacts(1, "", 0.0, 0.0, 0.0)
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
