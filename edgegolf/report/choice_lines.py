"""Which file of a net to take on each board, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgegolf.cards import BoardChoice
from edgegolf.emulation.choice import board_choices
from edgegolf.emulation.instructions import Instructions

FLOAT = "float32"


def choice_lines(results: Sequence[Instructions]) -> Iterator[str]:
    """A line for each folder and board: the file, the runtime, and how it compares with float32."""
    folders = defaultdict(list)
    for result in results:
        folders[Path(result.file).parent].append(result)
    for folder, own in folders.items():
        plain = board_choices([each for each in own if Path(each.file).stem == FLOAT])
        best = {choice.board: choice for choice in reversed(board_choices(own))}
        for board in sorted(best):
            float32 = next((each for each in plain if each.board == board), None)
            yield f"{folder}: {_line(best[board], float32)}"


def _line(choice: BoardChoice, float32: BoardChoice | None) -> str:
    line = (
        f"{choice.board}: take {choice.file} with {choice.runtime}: "
        f"{choice.instructions:,} instructions"
    )
    if float32 is None or float32.file == choice.file:
        return line
    return f"{line}, × {choice.instructions / float32.instructions:.2f} of {float32.file}"
