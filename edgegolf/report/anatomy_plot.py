"""The anatomy of a model file as a picture: a treemap whose areas are bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.errors import EdgegolfError, require
from edgegolf.files import atomic_path

if TYPE_CHECKING:
    from edgegolf.golf.anatomy import Anatomy, Part

# Payload in greens, what describes it in blues, what could go in oranges and greys. The palette
# is Paul Tol's "light", which readers with any colour vision can tell apart:
# https://sronpersonalpages.nl/~pault/
COLOURS = {
    "weights": "#44BB99",
    "biases": "#BBCC33",
    "other constants": "#AAAA00",
    "quantization parameters": "#99DDFF",
    "names": "#EE8866",
    "shapes and types": "#77AADD",
    "tensor records": "#B3CDE9",
    "operators": "#EEDD88",
    "operator options": "#F5EBB8",
    "graph structure": "#DDDDDD",
    "metadata and signatures": "#FFAABB",
    "unused data": "#CC6677",
    "vtables": "#CCCCCC",
    "padding": "#BBBBBB",
    "dead space": "#999999",
}
OTHER_COLOUR = "#EEEEEE"

Rectangle = tuple[float, float, float, float]

WIDTH, HEIGHT = 10.0, 6.0  # inches
SMALLEST_LABEL = 0.25  # inches; smaller parts are in the legend only


def draw_anatomy(anatomy: Anatomy, path: Path) -> None:
    """Draw a treemap of a file's parts.

    Args:
        anatomy: The file taken apart.
        path: The ``.svg`` or ``.png`` file to write.

    Raises:
        EdgegolfError: Another suffix, matplotlib is missing, or the file cannot be written.
    """
    if path.suffix not in (".svg", ".png"):
        raise EdgegolfError(f"{path} is no .svg or .png file")
    require("matplotlib", extra="report")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle as Patch

    figure = Figure(figsize=(WIDTH + 3, HEIGHT + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(f"{Path(anatomy.file).name}: {anatomy.bytes:,} bytes", parse_math=False)
    handles = []
    areas = treemap([part.bytes for part in anatomy.parts], (0.0, 0.0, WIDTH, HEIGHT))
    for part, (left, top, width, height) in zip(anatomy.parts, areas, strict=True):
        colour = COLOURS.get(part.name, OTHER_COLOUR)
        patch = Patch((left, top), width, height, facecolor=colour, edgecolor="white")
        patch.set_label(_label(part, anatomy.bytes))
        handles.append(patch)
        axes.add_patch(patch)
        if min(width, height) > SMALLEST_LABEL and width > 0.09 * len(part.name):
            text = f"{part.name}\n{part.bytes:,}" if height > 2 * SMALLEST_LABEL else part.name
            axes.text(left + width / 2, top + height / 2, text, ha="center", va="center", size=9)
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    # The same input gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": "edgegolf"}), atomic_path(path) as temporary:
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(temporary, dpi=120, metadata=metadata)


def _label(part: Part, total: int) -> str:
    return f"{part.name}: {part.bytes:,} ({part.bytes / total:.1%})"


def treemap(sizes: list[int], area: Rectangle) -> list[Rectangle]:
    """Divide a rectangle into rectangles of given relative areas, as square as possible.

    Source: Bruls, Huizing, van Wijk, "Squarified Treemaps", 2000.

    Args:
        sizes: Positive, in descending order.
        area: Left, top, width and height.

    Returns:
        A rectangle for each size.
    """
    left, top, width, height = area
    placed: list[Rectangle] = []
    rest = list(sizes)
    while rest:
        scale = width * height / sum(rest)
        side = min(width, height)
        count = 1
        while count < len(rest) and _worst_ratio(rest[: count + 1], scale, side) <= _worst_ratio(
            rest[:count], scale, side
        ):
            count += 1
        row, rest = rest[:count], rest[count:]
        thickness = sum(row) * scale / side
        offset = 0.0
        for size in row:
            length = size * scale / thickness
            if width >= height:
                placed.append((left, top + offset, thickness, length))
            else:
                placed.append((left + offset, top, length, thickness))
            offset += length
        if width >= height:
            left, width = left + thickness, max(width - thickness, 1e-9)
        else:
            top, height = top + thickness, max(height - thickness, 1e-9)
    return placed


def _worst_ratio(row: list[int], scale: float, side: float) -> float:
    """The largest aspect ratio in a row of rectangles along a side."""
    total = sum(row) * scale
    return max(
        max(side**2 * size * scale / total**2, total**2 / (side**2 * size * scale)) for size in row
    )
