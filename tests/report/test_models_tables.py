"""The tables of all models, and their picture."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from doc_tables import files_markdown, training_markdown
from rich.console import Console

from edgegolf.cards import Card, FileFacts, SeedResult
from edgegolf.report import page_charts
from edgegolf.report.net_tables import models_table
from edgegolf.report.pictures import draw

CARD = Card(
    net="cnn:2",
    dataset="mnist",
    dataset_checksum="",
    parameters=4_802,
    trained_parameters=4_802,
    macs=1,
    recipe={},
    article_accuracy=0.9748,
    article_epochs=12,
    seeds=(SeedResult(0, 0.98, 0.98, 20, 61.0), SeedResult(1, 0.98, 0.976, 20, 59.0)),
    seed=0,
    model_sha256="",
    packages={},
    commit=None,
    files={"int8.tflite": FileFacts(5_000, "", 0.98, 0.9795, 0.01)},
)
SMALLER = replace(CARD, net="linear", parameters=10, article_accuracy=None, files={})


def test_models_table_has_a_row_per_file() -> None:
    table = models_table([CARD], {Path("models/mnist/cnn-2/int8.tflite"): 12.34})
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for cell in ("cnn:2", "4,802", "97.48%", "int8.tflite", "5,000", "97.95%", "12.3"):
        assert cell in text


def test_training_markdown_gives_mean_and_spread() -> None:
    lines = training_markdown([CARD, SMALLER]).splitlines()
    assert lines[2].startswith("| `linear` | 10 | – |")  # fewest parameters first
    assert lines[3] == "| `cnn:2` | 4,802 | 97.48% | 97.80 ± 0.28 % | 2 | 20 | 60 |"


def test_files_markdown_marks_what_is_missing() -> None:
    assert files_markdown([CARD]).splitlines()[2] == "| `cnn:2` | – | 5,000 B, 97.95% | – | – |"


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_picture_is_drawn_and_repeatable(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    draw(page_charts.front([CARD, SMALLER], "mnist"), first)
    draw(page_charts.front([CARD, SMALLER], "mnist"), second)
    assert first.read_bytes() == second.read_bytes()
    if suffix == ".svg":
        assert ">cnn:2</text>" in first.read_text()
