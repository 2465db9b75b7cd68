"""One run of a sweep: what determines its result, and the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgegolf.data import Dataset
from edgegolf.sweep.definition import Point
from edgegolf.training import PROCEDURE
from edgegolf.zoo import Recipe, Training, find_recipe, with_epochs


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines a run's result."""

    net: str  # the net's full name in the zoo
    training: Training  # the hyper-parameters
    dataset: str  # the data set's name
    dataset_checksum: str  # of its content
    seed: int  # what weights, order and shifts are drawn from
    tests: bool = True  # whether it is judged on the test split, too, which no search may read

    @property
    def recipe(self) -> Recipe:
        """The net's recipe with these hyper-parameters."""
        return replace(find_recipe(self.net), training=self.training)

    @property
    def key(self) -> str:
        """A SHA-256 that is the same for runs that would end the same."""
        facts = {
            "net": self.net,
            "parameters": self.recipe.parameters,
            "training": self.training.to_dict(),
            "dataset": self.dataset_checksum,
            "seed": self.seed,
            "procedure": PROCEDURE,
            **({} if self.tests else {"tests": False}),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class SweepRun:
    """A finished run."""

    net: str  # the net's full name in the zoo
    dataset: str  # the data set's name
    seed: int  # its seed
    epochs: int  # how long it trained
    parameters: int  # how many the net has, shared ones counted once
    trained_parameters: int  # how many of them were trained
    macs: int  # multiply-accumulates of one inference
    losses: tuple[float, ...]  # mean training loss of every epoch
    validation_accuracy: float  # of the averaged weights, a fraction
    # The same on the test split, read once, after training; None where it was not to be read.
    test_accuracy: float | None
    seconds: float  # wall-clock time of the training
    host: str  # the machine it ran on


def runs_of(points: Iterable[Point], dataset: Dataset) -> tuple[RunSpec, ...]:
    """The runs of a sweep, each once, the longest first: they bound how long the sweep takes."""
    runs: dict[str, RunSpec] = {}
    for point in points:
        recipe = find_recipe(point.net)
        if point.epochs is not None:
            recipe = with_epochs(recipe, point.epochs)
        for seed in range(point.seeds):
            run = RunSpec(recipe.name, recipe.training, dataset.name, dataset.checksum, seed)
            runs.setdefault(run.key, run)
    return tuple(sorted(runs.values(), key=lambda run: -run.recipe.parameters))
