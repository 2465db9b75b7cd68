from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from edgegolf.anatomy.anatomy import Anatomy, Duplicate, Part, Weight
from edgegolf.errors import EdgegolfError
from edgegolf.report import page_charts
from edgegolf.report.file_tables import anatomy_table
from edgegolf.report.pictures import draw

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
    pytest.importorskip("vl_convert")
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        draw(page_charts.anatomy(EXAMPLE), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    if suffix == ".svg":
        assert ElementTree.fromstring(first).tag.endswith("svg")
    else:
        assert first.startswith(b"\x89PNG")


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgegolfError, match="svg"):
        draw(page_charts.anatomy(EXAMPLE), tmp_path / "a.gif")
