"""Tasks in real processes: order, messages, failures, crashes, stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.side_by_side import Task, run_side_by_side


def count(limit: int, send: Callable[[object], None]) -> str:
    for number in range(limit):
        send(number)
    return f"counted to {limit}"


def refuse(send: Callable[[object], None]) -> None:
    raise EdgegolfError("no such thing", hint="take another")


def break_down(send: Callable[[object], None]) -> None:
    raise ValueError("seven")


def crash(send: Callable[[object], None]) -> None:
    os.write(2, b"something native went wrong\n")
    os.kill(os.getpid(), signal.SIGKILL)


def linger(folder: Path, send: Callable[[object], None]) -> None:
    partial = folder / str(os.getpid())
    partial.touch()
    try:
        send("here")
        time.sleep(600)
    finally:
        partial.unlink()


def task(function: Callable[..., object], *arguments: object) -> Task:
    return Task(function.__name__, function, arguments)


def test_everything_that_is_sent_arrives_in_order() -> None:
    tasks = [task(count, 3), task(count, 0), task(count, 2)]
    received: dict[int, list[object]] = {0: [], 1: [], 2: []}
    for index, message in run_side_by_side(tasks, at_once=2):
        received[index].append(message)
    assert received == {
        0: [0, 1, 2, "counted to 3"],
        1: ["counted to 0"],
        2: [0, 1, "counted to 2"],
    }


def process_id(send: Callable[[object], None]) -> int:
    return os.getpid()


def test_a_process_does_one_task_after_another() -> None:
    (first, second, third) = (number for _, number in run_side_by_side([task(process_id)] * 3, 1))
    assert first == second == third != os.getpid()


def test_an_error_of_a_task_is_raised_as_it_is() -> None:
    with pytest.raises(EdgegolfError, match="no such thing") as raised:
        list(run_side_by_side([task(refuse)], 1))
    assert raised.value.hint == "take another"


@pytest.mark.skipif(not Path("/bin/false").exists(), reason="no program that only fails")
def test_a_process_that_never_starts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resource_tracker.ensure_running()  # another process that is started so
    monkeypatch.setattr("multiprocessing.spawn._python_exe", os.fsencode("/bin/false"))
    for _ in range(5):
        with pytest.raises(EdgegolfError, match="refuse stopped with exit code 1"):
            list(run_side_by_side([task(refuse)], 1))


def test_a_bug_and_a_crash_say_which_task_and_why() -> None:
    with pytest.raises(EdgegolfError, match=r"break_down failed: ValueError\('seven'\)"):
        list(run_side_by_side([task(break_down)], 1))
    with pytest.raises(EdgegolfError, match="crash stopped with exit code -9") as raised:
        list(run_side_by_side([task(crash)], 1))
    assert "something native went wrong" in raised.value.hint


def test_whoever_stops_reading_stops_the_tasks_which_clean_up(tmp_path: Path) -> None:
    with closing(run_side_by_side([task(linger, tmp_path)] * 2, 2)) as messages:
        assert [next(messages)[1], next(messages)[1]] == ["here", "here"]
        assert len(list(tmp_path.iterdir())) == 2
    assert not list(tmp_path.iterdir())


def test_tasks_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; import test_side_by_side as t\n"
        "if __name__ == '__main__':\n"
        f"    tasks = [t.task(t.linger, Path({str(tmp_path)!r}))]\n"
        "    for _, message in t.run_side_by_side(tasks, 1): print(message, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"here\n"
        parent.kill()
        # The task has the same standard output: it ends when both are gone.
        assert parent.communicate(timeout=60) == (b"", None)
