"""Workers on the machines of a Ray cluster."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from edgegolf.errors import EdgegolfError, require
from edgegolf.sweep.pool import Worker
from edgegolf.sweep.store import Store

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_CONNECT = 10.0
ATTEMPTS_TO_CONNECT = 3


def run_on_cluster(
    store: Store,
    function: Worker,
    what: Any,
    jobs: int,
    cluster: str,
    look: Callable[[], None],
) -> None:
    """Do something with workers on the cores of a Ray cluster.

    Every machine of it has edgegolf and the data set, and reaches the store. A machine may be
    lost at any time: the others take over what it had claimed.

    Args:
        store: Where the results go.
        function: What each worker does, as `work`: it returns when all is done, also by others.
        what: Its third argument, such as the runs to do.
        jobs: At most how many workers; there is one per core of the cluster.
        cluster: Its address, such as `ray://host:10001`.
        look: Called about every second.

    Raises:
        EdgegolfError: Ray is not installed, the cluster cannot be reached, this machine alone
            reaches the store, or every worker died.
        KeyboardInterrupt: The workers are stopped, and their claims given up.
    """
    if store.is_local:
        raise EdgegolfError(
            "a cluster's machines do not reach a store in a file of this machine",
            hint="give a PostgreSQL server: --store postgresql://user@host/database",
        )
    ray = require("ray", extra="cluster")
    try:
        # Ray itself would try for minutes.
        host, _, port = cluster.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
        _connect(ray, cluster)
    except Exception as error:  # of many kinds, among them RuntimeError, ValueError, OSError
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EdgegolfError(
            f"the cluster {cluster} cannot be reached: {reason[0]}",
            hint="give the address of a Ray cluster, such as ray://host:10001",
        ) from None
    try:
        cores = int(ray.cluster_resources().get("CPU", 1))
        # A task is not started again by Ray: its lost claims are what others take over.
        remote = ray.remote(num_cpus=1, max_retries=0)(function)
        workers = [f"ray-{uuid.uuid4().hex}" for _ in range(min(jobs, cores))]
        tasks = [
            remote.remote(store.address, store.lease_seconds, what, worker, 1) for worker in workers
        ]
        try:
            _wait(ray, tasks, look)
        finally:
            for task in tasks:
                ray.cancel(task, force=True)
            store.release(workers)
    finally:
        ray.shutdown()


def _connect(ray: Any, cluster: str) -> None:
    """Ray's server forks a process for each client while it has threads; now and then that dies."""
    for attempt in range(ATTEMPTS_TO_CONNECT):
        try:
            ray.init(address=cluster, log_to_driver=False)
        except ConnectionAbortedError:
            ray.shutdown()
            if attempt + 1 == ATTEMPTS_TO_CONNECT:
                raise
        else:
            return


def _wait(ray: Any, tasks: Sequence[Any], look: Callable[[], None]) -> None:
    """Until every task is finished or lost; one that finishes is enough, it waits for all runs."""
    waiting, errors = list(tasks), []
    while waiting:
        done, waiting = ray.wait(waiting, timeout=SECONDS_BETWEEN_LOOKS)
        look()
        for task in done:
            try:
                ray.get(task)
            except ray.exceptions.RayError as error:
                errors.append(str(error).strip().splitlines()[0])
            else:
                return
    if errors:
        raise EdgegolfError(
            f"every worker of the cluster was lost: {errors[-1]}",
            hint="run the same command again to go on",
        )
