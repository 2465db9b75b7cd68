"""What is shown of long work, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from edgegolf import progress
from edgegolf.quiet import silenced

BAR = """
import sys, time
from edgegolf.cli import _print, main, cli
from edgegolf.errors import EdgegolfError
from edgegolf.progress import track
from edgegolf.quiet import silenced

@cli.command()
def work():
    for item in track(range(3), "measuring things"):
        with silenced():
            print("chatter")
            time.sleep(0.3)
        _print("a table")
        if item == 1:
            raise EdgegolfError("it broke")

sys.argv = ["edgegolf", "work"]
main()
"""


def on_a_terminal(script: str) -> tuple[int, str]:
    """The exit status of a script on a terminal of its own, and all that it wrote there."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(theirs)
    written = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # Linux, where the other side is closed
            break
        if not block:
            break
        written += block
    os.close(ours)
    return child.wait(), written.decode()


def left_on_screen(written: str) -> list[str]:
    """The lines that stay, of what only goes up, to the start of a line, and erases lines."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|\r\n|\r|\n|[^\x1b\r\n]+", written):
        if part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif "\n" in part:
            row += 1
            lines += [""] * (row == len(lines))
        elif part[0] not in "\x1b\r":
            lines[row] += part
    return [line.rstrip() for line in lines if line.strip()]


def test_bars_live_while_libraries_are_silenced_and_leave_nothing() -> None:
    status, written = on_a_terminal(BAR)
    assert status == 2
    assert written.count("measuring things") > 5  # drawn again and again
    assert "chatter" not in written
    assert left_on_screen(written) == ["a table", "a table", "error: it broke"]


def test_elsewhere_lines_tell_what_goes_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    told = ""
    with progress.Work("counting", 4) as work, silenced():
        work.update(1, "by hand")
        deadline = time.monotonic() + 30
        while "by hand" not in told and time.monotonic() < deadline:
            time.sleep(0.01)
            told += capfd.readouterr().err
    assert re.search(r"^counting: 1 of 4, \d+ s left, by hand$", told, re.M)


def test_nothing_is_said_of_short_work(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track(iter("abc"), "spelling")) == ["a", "b", "c"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["bench", "x", "--runtme"], ["zoo", "cn:2"], ["golf"]])
def test_a_terminal_breaks_no_word(arguments: list[str]) -> None:
    script = f"import sys; from edgegolf.cli import main; sys.argv[1:] = {arguments}; main()"
    lines = left_on_screen(on_a_terminal(script)[1])
    assert len(lines) > 1
    assert max(map(len, lines)) <= 80
