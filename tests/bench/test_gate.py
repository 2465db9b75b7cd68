from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from edgegolf.bench.gate import (
    Gate,
    counterparts,
    parse_fraction,
    read_baseline,
    row_name,
    verdicts,
)
from edgegolf.bench.result import BenchResult, Latency, Memory, read_results
from edgegolf.bench.system import describe_system
from edgegolf.emulation.gate import instruction_verdicts
from edgegolf.emulation.instructions import Instructions
from edgegolf.errors import EdgegolfError
from edgegolf.records import to_json
from edgegolf.report.gate_lines import gate_lines, gate_markdown
from edgegolf.report.junit import junit

LATENCY = Latency(900, 120, 100, 110, 130, 95, 102, 5, 1000, 3, 1, 0.5, 0.1)
MEMORY = Memory(40_000_000, 10_000_000, 3_000_000, 100_000, 14_000_000, 2_000, None)


def failures(results, gate):
    return tuple(
        f"{verdict.row}: {line}" for verdict in verdicts(results, gate) for line in verdict.failures
    )


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
    path.write_text(to_json([result, failed]))
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


def at(result, file, sha256=None, size=5000):
    return replace(result, file=file, sha256=sha256, size_bytes=size)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("models/a/int8.tflite", "./models/a/../a/int8.tflite"),
        ("models/a/int8.tflite", "/home/ci/build/models/a/int8.tflite"),
        ("/tmp/old/int8.tflite", "new/int8.tflite"),
    ],
)
def test_a_file_is_found_again_under_another_path(result, before, after):
    old, new = at(result, before), at(result, after, size=5600)
    (verdict,) = verdicts([new], Gate(baseline=(old,)))
    (line,) = verdict.failures
    assert line == "size 5,600 bytes is 100 bytes above the baseline plus 10%, 5,500 bytes"


def test_equal_content_is_found_under_another_name(result):
    old = at(result, "before.tflite", "aa")
    assert counterparts([at(result, "after.tflite", "aa")], [old]) == (old,)
    assert counterparts([at(result, "after.tflite", "bb")], [old]) == (None,)
    assert counterparts([at(result, "after.tflite")], [at(result, "before.tflite")]) == (None,)


def test_namesakes_are_told_apart_by_their_folders(result):
    a, b = at(result, "models/a/int8.tflite"), at(result, "models/b/int8.tflite")
    new = [at(result, f"/ci/models/{net}/int8.tflite") for net in "bac"]
    assert counterparts(new, [a, b]) == (b, a, None)
    # What the path names is not taken by a namesake that comes first.
    assert counterparts([at(result, "c/int8.tflite"), b], [b]) == (None, b)
    # Two are equally alike: none is known to be the one.
    assert counterparts([at(result, "int8.tflite")], [a, b]) == (None,)


def test_a_counterpart_ran_in_the_same_way(result):
    for other in ({"runtime": "tflite-runtime"}, {"threads": 2}, {"machine": "pi"}):
        assert counterparts([result], [replace(result, **other)]) == (None,)
    failed = replace(result, error="it broke")
    assert counterparts([result], [failed]) == (None,)


def test_a_baseline_without_figures_is_none(result, tmp_path):
    path = tmp_path / "old.json"
    for rows in ([], [replace(result, error="it broke")]):
        path.write_text(to_json(rows))
        with pytest.raises(EdgegolfError, match="no row with figures"):
            read_baseline(path)


def test_every_row_is_told_with_before_after_and_change(result):
    slower = replace(result, latency_us=replace(LATENCY, p50=109), size_bytes=4900, accuracy=0.9781)
    good = verdicts([slower], Gate(baseline=(result,)))
    assert list(gate_lines(good)) == [
        "passed: a|b[c].tflite (litert, cpu, 1 thread): size 5,000 bytes → 4,900 bytes (−2.0%), "
        "p50 100.0 µs → 109.0 µs (+9.0%), accuracy 98.00% → 97.81% (−0.19%)"
    ]
    first, second = gate_lines(verdicts([slower], Gate(baseline=(result,), tolerance=0.092)))
    assert first.startswith("failed: a|b[c].tflite (litert, cpu, 1 thread): accuracy 97.81%")
    assert "p50 100.0 µs → 109.0 µs (+9.0%)" in second
    assert list(gate_lines(verdicts([result], Gate()))) == []


def test_markdown_for_a_pull_request(result):
    slower = replace(result, latency_us=replace(LATENCY, p50=120), accuracy=None)
    lines = gate_markdown(verdicts([slower], Gate(baseline=(result,)))).splitlines()
    assert lines[0] == "|  | figure | before | after | change |"
    assert lines[2].startswith("| a\\|b[c].tflite (litert, cpu, 1 thread): **failed**; p50 120 µs")
    assert lines[2].endswith("| size | 5,000 bytes | 5,000 bytes | ±0 |")
    assert lines[3] == "|  | p50 | 100.0 µs | 120.0 µs | +20.0% |"
    assert lines[4] == "|  | accuracy | 98.00% | unknown |  |"
    assert gate_markdown(verdicts([result], Gate())) == ""


def test_only_the_figures_that_are_named_are_gated(result):
    slow = replace(result, latency_us=replace(LATENCY, p50=500))
    assert failures([slow], Gate(baseline=(result,)))
    assert not failures([slow], Gate(baseline=(result,), figures=("size", "accuracy")))
    assert failures([replace(slow, size_bytes=9000)], Gate(baseline=(result,), figures=("size",)))
    with pytest.raises(EdgegolfError, match="p05"):
        Gate(figures=("p05",))


def test_instructions_are_gated_by_name_where_the_path_is_another():
    old = Instructions("before/a.tflite", "litert", "2.3", "Raspberry Pi 5", "A76", "10", 1000)
    new = replace(old, file="a.tflite", instructions=1011)
    (verdict,) = instruction_verdicts([new], [old], 0.01)
    assert verdict.failures == ("instructions 1,011 is 1 above the baseline plus 1%, 1,010",)
    assert not instruction_verdicts([new], [old], 0.02)[0].failures
    assert instruction_verdicts([replace(new, cpu="A53")], [old], 0.5)[0].failures == (
        "is not in the baseline",
    )
    assert not instruction_verdicts([replace(new, instructions=None, error="x")], [old], 0.5)
    assert list(gate_lines([verdict]))[1].strip() == "instructions 1,000 → 1,011 (+1.1%)"


def test_junit_tells_what_passed_failed_and_broke(result):
    broken = replace(result, file="b\x01<.tflite", error="it & broke")
    judged = verdicts([result, broken], Gate(max_size=10))
    suite = ElementTree.fromstring(junit([result, broken], judged, row_name))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "1")
    first, second = suite
    assert "size 5,000 bytes" in first.find("failure").get("message")
    assert second.find("error").get("message") == "it & broke"
    passed = ElementTree.fromstring(junit([result], (), row_name))
    assert len(passed[0]) == 0
