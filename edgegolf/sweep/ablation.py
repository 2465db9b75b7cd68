"""Ablations: what the parts of a recipe are worth, each run being one of a sweep's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import ClassVar

from edgegolf.data import Dataset
from edgegolf.errors import unknown
from edgegolf.records import toml_names
from edgegolf.sweep.definition import refuse_too_many
from edgegolf.sweep.runs import RunSpec
from edgegolf.sweep.store import Store
from edgegolf.sweep.sweep import Sweep
from edgegolf.toml_files import from_toml
from edgegolf.zoo import Training, find_recipe, with_changes

SHIPPED = files(__package__) / "ablations"


@dataclass(frozen=True)
class Idea:
    """One line of an ablation."""

    title: str  # what is tried
    net: str  # the net, with its settings
    # Hyper-parameters other than the group's.
    training: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    article: float | None = None  # the accuracy that the article reports, a fraction


@dataclass(frozen=True)
class Group:
    """Ideas with something in common."""

    title: str  # what that is
    ideas: tuple[Idea, ...]  # in the order of the table
    # Hyper-parameters other than those of the net's recipe.
    training: Mapping[str, float | int | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """What an ablation's file says."""

    title: str  # the question
    dataset: str  # what its nets are made for
    epochs: int  # how long each idea is trained
    groups: tuple[Group, ...]  # the ideas


@dataclass(frozen=True)
class IdeaResult:
    """What came of an idea."""

    group: str  # its group's title
    title: str  # what was tried
    net: str  # the net, with its settings
    article: float | None  # the accuracy that the article reports, a fraction
    validation_accuracies: tuple[float, ...]  # of every finished seed, fractions
    test_accuracies: tuple[float, ...]  # likewise
    seconds: float  # of one run, the mean; 0 before one is finished


@dataclass(frozen=True)
class AblationResults:
    """What is known of an ablation."""

    SCHEMA: ClassVar[str] = "edgegolf.ablation/1"
    name: str  # the ablation's name
    title: str  # the question
    dataset: str  # what it was trained on
    epochs: int  # how long each idea was trained
    ideas: tuple[IdeaResult, ...]  # in the order of the table


@dataclass(frozen=True)
class Ablation:
    """An ablation with the runs that each idea consists of."""

    name: str  # its name
    definition: Definition  # its file
    dataset: str  # what it is trained on
    epochs: int  # how long each idea is trained
    runs: tuple[tuple[RunSpec, ...], ...]  # of every idea, in the order of the groups

    @property
    def sweep(self) -> Sweep:
        """All of its runs."""
        runs = {run.key: run for runs in self.runs for run in runs}
        return Sweep(self.name, self.definition.title, self.dataset, tuple(runs.values()))


def ablation_names() -> tuple[str, ...]:
    """The ablations that come with the package."""
    return toml_names(SHIPPED)


def read_ablation(name: str) -> Definition:
    """An ablation of the package.

    Raises:
        EdgegolfError: There is none of this name.
    """
    if name not in ablation_names():
        raise unknown(f"there is no ablation of {name!r}", name, ablation_names())
    return from_toml((SHIPPED / f"{name}.toml").read_bytes(), Definition, name)[0]


def load_ablation(
    name: str, definition: Definition, dataset: Dataset, epochs: int | None, seeds: int
) -> Ablation:
    """The runs of an ablation on a data set.

    Args:
        name: Its name.
        definition: Its file.
        dataset: What it is trained on.
        epochs: Instead of the file's.
        seeds: How many runs each idea has.

    Raises:
        EdgegolfError: These would be too many runs, or a change is of no hyper-parameter.
    """
    ideas = sum(len(group.ideas) for group in definition.groups)
    refuse_too_many(ideas * seeds, f"{ideas} ideas with {seeds:,} seeds each")
    length = epochs or definition.epochs
    runs = tuple(
        tuple(
            RunSpec(
                find_recipe(idea.net).name,
                training_of(group, idea, length),
                dataset.name,
                dataset.checksum,
                seed,
            )
            for seed in range(seeds)
        )
        for group in definition.groups
        for idea in group.ideas
    )
    return Ablation(name, definition, dataset.name, length, runs)


def training_of(group: Group, idea: Idea, epochs: int) -> Training:
    """The net's recipe with the changes of the group and of the idea.

    Raises:
        EdgegolfError: A change is of no hyper-parameter.
    """
    changes = {**group.training, **idea.training, "epochs": epochs}
    return with_changes(find_recipe(idea.net).training, changes, idea.title)


def ablation_results(ablation: Ablation, store: Store) -> AblationResults:
    """What the store has of an ablation."""
    titled = [(group, idea) for group in ablation.definition.groups for idea in group.ideas]
    return AblationResults(
        ablation.name,
        ablation.definition.title,
        ablation.dataset,
        ablation.epochs,
        tuple(
            _result(group, idea, runs, store)
            for (group, idea), runs in zip(titled, ablation.runs, strict=True)
        ),
    )


def _result(group: Group, idea: Idea, runs: Sequence[RunSpec], store: Store) -> IdeaResult:
    found = store.results(runs)
    return IdeaResult(
        group=group.title,
        title=idea.title,
        net=idea.net,
        article=idea.article,
        validation_accuracies=tuple(run.validation_accuracy for run in found),
        test_accuracies=tuple(run.test_accuracy for run in found if run.test_accuracy is not None),
        seconds=statistics.mean(run.seconds for run in found) if found else 0.0,
    )
