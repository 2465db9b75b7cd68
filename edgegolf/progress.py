"""Progress of long work: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while showing how far along they are, on standard error.

    Args:
        items: What to go through.
        description: What is being done, a few words.
        total: How many items there are, where `items` has no length.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as rich_track

        yield from rich_track(
            items, description, total=total, console=Console(stderr=True), transient=True
        )
        return
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (
                f", {(now - started) / done * (total - done):.0f} s left" if total and done else ""
            )
            print(f"{description}: {done} of {total or '?'}{left}", file=sys.stderr, flush=True)
        yield item


@contextmanager
def doing(description: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done; the block's lines of detail are shown live on a terminal only.

    Args:
        description: A few words.

    Yields:
        A function that takes a line of detail.
    """
    if not sys.stderr.isatty():
        print(description, file=sys.stderr, flush=True)
        yield lambda detail: None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status(Text(description)) as status:
        yield lambda detail: status.update(Text(f"{description}: {detail}"[: console.width - 4]))
