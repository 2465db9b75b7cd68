"""Keeps what native libraries print about themselves off the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# How such lines start; the corner continues a line before.
_CHATTER = (b"INFO:", b"WARNING:", "└".encode())


@contextmanager
def without_chatter() -> Iterator[None]:
    """Hold back standard error at the level of the process, then print all but the chatter.

    Python's `contextlib.redirect_stderr` does not reach what C++ code prints.
    """
    try:
        held = tempfile.TemporaryFile()  # noqa: SIM115, closed below
        original = os.dup(2)
    except OSError:  # standard error is closed, or the disk is full: no reason to fail
        yield
        return
    with held:
        with suppress(Exception):
            sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os.dup2(original, 2)
            held.seek(0)
            os.write(original, strip_chatter(held.read()))
            os.close(original)


def strip_chatter(said: bytes) -> bytes:
    """What was printed, without the lines that runtimes print about themselves."""
    return b"".join(
        line for line in said.splitlines(keepends=True) if not line.startswith(_CHATTER)
    )
