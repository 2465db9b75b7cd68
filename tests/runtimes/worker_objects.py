"""What tests let a worker make. No test module, so that its process can import it."""

from __future__ import annotations

import os
import signal

from edgegolf.errors import EdgegolfError

ENDLESS = 99  # a sum that is never ready

loaded: list[str] = []  # of the template


class Total:
    """A sum that stays between calls."""

    def __init__(self, start: int) -> None:
        if start < 0:
            raise EdgegolfError("below zero")
        if start == ENDLESS:
            self.turn()
        self.total = start

    def add(self, number: int) -> int:
        self.total += number
        loaded.append("more")
        return self.total

    def family(self) -> tuple[int, int, int]:
        """This process, its parent, and how often something was loaded."""
        return os.getpid(), os.getppid(), len(loaded)

    def turn(self) -> None:
        while True:
            pass

    def refuse(self) -> None:
        raise EdgegolfError("not this")

    def fail(self) -> None:
        raise ValueError("the last words")

    def crash(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


def load(start: int) -> None:
    if start == 13:
        raise EdgegolfError("nothing to load")
    if not loaded:
        loaded.append("once")
