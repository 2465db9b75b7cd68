"""From a recipe and a data set to a trained `.keras` file, its history and its card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from edgegolf.cards import Card
from edgegolf.training.jobs import train_all
from edgegolf.training.results import run_folder, write_results
from edgegolf.training.worker import Job, Progress, Run
from edgegolf.zoo import find_recipe, with_epochs

__all__ = ["PROCEDURE", "Job", "Progress", "Run", "train_nets"]

# Raised by one when the same recipe, data and seed would end otherwise than before.
PROCEDURE = 1


def train_nets(
    nets: Sequence[str],
    dataset: str,
    seeds: Sequence[int],
    epochs: int | None,
    folders: Sequence[Path],
    processes: int | None,
    fresh: bool,
    report: Callable[[Job, Progress | Run], None],
) -> tuple[Card, ...]:
    """Train nets with several seeds each, and write their results.

    Runs that are finished are not done again, interrupted ones go on from their last checkpoint.

    Args:
        nets: Names of the zoo.
        dataset: Name of the data set.
        seeds: One run of every net for each.
        epochs: How long to train; None takes each recipe's.
        folders: Where each net's results go.
        processes: Runs side by side; None for one per core.
        fresh: Forget finished and interrupted runs first.
        report: Called with each run's progress.

    Raises:
        EdgegolfError: No such net, or a run failed.
    """
    if fresh:
        for folder in folders:
            for seed in seeds:
                shutil.rmtree(run_folder(folder, seed), ignore_errors=True)
    jobs = [
        [Job(net, dataset, seed, epochs, run_folder(folder, seed)) for seed in seeds]
        for net, folder in zip(nets, folders, strict=True)
    ]
    cards: dict[int, Card] = {}
    finished: dict[Job, Run] = {}

    def note(job: Job, message: Progress | Run) -> None:
        report(job, message)
        if not isinstance(message, Run):
            return
        finished[job] = message
        for index, group in enumerate(jobs):
            if job in group and all(member in finished for member in group):
                recipe = find_recipe(nets[index])
                recipe = recipe if epochs is None else with_epochs(recipe, epochs)
                runs = [finished[member] for member in group]
                cards[index] = write_results(recipe, group, runs, folders[index])

    train_all([job for group in jobs for job in group], processes, note)
    return tuple(cards[index] for index in range(len(nets)))
