"""How costs grow with the number of iterations: shared weights solid, unshared ones dashed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegolf.errors import require
from edgegolf.files import atomic_path
from edgegolf.footprint.result import FILE, LATENCY, RESTING_HEAP

if TYPE_CHECKING:
    from edgegolf.footprint.result import Footprint

# What is drawn: the picture's name, its cost, the label of its axis.
PICTURES = (
    ("footprint-bytes", FILE, "file, bytes"),
    ("footprint-heap", RESTING_HEAP, "heap at rest, bytes"),
    ("footprint-latency", LATENCY, "latency, µs"),
)
PANELS = (("TensorFlow Lite", ".tflite"), ("ONNX", ".onnx"))
SUFFIXES = (".svg", ".png")

# Paul Tol's "bright": https://sronpersonalpages.nl/~pault/
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
STYLES = {"shared": "-", "unshared": "--"}


def draw_footprint(footprint: Footprint, folder: Path) -> tuple[Path, ...]:
    """Draw each cost against the number of iterations, as `.svg` and as `.png`.

    Args:
        footprint: With growth.
        folder: To write the pictures to.

    Returns:
        The pictures, without those of costs that were not measured.

    Raises:
        EdgegolfError: matplotlib is missing, or a picture cannot be written.
    """
    require("matplotlib", extra="report")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written = []
    for name, cost, label in PICTURES:
        if not any(_line(footprint, file, way, "shared", cost) for file, way in _files(footprint)):
            continue
        figure = Figure(figsize=(12, 5), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (title, suffix) in zip(figure.subplots(1, 2, sharey=True), PANELS, strict=True):
            _draw_panel(axes, footprint, suffix, cost)
            axes.set(title=title, xlabel="iterations", xscale="log", yscale="log")
            axes.set_ylabel(label)
        figure.suptitle(f"{footprint.net}: shared weights solid, unshared dashed")
        for suffix in SUFFIXES:
            path = folder / f"{name}{suffix}"
            # The same input gives the same file.
            metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
            salt = matplotlib.rc_context({"svg.hashsalt": "edgegolf"})
            with salt, atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=100, metadata=metadata)
            written.append(path)
    return tuple(written)


def _draw_panel(axes: Any, footprint: Footprint, suffix: str, cost: str) -> None:
    files = [(file, way) for file, way in _files(footprint) if file.endswith(suffix)]
    counts: set[int] = set()
    for colour, (file, way) in zip(COLOURS, files, strict=False):
        for role, style in STYLES.items():
            line = _line(footprint, file, way, role, cost)
            if line:
                label = f"{way} {file}" if role == "shared" else None
                axes.plot(*zip(*line, strict=True), style, color=colour, marker=".", label=label)
                counts.update(count for count, _ in line)
    ticks = sorted(counts)
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if counts:
        axes.legend(frameon=False, fontsize="small")


def _files(footprint: Footprint) -> list[tuple[str, str]]:
    return list(dict.fromkeys((v.file, v.way) for net in footprint.growth for v in net.variants))


def _line(
    footprint: Footprint, file: str, way: str, role: str, cost: str
) -> list[tuple[int, float]]:
    points = []
    for net in footprint.growth:
        variant = net.variant(file, way) if net.role == role else None
        value = None if variant is None else variant.cost(cost)
        if net.iterations is not None and value is not None:
            points.append((net.iterations, value))
    return sorted(points)
