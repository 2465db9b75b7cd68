"""The command line on a terminal."""

from __future__ import annotations

import os
import pty
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

QUESTION = re.compile(rb"(\[y/N\]|:) $")


def types(
    answers: Sequence[str], command: Sequence[object], cwd: Path, environment: Mapping[str, str]
) -> str:
    """Run edgegolf on a terminal and answer its questions in turn; what was shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        arguments = [sys.executable, "-m", "edgegolf", *map(str, command)]
        os.execve(sys.executable, arguments, dict(environment))
    shown, left, seen = b"", list(answers), 0
    while True:
        try:
            block = os.read(terminal, 1 << 12)
        except OSError:  # the command has ended
            block = b""
        if not block:
            break
        shown += block
        if left and QUESTION.search(shown[seen:]):
            os.write(terminal, left.pop(0).encode() + b"\n")
            seen = len(shown)
    os.waitpid(child, 0)
    os.close(terminal)
    return shown.decode(errors="replace")
