"""What a search found."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from edgegolf.zoo import Training, find_recipe
from edgegolf.zoo.recipe import IMAGE_SHAPES, Hyper


@dataclass(frozen=True)
class Trial:
    """One net that was tried."""

    number: int  # in the order of the search
    net: str  # its full name in the zoo
    training: dict[str, Hyper]  # hyper-parameters other than the net's own
    epochs: int  # how long it trained, at most
    parameters: int  # how many it has, shared ones counted once
    macs: int  # multiply-accumulates of one inference
    # Of every seed, on the validation split, fractions; the test split is never read.
    accuracies: tuple[float, ...]
    is_complete: bool  # whether it came to the last rung
    bytes: int | None = None  # of its int8.onnx; None where they are not what is made small

    @property
    def accuracy(self) -> float:
        """The mean of the seeds."""
        return statistics.mean(self.accuracies)


@dataclass(frozen=True)
class SearchResults:
    """The trials of a search that are over."""

    SCHEMA: ClassVar[str] = "edgegolf.search/1"
    name: str  # the space's name
    title: str  # the question
    dataset: str  # what was trained on
    target: float  # the accuracy to reach on the validation split, a fraction
    minimize: str  # the cost
    expected: int  # how many trials there are to be
    refused: int  # draws that were no net, or too large a one; they are no trials
    trials: tuple[Trial, ...]  # in the order of the search

    def cost(self, trial: Trial) -> int:
        """What is made small."""
        return int(getattr(trial, self.minimize))

    @property
    def front(self) -> tuple[Trial, ...]:
        """Complete trials that none as cheap surpasses, the cheapest first."""
        found: list[Trial] = []
        complete = [trial for trial in self.trials if trial.is_complete]
        for trial in sorted(complete, key=lambda each: (self.cost(each), -each.accuracy)):
            if not found or trial.accuracy > found[-1].accuracy:
                found.append(trial)
        return tuple(found)

    @property
    def best(self) -> Trial | None:
        """The cheapest that reaches the target, else the one that comes nearest to it."""
        return min(
            (trial for trial in self.trials if trial.is_complete),
            key=lambda each: score(self.cost(each), each.accuracies, self.target),
            default=None,
        )


def score(cost: float, accuracies: Iterable[float], target: float) -> float:
    """The cost that a net would need for the target, by what errors usually cost.

    Along the front of small nets half of the errors take up to four times the parameters. So nets
    can be compared that miss the target, as all do that were trained for a short time.

    Args:
        cost: What is to be small.
        accuracies: Of every seed, fractions.
        target: The accuracy to reach, a fraction.
    """
    errors = 1 - statistics.mean(accuracies)
    return float(cost * max(1.0, errors / (1 - target)) ** 2)


def recipe_text(results: SearchResults, trial: Trial) -> str:
    """A recipe's TOML file, which `edgegolf train` takes."""
    reached = f"{trial.accuracy:.2%} on the validation split, mean of {len(trial.accuracies)}"
    source = f"edgegolf search {results.name}, selected on the validation split"
    lines = [
        f"net = {json.dumps(trial.net)}",
        f"summary = {json.dumps(f'Found by a search for {results.target:.2%}: {reached}')}",
        f"source = {json.dumps(source)}",
        *([f"dataset = {json.dumps(results.dataset)}"] if results.dataset in IMAGE_SHAPES else []),
        "",
        "[training]",
        *(f"{key} = {json.dumps(value)}" for key, value in trial.training.items()),
        f"epochs = {trial.epochs}",
    ]
    return "\n".join(lines) + "\n"


def changes(net: str, training: Training) -> dict[str, Hyper]:
    """The hyper-parameters that are other than a net's own, without its epochs."""
    own = find_recipe(net).training
    names = [each.name for each in fields(Training) if each.name != "epochs"]
    found = {name: getattr(training, name) for name in names}
    return {name: value for name, value in found.items() if value != getattr(own, name)}


def finished(trials: Sequence[Trial], seen: set[int]) -> list[Trial]:
    """Those that are new since `seen`, which then has them, too."""
    fresh = [trial for trial in trials if trial.number not in seen]
    seen.update(trial.number for trial in fresh)
    return fresh
