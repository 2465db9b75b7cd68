"""Live progress of training runs: a line each on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgegolf.progress import Work, say
from edgegolf.report.table import known
from edgegolf.sweep import SweepRun
from edgegolf.training import Job, Progress, Run, Trained


class TrainingDisplay:
    """Shows what `train_nets` reports, on standard error."""

    def __init__(self) -> None:
        self._shown: dict[Job, float | None] = {}
        self._works: dict[Job, Work] = {}

    def __enter__(self) -> TrainingDisplay:
        self._start: Work | None = Work("starting TensorFlow")
        return self

    def __exit__(self, *_: object) -> None:
        for work in (*self._works.values(), *filter(None, [self._start])):
            work.end()

    def report(self, job: Job, message: Progress | Run) -> None:
        """Show a run's progress, or that it is finished."""
        if isinstance(message, Run):
            if job in self._works:
                self._works.pop(job).end()
            say(f"{_title(job)}: test {message.test_accuracy:.2%}, {message.seconds:.0f} s")
            return
        if job not in self._works:
            self._works[job] = Work(_title(job), message.total)
            if self._start is not None:
                self._start.end()
                self._start = None
        accuracy = message.validation_accuracy
        judged = "" if accuracy is None else f"validation {accuracy:.2%}"
        self._works[job].update(message.done, judged)
        if accuracy != self._shown.get(job) and not sys.stderr.isatty():
            self._shown[job] = accuracy
            say(f"{_title(job)}: {message.done / message.total:4.0%}, {judged}")


def trained_line(trained: Trained) -> str:
    """Where a model is, and whether it is a new one."""
    card = trained.card
    kept = next(result for result in card.seeds if result.seed == card.seed)
    what = f"seed {kept.seed}, validation {kept.validation_accuracy:.2%}"
    if trained.is_new:
        return f"{trained.folder}: new, {what}"
    done = ", all was trained before" if trained.finished_before == trained.runs else ""
    return f"{trained.folder}: kept as it was, {what}{done}"


def _title(job: Job) -> str:
    return f"{job.net} seed {job.seed}"


@contextmanager
def report_sweep(expected: int) -> Iterator[Callable[[int, Sequence[SweepRun]], None]]:
    """A function that tells, on standard error, what of a sweep is done."""

    def report(finished: int, fresh: Sequence[SweepRun]) -> None:
        work.update(finished)
        for run in fresh:
            accuracy = known(run.test_accuracy, "{:.2%}")
            line = f"{run.net} seed {run.seed}: test {accuracy}, {run.seconds:.0f} s"
            say(f"{finished} of {expected}. {line}")
        if not fresh:
            say(f"{finished} of {expected} are done.")

    with Work("training", expected) as work:
        yield report
