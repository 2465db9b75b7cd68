"""Every result of every sweep, in tables of an embedded database or of a PostgreSQL server.

A run is a row from the moment that a worker claims it. The row's key is unique, so of two workers
only one can insert it; the other sees the lease of the first. A worker renews its leases while it
lives; when a lease has run out, another worker takes the run over. What the files of a net cost is
the same for all its runs and has a table of its own.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from edgegolf.errors import EdgegolfError, require
from edgegolf.records import is_large, parse_json, reasons
from edgegolf.sweep.costs import FileCosts
from edgegolf.sweep.runs import RunSpec, SweepRun

LEASE_SECONDS = 60.0
CLAIMED, FINISHED, FAILED = "claimed", "finished", "failed"
KEYS_PER_QUERY = 500  # databases bound the number of parameters
LOCK_SECONDS = 60.0  # to wait for another process that writes
MAXIMUM_VALUE_BYTES = 1 << 25  # of a text in a file; a million losses have fewer
SQLITE_LIMIT_LENGTH = 0  # sqlite3's constant, from Python 3.11 on

T = TypeVar("T")


class Store:
    """The tables of runs and of files.

    Args:
        address: A file, made when it does not exist, or a URL such as
            `postgresql://user@host/database`. A file that may not be written is only read.
        lease_seconds: How long a claim holds without being renewed.
        is_made: Whether a file is made where there is none; else the store is an empty one.

    Raises:
        EdgegolfError: It cannot be opened, or is no such database.
    """

    def __init__(
        self, address: str, lease_seconds: float = LEASE_SECONDS, *, is_made: bool = True
    ) -> None:
        sql = require("sqlalchemy", extra="train")
        self._sql = sql
        self.address = address
        self.lease_seconds = lease_seconds
        url = _url(sql, address)
        self.shown = url.render_as_string(hide_password=True)
        self.url = url.render_as_string(hide_password=False)  # SQLAlchemy's
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._read_only = self._is_sqlite and _is_read_only(url.database)
        self._metadata = sql.MetaData()
        self._table = _runs_table(sql, self._metadata)
        self._costs = _costs_table(sql, self._metadata)
        if self._is_sqlite and not is_made and not os.path.exists(url.database or ""):
            url = sql.make_url("sqlite://")  # in memory
        elif self._is_sqlite and url.database:
            _make_folder(Path(url.database).parent)
        with self._errors():
            options = {"connect_args": {"timeout": LOCK_SECONDS}} if self._is_sqlite else {}
            opened = _unchanging(sql, url) if self._read_only else url
            self._engine = sql.create_engine(opened, pool_pre_ping=True, **options)
            if self._is_sqlite:
                sql.event.listen(self._engine, "connect", _bound_values)
            if self._is_sqlite and not self._read_only:
                sql.event.listen(self._engine, "connect", _write_ahead)
            self._check_tables()

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self._is_sqlite

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def claim(self, runs: Sequence[RunSpec], worker: str) -> RunSpec | None:
        """Take the first run that is neither finished, nor failed, nor another worker's."""
        states = self._states(run.key for run in runs)
        for run in runs:
            state = states.get(run.key)
            if state is None and self._insert(run, worker):
                return run
            if state == CLAIMED and self._take_over(run, worker):
                return run
        return None

    def renew(self, run: RunSpec, worker: str) -> bool:
        """Hold a claim for longer; False where another worker has taken the run over."""
        with self._errors(), self._engine.begin() as connection:
            until = self._now(connection) + self.lease_seconds
            return self._update_own(connection, run, worker, lease_until=until)

    def finish(self, run: RunSpec, worker: str, result: SweepRun) -> bool:
        """Write a result down; False, and nothing written, where another worker has the run."""
        values = {**asdict(result), "losses": json.dumps(result.losses)}
        with self._errors(), self._engine.begin() as connection:
            values["finished_at"] = self._now(connection)
            return self._update_own(connection, run, worker, state=FINISHED, **values)

    def fail(self, run: RunSpec, worker: str, message: str) -> bool:
        """Note why a run failed; False where another worker has the run."""
        with self._errors(), self._engine.begin() as connection:
            return self._update_own(connection, run, worker, state=FAILED, error=message[:4000])

    def release(self, workers: Iterable[str]) -> None:
        """Give up every claim of workers that are gone."""
        columns = self._table.c
        with self._errors(), self._engine.begin() as connection:
            connection.execute(
                self._table.delete()
                .where(columns.worker.in_(list(workers)))
                .where(columns.state == CLAIMED)
            )

    def forget_failures(self, runs: Iterable[RunSpec]) -> None:
        """Let failed runs be tried again."""
        columns = self._table.c
        for keys in _chunks(run.key for run in runs):
            with self._errors(), self._engine.begin() as connection:
                connection.execute(
                    self._table.delete().where(columns.key.in_(keys)).where(columns.state == FAILED)
                )

    def count(self, runs: Sequence[RunSpec], state: str | None = None) -> int:
        """How many of the runs the store knows, in a state or in any."""
        states = self._states(run.key for run in runs).values()
        return sum(state in (None, found) for found in states)

    def unfinished(self, runs: Sequence[RunSpec]) -> tuple[RunSpec, ...]:
        """Those of the runs that are not finished, in their order."""
        states = self._states(run.key for run in runs)
        return tuple(run for run in runs if states.get(run.key) != FINISHED)

    def failures(self, runs: Sequence[RunSpec]) -> tuple[str, ...]:
        """Why each failed run failed."""
        columns = self._table.c
        return tuple(
            f"{row.net} seed {row.seed}: {row.error}"
            for row in self._rows((run.key for run in runs), columns.state == FAILED)
        )

    def results(self, runs: Sequence[RunSpec]) -> tuple[SweepRun, ...]:
        """The finished ones of these runs, in their order."""
        names = SweepRun.__annotations__
        found = {
            row.key: self._record(SweepRun, {name: getattr(row, name) for name in names}, row.key)
            for row in self._rows((run.key for run in runs), self._table.c.state == FINISHED)
        }
        for run in runs:
            if run.tests and run.key in found and found[run.key].test_accuracy is None:
                raise self._damaged(run.key, "it has no accuracy on the test split")
        return tuple(found[run.key] for run in runs if run.key in found)

    def add_costs(self, costs: Sequence[FileCosts]) -> None:
        """Write down what the files of a net cost; what another process wrote before stays."""
        with (
            self._errors(),
            suppress(self._sql.exc.IntegrityError),
            self._engine.begin() as connection,
        ):
            connection.execute(self._costs.insert(), [asdict(cost) for cost in costs])

    def costs(self, nets: Iterable[str], dataset: str) -> tuple[FileCosts, ...]:
        """What is known of the files of these nets, by net and file."""
        columns = self._costs.c
        found: list[FileCosts] = []
        for names in _chunks(nets):
            query = (
                self._costs.select()
                .where(columns.net.in_(names), columns.dataset == dataset)
                .order_by(columns.net, columns.file)
            )
            with self._errors(), self._engine.connect() as connection:
                rows = connection.execute(query).all()
            found += [self._record(FileCosts, dict(row._mapping), row.net) for row in rows]
        return tuple(found)

    def _states(self, keys: Iterable[str]) -> dict[str, str]:
        states = {row.key: row.state for row in self._rows(keys)}
        for key, state in states.items():
            if state not in (CLAIMED, FINISHED, FAILED):
                raise self._damaged(key, f"its state is {state!r}")
        return states

    def _record(self, kind: type[T], values: dict[str, Any], row: str) -> T:
        """A record of what a row says; SQLite keeps values of any type in any column."""
        import cattrs

        try:
            if "losses" in values:
                values = {**values, "losses": _parse_list(values["losses"])}
            converter = cattrs.Converter(detailed_validation=not is_large(values))
            for number in (int, float, str):
                converter.register_structure_hook(number, _exactly)
            return converter.structure(values, kind)
        except (cattrs.BaseValidationError, TypeError, ValueError, EdgegolfError) as error:
            raise self._damaged(row, reasons(error)[0]) from None

    def _damaged(self, row: str, reason: str) -> EdgegolfError:
        return EdgegolfError(
            f"the store {self.shown} is damaged: the row of {row!r}: {reason}",
            hint="delete this row, and what it says is found out again; or give another --store",
        )

    def _rows(self, keys: Iterable[str], *conditions: Any) -> list[Any]:
        found: list[Any] = []
        for some in _chunks(keys):
            query = self._table.select().where(self._table.c.key.in_(some), *conditions)
            with self._errors(), self._engine.connect() as connection:
                found += connection.execute(query).all()
        return found

    def _insert(self, run: RunSpec, worker: str) -> bool:
        """Claim a run that nobody had; the unique key decides between two that try."""
        with (
            self._errors(),
            suppress(self._sql.exc.IntegrityError),
            self._engine.begin() as connection,
        ):
            claim = self._claim(connection, worker)
            connection.execute(self._table.insert().values(**_facts(run), **claim))
            return True
        return False

    def _take_over(self, run: RunSpec, worker: str) -> bool:
        """Claim a run whose worker has not renewed its lease."""
        columns = self._table.c
        with self._errors(), self._engine.begin() as connection:
            now = self._now(connection)
            taken = connection.execute(
                self._table.update()
                .where(columns.key == run.key, columns.state == CLAIMED)
                .where(columns.lease_until < now)
                .values(**self._claim(connection, worker), attempts=columns.attempts + 1)
            )
        return bool(taken.rowcount == 1)

    def _claim(self, connection: Any, worker: str) -> dict[str, Any]:
        until = self._now(connection) + self.lease_seconds
        return {"state": CLAIMED, "worker": worker, "lease_until": until}

    def _update_own(self, connection: Any, run: RunSpec, worker: str, **values: Any) -> bool:
        columns = self._table.c
        updated = connection.execute(
            self._table.update()
            .where(columns.key == run.key, columns.worker == worker, columns.state == CLAIMED)
            .values(**values)
        )
        return bool(updated.rowcount == 1)

    def _now(self, connection: Any) -> float:
        """Seconds of one clock: this machine's, or the server's for workers on many machines."""
        if self._is_sqlite:
            return time.time()
        text = self._sql.text("SELECT extract(epoch FROM clock_timestamp())")
        return float(connection.execute(text).scalar_one())

    def _check_tables(self) -> None:
        """Make the tables that are not there, and look at those that are."""
        for table in self._metadata.sorted_tables:
            if not self._read_only:
                self._make(table)
            inspector = self._sql.inspect(self._engine)
            found = inspector.has_table(table.name)
            columns = inspector.get_columns(table.name) if found else []
            if missing := set(table.c.keys()) - {column["name"] for column in columns}:
                raise EdgegolfError(
                    f"{self.shown} has a table of {table.name} without "
                    f"{', '.join(sorted(missing))}",
                    hint="it is no store of this version of edgegolf; choose another with --store",
                )

    def _make(self, table: Any) -> None:
        try:
            table.create(self._engine, checkfirst=True)
        except self._sql.exc.DBAPIError:
            # Another worker may have made it in this moment.
            if not self._sql.inspect(self._engine).has_table(table.name):
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._sql.exc.SQLAlchemyError, OSError, OverflowError) as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> EdgegolfError:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return EdgegolfError(
            f"the store {self.shown} cannot be used: {reason}",
            hint="give another file or URL with --store",
        )


def _url(sql: Any, address: str) -> Any:
    if "://" not in address:
        path = Path(address).expanduser().resolve()
        if path.is_dir():
            raise EdgegolfError(f"{address} is a folder, not a store", hint="name a file in it")
        return sql.URL.create("sqlite", database=str(path))
    try:
        url = sql.make_url(address)
    except sql.exc.ArgumentError:
        raise EdgegolfError("the store's URL cannot be read", hint=HINT) from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        require("psycopg", extra="cluster")
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite":
        return url
    raise EdgegolfError(f"{url.drivername!r} is not a kind of store", hint=HINT)


HINT = "a file, or postgresql://user@host/database"


def _costs_table(sql: Any, metadata: Any) -> Any:
    key, text = sql.String(200), sql.Text
    return sql.Table(
        "file_costs",
        metadata,
        *(sql.Column(name, key, primary_key=True) for name in ("net", "dataset", "file")),
        sql.Column("size_bytes", sql.BigInteger, nullable=False),
        sql.Column("latency_us", sql.Float(53), nullable=False),
        *(sql.Column(name, text, nullable=False) for name in ("runtime", "host")),
    )


def _runs_table(sql: Any, metadata: Any) -> Any:
    """The facts of a run, its claim, and once it is finished its result."""
    text, number, real = sql.Text, sql.BigInteger, sql.Float(53)
    facts = {
        "net": text, "dataset": text, "dataset_checksum": text, "seed": number, "epochs": number,
        "training": text, "state": sql.String(16), "worker": text, "lease_until": real,
    }  # fmt: skip
    result = {
        "error": text, "parameters": number, "trained_parameters": number, "macs": number,
        "losses": text, "validation_accuracy": real, "test_accuracy": real, "seconds": real,
        "host": text, "finished_at": real,
    }  # fmt: skip
    return sql.Table(
        "runs",
        metadata,
        sql.Column("key", sql.String(64), primary_key=True),
        *(sql.Column(name, kind, nullable=False) for name, kind in facts.items()),
        sql.Column("attempts", number, nullable=False, default=1),
        *(sql.Column(name, kind) for name, kind in result.items()),
    )


def _facts(run: RunSpec) -> dict[str, Any]:
    return {
        "key": run.key,
        "net": run.net,
        "dataset": run.dataset,
        "dataset_checksum": run.dataset_checksum,
        "seed": run.seed,
        "epochs": run.training.epochs,
        "training": json.dumps(run.training.to_dict(), sort_keys=True),
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgegolfError(f"{folder} cannot be made: {error.strerror}") from None


def _is_read_only(database: str | None) -> bool:
    """Whether a file is there that this process may not write, or not make others beside."""
    if not database or not os.path.exists(database):
        return False
    return not (os.access(database, os.W_OK) and os.access(Path(database).parent, os.W_OK))


def _unchanging(sql: Any, url: Any) -> Any:
    """Where SQLite may make no file beside the store, it reads only what nobody changes."""
    log = f"{url.database}-wal"
    if os.path.exists(log) and os.path.getsize(log):
        raise EdgegolfError(
            f"the store {url.database} cannot be read here: its last results are still in {log}",
            hint="copy both files to a folder that can be written",
        )
    return sql.URL.create(
        "sqlite", database=f"file:{quote(url.database)}", query={"immutable": "1", "uri": "true"}
    )


def _exactly(value: Any, kind: Any) -> Any:
    """A number may be an integer where it is a fraction, nothing else; and JSON has no NaN."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return value


def _parse_list(text: object) -> list[Any]:
    found = parse_json(text, "the list of its losses") if isinstance(text, str) else text
    if not isinstance(found, list):
        raise TypeError("its losses are no list")
    return found


def _bound_values(connection: Any, _: Any) -> None:
    """A damaged length in a file is an error instead of all memory."""
    if hasattr(connection, "setlimit"):  # from Python 3.11 on
        connection.setlimit(SQLITE_LIMIT_LENGTH, MAXIMUM_VALUE_BYTES)


def _write_ahead(connection: Any, _: Any) -> None:
    """Readers and a writer do not wait for each other; a power cut costs the last runs at most."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(keys)
    while chunk := list(islice(iterator, KEYS_PER_QUERY)):
        yield chunk
