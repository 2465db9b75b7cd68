"""Long tasks side by side, in processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError

SECONDS_TO_STOP = 0.5  # native code does not hear that it is to stop


@dataclass(frozen=True)
class Task:
    """What is to be done in a process."""

    description: str  # what it is, for errors: `training linear with seed 0`
    # Of a module; called with the arguments and, last, a function that sends what is to be told on
    # the way. Its result is sent at the end.
    function: Callable[..., object]
    arguments: tuple[Any, ...]  # all can be pickled


@dataclass(frozen=True)
class _Ended:
    """The last message about a task: nothing more comes, and what stopped it, if anything did."""

    error: EdgegolfError | None = None


def end_with_parent() -> None:
    """Let this process, started by multiprocessing, end as soon as its parent has.

    A parent that was killed can stop nobody, and native code may run for minutes.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_await_end, args=(parent.sentinel,), daemon=True).start()


def _await_end(sentinel: int) -> None:
    wait([sentinel])
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)  # with the processes that it has started
    os._exit(1)


def stop_all(processes: Sequence[BaseProcess]) -> None:
    """End processes, and within a second: what does not hear is killed, with its own processes."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + SECONDS_TO_STOP
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        with suppress(OSError):  # it never got a group of its own, or nothing is left of that
            if process.pid is not None:
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()


def run_side_by_side(tasks: Sequence[Task], at_once: int) -> Generator[tuple[int, Any], None, None]:
    """Start the tasks in their order, and yield what they send with their number.

    A process does one task after another: TensorFlow alone takes seconds to import.

    Whoever stops reading closes the iterator, which stops the processes.

    Raises:
        EdgegolfError: A task failed or its process died; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    waiting = deque(enumerate(tasks))
    running: dict[Connection, tuple[int, BaseProcess, Path]] = {}
    with tempfile.TemporaryDirectory() as logs:
        try:
            for number in range(min(at_once, len(tasks))):
                connection, its_end = context.Pipe()
                log = Path(logs) / str(number)
                process: BaseProcess = context.Process(
                    target=_work, args=(its_end, log), daemon=True
                )
                with _same_order_of_sets():
                    process.start()
                its_end.close()
                running[connection] = _give(connection, waiting), process, log
            while running:
                for ready in wait(list(running)):
                    assert isinstance(ready, Connection)
                    index, process, log = running[ready]
                    message = _receive(ready, process, tasks[index].description, log)
                    if not isinstance(message, _Ended):
                        yield index, message
                    elif waiting:
                        running[ready] = _give(ready, waiting), process, log
                    else:
                        del running[ready]
                        ready.close()
                        process.join()
        finally:
            stop_all([process for _, process, _ in running.values()])


@contextmanager
def _same_order_of_sets() -> Iterator[None]:
    """Let processes that are started hash text alike: what converters write depends on it."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def _give(connection: Connection, waiting: deque[tuple[int, Task]]) -> int:
    """Send a process its next task, and return the task's number."""
    index, task = waiting.popleft()
    with suppress(OSError):  # it died; receiving from it says so
        connection.send(task)
    return index


def _receive(receiver: Connection, process: BaseProcess, description: str, log: Path) -> Any:
    try:
        message = receiver.recv()
    except (EOFError, ConnectionError):  # reset, where it died before it read its task
        process.join()
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        raise EdgegolfError(
            f"{description} stopped with exit code {process.exitcode}",
            hint=f"its last words: {lines[-1]}" if lines else "it may have run out of memory",
        ) from None
    if isinstance(message, _Ended) and message.error is not None:
        raise message.error
    return message


def own_group() -> None:
    """Give this process a group, so that it can be ended with the processes that it starts."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def _work(connection: Connection, log: Path) -> None:
    own_group()
    end_with_parent()
    tempfile.tempdir = os.environ["TMPDIR"] = str(log.parent)  # the parent removes it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that temporary files are removed
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)  # native libraries write where they like
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return  # there is no more to do
        connection.send(_end(task, connection.send))


def _end(task: Task, send: Callable[[object], None]) -> _Ended:
    try:
        send(task.function(*task.arguments, send))
    except EdgegolfError as error:
        return _Ended(error)
    except Exception as error:
        traceback.print_exc()
        return _Ended(EdgegolfError(f"{task.description} failed: {error!r}"))
    return _Ended()
