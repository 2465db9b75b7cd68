"""A sweep from its name to its results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgegolf.data import Dataset
from edgegolf.errors import EdgegolfError
from edgegolf.sweep.cluster import run_on_cluster
from edgegolf.sweep.costs import FileCosts
from edgegolf.sweep.definition import expand, read_definition
from edgegolf.sweep.pool import run_in_processes
from edgegolf.sweep.runs import RunSpec, SweepRun, runs_of
from edgegolf.sweep.store import Store
from edgegolf.sweep.worker import work
from edgegolf.zoo import find_recipe


@dataclass(frozen=True)
class Sweep:
    """A sweep with what it consists of."""

    name: str  # A shipped sweep's name, or its file's
    title: str  # the question that it answers
    dataset: str  # what it is trained on
    runs: tuple[RunSpec, ...]  # every run of it


@dataclass(frozen=True)
class SweepResults:
    """The finished runs of a sweep."""

    SCHEMA: ClassVar[str] = "edgegolf.sweep/1"
    name: str  # the sweep's name
    title: str  # the question that it answers
    dataset: str  # what it was trained on
    expected: int  # how many runs it consists of
    runs: tuple[SweepRun, ...]  # those that are finished
    costs: tuple[FileCosts, ...] = ()  # what the files of its nets cost, where that was measured


@dataclass(frozen=True)
class NetSummary:
    """The runs of one net with all its seeds."""

    net: str  # its full name
    epochs: int  # how long it trained
    parameters: int  # how many it has
    trained_parameters: int  # how many of them were trained
    macs: int  # multiply-accumulates of one inference
    accuracies: tuple[float, ...]  # of every seed on the test split, fractions
    article_accuracy: float | None  # what the article reports of this data set, a fraction
    seconds: float  # of one run, the mean
    files: tuple[FileCosts, ...] = ()  # what its files cost, where that was measured

    @property
    def mean(self) -> float:
        """Of the accuracies."""
        return statistics.mean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation of the accuracies; None for one seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


def load_sweep(name: str, dataset: Dataset, seeds: int | None = None) -> Sweep:
    """A sweep by a shipped name or a `.toml` file; `seeds` instead of the file's.

    Raises:
        EdgegolfError: As `read_definition`.
    """
    definition = read_definition(name)
    runs = runs_of(expand(definition, seeds), dataset)
    return Sweep(Path(name).stem, definition.title, dataset.name, runs)


def run_sweep(
    sweep: Sweep,
    store: Store,
    jobs: int | None,
    cluster: str | None,
    resume: bool,
    report: Callable[[int, Sequence[SweepRun]], None],
) -> None:
    """Do what of a sweep the store does not have yet.

    Args:
        sweep: What to do.
        store: Where the results are, and go.
        jobs: How many workers; None for one per core.
        cluster: The address of a Ray cluster; None for processes of this machine.
        resume: The sweep must have been begun in this store.
        report: Called with the number of finished runs, and those that are new, when some are.

    Raises:
        EdgegolfError: Nothing to resume, runs failed, or every worker died.
    """
    if resume and not store.count(sweep.runs):
        raise EdgegolfError(
            f"the store {store.shown} has no run of the sweep {sweep.name}",
            hint="leave --resume out to begin one",
        )
    store.forget_failures(sweep.runs)
    left = store.unfinished(sweep.runs)
    reported = set(sweep.runs) - set(left)
    report(len(reported), ())

    def look() -> None:
        fresh = set(left) - set(store.unfinished(left)) - reported
        if fresh:
            reported.update(fresh)
            report(len(reported), store.results(tuple(fresh)))

    if left and cluster is None:
        run_in_processes(store, left, jobs, look)
    elif left and cluster is not None:
        most = min(jobs or len(left), len(left))
        run_on_cluster(store, work, left, most, cluster, look)
    look()
    if failures := store.failures(sweep.runs):
        others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise EdgegolfError(
            f"{failures[0]}{others}", hint="run the same command again to try the failed runs again"
        )


def results_of(sweep: Sweep, store: Store) -> SweepResults:
    """What the store has of a sweep."""
    return SweepResults(
        name=sweep.name,
        title=sweep.title,
        dataset=sweep.dataset,
        expected=len(sweep.runs),
        runs=store.results(sweep.runs),
        costs=store.costs(dict.fromkeys(run.net for run in sweep.runs), sweep.dataset),
    )


def summarize_runs(
    runs: Iterable[SweepRun], costs: Iterable[FileCosts] = ()
) -> tuple[NetSummary, ...]:
    """One summary per net and length of training, most parameters first."""
    files: dict[str, list[FileCosts]] = {}
    for cost in costs:
        files.setdefault(cost.net, []).append(cost)
    groups: dict[tuple[str, int], list[SweepRun]] = {}
    for run in runs:
        groups.setdefault((run.net, run.epochs), []).append(run)
    summaries = [
        NetSummary(
            net=net,
            epochs=epochs,
            parameters=group[0].parameters,
            trained_parameters=group[0].trained_parameters,
            macs=group[0].macs,
            accuracies=tuple(run.test_accuracy for run in group if run.test_accuracy is not None),
            article_accuracy=_article_accuracy(net, group[0].dataset),
            seconds=statistics.mean(run.seconds for run in group),
            files=tuple(files.get(net, ())),
        )
        for (net, epochs), group in groups.items()
    ]
    return tuple(sorted(summaries, key=lambda summary: -summary.parameters))


def _article_accuracy(net: str, dataset: str) -> float | None:
    article = find_recipe(net).article
    return article.accuracy if article.dataset == dataset else None
