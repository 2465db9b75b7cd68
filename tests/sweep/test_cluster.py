"""The same sweeps with a real PostgreSQL server and a real Ray cluster."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import free_port, postgres_server
from store_checks import (
    check_costs,
    check_life_of_a_run,
    check_racing_workers,
    check_take_over,
)
from sweep_cases import some_runs

from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.sweep import Store, load_sweep, results_of, run_sweep
from edgegolf.sweep.store import CLAIMED

pytest.importorskip("sqlalchemy")
pytest.importorskip("psycopg")
pytestmark = pytest.mark.cluster

SWEEP = """\
title = "small"
epochs = 20
seeds = 6

[[nets]]
net = "double_cnn"
sizes = [2]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def database(server: str) -> str:
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{server.rpartition('/')[0]}/{name}"


@pytest.mark.parametrize(
    "check",
    [check_life_of_a_run, check_take_over, check_racing_workers, check_costs],
    ids=lambda c: c.__name__,
)
def test_server(database: str, check) -> None:
    check(database)


def test_a_server_that_goes_away_is_told() -> None:
    with postgres_server() as url:
        store = Store(url)
    with pytest.raises(EdgegolfError, match="cannot be used"):
        store.results(some_runs(1))


def test_a_lost_node_costs_nothing(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes with a worker each; one is killed while both train."""
    # Ray's server forks while it has threads in gRPC, whose handlers of forks may end the child.
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "false")
    pytest.importorskip("tensorflow")
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    file = tmp_path / "small.toml"
    file.write_text(SWEEP)
    sweep = load_sweep(str(file), load_dataset("digits"))
    store = Store(database, lease_seconds=12.0)  # a slow machine renews late
    port = free_port()
    memory = {"object_store_memory": 80 << 20, "num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True, head_node_args={**memory, "ray_client_server_port": port}
    )
    finished_before: list[int] = []

    def kill_a_node() -> None:
        while store.count(sweep.runs, CLAIMED) < 2:  # one each
            time.sleep(0.02)
        finished_before.append(len(sweep.runs) - len(store.unfinished(sweep.runs)))
        cluster.remove_node(node, allow_graceful=False)

    try:
        node = cluster.add_node(**memory)
        killer = threading.Thread(target=kill_a_node, daemon=True)
        killer.start()
        reports: list[int] = []
        run_sweep(
            sweep, store, None, f"ray://127.0.0.1:{port}", False,
            lambda finished, fresh: reports.append(finished),
        )  # fmt: skip
        killer.join()
    finally:
        cluster.shutdown()
    found = results_of(sweep, store).runs
    assert sorted(run.seed for run in found) == list(range(6))
    assert reports[-1] == 6
    assert finished_before[0] < 5
    assert attempts(database) == {1: 5, 2: 1}
    store.close()


def attempts(database: str) -> dict[int, int]:
    """How many runs were begun how often."""
    import psycopg

    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT attempts, count(*) FROM runs GROUP BY attempts")
        return dict(rows.fetchall())


def test_a_cluster_that_is_not_there_is_told(database: str) -> None:
    pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, "-m", "edgegolf", "sweep", "mlp", "--dataset", "digits", "--store",
         database, "--cluster", f"127.0.0.1:{free_port()}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr


def test_a_cluster_needs_a_store_that_it_reaches(tmp_path: Path) -> None:
    sweep = load_sweep("mlp", load_dataset("digits"))
    store = Store(str(tmp_path / "store.sqlite"))
    with pytest.raises(EdgegolfError, match="do not reach a store in a file"):
        run_sweep(sweep, store, None, "ray://127.0.0.1:1", False, lambda finished, fresh: None)
    store.close()
