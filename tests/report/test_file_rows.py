"""Which bench is of which committed file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from test_costs_markdown import RESULT

from edgegolf.cards import read_card
from edgegolf.report.page_data import Sources, file_rows

FOLDER = Path(__file__).parent.parent.parent / "models" / "mnist" / "linear"


def test_a_bench_of_another_file_of_that_name_has_a_row_of_its_own():
    card = read_card(FOLDER)
    bench = replace(RESULT, size_bytes=card.files["int8.tflite"].size_bytes)
    stale = replace(bench, size_bytes=bench.size_bytes + 4, accuracy=0.5)
    rows = file_rows(Sources(folders=((FOLDER, card),), benches=(bench, stale), footprints=()))
    accuracies = [card.files["int8.tflite"].test_accuracy, 0.5]
    assert [row.accuracy for row in rows if row.p50_us == bench.latency_us.p50] == accuracies
    assert len(rows) == len(card.files) + 1
