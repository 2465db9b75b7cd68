from __future__ import annotations

from dataclasses import replace

from doc_tables import costs_markdown
from test_bench_table import LATENCY, MEMORY

from edgegolf.bench.result import BenchResult
from edgegolf.bench.system import describe_system
from edgegolf.emulation.instructions import Instructions

RESULT = BenchResult(
    file="models/mnist/linear/int8.tflite",
    runtime="litert",
    provider="cpu",
    threads=1,
    system=describe_system(),
    size_bytes=8494,
    parameters=7850,
    accuracy=0.9285,
    latency_us=replace(LATENCY, p50=1234.5),
    memory=replace(MEMORY, activation_peak_bytes=784),
)
COUNT = Instructions(RESULT.file, "litert", "2.3.0", "Raspberry Pi 5", "cortex-a76", "7.2", 8190)


def test_a_row_has_the_figures_of_its_file_and_runtime():
    other = replace(RESULT, runtime="tflite-runtime", accuracy=None)
    failed = replace(RESULT, error="it broke", latency_us=None)
    assert costs_markdown([RESULT, other, failed], [COUNT]).splitlines()[2:] == [
        "| `linear/int8.tflite` | litert | 8,494 | 7,850 | 92.85% | 784 | 1,234 | 8,190 |",
        "| `linear/int8.tflite` | tflite-runtime | 8,494 | 7,850 | – | 784 | 1,234 | – |",
    ]


def test_without_counts_there_is_no_column_of_them():
    text = costs_markdown([RESULT], [])
    assert "instructions" not in text
    assert len({line.count("|") for line in text.splitlines()}) == 1
