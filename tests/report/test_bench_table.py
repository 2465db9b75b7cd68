from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from edgegolf.bench.result import BenchResult, Latency, Memory
from edgegolf.bench.system import describe_system
from edgegolf.report.bench_table import bench_notes, bench_table, to_csv, to_markdown

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
        size_bytes=5000,
        compressed_bytes=4000,
        parameters=1000,
        latency_us=LATENCY,
        memory=MEMORY,
        accuracy=0.98,
        dataset="mnist",
        warnings=("noisy machine",),
    )


@pytest.fixture(scope="module")
def results(result):
    smaller = replace(result, size_bytes=4567, runtime="tflite-runtime", threads=2, accuracy=None)
    failed = replace(result, file="bad.tflite", error="bad.tflite broke", latency_us=None)
    return [result, smaller, failed]


def shown(results, width):
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO())
    console.print(bench_table(results))
    return console.export_text()


def test_few_results_show_every_figure(results):
    text = shown(results, 100)
    for expected in ("a|b[c].tflite", "tflite-runtime, 2 threads", "4,567*", "5,000 ", "98.00%",
                     "standard deviation, µs", "10,000", "load, µs"):  # fmt: skip
        assert expected in text
    assert "bad.tflite" not in text
    assert "activations" not in text  # unknown for all of them
    assert "98.00%*" not in text  # the only one known


def test_many_results_have_a_row_each_that_fits_a_terminal(results):
    text = shown(results[:2] * 3, 80)
    assert text.count("4,567*") == 3
    assert text.count("5,000") == 3
    assert "100.0" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_notes_tell_conditions_once(results):
    notes = bench_notes(results)
    assert notes[0] == "accuracy: on the test images of mnist"
    assert "a|b[c].tflite (litert): noisy machine" in notes
    assert sum("Python" in note for note in notes) == 1


@pytest.mark.parametrize("copies", [1, 3])
def test_markdown_tables_are_rectangular(results, copies):
    text = to_markdown(results * copies)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert "**4,567**" in text
    assert "- bad.tflite broke" in text


def test_csv_has_every_field(results):
    rows = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert len(rows) == 3
    assert rows[0]["latency_us.p50"] == "100"
    assert rows[0]["memory.peak_rss_bytes"] == "14000000"
    assert rows[0]["system.python"]
    assert rows[0]["file"] == "a|b[c].tflite"
    assert rows[2]["error"] == "bad.tflite broke"
    assert rows[2]["latency_us.p50"] == ""


def test_nothing_measured_is_an_empty_table(results):
    assert to_markdown(results[2:]).count("- bad.tflite broke") == 1
    shown(results[2:], 80)


def test_machines_stand_side_by_side(result):
    pis = [replace(result, machine=name) for name in ("pi4", "pi5")]
    text = shown([*pis, result], 120)
    assert text.splitlines()[3].split() == ["pi4", "pi5", "this", "machine"]
    rows = shown(pis * 2, 120).splitlines()
    assert "machine" in "".join(rows[:4])
    assert sum("pi5" in row for row in rows) == 2
    notes = bench_notes(pis)
    assert any("on pi4): noisy machine" in note for note in notes)
    assert sum(note.startswith(("pi4: ", "pi5: ")) for note in notes) == 2


def test_throttled_results_are_marked(result):
    system = replace(
        result.system, throttling=("under-voltage",), temperature_before_c=50.0,
        temperature_after_c=81.6,
    )  # fmt: skip
    slowed = replace(result, system=system)
    assert "litert, THROTTLED" in shown([slowed, result], 120)
    notes = bench_notes([slowed])
    assert any("slowed down: under-voltage" in note for note in notes)
    assert any("50 to 82 °C" in note for note in notes)
    assert "THROTTLED" not in shown([result], 120)
