"""One training run, in a process of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgegolf.data import Dataset, named_dataset
from edgegolf.files import atomic_path, write_atomically
from edgegolf.records import from_file, to_json
from edgegolf.training.compiled import trainer_for
from edgegolf.training.precision import for_this_machine
from edgegolf.training.trainer import Position
from edgegolf.zoo import Recipe, named_recipe, with_epochs, with_start
from edgegolf.zoo.summary import summarize

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Job:
    """What one process is to train."""

    net: str  # what `named_recipe` finds
    dataset: str  # what `named_dataset` finds
    seed: int  # what weights, order and shifts are drawn from
    epochs: int | None  # how long to train; None takes the recipe's
    folder: Path  # where checkpoints and results go
    start: str | None = None  # the net whose weights it begins with, instead of the recipe's

    @property
    def recipe(self) -> Recipe:
        """The net's recipe, from this start, for this number of epochs."""
        recipe = named_recipe(self.net)
        if self.start is not None:
            recipe = with_start(recipe, self.start)
        return recipe if self.epochs is None else with_epochs(recipe, self.epochs)


@dataclass(frozen=True)
class EpochResult:
    """What was measured after one epoch."""

    epoch: int
    loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True)
class ModelSize:
    """How large a net is: its parameters, those that are trained, and multiply-accumulates."""

    parameters: int
    trained_parameters: int
    macs: int


@dataclass(frozen=True)
class Run:
    """A training run so far."""

    SCHEMA: ClassVar[str] = "edgegolf.run/1"
    net: str  # the net's name
    dataset: str  # the data set's name
    dataset_checksum: str  # of the data set's content
    seed: int  # its seed
    recipe: dict[str, float | str | bool]  # the hyper-parameters
    epochs: tuple[EpochResult, ...]  # what was measured after each finished epoch
    # Of the finished run's averaged weights; None while it goes on.
    validation_accuracy: float | None = None
    test_accuracy: float | None = None  # the same on the test split
    size: ModelSize | None = None  # of the finished net; None in runs of earlier versions
    trainer: str = "keras"  # what computed the gradients: `keras`, or `compiled` C

    @property
    def seconds(self) -> float:
        """Time spent in the finished epochs."""
        return sum(epoch.seconds for epoch in self.epochs)


@dataclass(frozen=True)
class Progress:
    """How far a run is: steps done and in all, and the last validation accuracy."""

    done: int
    total: int
    validation_accuracy: float | None


SECONDS_BETWEEN_CHECKPOINTS = 120.0  # within an epoch; each epoch ends with one

RUN_NAME = "run.json"
STATE_NAMES = {"keras": "state.npz", "compiled": "state-compiled.npz"}  # by trainer
WEIGHTS_NAME = "model.keras"


def read_run(folder: Path) -> Run | None:
    """The run in a folder, or None where there is none."""
    path = folder / RUN_NAME
    return from_file(path, Run, 1 << 24) if path.is_file() else None


def finished_run(job: Job) -> Run | None:
    """The job's run, if it is finished: same recipe, same data."""
    dataset = named_dataset(job.dataset)
    run = read_run(job.folder)
    if run is None or run.size is None or not (job.folder / WEIGHTS_NAME).is_file():
        return None
    fresh = _fresh_run(job, for_this_machine(job.recipe), dataset)
    return run if _is_same(run, fresh) else None


def train(job: Job, threads: int, report: Callable[[Progress], None]) -> Run:
    """Train until the recipe's end, from the last checkpoint where there is one.

    Writes `run.json` and a checkpoint after every epoch, the latter also within a long one, and
    `model.keras` at the end. A checkpoint of other hyper-parameters, another data set or another
    trainer is thrown away. Same job, same threads, same
    machine: same weights.

    Args:
        job: What to train.
        threads: Threads of every operation.
        report: Called now and then.

    Raises:
        EdgegolfError: A package is missing, the data set does not fit the net, or the run diverged.
    """
    recipe = for_this_machine(job.recipe)
    dataset = named_dataset(job.dataset).with_validation_images(recipe.training.validation_images)
    run = _matching_run(job, recipe, dataset)
    if run.size is not None:
        return run

    trainer = trainer_for(recipe, dataset, job.seed, threads)
    state = job.folder / STATE_NAMES[trainer.kind]
    position = trainer.restore(state) if state.is_file() else Position(0)
    # One without its state is done again.
    run = replace(run, epochs=run.epochs[: position.epoch], trainer=trainer.kind)
    validation = dataset.split("validation")
    saved = time.monotonic()

    def note(position: Position) -> None:
        nonlocal saved
        done = position.epoch * trainer.steps_per_epoch + position.batches
        last = run.epochs[-1].validation_accuracy if run.epochs else None
        report(Progress(done, recipe.training.epochs * trainer.steps_per_epoch, last))
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            trainer.save(state, position)
            saved = time.monotonic()

    while position.epoch < recipe.training.epochs:
        end = trainer.train_epoch(position, note)
        with trainer.averaged():
            result = EpochResult(
                end.epoch, end.mean_loss, trainer.accuracy(validation), end.seconds
            )
        run = replace(run, epochs=(*run.epochs, result))
        write_atomically(job.folder / RUN_NAME, to_json(run))
        position = Position(end.epoch + 1)
        trainer.save(state, position)
    with trainer.averaged():
        copy = trainer.copy()
        finished = replace(
            run,
            validation_accuracy=run.epochs[-1].validation_accuracy,
            test_accuracy=trainer.accuracy(dataset.split("test")),
            size=_size(copy),
        )
        with atomic_path(job.folder / WEIGHTS_NAME) as temporary:
            copy.save(temporary)
    write_atomically(job.folder / RUN_NAME, to_json(finished))
    for name in STATE_NAMES.values():
        (job.folder / name).unlink(missing_ok=True)
    return finished


def _size(model: keras.Model) -> ModelSize:
    layers = summarize(model)
    return ModelSize(
        parameters=model.count_params(),
        trained_parameters=sum(layer.parameters for layer in layers if layer.trained),
        macs=sum(layer.macs for layer in layers),
    )


def _matching_run(job: Job, recipe: Recipe, dataset: Dataset) -> Run:
    """The run in the job's folder if it is of the same recipe and data, else a new one."""
    fresh = _fresh_run(job, recipe, dataset)
    found = read_run(job.folder)
    if found is not None and _is_same(found, fresh):
        return found
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    return fresh


def _fresh_run(job: Job, recipe: Recipe, dataset: Dataset) -> Run:
    return Run(recipe.name, dataset.name, dataset.checksum, job.seed, recipe.training.to_dict(), ())


def _is_same(found: Run, fresh: Run) -> bool:
    key = ("net", "dataset", "dataset_checksum", "seed", "recipe")
    return all(getattr(found, name) == getattr(fresh, name) for name in key)
