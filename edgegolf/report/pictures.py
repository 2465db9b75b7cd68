"""Charts as pictures: SVG inside the page, and `.svg` and `.png` files."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegolf.errors import EdgegolfError, require
from edgegolf.files import write_atomically
from edgegolf.footprint.result import FILE, LATENCY, RESTING_HEAP
from edgegolf.report import page_charts
from edgegolf.report.page_charts import Chart
from edgegolf.report.page_layout import printable
from edgegolf.report.page_plot import Look

if TYPE_CHECKING:
    from edgegolf.footprint.result import Footprint

# The colour of the text around it, so that light and dark are the page's business.
INK = "currentColor"
WIDE, PHONE = Look(880, INK), Look(340, INK)
PICTURE = Look(880, "#1a1f1c")
SUFFIXES = (".svg", ".png")
RESOLUTION = 2  # of PNG files

# What a footprint's pictures are called, and which cost they show.
FOOTPRINT_PICTURES = (
    ("footprint-bytes", FILE),
    ("footprint-heap", RESTING_HEAP),
    ("footprint-latency", LATENCY),
)


def to_svg(chart: Chart, look: Look) -> str:
    """A chart as an SVG element that is as wide as what it is in.

    Raises:
        EdgegolfError: The package for charts is missing.
    """
    vl_convert = require("vl_convert", extra="report")
    svg: str = vl_convert.vegalite_to_svg(_printable(chart.draw(look)))
    head, _, rest = svg.partition(">")
    width, height = (head.split(f'{name}="')[1].split('"')[0] for name in ("width", "height"))
    box = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    return box + rest


def draw(chart: Chart | None, path: Path) -> None:
    """Write a chart with its finding as a title, on white. The same input gives the same file.

    Raises:
        EdgegolfError: There is no chart, it is to be neither `.svg` nor `.png`, the package for
            charts is missing, or the file cannot be written.
    """
    if chart is None:
        raise EdgegolfError(f"there is nothing to draw in {path.name}")
    if path.suffix not in SUFFIXES:
        raise EdgegolfError(f"{path} is no .svg or .png file")
    vl_convert = require("vl_convert", extra="report")
    spec: dict[str, Any] = chart.draw(PICTURE)
    letters = int(PICTURE.width / (16 * 0.6))
    spec["title"] = {
        "text": textwrap.wrap(chart.finding, letters), "fontSize": 16,
        "subtitle": textwrap.wrap(chart.subject, letters), "subtitleFontSize": 13,
        "anchor": "start", "offset": 14,
    }  # fmt: skip
    spec["config"]["background"] = "white"
    spec["padding"] = 10
    spec = _printable(spec)
    if path.suffix == ".svg":
        data = vl_convert.vegalite_to_svg(spec).encode()
    else:
        data = vl_convert.vegalite_to_png(spec, scale=RESOLUTION)
    write_atomically(path, data)


def _printable(spec: Any) -> Any:
    """The same with printable texts only: at others the converter ends the process."""
    if isinstance(spec, str):
        return printable(spec)
    if isinstance(spec, list):
        return [_printable(each) for each in spec]
    return {key: _printable(each) for key, each in spec.items()} if isinstance(spec, dict) else spec


def draw_footprint(footprint: Footprint, folder: Path) -> tuple[Path, ...]:
    """Draw costs against the number of iterations, as `.svg` and as `.png`.

    Returns:
        The pictures, without those of costs that were not measured.

    Raises:
        EdgegolfError: As `draw`.
    """
    written: list[Path] = []
    for name, cost in FOOTPRINT_PICTURES:
        chart = page_charts.growth(footprint, (cost,))
        if chart is not None:
            paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
            for path in paths:
                draw(chart, path)
            written += paths
    return tuple(written)
