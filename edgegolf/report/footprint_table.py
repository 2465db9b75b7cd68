"""A footprint as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegolf.footprint.result import (
    ACTIVATIONS,
    BLOCK_RAMS,
    C_COUNT,
    C_FLASH,
    C_RAM,
    COMPRESSED,
    COMPRESSED_UPDATE,
    CYCLES,
    FILE,
    LATENCY,
    LOADED_HEAP,
    LUTS,
    MACS,
    PEAK_RESIDENT,
    RESTING_HEAP,
    RESTING_RESIDENT,
    UPDATE,
)
from edgegolf.report.table import UNKNOWN, Table, known

if TYPE_CHECKING:
    from edgegolf.footprint.result import Footprint, NetFootprint

FILE_COSTS = (FILE, COMPRESSED, UPDATE, COMPRESSED_UPDATE, ACTIVATIONS, MACS)
RUNNING_COSTS = (LOADED_HEAP, RESTING_HEAP, RESTING_RESIDENT, PEAK_RESIDENT, LATENCY)
GROWING_COSTS = (FILE, UPDATE, RESTING_HEAP, LATENCY, ACTIVATIONS, MACS, C_FLASH, C_RAM, C_COUNT,
                 LUTS, BLOCK_RAMS, CYCLES)  # fmt: skip


def footprint_tables(footprint: Footprint) -> tuple[Table, ...]:
    """All of a footprint, for a terminal."""
    return tuple(table for table in named_tables(footprint).values() if table.rows)


def named_tables(footprint: Footprint) -> dict[str, Table]:
    """The same, empty ones too, by the name of the section in docs/footprint.md."""
    return {
        "footprint-nets": _nets_table(footprint),
        "footprint-files": _files_table(footprint),
        "footprint-running": _running_table(footprint),
        "footprint-holdings": _holdings_table(footprint),
        "footprint-growth": _growth_table(footprint),
    }


def _nets_table(footprint: Footprint) -> Table:
    rows = (
        (net.net, net.role, f"{net.parameters:,}", known(net.accuracy, "{:.2%}"),
         "trained" if net.trained else "random")
        for net in footprint.comparison
    )  # fmt: skip
    header = ("net", "role", "parameters", "test accuracy", "weights")
    return Table(header, tuple(rows), 2, f"The nets, {footprint.dataset}")


def _files_table(footprint: Footprint) -> Table:
    rows = (
        (net.net, variant.file, variant.way, *(_text(variant.cost(name)) for name in FILE_COSTS))
        for net in footprint.comparison
        for variant in net.variants
    )
    header = ("net", "file", "made by", *FILE_COSTS)
    return Table(header, tuple(rows), 3, "What the files are, in bytes")


def _running_table(footprint: Footprint) -> Table:
    rows = (
        (net.net, variant.file, variant.way, runtime,
         *(_text(variant.cost(name, runtime), name) for name in RUNNING_COSTS))
        for net in footprint.comparison
        for variant in net.variants
        for runtime in dict.fromkeys(cost.runtime for cost in variant.costs if cost.runtime)
    )  # fmt: skip
    header = ("net", "file", "made by", "runtime", *RUNNING_COSTS)
    return Table(header, tuple(rows), 4, "What they take when they run, in bytes")


def _holdings_table(footprint: Footprint) -> Table:
    copies = {(h.runtime, h.file, h.shared): f"{h.copies:.2f}" for h in footprint.holdings}
    cases = dict.fromkeys((h.runtime, h.file) for h in footprint.holdings)
    rows = (
        (file, runtime, copies.get((runtime, file, True), UNKNOWN),
         copies.get((runtime, file, False), UNKNOWN))
        for runtime, file in cases
    )  # fmt: skip
    header = ("file", "runtime", "shared", "unshared")
    title = "Heap of one more application, in copies of its weights"
    return Table(header, tuple(rows), 2, title)


def _growth_table(footprint: Footprint) -> Table:
    counts = sorted({net.iterations for net in footprint.growth if net.iterations})
    nets = {(net.role, net.iterations): net for net in footprint.growth}
    files = dict.fromkeys((v.file, v.way) for net in footprint.growth for v in net.variants)
    rows = []
    for name in GROWING_COSTS:
        for file, way in files:
            for role in ("shared", "unshared"):
                values = [_grown(nets.get((role, count)), file, way, name) for count in counts]
                if any(value is not None for value in values):
                    texts = [_text(value, name) for value in values]
                    rows.append((name, file, way, role, *texts, _slope(counts, values, name)))
    header = ("cost", "file", "made by", "weights", *map(str, counts), "each further one")
    return Table(header, tuple(rows), 4, "Growth with the number of iterations")


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


def _text(value: float | None, name: str = "") -> str:
    return known(value, "{:,.1f}" if name == LATENCY else "{:,.0f}")
