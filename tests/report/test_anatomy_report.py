from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgegolf.errors import EdgegolfError
from edgegolf.golf.anatomy import Anatomy, Duplicate, Part, Weight
from edgegolf.report.anatomy_plot import draw_anatomy, treemap
from edgegolf.report.anatomy_table import anatomy_table

EXAMPLE = Anatomy(
    file="folder/[red]model$x$.tflite",
    format="tflite",
    bytes=1000,
    parts=(Part("weights", 700), Part("names", 290), Part("padding", 10)),
    weights=(Weight("kernel\x1b[1m[bold]", "weights", 600, 8), Weight("bias", "biases", 100, 1)),
    duplicates=(Duplicate(("one", "two"), 3, 50),),
    sharing_would_save=100,
)


def printed(width: int = 120) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(anatomy_table(EXAMPLE))
    return console.export_text()


def test_the_table_says_it_all_and_names_are_text_only() -> None:
    text = printed()
    for expected in ("1,000", "70.0%", "100.0%", "8 uses", "3 copies", "[bold]", "[red]model"):
        assert expected in text
    assert "\x1b" not in text
    assert "bias" not in text.replace("biases", "")


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_picture_is_the_same_each_time(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        draw_anatomy(EXAMPLE, path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    if suffix == ".svg":
        assert ElementTree.fromstring(first).tag.endswith("svg")
    else:
        assert first.startswith(b"\x89PNG")


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgegolfError, match="svg"):
        draw_anatomy(EXAMPLE, tmp_path / "a.gif")


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40))
def test_areas_are_proportional_and_cover_the_rectangle(sizes: list[int]) -> None:
    sizes = sorted(sizes, reverse=True)
    rectangles = treemap(sizes, (0, 0, 10, 6))
    assert len(rectangles) == len(sizes)
    for size, (left, top, width, height) in zip(sizes, rectangles, strict=True):
        assert width * height == pytest.approx(60 * size / sum(sizes), rel=1e-3, abs=1e-6)
        assert -1e-6 <= left <= left + width <= 10 + 1e-6
        assert -1e-6 <= top <= top + height <= 6 + 1e-6
