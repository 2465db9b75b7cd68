"""A footprint as tables, for people and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgegolf.footprint.result import (
    ACTIVATIONS,
    COMPRESSED,
    COMPRESSED_UPDATE,
    FILE,
    LATENCY,
    LOADED_HEAP,
    MACS,
    PEAK_RESIDENT,
    RESTING_HEAP,
    RESTING_RESIDENT,
    UPDATE,
)

if TYPE_CHECKING:
    from rich.table import Table

    from edgegolf.footprint.result import Footprint, NetFootprint, Variant

FILE_COSTS = (FILE, COMPRESSED, UPDATE, COMPRESSED_UPDATE, ACTIVATIONS, MACS)
RUNNING_COSTS = (LOADED_HEAP, RESTING_HEAP, RESTING_RESIDENT, PEAK_RESIDENT, LATENCY)
GROWING_COSTS = (FILE, UPDATE, RESTING_HEAP, LATENCY, ACTIVATIONS, MACS)
UNKNOWN = "–"


@dataclass(frozen=True)
class Grid:
    """A table before it has a form; the first `labels` columns are text, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int


def footprint_tables(footprint: Footprint) -> tuple[Table, ...]:
    """All of a footprint, for a terminal."""
    return tuple(_rich(grid) for grid in _grids(footprint).values() if grid.rows)


def footprint_sections(footprint: Footprint) -> dict[str, str]:
    """The same as Markdown tables, by the name of the section in docs/footprint.md."""
    return {name: _markdown(grid) for name, grid in _grids(footprint).items()}


def _grids(footprint: Footprint) -> dict[str, Grid]:
    return {
        "footprint-nets": _nets_grid(footprint),
        "footprint-files": _files_grid(footprint),
        "footprint-running": _running_grid(footprint),
        "footprint-holdings": _holdings_grid(footprint),
        "footprint-growth": _growth_grid(footprint),
    }


def _nets_grid(footprint: Footprint) -> Grid:
    rows = (
        (
            net.net,
            net.role,
            f"{net.parameters:,}",
            UNKNOWN if net.accuracy is None else f"{net.accuracy:.2%}",
            "trained" if net.trained else "random",
        )
        for net in footprint.comparison
    )
    header = ("net", "role", "parameters", "test accuracy", "weights")
    return Grid(f"The nets, {footprint.dataset}", header, tuple(rows), labels=2)


def _files_grid(footprint: Footprint) -> Grid:
    rows = (
        (net.net, variant.file, variant.way, *(_text(variant.cost(name)) for name in FILE_COSTS))
        for net in footprint.comparison
        for variant in net.variants
    )
    header = ("net", "file", "made by", *FILE_COSTS)
    return Grid("What the files are, in bytes", header, tuple(rows), labels=3)


def _running_grid(footprint: Footprint) -> Grid:
    rows = (
        (
            net.net,
            variant.file,
            variant.way,
            runtime,
            *(_text(variant.cost(name, runtime), name) for name in RUNNING_COSTS),
        )
        for net in footprint.comparison
        for variant in net.variants
        for runtime in _runtimes(variant)
    )
    header = ("net", "file", "made by", "runtime", *RUNNING_COSTS)
    return Grid("What they take when they run, in bytes", header, tuple(rows), labels=4)


def _holdings_grid(footprint: Footprint) -> Grid:
    copies = {(h.runtime, h.file, h.shared): f"{h.copies:.2f}" for h in footprint.holdings}
    cases = dict.fromkeys((h.runtime, h.file) for h in footprint.holdings)
    rows = (
        (file, runtime, copies.get((runtime, file, True), UNKNOWN),
         copies.get((runtime, file, False), UNKNOWN))
        for runtime, file in cases
    )  # fmt: skip
    header = ("file", "runtime", "shared", "unshared")
    title = "Heap of one more application, in copies of its weights"
    return Grid(title, header, tuple(rows), labels=2)


def _growth_grid(footprint: Footprint) -> Grid:
    counts = sorted({net.iterations for net in footprint.growth if net.iterations})
    nets = {(net.role, net.iterations): net for net in footprint.growth}
    rows = []
    for name in GROWING_COSTS:
        for file, way in _growing_files(footprint):
            for role in ("shared", "unshared"):
                values = [_grown(nets.get((role, count)), file, way, name) for count in counts]
                if any(value is not None for value in values):
                    texts = [_text(value, name) for value in values]
                    rows.append((name, file, way, role, *texts, _slope(counts, values, name)))
    header = ("cost", "file", "made by", "weights", *map(str, counts), "each further one")
    return Grid("Growth with the number of iterations", header, tuple(rows), labels=4)


def _growing_files(footprint: Footprint) -> Iterator[tuple[str, str]]:
    yield from dict.fromkeys((v.file, v.way) for net in footprint.growth for v in net.variants)


def _grown(net: NetFootprint | None, file: str, way: str, name: str) -> float | None:
    variant = None if net is None else net.variant(file, way)
    return None if variant is None else variant.cost(name)


def _slope(counts: list[int], values: list[float | None], name: str) -> str:
    """The mean cost of one more iteration, between the fewest and the most that are known."""
    known = [
        (count, value) for count, value in zip(counts, values, strict=True) if value is not None
    ]
    if len(known) < 2:
        return UNKNOWN
    (few, low), (many, high) = known[0], known[-1]
    return _text((high - low) / (many - few), name)


def _runtimes(variant: Variant) -> Iterator[str]:
    yield from dict.fromkeys(cost.runtime for cost in variant.costs if cost.runtime)


def _text(value: float | None, name: str = "") -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.1f}" if name == LATENCY else f"{value:,.0f}"


def _rich(grid: Grid) -> Table:
    from rich.table import Table

    table = Table(title=grid.title, title_justify="left")
    for index, name in enumerate(grid.header):
        table.add_column(name, justify="left" if index < grid.labels else "right")
    for row in grid.rows:
        table.add_row(*row)
    return table


def _markdown(grid: Grid) -> str:
    alignments = ["---" if index < grid.labels else "---:" for index in range(len(grid.header))]
    lines = [" | ".join(cells) for cells in (grid.header, alignments, *grid.rows)]
    return "".join(f"| {line} |\n" for line in lines)
