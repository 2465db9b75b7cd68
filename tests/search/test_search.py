"""Real searches on the embedded digits: one worker killed, resumed, shown; no test image read."""

from __future__ import annotations

import json
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
from edgegolf.data.dataset import Split, SplitName
from edgegolf.errors import EdgegolfError
from edgegolf.search import load_search, read_space, results_of, run_search, study
from edgegolf.search.study import Search
from edgegolf.sweep import Store
from edgegolf.zoo import named_recipe

pytest.importorskip("tensorflow")
pytest.importorskip("optuna")

SPACE = """\
title = "small"
net = "golf_net"
target = 0.3
parameters = 400
epochs = [1, 2]
trials = 3
keep = 2
seeds = 2

[settings]
stem_kernel = 3
stem_stride = 2
body = ["a", "aa"]
widths = { low = 4, high = 10 }
"""


def search_of(folder: Path, text: str = SPACE) -> Search:
    (folder / "small.toml").write_text(text)
    space = read_space(str(folder / "small.toml"))
    return load_search("small.toml", space, load_dataset("digits"), None, None, None)


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store whose search lost one of its two workers while that trained."""
    folder = tmp_path_factory.mktemp("search")
    search, path = search_of(folder), folder / "store.sqlite"
    store = Store(str(path), lease_seconds=4.0)

    def kill_a_worker() -> None:
        while rows(path, "SELECT count(*) FROM runs WHERE state = 'claimed'")[0] != (2,):
            time.sleep(0.01)
        children = psutil.Process().children()
        worker = next(child for child in children if "spawn_main" in " ".join(child.cmdline()))
        worker.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    run_search(search, store, 2, None, lambda over, fresh: None)
    killer.join(timeout=1)
    assert not killer.is_alive()
    store.close()
    return folder


@pytest.mark.long
def test_a_killed_workers_trial_is_done_by_another(killed: Path) -> None:
    states = [state for (state,) in rows(killed / "store.sqlite", "SELECT state FROM trials")]
    assert states.count("FAIL") == 1
    assert "RUNNING" not in states
    store = Store(str(killed / "store.sqlite"))
    found = results_of(search_of(killed), store)
    assert len(found.trials) == 3
    assert {run for (run,) in rows(killed / "store.sqlite", "SELECT state FROM runs")} == {
        "finished"
    }
    # What it had begun was begun again.
    assert (2,) in rows(killed / "store.sqlite", "SELECT attempts FROM runs")
    best = found.best
    assert best is not None
    assert best.parameters == min(
        trial.parameters for trial in found.front if trial.accuracy >= best.accuracy
    )
    store.close()


@pytest.mark.long
def test_the_test_split_of_a_run_is_not_judged(killed: Path) -> None:
    query = "SELECT test_accuracy, validation_accuracy FROM runs"
    found = rows(killed / "store.sqlite", query)
    assert {test for test, _ in found} == {None}
    assert all(isinstance(validation, float) for _, validation in found)


def edgegolf(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegolf", "search", "small.toml", "--dataset", "digits",
         "--store", "store.sqlite", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_it_is_resumed_shown_drawn_and_its_best_net_is_a_recipe(killed: Path) -> None:
    before = rows(killed / "store.sqlite", "SELECT count(*) FROM trials")
    done = edgegolf(killed, "--picture", "front.svg", "--best", "best.toml")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 are done" in done.stderr
    assert "The test split was not read" in " ".join(done.stdout.split())
    assert rows(killed / "store.sqlite", "SELECT count(*) FROM trials") == before
    assert (killed / "front.svg").read_text().startswith("<svg")
    found = json.loads(edgegolf(killed, "--json").stdout)
    assert (found["schema"], found["expected"], len(found["trials"])) == ("edgegolf.search/1", 3, 3)
    recipe = named_recipe(str(killed / "best.toml"))
    assert recipe.training.epochs == 2
    assert recipe.parameters in {trial["parameters"] for trial in found["trials"]}


def test_a_search_reads_no_test_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_dataset("digits")

    def read(which: SplitName) -> Split:
        if which == "test":
            raise AssertionError("the test split was read")
        return digits.read(which)

    monkeypatch.setattr(study, "load_dataset", lambda name: replace(digits, read=read))
    search = search_of(tmp_path, SPACE.replace("trials = 3", "trials = 1"))
    address = str(tmp_path / "store.sqlite")
    study.search_worker(address, 60.0, search, "a", 1)
    store = Store(address)
    (trial,) = results_of(search, store).trials
    assert len(trial.accuracies) == 2  # near the best, which it is: all seeds
    store.close()


def test_what_was_not_begun_is_told(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store.sqlite"))
    with pytest.raises(EdgegolfError, match="has no search of this space on digits"):
        results_of(search_of(tmp_path), store)
    store.close()


def test_a_space_without_nets_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "REFUSALS_PER_TRIAL", 2)
    search = search_of(tmp_path, SPACE.replace("parameters = 400", "parameters = 10"))
    with pytest.raises(EdgegolfError, match="has hardly a net: 11 draws"):
        study.search_worker(str(tmp_path / "store.sqlite"), 60.0, search, "a", 1)
