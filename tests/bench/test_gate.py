from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgegolf.bench.gate import Gate, failures, parse_fraction
from edgegolf.bench.result import BenchResult, Latency, Memory, read_results, results_to_json
from edgegolf.bench.system import describe_system
from edgegolf.errors import EdgegolfError

LATENCY = Latency(900, 120, 100, 110, 130, 95, 102, 5, 1000, 3, 1, 0.5, 0.1)
MEMORY = Memory(40_000_000, 10_000_000, 3_000_000, 100_000, 14_000_000, 2_000, None)


@pytest.fixture(scope="module")
def result():
    return BenchResult(
        file="a|b[c].tflite",
        runtime="litert",
        provider="cpu",
        threads=1,
        system=describe_system(),
        inputs=("x float32[1,3]",),
        size_bytes=5000,
        compressed_bytes=4000,
        parameters=1000,
        macs=None,
        latency_us=LATENCY,
        memory=MEMORY,
        accuracy=0.98,
        dataset="mnist",
        min_time=1,
        warm_up=0.5,
        warnings=("noisy machine",),
    )


def test_results_survive_a_file(result, tmp_path):
    failed = replace(result, error="it broke", latency_us=None, memory=None, accuracy=None)
    path = tmp_path / "results.json"
    path.write_text(results_to_json([result, failed]))
    assert read_results(path) == (result, failed)
    (first, _) = json.loads(path.read_text())
    assert first["schema"] == "edgegolf.bench/1"
    assert first["latency_us"]["p50"] == 100
    assert first["memory"]["activation_peak_bytes"] is None


@pytest.mark.parametrize(
    "text", ["", "[", "{}", "[1]", '[{"schema": "edgegolf.bench/2"}]', "[" * 10_000]
)
def test_other_files_are_no_results(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(EdgegolfError, match=r"results\.json"):
        read_results(path)


def test_what_keeps_to_its_limits_passes(result):
    gate = Gate(min_accuracy=0.98, max_size=5000, max_latency=100, baseline=(result,), tolerance=0)
    assert failures([result], gate) == ()
    assert failures([result], Gate()) == ()


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (Gate(min_accuracy=0.985), "accuracy 98.00% is 0.50% below the least allowed, 98.50%"),
        (Gate(max_size=4999), "size 5,000 bytes is 1 bytes above the limit, 4,999 bytes"),
        (Gate(max_latency=80), "p50 100 µs is 20 µs above the limit, 80 µs"),
        (Gate(baseline=()), "is not in the baseline"),
    ],
)
def test_what_breaks_a_limit_is_told(result, gate, expected):
    assert failures([result], gate) == (f"a|b[c].tflite (litert, cpu, 1 thread): {expected}",)


def test_what_was_not_measured_does_not_pass(result):
    unknown = replace(result, accuracy=None, dataset=None)
    assert len(failures([unknown], Gate(min_accuracy=0.1))) == 1
    assert len(failures([unknown], Gate(baseline=(result,)))) == 1


def test_the_baseline_leaves_the_tolerance(result):
    slower = replace(result, latency_us=replace(LATENCY, p50=109), size_bytes=5400, accuracy=0.9781)
    assert failures([slower], Gate(baseline=(result,))) == ()
    size, p50, accuracy = failures([slower], Gate(baseline=(result,), tolerance=0.05))
    assert "size 5,400 bytes is 150 bytes above the baseline plus 5%" in size
    assert "p50 109 µs is 4 µs above the baseline plus 5%" in p50
    assert "accuracy 97.81% is below 97.90%" in accuracy


def test_a_baseline_from_elsewhere_is_told(result):
    elsewhere = replace(
        result,
        system=replace(result.system, cpu="Cortex-A72"),
        latency_us=replace(LATENCY, p50=50),
    )
    (line,) = failures([result], Gate(baseline=(elsewhere,)))
    assert "taken on another machine: Cortex-A72" in line


@pytest.mark.parametrize(("text", "value"), [("10%", 0.1), ("0.25", 0.25), ("0", 0), ("100%", 1)])
def test_fractions(text, value):
    assert parse_fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "1.5", "-1%", "nan", "ten"])
def test_no_fractions(text):
    with pytest.raises(EdgegolfError, match="no fraction"):
        parse_fraction(text)
