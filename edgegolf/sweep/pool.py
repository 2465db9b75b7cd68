"""Workers as processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.side_by_side import end_with_parent
from edgegolf.surroundings import available_cores
from edgegolf.sweep.runs import RunSpec
from edgegolf.sweep.store import Store
from edgegolf.sweep.worker import work
from edgegolf.zoo.recipe import TINY

SECONDS_BETWEEN_LOOKS = 1.0

# From a store's address and its lease in seconds, what to do, the worker's name, and threads.
Worker = Callable[[str, float, Any, str, int], None]


def run_in_processes(
    store: Store, runs: Sequence[RunSpec], jobs: int | None, look: Callable[[], None]
) -> None:
    """Do the runs with one worker per core.

    A tiny net keeps one core busy and gains nothing from a second; larger ones come first, and
    use what cores the others leave.

    Args:
        store: Where the results go.
        runs: What to do; those that are finished are not done again.
        jobs: How many workers; None for one per core.
        look: Called about every second.

    Raises:
        EdgegolfError: Every worker died.
        KeyboardInterrupt: The workers are stopped, and their claims given up.
    """
    cores = available_cores()
    large = [run for run in runs if run.recipe.parameters >= TINY]
    tiny = [run for run in runs if run.recipe.parameters < TINY]
    for group, threads in ((large, cores), (tiny, 1)):
        run_workers(store, work, group, min(jobs or cores, len(group)), threads, look)


def run_workers(
    store: Store,
    function: Worker,
    what: Any,
    jobs: int,
    threads: int,
    look: Callable[[], None],
) -> None:
    """Have processes do something together, until all of them are done.

    Args:
        store: Where they meet.
        function: What each does, as `work`.
        what: Its third argument.
        jobs: How many processes.
        threads: Threads of each one's operations.
        look: Called about every second.

    Raises:
        EdgegolfError: Every worker died.
        KeyboardInterrupt: The workers are stopped, and their claims given up.
    """
    context = multiprocessing.get_context("spawn")
    workers = [f"{socket.gethostname()}-{uuid.uuid4().hex}" for _ in range(jobs)]
    processes = [
        context.Process(
            target=_child,
            args=(function, store.address, store.lease_seconds, what, worker, threads),
        )
        for worker in workers
    ]
    try:
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            alive = [process.sentinel for process in processes if process.is_alive()]
            wait(alive, timeout=SECONDS_BETWEEN_LOOKS)
            look()
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()
        store.release(workers)
    codes = {process.exitcode or 0 for process in processes}
    if processes and 0 not in codes:
        raise EdgegolfError(
            f"every worker stopped with exit code {', '.join(map(str, sorted(codes)))}",
            hint="run the same command again to go on",
        )


def _child(function: Worker, *arguments: Any) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    try:
        function(*arguments)
    except EdgegolfError as error:
        sys.exit(f"error: {error.message}")
