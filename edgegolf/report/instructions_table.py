"""The table that `edgegolf bench --emulate` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from edgegolf.report.table import UNKNOWN, Table

if TYPE_CHECKING:
    from edgegolf.emulation.instructions import Instructions


def instructions_table(results: Sequence[Instructions]) -> Table:
    """A row for each file and runtime, a column for each processor."""
    boards = dict.fromkeys((result.cpu, result.board) for result in results)
    qemu = ", ".join(sorted({result.qemu for result in results}))
    found = {result.key: result for result in results}
    rows = (
        (
            str(PurePath(file).parent),
            PurePath(file).name,
            runtime,
            *(_cell(found.get((file, runtime, cpu))) for cpu, _ in boards),
        )
        for file, runtime in dict.fromkeys((result.file, result.runtime) for result in results)
    )
    return Table(
        ("folder", "file", "runtime", *(f"{cpu}\n{board}" for cpu, board in boards)),
        tuple(rows),
        labels=3,
        title="ARM instructions per inference, one thread",
        caption=f"Instructions, not time: counted under QEMU {qemu}. "
        "Equal numbers can take different times.",
        headings=1,
    )


def _cell(result: Instructions | None) -> str:
    if result is None:
        return UNKNOWN
    return "failed" if result.instructions is None else f"{result.instructions:,}"
