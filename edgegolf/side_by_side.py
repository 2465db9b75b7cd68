"""Long tasks side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError

SECONDS_TO_STOP = 10.0


@dataclass(frozen=True)
class Task:
    """What one process does.

    Attributes:
        description: What it is, for errors: `training linear with seed 0`.
        function: Of a module; called with the arguments and, last, a function that sends what is
            to be told on the way. Its result is sent at the end.
        arguments: All can be pickled.
    """

    description: str
    function: Callable[..., object]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class _Ended:
    """The last message of a process: nothing more comes, and what stopped it, if anything did."""

    error: EdgegolfError | None = None


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_side_by_side(tasks: Sequence[Task], at_once: int) -> Generator[tuple[int, Any], None, None]:
    """Start the tasks in their order, and yield what they send with their number.

    Whoever stops reading closes the iterator, which stops the processes.

    Raises:
        EdgegolfError: A task failed or its process died; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(enumerate(tasks))
    running: dict[Connection, tuple[int, BaseProcess, Path]] = {}
    with tempfile.TemporaryDirectory() as logs:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    index, task = waiting.pop(0)
                    receiver, sender = context.Pipe(duplex=False)
                    log = Path(logs) / str(index)
                    process = context.Process(target=_child, args=(task, sender, log), daemon=True)
                    process.start()
                    sender.close()
                    running[receiver] = index, process, log
                for ready in wait(list(running)):
                    assert isinstance(ready, Connection)
                    index, child, log = running[ready]
                    message = _receive(ready, child, tasks[index].description, log)
                    if isinstance(message, _Ended):
                        del running[ready]
                        child.join()
                    else:
                        yield index, message
        finally:
            for _, child, _ in running.values():
                child.terminate()
            for _, child, _ in running.values():
                child.join(SECONDS_TO_STOP)
                child.kill()


def _receive(receiver: Connection, process: BaseProcess, description: str, log: Path) -> Any:
    try:
        message = receiver.recv()
    except EOFError:
        process.join()
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        raise EdgegolfError(
            f"{description} stopped with exit code {process.exitcode}",
            hint=f"its last words: {lines[-1]}" if lines else "it may have run out of memory",
        ) from None
    if isinstance(message, _Ended) and message.error is not None:
        raise message.error
    return message


def _child(task: Task, sender: Connection, log: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that temporary files are removed
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)  # native libraries write where they like
    try:
        sender.send(task.function(*task.arguments, sender.send))
        sender.send(_Ended())
    except EdgegolfError as error:
        sender.send(_Ended(error))
    except Exception as error:
        traceback.print_exc()
        sender.send(_Ended(EdgegolfError(f"{task.description} failed: {error!r}")))
