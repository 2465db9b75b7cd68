"""The store in a file."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from store_checks import check_costs, check_life_of_a_run, check_racing_workers, check_take_over
from sweep_cases import some_costs, some_result, some_runs

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


def filled(path: Path, count: int = 2) -> Path:
    """A store with finished runs and the costs of their net."""
    store = Store(str(path))
    for run in some_runs(count):
        assert store.claim([run], "a") == run
        assert store.finish(run, "a", some_result(run))
    store.add_costs(some_costs("linear", 100))
    store.close()
    return path


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("losses", "'[1.0, '"),
        ("losses", "''"),
        ("losses", "NULL"),
        ("losses", "'3'"),
        ("losses", "'{}'"),
        ("losses", "'[null]'"),
        ("losses", "'[NaN]'"),
        ("losses", "'[1e999]'"),
        ("losses", f"'[{'9' * 400}]'"),
        ("losses", f"'[{'9' * 5000}]'"),
        ("losses", f"'{'[' * 100_000}'"),
        ("losses", "x'5b5d'"),
        ("test_accuracy", "'high'"),
        ("test_accuracy", "NULL"),
        ("test_accuracy", "9e999"),
        ("parameters", "1.5"),
        ("host", "x'ff'"),
        ("host", "CAST(x'ff' AS TEXT)"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, column: str, value: str) -> None:
    path, run = filled(tmp_path / "runs.sqlite"), some_runs(2)[1]
    change(path, f"UPDATE runs SET {column} = {value} WHERE seed = 1")
    store = Store(str(path))
    with pytest.raises(EdgegolfError, match=r"runs\.sqlite (is damaged|cannot be used)") as caught:
        store.results(some_runs(2))
    assert run.key in caught.value.message or "decode" in caught.value.message
    assert "delete this row" in caught.value.hint or "--store" in caught.value.hint
    assert len(store.results(some_runs(1))) == 1
    store.close()
    change(path, f"DELETE FROM runs WHERE key = '{run.key}'")  # what the hint says
    store = Store(str(path))
    assert len(store.results(some_runs(2))) == 1
    store.close()


def test_a_state_that_is_none_and_damaged_costs_are_named(tmp_path: Path) -> None:
    path = filled(tmp_path / "runs.sqlite")
    change(path, "UPDATE runs SET state = 'lost' WHERE seed = 1")
    change(path, "UPDATE file_costs SET size_bytes = 'large'")
    store = Store(str(path))
    with pytest.raises(EdgegolfError, match="its state is 'lost'"):
        store.unfinished(some_runs(2))
    with pytest.raises(EdgegolfError, match=r"the row of 'linear': .*expected int @ \$\.size_"):
        store.costs(["linear"], "digits")
    store.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 has no limits")
def test_a_value_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "runs.sqlite")
    change(path, f"UPDATE runs SET losses = zeroblob({1 << 26}) WHERE seed = 1")
    store = Store(str(path))
    with pytest.raises(EdgegolfError, match="too big"):
        store.results(some_runs(2))
    store.close()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A store in a folder that cannot be written: a mount for root, whom no permission stops."""
    folder = tmp_path / "read only"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "none", folder]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("root may not mount anything here")
    path = filled(folder / "runs 100%?.sqlite")
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        path.chmod(0o444)
        folder.chmod(0o555)
    yield path
    if os.geteuid() == 0:
        subprocess.run(["umount", folder], check=True)
    else:
        folder.chmod(0o755)


def test_a_store_that_cannot_be_written_is_read(read_only: Path) -> None:
    store = Store(str(read_only))
    assert [result.seed for result in store.results(some_runs(3))] == [0, 1]
    assert store.costs(["linear"], "digits") == some_costs("linear", 100)
    with pytest.raises(EdgegolfError, match="readonly database"):
        store.claim(some_runs(3), "a")
    store.close()
    assert os.listdir(read_only.parent) == [read_only.name]
    with pytest.raises(EdgegolfError, match="cannot be used: unable to open"):
        Store(str(read_only.parent / "new.sqlite"))


def test_results_that_are_still_in_the_log_are_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "runs.sqlite"))
    (run,) = some_runs(1)
    store.claim([run], "a")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in ("runs.sqlite", "runs.sqlite-wal"):
        shutil.copy(tmp_path / file, copy / file)
    store.close()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(EdgegolfError, match=r"still in .*runs\.sqlite-wal"):
        Store(str(copy / "runs.sqlite"))


def test_a_full_disk_and_a_lock_are_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegolf.sweep.store.LOCK_SECONDS", 0.1)
    path = filled(tmp_path / "runs.sqlite")
    store = Store(str(path))
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # it may not grow
    with pytest.raises(EdgegolfError, match="full"):
        claim_each(store, 500)
    store.close()
    store = Store(str(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(EdgegolfError, match="locked"):
        store.claim(some_runs(3), "a")
    other.close()
    assert len(store.results(some_runs(500))) == 2
    store.close()


def claim_each(store: Store, count: int) -> None:
    for run in some_runs(count):
        store.claim([run], "a")
