"""The table that `edgegolf bench --emulate` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from edgegolf.emulation.instructions import Instructions


def instructions_table(results: Sequence[Instructions]) -> Table:
    """A row for each file and runtime, a column for each processor."""
    boards = dict.fromkeys((result.cpu, result.board) for result in results)
    qemu = ", ".join(sorted({result.qemu for result in results}))
    table = Table(
        title="ARM instructions per inference, one thread",
        caption=f"Instructions, not time: counted under QEMU {qemu}. "
        "Equal numbers can take different times.",
    )
    table.add_column("file")
    table.add_column("runtime")
    for cpu, board in boards:
        table.add_column(f"{cpu}\n{board}", justify="right")
    found = {result.key: result for result in results}
    for file, runtime in dict.fromkeys((result.file, result.runtime) for result in results):
        cells = [found.get((file, runtime, cpu)) for cpu, _ in boards]
        table.add_row(file, runtime, *(_cell(cell) for cell in cells))
    return table


def _cell(result: Instructions | None) -> str:
    if result is None:
        return ""
    return "failed" if result.instructions is None else f"{result.instructions:,}"
