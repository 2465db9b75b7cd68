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
    """Everything that determines a run's result.

    Attributes:
        net: The net's full name in the zoo.
        training: The hyper-parameters.
        dataset: The data set's name.
        dataset_checksum: Of its content.
        seed: What weights, order and shifts are drawn from.
    """

    net: str
    training: Training
    dataset: str
    dataset_checksum: str
    seed: int

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
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class SweepRun:
    """A finished run.

    Attributes:
        net: The net's full name in the zoo.
        dataset: The data set's name.
        seed: Its seed.
        epochs: How long it trained.
        parameters: How many the net has, shared ones counted once.
        trained_parameters: How many of them were trained.
        macs: Multiply-accumulates of one inference.
        losses: Mean training loss of every epoch.
        validation_accuracy: Of the averaged weights, a fraction.
        test_accuracy: The same on the test split, read once, after training.
        seconds: Wall-clock time of the training.
        host: The machine it ran on.
    """

    net: str
    dataset: str
    seed: int
    epochs: int
    parameters: int
    trained_parameters: int
    macs: int
    losses: tuple[float, ...]
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    host: str


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
