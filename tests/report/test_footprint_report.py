from __future__ import annotations

from pathlib import Path

import pytest
from doc_tables import footprint_sections, replace_section
from rich.console import Console

from edgegolf.bench.system import describe_system
from edgegolf.footprint.result import (
    FILE,
    LATENCY,
    RESTING_HEAP,
    Cost,
    Footprint,
    Holding,
    NetFootprint,
    Variant,
)
from edgegolf.records import from_file, to_json
from edgegolf.report.footprint_table import footprint_tables

ROOT = Path(__file__).parent.parent.parent


def net(role: str, iterations: int, size: int) -> NetFootprint:
    costs = (
        Cost(FILE, size),
        Cost(RESTING_HEAP, 10 * size, "litert"),
        Cost(LATENCY, 1.5 * iterations, "litert"),
    )
    variants = (Variant("int8.tflite", "stock", costs),)
    return NetFootprint(f"{role}_net", role, iterations, 7, False, None, variants)


FOOTPRINT = Footprint(
    net="shared_net",
    dataset="digits",
    system=describe_system(),
    comparison=(net("shared", 8, 1_080), net("unshared", 8, 1_800)),
    growth=tuple(
        net(role, count, 1_000 + count * size)
        for count in (1, 2, 4)
        for role, size in (("shared", 10), ("unshared", 100))
    ),
    holdings=(
        Holding("litert", "int8.tflite", True, 1.0),
        Holding("litert", "int8.tflite", False, 1.25),
    ),
)


def test_a_footprint_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "footprint.json"
    path.write_text(to_json(FOOTPRINT))
    assert from_file(path, Footprint) == FOOTPRINT


def test_sections_tell_each_cost_and_its_growth() -> None:
    sections = footprint_sections(FOOTPRINT)
    growth = sections["footprint-growth"].splitlines()
    assert "| file | int8.tflite | stock | shared | 1,010 | 1,020 | 1,040 | 10 |" in growth
    assert "| file | int8.tflite | stock | unshared | 1,100 | 1,200 | 1,400 | 100 |" in growth
    assert "| latency, µs | int8.tflite | stock | shared | 1.5 | 3.0 | 6.0 | 1.5 |" in growth
    assert "| int8.tflite | litert | 1.00 | 1.25 |" in sections["footprint-holdings"]
    assert "| shared_net | int8.tflite | stock | litert |" in sections["footprint-running"]


def test_tables_for_a_terminal_show_the_same() -> None:
    console = Console(width=200)
    console.begin_capture()
    console.print(*footprint_tables(FOOTPRINT))
    shown = console.end_capture()
    assert "1,080" in shown
    assert "Growth with the number of iterations" in shown


def test_pictures_of_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    from edgegolf.report.pictures import draw_footprint

    first = draw_footprint(FOOTPRINT, tmp_path / "first")
    second = draw_footprint(FOOTPRINT, tmp_path / "second")
    names = ["bytes", "heap", "latency"]
    expected = [f"footprint-{name}{suffix}" for name in names for suffix in (".svg", ".png")]
    assert [path.name for path in first] == expected
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_tables_of_the_page_are_those_of_its_figures() -> None:
    figures = ROOT / "docs" / "footprint.json"
    if not figures.exists():
        pytest.skip("no figures are committed")
    page = (ROOT / "docs" / "footprint.md").read_text()
    written = page
    for name, content in footprint_sections(from_file(figures, Footprint)).items():
        written = replace_section(written, name, content)
    assert page == written, "run make docs"
