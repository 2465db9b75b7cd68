"""The operators of files, as `edgegolf show` lists and draws them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from golf_models import onnx_chain
from rich.console import Console

from edgegolf.bench.graph_statistics import graph_statistics
from edgegolf.bench.outline import Outline, outline
from edgegolf.errors import EdgegolfError
from edgegolf.records import from_json, to_json
from edgegolf.report.outline_views import SHOWN, outline_svg, outline_table

NET = Path(__file__).parents[2] / "models" / "mnist" / "tight_resnet"
SVG = "{http://www.w3.org/2000/svg}"


def printed(found: Outline) -> str:
    console = Console(width=80, file=None, record=True, quiet=False)
    with console.capture() as captured:
        console.print(outline_table(found))
    return captured.get()


def test_a_loop_holds_what_it_runs() -> None:
    found = outline(NET / "int8.tflite")
    assert found.inputs == ("1×28×28×1 int8",)
    loop = next(line for line in found.lines if line.operator == "WHILE")
    assert loop.times == 8
    inside = [line for line in found.lines if line.number.startswith(f"{loop.number}.2.")]
    assert [line.operator for line in inside if line.macs] == ["DEPTHWISE_CONV_2D", "CONV_2D"]
    once = sum(line.macs or 0 for line in found.lines if line not in inside)
    assert (
        once + 8 * sum(line.macs or 0 for line in inside)
        == graph_statistics(NET / "int8.tflite").macs
    )
    picture = ElementTree.fromstring(outline_svg(found))
    assert [each.text for each in picture.iter(f"{SVG}text")].count("×8") == 1
    assert not list(picture.iter(f"{SVG}path"))  # nothing skips an operator


def test_shared_weights_have_letters_and_skips_arcs() -> None:
    found = outline(NET / "int8.onnx")
    letters = [line.shared for line in found.lines if line.operator == "Conv"]
    assert letters == ["", *["A", "BC"] * 8]  # decoded weights, too
    assert next(line.reads for line in found.lines if line.operator == "Add") == ("8", "11")
    picture = ElementTree.fromstring(outline_svg(found))
    assert len(list(picture.iter(f"{SVG}path"))) == 8
    text = printed(found)
    assert "Operators with the same letter" in text
    assert max(map(len, text.splitlines())) <= 80
    assert from_json(to_json(found), Outline) == found


def test_long_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "long.onnx"
    path.write_bytes(onnx_chain(["relu"] * (SHOWN + 7)))
    found = outline(path)
    more = len(found.lines) - SHOWN
    assert more > 0
    assert f"And {more} more operators." in printed(found)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(EdgegolfError):
        outline(path)
