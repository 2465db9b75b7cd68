"""Which file of a net a Raspberry Pi should take: the one that executes the fewest instructions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edgegolf.cards import BoardChoice, Card, read_card, write_card
from edgegolf.emulation.boards import BOARDS, Board
from edgegolf.emulation.instructions import Instructions

_FAMILIES = {board.model: board.family for board in BOARDS}


def board_choices(results: Iterable[Instructions]) -> tuple[BoardChoice, ...]:
    """For each board and runtime the file with the fewest, the best runtime of a board first.

    Args:
        results: Of the files of one net.
    """
    found = [
        BoardChoice(_FAMILIES[each.board], each.runtime, Path(each.file).name, each.instructions)
        for each in results
        if each.instructions is not None
    ]
    found.sort(key=lambda choice: (choice.board, choice.instructions, choice.file))
    fewest = {(choice.board, choice.runtime): choice for choice in reversed(found)}
    return tuple(choice for choice in found if fewest[choice.board, choice.runtime] is choice)


def note_choices(folder: Path, results: Sequence[Instructions]) -> None:
    """Write into a folder's card which of its files to take on each board.

    Args:
        folder: Of an exported net.
        results: Counts of its files, and of any others.
    """
    card = read_card(folder)
    if card is not None:
        own = [
            each
            for each in results
            if Path(each.file).parent == folder and Path(each.file).name in card.files
        ]
        write_card(folder, replace(card, choices=board_choices(own)))


def choose(card: Card, board: Board, runtimes: Collection[str]) -> BoardChoice | None:
    """What a card names for a board that has these runtimes; None if it names nothing."""
    return next(
        (each for each in card.choices if each.board == board.family and each.runtime in runtimes),
        None,
    )
