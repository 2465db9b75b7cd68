"""A sweep as a small TOML file: which nets, how long, how many seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.resources import files

from edgegolf.errors import EdgegolfError, printable
from edgegolf.records import toml_names
from edgegolf.toml_files import from_toml, located, read_toml
from edgegolf.zoo import find_recipe

MAXIMUM_RUNS = 10_000
MAXIMUM_EPOCHS = 1_000_000
SHIPPED = files(__package__) / "definitions"


@dataclass(frozen=True)
class Grid:
    """A net at every combination of its sizes or settings."""

    net: str  # its name in the zoo, without size or settings
    sizes: tuple[int, ...] = ()  # for a net that comes in sizes
    # Values of each setting, for a net that has some.
    settings: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many nets these are; multiplied, not enumerated."""
        return len(self.sizes) or math.prod(map(len, self.settings.values()))

    @property
    def key(self) -> str:
        """What of the table names them."""
        return "sizes" if self.sizes else "settings" if self.settings else "net"


@dataclass(frozen=True)
class Definition:
    """What a sweep's file says."""

    title: str  # the question that the sweep answers
    nets: tuple[Grid, ...] = ()  # what is trained
    # Shipped sweeps that belong to it, each with its own epochs and seeds.
    include: tuple[str, ...] = ()
    epochs: int | None = None  # how long to train; None takes each recipe's
    seeds: int = 3  # how many seeds each net is trained with


@dataclass(frozen=True)
class Point:
    """One net of a sweep, to be trained with the seeds 0, 1, …."""

    net: str  # its full name in the zoo
    epochs: int | None  # how long; None takes the recipe's
    seeds: int  # how many seeds


def shipped_names() -> tuple[str, ...]:
    """The sweeps that come with the package."""
    return toml_names(SHIPPED)


def read_definition(name: str) -> Definition:
    """A shipped sweep by its name, or one from a `.toml` file.

    Raises:
        EdgegolfError: No such sweep or file, or it is wrong: says in which line and key.
    """
    return parse_definition(*read_toml(name, SHIPPED, "sweep"))


def parse_definition(data: bytes, source: str) -> Definition:
    """A definition from the bytes of a TOML file.

    Raises:
        EdgegolfError: It is wrong: says in which line and key.
    """
    definition, text = from_toml(data, Definition, source)
    _check(definition, text, source)
    return replace(definition, title=printable(definition.title))


def expand(definition: Definition, seeds: int | None = None) -> tuple[Point, ...]:
    """Every net of a sweep, each once; `seeds` instead of the files' numbers.

    Raises:
        EdgegolfError: These would be more than `MAXIMUM_RUNS` runs.
    """
    _refuse_product(definition, seeds)
    own = (
        Point(name, definition.epochs, seeds or definition.seeds)
        for grid in definition.nets
        for name in _names(grid)
    )
    included = (
        point
        for name in dict.fromkeys(definition.include)
        for point in expand(read_definition(name), seeds)
    )
    points = tuple(dict.fromkeys(itertools.chain(own, included)))
    refuse_too_many(sum(point.seeds for point in points), f"{len(points):,} nets with their seeds")
    return points


def _refuse_product(definition: Definition, seeds: int | None = None) -> None:
    """Refuse tables that multiply to too many runs, before anything is made of them."""
    nets, seeds = sum(grid.count for grid in definition.nets), seeds or definition.seeds
    refuse_too_many(nets * seeds, f"{nets:,} nets with {seeds:,} seeds each")


def refuse_too_many(runs: int, what: str) -> None:
    """Bound a sweep.

    Args:
        runs: How many it would have.
        what: What has so many.

    Raises:
        EdgegolfError: They are more than `MAXIMUM_RUNS`.
    """
    if runs > MAXIMUM_RUNS:
        raise EdgegolfError(
            f"{what} would be {runs:,} runs, more than the {MAXIMUM_RUNS:,} that a sweep may have",
            hint="give fewer values or seeds, or make several sweeps of it",
        )


def nets_of(name: str) -> tuple[str, ...]:
    """The nets of a shipped sweep, or of one from a `.toml` file; raises as `read_definition`."""
    return tuple(point.net for point in expand(read_definition(name), seeds=1))


def _names(grid: Grid) -> Iterator[str]:
    """The full names, as the zoo writes them."""
    if grid.sizes:
        yield from (find_recipe(f"{grid.net}:{size}").name for size in grid.sizes)
        return
    for values in itertools.product(*grid.settings.values()):
        detail = ",".join(
            f"{key}={value}" for key, value in zip(grid.settings, values, strict=True)
        )
        yield find_recipe(f"{grid.net}:{detail}" if detail else grid.net).name


def _check(definition: Definition, text: str, source: str) -> None:
    """What the types do not say."""

    def refuse(path: str, message: str, hint: str = "") -> None:
        raise EdgegolfError(located(f"{message} @ $.{path}", text, source), hint)

    if not (definition.nets or definition.include):
        refuse("nets", "a sweep needs nets, or other sweeps to include")
    for key in ("epochs", "seeds"):
        value = getattr(definition, key)
        if value is not None and value < 1:
            refuse(key, f"must be at least 1, not {value}")
    if definition.epochs is not None and definition.epochs > MAXIMUM_EPOCHS:
        refuse("epochs", f"must be at most {MAXIMUM_EPOCHS:,}")
    try:
        _refuse_product(definition)
    except EdgegolfError as error:
        largest = max(range(len(definition.nets)), key=lambda index: definition.nets[index].count)
        path = f"nets[{largest}].{definition.nets[largest].key}"
        refuse(path, error.message, error.hint)
    for index, name in enumerate(definition.include):
        if name not in shipped_names():
            refuse("include", f"item {index + 1}, {name!r}, is not a shipped sweep")
    for index, grid in enumerate(definition.nets):
        path = f"nets[{index}]"
        if grid.sizes and grid.settings:
            refuse(f"{path}.settings", "a net has sizes or settings, not both")
        if not all(grid.settings.values()):
            refuse(f"{path}.settings", "a setting needs at least one value")
        try:
            list(_names(grid))
        except EdgegolfError as error:
            refuse(
                f"{path}.{grid.key}" if "no net" not in error.message else f"{path}.net",
                error.message,
                error.hint,
            )
