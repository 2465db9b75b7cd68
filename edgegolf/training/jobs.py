"""Many training runs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from edgegolf.cards import read_card
from edgegolf.side_by_side import Task, run_side_by_side
from edgegolf.surroundings import available_cores
from edgegolf.training.worker import Job, Progress, Run, train


def train_all(
    jobs: Sequence[Job], processes: int | None, report: Callable[[Job, Progress | Run], None]
) -> tuple[Run, ...]:
    """Train every job, the longest first, and return their runs in the given order.

    A tiny net keeps one core busy and gains little from a second, so as many jobs run side by
    side as there are cores, with the cores shared out between them.

    Args:
        jobs: What to train.
        processes: How many at once; None for one per core.
        report: Called with each job's progress and with its finished run.

    Raises:
        EdgegolfError: A run failed; the others are stopped, their checkpoints stay.
        KeyboardInterrupt: Likewise.
    """
    cores = available_cores()
    at_once = max(1, min(processes or cores, len(jobs)))
    threads = max(1, cores // at_once)
    ordered = sorted(jobs, key=_expected_cost, reverse=True)
    tasks = [
        Task(f"training {job.net} with seed {job.seed}", train, (job, threads)) for job in ordered
    ]
    finished: dict[Job, Run] = {}
    with closing(run_side_by_side(tasks, at_once)) as messages:
        for index, message in messages:
            report(ordered[index], message)
            if isinstance(message, Run):
                finished[ordered[index]] = message
    return tuple(finished[job] for job in jobs)


def _expected_cost(job: Job) -> tuple[float, int]:
    """The seconds that it took before, as a card in the net's folder tells; else epochs."""
    card = read_card(job.folder.parents[1])
    seconds = max(seed.seconds for seed in card.seeds) if card is not None and card.seeds else 0.0
    return seconds, job.recipe.training.epochs
