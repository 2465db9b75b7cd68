"""The table that `edgegolf golf` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from edgegolf.golf.golf import GolfResult


def golf_table(result: GolfResult) -> Table:
    """What each cause saved, and the sizes before and after."""
    verified = ", ".join(result.verified) or "no runtime is installed"
    table = Table(
        title=f"{result.source} → {result.destination}", caption=f"Bit-identical in {verified}."
    )
    table.add_column("cause")
    table.add_column("bytes", justify="right")
    table.add_row("before", f"{result.bytes_before:,}")
    for saving in result.savings:
        table.add_row(saving.cause, f"-{saving.bytes:,}" if saving.bytes else "0")
    table.add_section()
    saved = 1 - result.bytes_after / result.bytes_before
    table.add_row(f"after, {saved:.0%} less", f"{result.bytes_after:,}")
    return table
