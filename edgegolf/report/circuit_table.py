"""The table that `edgegolf circuit` prints."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.circuit.flow import Circuit, Fit


def circuit_table(circuit: Circuit) -> Table:
    """What the circuit takes on each device, and what is known of it."""
    header = ("device", "cells", "LUT", "FF", "BRAM", "DSP", "MHz", "images/s")
    rows = []
    for fit in circuit.fits:
        cells, (logic, memories, multipliers) = fit.cells, fit.available
        rows.append((
            cells.device, f"{fit.used:,}/{logic:,}", f"{cells.luts:,}", f"{cells.flip_flops:,}",
            f"{cells.block_rams}/{memories}", f"{cells.multipliers}/{multipliers}",
            clock(fit), f"{median(fit.megahertz) * 1e6 / circuit.cycles:,.0f}",
        ))  # fmt: skip
    told = [
        f"{circuit.macs:,} multiply-accumulates, {circuit.lanes} at a time: {circuit.cycles:,} "
        f"cycles an image. Weights {circuit.weight_bytes:,} B, images {circuit.image_bytes:,} B."
    ]
    if circuit.simulated:
        told.append(
            f"{circuit.simulator}: every logit of {circuit.simulated:,} images equals the "
            "interpreter's."
        )
    if not circuit.fits and not circuit.simulated:
        told.append(
            f"make -C {circuit.folder} simulate compares its logits with the interpreter's."
        )
    title = f"{circuit.model} → {circuit.folder}"
    return Table(header, tuple(rows), title=title, caption="\n".join(told))


def clock(fit: Fit) -> str:
    """The median over the seeds, and the range."""
    low, high = min(fit.megahertz), max(fit.megahertz)
    middle = f"{median(fit.megahertz):.1f}"
    return middle if low == high else f"{middle} ({low:.1f}–{high:.1f})"
