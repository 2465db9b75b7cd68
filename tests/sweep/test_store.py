"""The store in a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from store_checks import check_costs, check_life_of_a_run, check_racing_workers, check_take_over
from sweep_cases import some_result, some_runs

from edgegolf.errors import EdgegolfError
from edgegolf.sweep.store import Store


@pytest.mark.parametrize(
    "check",
    [check_life_of_a_run, check_take_over, check_racing_workers, check_costs],
    ids=lambda c: c.__name__,
)
def test_file(tmp_path: Path, check) -> None:
    check(str(tmp_path / "folder" / "runs.sqlite"))


def test_results_come_in_the_order_asked_for(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "runs.sqlite"))
    runs = some_runs(600)  # more than fit into one query
    for run in runs[::-1]:
        assert store.claim([run], "a") == run
        assert store.finish(run, "a", some_result(run, run.seed / 600))
    assert [result.seed for result in store.results(runs)] == list(range(600))
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        {"net": "pooled_linear"},
        {"dataset_checksum": "other"},
        {"seed": 7},
        {"training": dataclasses.replace(some_runs(1)[0].training, epochs=2)},
        {"training": dataclasses.replace(some_runs(1)[0].training, learning_rate=0.1)},
    ],
    ids=str,
)
def test_what_determines_the_result_is_in_the_key(change: dict) -> None:
    (run,) = some_runs(1)
    assert dataclasses.replace(run, **change).key != run.key
    assert dataclasses.replace(run, dataset="same content, other name").key == run.key


@pytest.mark.parametrize(
    "address",
    ["mysql://somewhere/x", "://", "postgresql://user:secret@127.0.0.1:1/none"],
)
def test_bad_addresses_are_refused(address: str) -> None:
    with pytest.raises(EdgegolfError) as caught:
        Store(address)
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, " * 100)
    for path in (tmp_path / "text", tmp_path, Path("/dev/null/x")):
        with pytest.raises(EdgegolfError):
            Store(str(path))
    assert (tmp_path / "text").read_text().startswith("not a database")
