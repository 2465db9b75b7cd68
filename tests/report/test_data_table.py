from __future__ import annotations

import io
from dataclasses import replace

import pytest

from edgegolf.data import DatasetStatus
from edgegolf.report.net_tables import data_table

FOUND = DatasetStatus(
    name="mnist",
    licence="CC BY-SA 3.0",
    images=(55_000, 5_000, 10_000),
    how_to_get="go online once",
    location="/data/[odd]",
    checksum="0123456789abcdef" * 4,
    verified=True,
    problem="",
)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_tells_all_three_states(width):
    from rich.console import Console

    missing = replace(FOUND, location="", checksum="", verified=False)
    damaged = replace(FOUND, verified=False, problem="train-labels is truncated")
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(data_table([FOUND, missing, damaged]))
    text = console.export_text()
    for expected in (
        "55,000       5,000  10,000",
        "/data/[odd]",
        "verified, SHA-256 0123456789ab",
        "not found: go online once",
        "train-labels is truncated",
        "CC BY-SA 3.0",
    ):
        assert expected in text
    assert text.count("verified") == 1
