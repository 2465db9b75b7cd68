"""Tables and pictures of sweeps."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from doc_tables import replace_section, sweep_sections

from edgegolf.records import from_json, to_json
from edgegolf.report.sweep_tables import (
    breaking_point,
    sweep_csv,
    sweep_markdown,
)
from edgegolf.sweep.costs import FileCosts
from edgegolf.sweep.front import goals, pareto_front
from edgegolf.sweep.runs import SweepRun
from edgegolf.sweep.sweep import SweepResults, summarize_runs

DOCS = Path(__file__).parent.parent.parent / "docs"


def run(net: str, parameters: int, accuracy: float, seed: int = 0) -> SweepRun:
    return SweepRun(
        net=net, dataset="mnist", seed=seed, epochs=12, parameters=parameters,
        trained_parameters=parameters, macs=1000, losses=(1.0, 0.5),
        validation_accuracy=accuracy, test_accuracy=accuracy, seconds=2.0, host="here",
    )  # fmt: skip


RESULTS = SweepResults(
    "small",
    "A question",
    "mnist",
    7,
    (
        run("double_cnn:4", 2358, 0.985),
        run("double_cnn:2", 932, 0.97, 0),
        run("double_cnn:2", 932, 0.98, 1),
        run("double_cnn:1", 408, 0.96),
        run("mlp:16", 13002, 0.95),
    ),
)

# The golfed file and the one with a loop, which is smaller and slower.
MEASURED = replace(
    RESULTS,
    costs=(
        FileCosts("double_cnn:2", "mnist", "float32.tflite", 6000, 20.0, "litert", "here"),
        FileCosts("double_cnn:2", "mnist", "int8.tflite", 4000, 30.0, "litert", "here"),
        FileCosts("double_cnn:2", "mnist", "int8-loop.tflite", 3000, 45.5, "litert", "here"),
    ),
)


def test_means_spread_and_the_articles_figure() -> None:
    text = sweep_markdown(RESULTS)
    assert "| double_cnn:2 | 932 | 932 | 1,000 | 97.00% | 97.50 ± 0.71 % | 2 | 12 | 2 |" in text
    assert "97 % holds down to double_cnn:2 with 932 parameters and breaks at double_cnn:1" in text


def test_the_front_leaves_out_what_is_surpassed() -> None:
    nets = summarize_runs(RESULTS.runs)
    front = [net.net for net in pareto_front(nets)]
    assert front == ["double_cnn:1", "double_cnn:2", "double_cnn:4"]


def test_goals_name_the_smallest_net_and_the_published_record() -> None:
    found = {goal.accuracy: goal for goal in goals(summarize_runs(RESULTS.runs), "mnist")}
    smallest = {accuracy: goal.ours and goal.ours.net for accuracy, goal in found.items()}
    assert smallest == {
        0.95: "double_cnn:1", 0.97: "double_cnn:2", 0.98: "double_cnn:4", 0.99: None
    }  # fmt: skip
    published = [goal.published.cost for goal in found.values() if goal.published]
    assert published == [200, 575, 575, 697]


def test_nothing_breaks_where_nothing_holds() -> None:
    assert breaking_point(()) == ""
    assert "the smallest here" in breaking_point(summarize_runs([run("cnn:2", 4802, 0.98)]))


def test_csv_has_a_line_per_run() -> None:
    rows = list(csv.DictReader(io.StringIO(sweep_csv(RESULTS))))
    assert [row["net"] for row in rows] == [run.net for run in RESULTS.runs]
    assert rows[0]["last_loss"] == "0.5"


def test_bytes_and_latency_stand_beside_their_net() -> None:
    rows = {line.split(" | ")[0]: line for line in sweep_markdown(MEASURED).splitlines()}
    assert rows["| double_cnn:2"].endswith("| 6,000 | 20.0 | 3,000 | 45.5 |")
    assert rows["| double_cnn:1"].endswith("| – | – | – | – |")
    lines = list(csv.DictReader(io.StringIO(sweep_csv(MEASURED))))
    assert [line["int8-loop.tflite bytes"] for line in lines] == ["", "3000", "3000", "", ""]
    assert [line["float32.tflite µs"] for line in lines] == ["", "20.0", "20.0", "", ""]
    assert from_json(to_json(MEASURED), SweepResults) == MEASURED


@pytest.mark.parametrize("results", [RESULTS, MEASURED], ids=["accuracy", "costs"])
def test_picture_is_the_same_every_time(tmp_path: Path, results: SweepResults) -> None:
    pytest.importorskip("vl_convert")
    from edgegolf.report import page_charts, pictures

    for name in ("a.svg", "b.svg"):
        pictures.draw(page_charts.sweep(results), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("path", sorted((DOCS / "sweeps").glob("*.json")), ids=lambda p: p.stem)
def test_the_tables_of_the_page_are_those_of_its_figures(path: Path) -> None:
    page = (DOCS / "sweep.md").read_text()
    results = from_json(path.read_text(), SweepResults, str(path))
    for name, content in sweep_sections(results).items():
        assert f"<!-- {name} -->" in page
        assert replace_section(page, name, content) == page, "run make docs"
    assert path.with_suffix(".svg").is_file()
