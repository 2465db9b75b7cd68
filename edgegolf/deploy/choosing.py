"""Which files go to a device: of a net, the one that its card names for the board."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from edgegolf.cards import read_card
from edgegolf.deploy.device import Device, runtimes_of
from edgegolf.emulation.boards import most_similar
from edgegolf.emulation.choice import choose
from edgegolf.progress import say


def chosen_files(
    groups: Iterable[Sequence[Path]], device: Device, runtime: str | None
) -> dict[Path, str | None]:
    """The files that go to a device, and what runs each there; None is what it prefers.

    Args:
        groups: Files; of several in one folder only the one goes that its card names for the
            device, and all where it names none.
        device: Where they go.
        runtime: What is to run all of them; None leaves it to the cards.

    Raises:
        EdgegolfError: A card is not valid.
    """
    board = most_similar(device.board, device.architecture)
    runtimes = (runtime,) if runtime else runtimes_of(device)
    chosen: dict[Path, str | None] = {}
    for group in groups:
        for folder, files in groupby(group, lambda path: path.parent):
            card = read_card(folder) if board and len(group) > 1 else None
            choice = choose(card, board, runtimes) if card and board else None
            if choice is None or (best := folder / choice.file) not in group:
                chosen |= dict.fromkeys(files, runtime)
                continue
            chosen[best] = choice.runtime
            say(
                f"{folder}: of its files goes {choice.file}, for {choice.runtime}: the fewest "
                f"instructions on a {choice.board}"
            )
    return chosen
