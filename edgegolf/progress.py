"""Progress of long work: live lines on a terminal, a line every three seconds elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 3.0


class Work(AbstractContextManager["Work"]):
    """Something that goes on until `end`, or to the end of a `with` block, on standard error.

    Args:
        description: What is being done, a few words.
        total: How many steps there are; None if that is not known.
    """

    def __init__(self, description: str, total: int | None = None) -> None:
        self.description = description
        self.total = total
        self.done = 0
        self.detail = ""
        self._started = time.monotonic()
        _lines.add(self)

    def update(self, done: int, detail: str = "") -> None:
        """Tell how many steps are done, and a line of detail."""
        self.done, self.detail = done, detail
        _lines.update(self)

    def end(self) -> None:
        """Take the line away."""
        _lines.remove(self)

    def __exit__(self, *_: object) -> None:
        self.end()

    def __str__(self) -> str:
        seconds = time.monotonic() - self._started
        if self.total is None:
            counted = f"{seconds:.0f} s"
        else:
            rest = seconds / self.done * (self.total - self.done) if self.done else 0
            counted = f"{self.done} of {self.total}" + (f", {rest:.0f} s left" if rest else "")
        return f"{self.description}: {', '.join(filter(None, (counted, self.detail)))}"


class _Lines:
    """The lines of all that goes on, below whatever else is printed.

    They are written to a copy of standard error's descriptor, which stays when the standard
    streams of native libraries are silenced.
    """

    def __init__(self) -> None:
        self._works: dict[Work, TaskID | None] = {}
        self._bars: Progress | None = None
        self._stream: TextIO | None = None
        self._stop = threading.Event()

    def add(self, work: Work) -> None:
        if not self._works:
            self._start()
        self._works[work] = None
        if self._bars is not None:
            self._works[work] = self._bars.add_task(work.description, total=work.total, detail="")

    def update(self, work: Work) -> None:
        number = self._works.get(work)
        if self._bars is not None and number is not None:
            self._bars.update(number, completed=work.done, detail=work.detail)

    def remove(self, work: Work) -> None:
        number = self._works.pop(work, None)
        if self._bars is not None and number is not None:
            self._bars.remove_task(number)
        if not self._works:
            self.clear()

    def clear(self) -> None:
        self._works.clear()
        self._stop.set()
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
            self._stream = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        bars = self._bars
        if bars is not None:
            bars.stop()
        try:
            yield
        finally:
            if bars is not None and bars is self._bars:
                bars.start()

    def _start(self) -> None:
        self._stream = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
        if sys.stderr.isatty():
            self._bars = _bars(self._stream)
            self._bars.start()
        else:
            self._stop = threading.Event()
            beat = threading.Thread(target=self._beat, args=(self._stop, self._stream), daemon=True)
            beat.start()

    def _beat(self, stop: threading.Event, stream: TextIO) -> None:
        while not stop.wait(SECONDS_BETWEEN_LINES):
            for work in list(self._works)[-1:]:
                with suppress(OSError, ValueError):  # the stream was closed meanwhile
                    print(work, file=stream, flush=True)


def _bars(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    width = os.get_terminal_size(stream.fileno()).columns or 80
    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description} [dim]{task.fields[detail]}", table_column=words),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        # The terminal's ^C has room beside it: on a line of its own it would displace the rest.
        console=Console(file=stream, force_terminal=True, width=width - 3),
        transient=True,
        redirect_stdout=False,
        expand=True,
    )


_lines = _Lines()
aside = _lines.aside  # takes the live lines off the terminal while its block prints
clear = _lines.clear  # takes them off for good, after an error or an interruption


def say(message: str) -> None:
    """Print on standard error, above what is shown live; a terminal breaks no word.

    Args:
        message: Lines; what continues one on a terminal stands below its first word.
    """
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        message = "\n".join(_filled(line, width) for line in message.split("\n"))
    with aside():
        print(message, file=sys.stderr, flush=True)


def _filled(line: str, width: int) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while showing how far along they are, on standard error.

    Args:
        items: What to go through.
        description: What is being done, a few words.
        total: How many items there are, where `items` has no length.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Work(description, total) as work:
        for done, item in enumerate(items):
            work.update(done)
            yield item


@contextmanager
def doing(description: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done, on standard error.

    Args:
        description: A few words.

    Yields:
        A function that takes a line of detail.
    """
    if not sys.stderr.isatty():
        print(description, file=sys.stderr, flush=True)
    with Work(description) as work:
        yield lambda detail: work.update(0, detail)
