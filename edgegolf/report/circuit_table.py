"""The table that `edgegolf circuit` prints."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.circuit.flow import Circuit


def circuit_table(circuit: Circuit) -> Table:
    """What the circuit takes on each device, and what is known of it."""
    header = ("device", "cells", "LUT", "FF", "BRAM", "DSP", "MHz", "images/s")
    rows = []
    for fit in circuit.fits:
        low, high = min(fit.megahertz), max(fit.megahertz)
        middle = median(fit.megahertz)
        clock = f"{middle:.1f}" if low == high else f"{middle:.1f} ({low:.1f}–{high:.1f})"
        rows.append((
            fit.device, f"{fit.cells:,}/{fit.available[0]:,}", f"{fit.luts:,}",
            f"{fit.flip_flops:,}", f"{fit.block_rams}/{fit.available[1]}",
            f"{fit.multipliers}/{fit.available[2]}", clock,
            f"{middle * 1e6 / circuit.cycles:,.0f}",
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
    checked = [fit.device for fit in circuit.fits if fit.netlist_images]
    if checked:
        told.append(
            f"The netlists of {', '.join(checked)}: those of {circuit.fits[0].netlist_images}."
        )
    if not circuit.fits and not circuit.simulated:
        told.append(
            f"make -C {circuit.folder} simulate compares its logits with the interpreter's."
        )
    title = f"{circuit.model} → {circuit.folder}"
    return Table(header, tuple(rows), title=title, caption="\n".join(told))
