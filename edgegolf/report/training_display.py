"""Live progress of training runs: bars on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from edgegolf.sweep import SweepRun
from edgegolf.training import Job, Progress, Run, Trained


class TrainingDisplay:
    """Shows what `train_nets` reports, on standard error."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[accuracy]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._live = sys.stderr.isatty()
        self._tasks: dict[Job, TaskID] = {}
        self._shown: dict[Job, float | None] = {}

    def __enter__(self) -> TrainingDisplay:
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._bars.stop()

    def report(self, job: Job, message: Progress | Run) -> None:
        """Show a run's progress, or that it is finished."""
        if isinstance(message, Run):
            self._finish(job, message)
        elif self._live:
            self._advance(job, message)
        elif message.validation_accuracy != self._shown.get(job):
            self._shown[job] = message.validation_accuracy
            share = message.done / message.total
            print(
                f"{_title(job)}: {share:4.0%}, validation {message.validation_accuracy:.2%}",
                file=sys.stderr,
                flush=True,
            )

    def _advance(self, job: Job, progress: Progress) -> None:
        if job not in self._tasks:
            self._tasks[job] = self._bars.add_task(_title(job), accuracy="")
        accuracy = progress.validation_accuracy
        self._bars.update(
            self._tasks[job],
            completed=progress.done,
            total=progress.total,
            accuracy="" if accuracy is None else f"validation {accuracy:.2%}",
        )

    def _finish(self, job: Job, run: Run) -> None:
        if job in self._tasks:
            self._bars.remove_task(self._tasks.pop(job))
        line = f"{_title(job)}: test {run.test_accuracy:.2%}, {run.seconds:.0f} s"
        if self._live:
            self._bars.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)


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


def report_sweep(expected: int) -> Callable[[int, Sequence[SweepRun]], None]:
    """A function that tells, on standard error, what of a sweep is done."""

    def report(finished: int, fresh: Sequence[SweepRun]) -> None:
        for run in fresh:
            line = f"{run.net} seed {run.seed}: test {run.test_accuracy:.2%}, {run.seconds:.0f} s"
            print(f"{finished} of {expected}. {line}", file=sys.stderr, flush=True)
        if not fresh:
            print(f"{finished} of {expected} are done.", file=sys.stderr, flush=True)

    return report
