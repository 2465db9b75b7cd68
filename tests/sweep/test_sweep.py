"""Real sweeps on the embedded digits: killed, resumed, extended, queried."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.sweep import Store, load_sweep, results_of, run_sweep
from edgegolf.sweep.runs import RunSpec
from edgegolf.sweep.store import CLAIMED
from edgegolf.sweep.worker import train_in_memory
from edgegolf.zoo import Training

pytest.importorskip("tensorflow")
pytest.importorskip("sqlalchemy")

SWEEP = """\
title = "small"
epochs = 2
seeds = 3

[[nets]]
net = "linear"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "small.toml").write_text(SWEEP)
    return folder


def edgegolf(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegolf", "sweep", *arguments, "--dataset", "digits",
         "--store", "store.sqlite"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def attempts(path: Path) -> list[int]:
    with sqlite3.connect(path) as connection:
        return [row[0] for row in connection.execute("SELECT attempts FROM runs")]


@pytest.fixture(scope="module")
def killed(folder: Path) -> Path:
    """A store whose sweep lost one of its two workers while that trained."""
    path = folder / "store.sqlite"
    sweep = load_sweep(str(folder / "small.toml"), load_dataset("digits"))
    store = Store(str(path), lease_seconds=3.0)

    def kill_a_worker() -> None:
        while store.count(sweep.runs, CLAIMED) < 2:  # one each
            time.sleep(0.01)
        children = psutil.Process().children()
        worker = next(child for child in children if "spawn_main" in " ".join(child.cmdline()))
        worker.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    run_sweep(sweep, store, 2, None, False, lambda finished, fresh: None)
    killer.join()
    assert len(results_of(sweep, store).runs) == 3
    store.close()
    return path


def test_a_killed_workers_run_is_taken_over(killed: Path) -> None:
    assert sorted(attempts(killed)) == [1, 1, 2]


def test_a_finished_sweep_is_not_done_again(folder: Path, killed: Path) -> None:
    before = killed.read_bytes()
    done = edgegolf(folder, "small.toml", "--resume")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 are done" in done.stderr
    assert sorted(attempts(killed)) == [1, 1, 2]
    with sqlite3.connect(killed) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert len(killed.read_bytes()) == len(before)


def test_a_sweep_is_extended_and_survives_an_interruption(folder: Path, killed: Path) -> None:
    (folder / "long.toml").write_text(SWEEP.replace("epochs = 2", "epochs = 100000"))
    command = [sys.executable, "-m", "edgegolf", "sweep", "long.toml", "--dataset", "digits",
               "--store", "store.sqlite"]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background inherits that Ctrl-C is ignored; a user's shell does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and len(attempts(killed)) < 4:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert len(attempts(killed)) == 3  # its claims are given up, the others' results stay
    done = edgegolf(folder, "small.toml", "--seeds", "4")
    assert done.returncode == 0, done.stderr
    assert len(attempts(killed)) == 4


def test_what_is_there_is_shown_without_running(folder: Path, killed: Path) -> None:
    table = edgegolf(folder, "small.toml", "--table")
    assert "3 of 3 runs" in table.stdout
    found = json.loads(edgegolf(folder, "small.toml", "--json").stdout)
    assert (found["schema"], found["expected"], len(found["runs"])) == ("edgegolf.sweep/1", 3, 3)
    rows = list(csv.DictReader(io.StringIO(edgegolf(folder, "small.toml", "--csv").stdout)))
    assert [row["test_accuracy"] for row in rows] == [
        str(run["test_accuracy"]) for run in found["runs"]
    ]
    assert {run["parameters"] for run in found["runs"]} == {7_850}


def test_nothing_to_resume_is_an_error(tmp_path: Path, folder: Path) -> None:
    sweep = load_sweep(str(folder / "small.toml"), load_dataset("digits"))
    store = Store(str(tmp_path / "other.sqlite"))
    with pytest.raises(EdgegolfError, match="has no run of the sweep small"):
        run_sweep(sweep, store, 1, None, True, lambda finished, fresh: None)
    store.close()


def test_failed_runs_are_told_and_tried_again(tmp_path: Path, folder: Path) -> None:
    dataset = load_dataset("digits")
    sweep = load_sweep(str(folder / "small.toml"), replace(dataset, checksum="another"), seeds=1)
    store = Store(str(tmp_path / "store.sqlite"))
    for _ in range(2):
        with pytest.raises(EdgegolfError, match="linear seed 0: the data set digits is another"):
            run_sweep(sweep, store, 1, None, False, lambda finished, fresh: None)
    store.close()


def test_a_run_is_judged_by_the_validation_images_that_its_recipe_keeps() -> None:
    digits = load_dataset("digits")
    training = Training(epochs=2, learning_rate=0.004, validation_images=77)
    run = RunSpec("linear", training, "digits", digits.checksum, 0)
    result = train_in_memory(run, digits, threads=1)
    right = result.validation_accuracy * 77
    assert right == pytest.approx(round(right))
    assert 77 / 2 < right < 77
