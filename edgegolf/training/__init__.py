"""From a recipe and a data set to a trained `.keras` file, its history and its card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from edgegolf.data import named_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.files import check_writable
from edgegolf.training.jobs import train_all
from edgegolf.training.results import Trained, destination, run_folder, write_results
from edgegolf.training.start import start_file
from edgegolf.training.worker import Job, Progress, Run, finished_run
from edgegolf.workspace import model_folder, trial_folder
from edgegolf.zoo import named_recipe

__all__ = ["PROCEDURE", "Job", "Progress", "Run", "Trained", "results_folder", "train_nets"]

# Raised by one when the same recipe, data and seed would end otherwise than before.
PROCEDURE = 2


def train_nets(
    nets: Sequence[str],
    dataset: str,
    seeds: Sequence[int],
    epochs: int | None,
    out: Path | None,
    processes: int | None,
    fresh: bool,
    replace: bool,
    report: Callable[[Job, Progress | Run], None],
    start: str | None = None,
) -> tuple[Trained, ...]:
    """Train nets with several seeds each, and write their results.

    Runs that are finished are not done again, interrupted ones go on from their last checkpoint.
    A net's results are written as soon as its last run is finished.

    Args:
        nets: What `named_recipe` finds.
        dataset: What `named_dataset` finds.
        seeds: One run of every net for each.
        epochs: How long to train; None takes each recipe's.
        out: Where the results of the only net go. None: into the net's folder, or into one of
            their own where a model is that was trained otherwise.
        processes: Runs side by side; None for one per core.
        fresh: Forget finished and interrupted runs first.
        replace: Replace a model that was trained otherwise, or better.
        report: Called with each run's progress.
        start: The net whose trained weights they begin with; None for random ones.

    Raises:
        EdgegolfError: No such net, `start` is not trained, `out` holds a model that was trained
            otherwise, or a run failed.
    """
    groups: list[tuple[Path, list[Job]]] = []
    for net in nets:
        if start is not None:
            start_file(start, named_dataset(dataset).name)
        folder = results_folder(net, dataset, epochs, out, replace, start)
        jobs = [Job(net, dataset, seed, epochs, run_folder(folder, seed), start) for seed in seeds]
        groups.append((folder, jobs))
    if fresh:
        for _, jobs in groups:
            for job in jobs:
                shutil.rmtree(job.folder, ignore_errors=True)
    finished = {job: run for _, jobs in groups for job in jobs if (run := finished_run(job))}
    for folder, jobs in groups:
        if not finished.keys() >= {*jobs}:
            check_writable(folder, is_folder=True)
    before = set(finished)
    trained: dict[int, Trained] = {}

    def publish() -> None:
        for index, (folder, jobs) in enumerate(groups):
            if index not in trained and all(job in finished for job in jobs):
                runs = [finished[job] for job in jobs]
                card, is_new = write_results(jobs, runs, folder, replace)
                done = sum(job in before for job in jobs)
                trained[index] = Trained(folder, card, is_new, len(jobs), done)

    def note(job: Job, message: Progress | Run) -> None:
        report(job, message)
        if isinstance(message, Run):
            finished[job] = message
            publish()

    publish()
    missing = [job for _, jobs in groups for job in jobs if job not in finished]
    if missing:
        train_all(missing, processes, note)
    return tuple(trained[index] for index in range(len(groups)))


def results_folder(
    net: str,
    dataset: str,
    epochs: int | None,
    out: Path | None,
    replace: bool,
    start: str | None = None,
) -> Path:
    """Where a net's results go.

    Raises:
        EdgegolfError: No such net, or `out` holds a model that was trained otherwise.
    """
    found, name = named_dataset(dataset), named_recipe(net).name
    folder = out or model_folder(found.name, name)
    if replace:
        return folder
    job = Job(net, dataset, 0, epochs, folder, start)

    def trial(how: str) -> Path:
        if out is not None:
            raise EdgegolfError(
                f"{out} holds a model that was trained otherwise",
                hint="give another folder, or --replace",
            )
        return trial_folder(found.name, name, how)

    return destination(folder, job, found.checksum, trial)
