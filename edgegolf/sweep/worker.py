"""A worker: claims runs, trains them, writes their results, until all are finished."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from edgegolf.data import Dataset, load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.sweep.runs import RunSpec, SweepRun
from edgegolf.sweep.store import CLAIMED, Store
from edgegolf.training.compiled import trainer_for
from edgegolf.training.precision import for_this_machine
from edgegolf.training.trainer import Position
from edgegolf.zoo.summary import summarize

RENEWALS_PER_LEASE = 4


def work(
    address: str,
    lease_seconds: float,
    runs: Sequence[RunSpec],
    worker: str,
    threads: int,
) -> None:
    """Train what nobody else trains; wait for what others train, and take over if they die.

    Args:
        address: The store's.
        lease_seconds: How long its claims hold.
        runs: What the sweep consists of; they share one data set.
        worker: A name that no other worker has.
        threads: Threads of every operation.
    """
    store = Store(address, lease_seconds)
    try:
        finish_runs(store, runs, worker, threads, {})
    finally:
        store.close()


def finish_runs(
    store: Store,
    runs: Sequence[RunSpec],
    worker: str,
    threads: int,
    datasets: dict[str, Dataset],
) -> None:
    """The same in a store that is open.

    Args:
        store: Where the runs are claimed, and their results go.
        runs: What to do.
        worker: A name that no other worker has.
        threads: Threads of every operation.
        datasets: Those that were read, by name.
    """
    while True:
        run = store.claim(runs, worker)
        if run is not None:
            with _renewals(store, run, worker):
                _train(store, run, worker, threads, datasets)
        elif store.count(runs, CLAIMED):
            time.sleep(store.lease_seconds / RENEWALS_PER_LEASE)
        else:
            return


def _train(
    store: Store, run: RunSpec, worker: str, threads: int, datasets: dict[str, Dataset]
) -> None:
    try:
        if run.dataset not in datasets:
            datasets[run.dataset] = load_dataset(run.dataset)
        dataset = datasets[run.dataset]
        if dataset.checksum != run.dataset_checksum:
            raise EdgegolfError(f"the data set {run.dataset} is another one on this machine")
        result = train_in_memory(run, dataset, threads)
    except Exception as error:
        store.fail(run, worker, getattr(error, "message", None) or repr(error))
        return
    # False: it took so long to write that another worker has the run; its result will do.
    store.finish(run, worker, result)


def train_in_memory(run: RunSpec, dataset: Dataset, threads: int) -> SweepRun:
    """Train a net and judge it, without writing anything; on the test split only if it `tests`.

    Raises:
        EdgegolfError: A package is missing, the data set does not fit the net, or the run diverged.
    """
    dataset = dataset.with_validation_images(run.training.validation_images)
    trainer = trainer_for(for_this_machine(run.recipe), dataset, run.seed, threads)
    epochs = [
        trainer.train_epoch(Position(epoch), lambda _: None) for epoch in range(run.training.epochs)
    ]
    layers = summarize(trainer.model)
    with trainer.averaged():
        return SweepRun(
            net=run.net,
            dataset=run.dataset,
            seed=run.seed,
            epochs=run.training.epochs,
            parameters=trainer.model.count_params(),
            trained_parameters=sum(layer.parameters for layer in layers if layer.trained),
            macs=sum(layer.macs for layer in layers),
            losses=tuple(epoch.mean_loss for epoch in epochs),
            validation_accuracy=trainer.accuracy(dataset.split("validation")),
            test_accuracy=trainer.accuracy(dataset.split("test")) if run.tests else None,
            seconds=sum(epoch.seconds for epoch in epochs),
            host=socket.gethostname(),
        )


@contextmanager
def _renewals(store: Store, run: RunSpec, worker: str) -> Iterator[None]:
    """Renew a claim in the background."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(store.lease_seconds / RENEWALS_PER_LEASE):
            with suppress(EdgegolfError):  # a store may be out of reach for a moment
                store.renew(run, worker)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
