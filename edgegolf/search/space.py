"""A space to search, as a small TOML file: a net, and what its settings and recipe may be."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from edgegolf.errors import EdgegolfError, printable
from edgegolf.sweep.definition import MAXIMUM_EPOCHS
from edgegolf.toml_files import from_toml, located, read_toml
from edgegolf.zoo import Recipe, find_recipe, with_changes
from edgegolf.zoo.recipe import IMAGE_SHAPES, Hyper

SHIPPED = files(__package__) / "spaces"
COSTS = ("parameters", "macs", "bytes")  # what can be made small; bytes are of int8.onnx
MAXIMUM_TRIALS = 100_000
MAXIMUM_CHOICES = 1_000
MAXIMUM_PARTS = 26
MAXIMUM_SEEDS = 100
LARGEST = 1_000_000  # number in a range


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Hyper, ...]


@dataclass(frozen=True)
class Range:
    """A number between two, both included."""

    low: float | int
    high: float | int
    step: int = 1  # from one integer to the next; fractions have none
    log: bool = False  # whether a factor is as likely everywhere

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Parts:
    """Several values, written with `-` between them."""

    parts: tuple[Choices | Range, ...]


Dimension = Choices | Range | Parts


@dataclass(frozen=True)
class Space:
    """What a space's file says."""

    title: str  # the question
    net: str  # the net of the zoo whose settings are chosen
    target: float  # the accuracy to reach on the validation split, a fraction
    epochs: tuple[int, ...]  # of each rung: who is among the best goes on to the next
    dataset: str = "mnist"  # what is trained on
    minimize: str = "parameters"  # the cost, of `COSTS`
    parameters: int | None = None  # nets of more are not tried
    trials: int = 100  # how many nets are tried
    keep: int = 3  # of so many nets, one goes on to the next rung
    seeds: int = 3  # how many seeds nets near the best are trained with
    settings: dict[str, Dimension] = field(default_factory=dict)  # of the net
    training: dict[str, Dimension] = field(default_factory=dict)  # hyper-parameters

    @property
    def dimensions(self) -> dict[str, Choices | Range]:
        """What a sampler draws, by name."""
        found: dict[str, Choices | Range] = {}
        for table in ("settings", "training"):
            for key, dimension in getattr(self, table).items():
                if isinstance(dimension, Parts):
                    for index, part in enumerate(dimension.parts):
                        found[f"{table}.{key}.{index}"] = part
                else:
                    found[f"{table}.{key}"] = dimension
        return found

    @property
    def fingerprint(self) -> str:
        """The same for spaces whose trials can be compared."""
        facts = repr(replace(self, title="", trials=0))
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    def recipe(self, drawn: Mapping[str, Hyper]) -> Recipe:
        """The net and its training of values for all dimensions.

        Raises:
            EdgegolfError: There is no such net or recipe, or it has too many parameters.
        """

        def of(table: str) -> dict[str, Hyper]:
            return {
                key: "-".join(str(drawn[f"{table}.{key}.{i}"]) for i in range(len(each.parts)))
                if isinstance(each, Parts)
                else drawn[f"{table}.{key}"]
                for key, each in getattr(self, table).items()
            }

        settings = ",".join(f"{key}={value}" for key, value in of("settings").items())
        recipe = find_recipe(f"{self.net}:{settings}" if settings else self.net)
        if self.parameters is not None and recipe.parameters > self.parameters:
            raise EdgegolfError(f"{recipe.name} has {recipe.parameters:,} parameters")
        changes = {**of("training"), "epochs": self.epochs[-1]}
        return replace(recipe, training=with_changes(recipe.training, changes, recipe.name))


def read_space(name: str) -> Space:
    """A shipped space by its name, or one from a `.toml` file.

    Raises:
        EdgegolfError: No such space or file, or it is wrong: says in which line and key.
    """
    return parse_space(*read_toml(name, SHIPPED, "space"))


def parse_space(data: bytes, source: str) -> Space:
    """A space from the bytes of a TOML file.

    Raises:
        EdgegolfError: It is wrong: says in which line and key.
    """
    space, text = from_toml(data, Space, source, {Dimension: lambda value, _: _dimension(value)})
    for key, message in _faults(space):
        raise EdgegolfError(located(f"{message} @ $.{key}", text, source))
    return replace(space, title=printable(space.title))


def _faults(space: Space) -> Any:
    """What the types do not say, by key."""
    if not 0 < space.target < 1:
        yield "target", "is a fraction between 0 and 1, such as 0.98"
    if space.dataset not in IMAGE_SHAPES:
        yield "dataset", f"is one of {', '.join(IMAGE_SHAPES)}"
    if space.minimize not in COSTS:
        yield "minimize", f"is one of {', '.join(COSTS)}"
    bounds = {"trials": MAXIMUM_TRIALS, "seeds": MAXIMUM_SEEDS, "parameters": 10**12}
    for key, most in bounds.items():
        value = getattr(space, key)
        if value is not None and not 1 <= value <= most:
            yield key, f"must be from 1 to {most:,}"
    if not 2 <= space.keep <= 100:
        yield "keep", "must be from 2 to 100"
    rising = all(a < b for a, b in zip(space.epochs, space.epochs[1:], strict=False))
    if not 1 <= len(space.epochs) <= 10 or not rising:
        yield "epochs", "are 1 to 10 numbers, each larger than the one before"
    elif not 1 <= space.epochs[0] <= space.epochs[-1] <= MAXIMUM_EPOCHS:
        yield "epochs", f"must be from 1 to {MAXIMUM_EPOCHS:,}"
    if "epochs" in space.training:
        yield "training", "has no epochs, which stand above, for all nets"
    try:
        find_recipe(space.net)
    except EdgegolfError as error:
        yield "net", error.message


def _dimension(value: Any) -> Dimension:
    """Of a value, a list of values, a table of a range, or a list of lists and tables."""
    if isinstance(value, list) and value and all(isinstance(each, list | dict) for each in value):
        if len(value) > MAXIMUM_PARTS:
            raise ValueError(f"may have {MAXIMUM_PARTS} parts")
        parts = tuple(map(_dimension, value))
        if any(isinstance(part, Parts) for part in parts):
            raise ValueError("has parts of parts")
        return Parts(parts)  # type: ignore[arg-type]
    if isinstance(value, dict):
        return _range(value)
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MAXIMUM_CHOICES or not all(map(_is_plain, values)):
        raise ValueError("is a value, a list of values, or { low = …, high = … }")
    return Choices(tuple(dict.fromkeys(values)))


def _range(table: dict[str, Any]) -> Range:
    if not {"low", "high"} <= {*table} <= {"low", "high", "step", "log"}:
        raise ValueError("a range has low and high, and may have step and log")
    low, high, step, log = table["low"], table["high"], table.get("step", 1), table.get("log")
    numbers = all(type(each) in (int, float) and abs(each) <= LARGEST for each in (low, high))
    if not numbers or low > high or log not in (None, True, False) or (log and low <= 0):
        raise ValueError("low and high are numbers, low the lower one, above 0 for log = true")
    found = Range(low, high, step, bool(log))
    whole_step = type(step) is int and 1 <= step <= LARGEST
    if not whole_step or (step > 1 and (found.log or not found.is_whole)):
        raise ValueError("step is an integer from 1 on, of integers, and not with log = true")
    return found if found.is_whole else Range(float(low), float(high), 1, found.log)


def _is_plain(value: Any) -> bool:
    return type(value) in (bool, str, int) or (type(value) is float and math.isfinite(value))


def describe(changes: Mapping[str, Hyper]) -> str:
    """Values by name, for people."""
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in changes.items())
