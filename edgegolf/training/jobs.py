"""Many training runs at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from edgegolf.errors import EdgegolfError
from edgegolf.training.worker import Job, Progress, Run, train


@dataclass(frozen=True)
class Failure:
    """What stopped a run, as the process tells it."""

    message: str
    hint: str


def train_all(
    jobs: Sequence[Job], processes: int | None, report: Callable[[Job, Progress | Run], None]
) -> tuple[Run, ...]:
    """Train every job, the longest first, and return their runs in the given order.

    A tiny net keeps one core busy and gains little from a second, so as many jobs run side by
    side as there are cores, with the cores shared out between them.

    Args:
        jobs: What to train.
        processes: How many at once; None for one per core.
        report: Called with each job's progress and with its finished run.

    Raises:
        EdgegolfError: A run failed; the others are stopped, their checkpoints stay.
        KeyboardInterrupt: Likewise.
    """
    cores = available_cores()
    at_once = max(1, min(processes or cores, len(jobs)))
    threads = max(1, cores // at_once)
    waiting = sorted(jobs, key=_expected_cost)
    running: dict[Connection, tuple[Job, BaseProcess]] = {}
    finished: dict[Job, Run] = {}
    context = multiprocessing.get_context("spawn")
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(job, threads, sender), daemon=True)
                process.start()
                sender.close()
                running[receiver] = job, process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                job, child = running[ready]
                message = _receive(ready, job, child)
                if isinstance(message, Run):
                    finished[job] = message
                    del running[ready]
                    child.join()
                report(job, message)
    finally:
        for _, child in running.values():
            child.terminate()
            child.join()
    return tuple(finished[job] for job in jobs)


def _expected_cost(job: Job) -> tuple[int, int]:
    recipe = job.recipe
    return recipe.training.epochs, recipe.parameters


def _receive(receiver: Connection, job: Job, process: BaseProcess) -> Progress | Run:
    try:
        message = receiver.recv()
    except EOFError:
        process.join()
        raise EdgegolfError(
            f"training {job.net} with seed {job.seed} stopped with exit code {process.exitcode}",
            hint=f"its last words are in {_log_path(job)}",
        ) from None
    if isinstance(message, Failure):
        raise EdgegolfError(message.message, hint=message.hint)
    if not isinstance(message, (Progress, Run)):
        raise TypeError(f"unexpected message {message!r}")
    return message


def _run(job: Job, threads: int, sender: Connection) -> None:
    """The child process: train, and tell the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    _redirect_errors(_log_path(job))
    try:
        sender.send(train(job, threads, sender.send))
    except EdgegolfError as error:
        sender.send(Failure(error.message, error.hint))
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        sender.send(Failure(f"training {job.net} failed: {error}", f"see {_log_path(job)}"))


def _log_path(job: Job) -> Path:
    return job.folder.parent / f"{job.folder.name}.log"


def _redirect_errors(path: Path) -> None:
    """Native libraries write where they like; keep it beside the run instead."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        os.dup2(file.fileno(), 2)


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
