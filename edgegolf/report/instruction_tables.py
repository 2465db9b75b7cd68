"""Instructions per inference, and what to take on each board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from edgegolf.emulation.choice import board_choices
from edgegolf.emulation.instructions import Instructions
from edgegolf.report.table import UNKNOWN, Table

if TYPE_CHECKING:
    from edgegolf.emulation.cores import CoreCount

FLOAT = "float32"


def instructions_table(results: Sequence[Instructions]) -> Table:
    """A row for each file and runtime, a column for each processor."""
    boards = dict.fromkeys((result.cpu, result.board) for result in results)
    qemu = ", ".join(sorted({result.qemu for result in results}))
    found = {result.key: result for result in results}

    def cell(*key: str) -> str:
        if key not in found:
            return UNKNOWN
        count = found[key].instructions
        return "failed" if count is None else f"{count:,}"

    rows = (
        (str(PurePath(file).parent), PurePath(file).name, runtime,
         *(cell(file, runtime, cpu) for cpu, _ in boards))
        for file, runtime in dict.fromkeys((result.file, result.runtime) for result in results)
    )  # fmt: skip
    return Table(
        ("folder", "file", "runtime", *(f"{cpu}\n{board}" for cpu, board in boards)),
        tuple(rows),
        labels=3,
        title="ARM instructions per inference, one thread",
        caption=f"Instructions, not time: counted under QEMU {qemu}. "
        "Equal numbers can take different times.",
        headings=1,
    )


def cores_table(results: Sequence[CoreCount]) -> Table:
    """A row for each file and what its C was made for."""

    def text(number: int | None) -> str:
        return "failed" if number is None else f"{number:,}"

    rows = (
        (str(PurePath(each.file).parent), PurePath(each.file).name, each.optimize,
         *map(text, (each.flash_bytes, each.arena_bytes, each.scratch_bytes, each.count)))
        for each in results
    )  # fmt: skip
    units = "/".join(dict.fromkeys(each.unit for each in results))
    return Table(
        ("folder", "file", "for", "flash, B", "arena, B", "arrays on\nthe stack, B", units),
        tuple(rows),
        labels=3,
        title=f"C on an emulated {'/'.join(dict.fromkeys(each.core for each in results))}",
        caption="Of one inference; flash without that of an empty program.",
        headings=1,
    )


def choice_lines(results: Sequence[Instructions]) -> Iterator[str]:
    """A line for each folder and board: the file, the runtime, and how it compares with float32."""
    for folder, own in by_folder(results).items():
        plain = {each.board: each for each in reversed(board_choices(floats(own)))}
        best = {each.board: each for each in reversed(board_choices(own))}
        for board, choice in sorted(best.items()):
            line = (
                f"{folder}: {board}: take {choice.file} with {choice.runtime}: "
                f"{choice.instructions:,} instructions"
            )
            float32 = plain.get(board)
            if float32 is not None and float32.file != choice.file:
                ratio = choice.instructions / float32.instructions
                line += f", × {ratio:.2f} of {float32.file}"
            yield line


def by_folder(results: Sequence[Instructions]) -> dict[PurePath, list[Instructions]]:
    """What was counted of the files in each folder."""
    folders = defaultdict(list)
    for result in results:
        folders[PurePath(result.file).parent].append(result)
    return folders


def floats(results: Sequence[Instructions]) -> list[Instructions]:
    """What was counted of float32 files."""
    return [each for each in results if PurePath(each.file).stem == FLOAT]
