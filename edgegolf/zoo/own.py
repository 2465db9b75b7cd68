"""Nets of a user's own: functions of Python files, and recipes as TOML files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgegolf.errors import EdgegolfError, printable
from edgegolf.files import read_bounded
from edgegolf.records import toml_names
from edgegolf.toml_files import MAXIMUM_BYTES, from_toml
from edgegolf.user_code import is_reference, told, user_function
from edgegolf.zoo.recipe import (
    IMAGE_SHAPES,
    NETS,
    Article,
    Hyper,
    Net,
    Recipe,
    find_recipe,
    net_of,
    with_changes,
)

if TYPE_CHECKING:
    import keras

HINT = (
    "a net is a function (image_shape, classes) that returns a Keras model, as in my.py:net, or a "
    "recipe in a .toml file"
)
SHIPPED = files(__package__) / "recipes"


T = TypeVar("T")


@dataclass(frozen=True)
class RecipeFile:
    """What a recipe's file says."""

    net: str  # the net, with its settings
    summary: str  # one line for people
    source: str = ""  # where it comes from, such as a search
    dataset: str = "mnist"  # what it is made for, one of `IMAGE_SHAPES`
    # Hyper-parameters other than the net's own.
    training: dict[str, Hyper] = field(default_factory=dict)


def named_recipe(name: str) -> Recipe:
    """The recipe that a user names: as `find_recipe`, of a `.toml` file, or of `my.py:net`.

    Code of `my.py` runs then.

    Raises:
        EdgegolfError: As `find_recipe`; or there is no such function or recipe, or it has a zoo
            net's name.
    """
    if name.endswith(".toml"):
        own = Path(name).stem
        if not re.fullmatch(r"[\w.-]{1,80}", own):
            raise EdgegolfError(f"{name} has no name that a net can have", hint="as my_net.toml")
        _refuse_taken(name, own)
        return parse_recipe(read_bounded(Path(name), MAXIMUM_BYTES), own, name)
    if not is_reference(name):
        return find_recipe(name)
    own = name.rpartition(":")[2]
    _refuse_taken(name, own)
    with user_function(name, HINT) as function:
        recipe = net_of(function).recipe(own)

    def build(shape: tuple[int, int, int], classes: int) -> keras.Model:
        with user_function(name, HINT) as function, told(name, HINT):
            model: keras.Model = function(shape, classes)
            return model

    return replace(recipe, build=build)


def parse_recipe(data: bytes, name: str, source: str) -> Recipe:
    """A recipe from the bytes of a TOML file.

    Args:
        data: The file's content.
        name: What to call the net.
        source: The file's name, for errors.

    Raises:
        EdgegolfError: It is wrong: says where.
    """
    found, _ = from_toml(data, RecipeFile, source)
    if found.dataset not in IMAGE_SHAPES:
        raise EdgegolfError(f"{source}: there is no data set {found.dataset!r} of the zoo's")
    recipe = find_recipe(found.net)
    return replace(
        recipe,
        name=name,
        summary=printable(found.summary),
        training=with_changes(recipe.training, found.training, source),
        article=Article(printable(found.source), dataset=found.dataset),
    )


def enter_recipes() -> None:
    """Enter the recipes that come with the package among the nets of the zoo."""
    for name in toml_names(SHIPPED) if SHIPPED.is_dir() else ():
        file = SHIPPED / f"{name}.toml"
        recipe = parse_recipe(file.read_bytes(), name, file.name)
        NETS[name] = Net(
            recipe.summary,
            recipe.build,
            _always(recipe.training),
            _always(recipe.article),
            _always(recipe.parameters),
            is_usual=False,
        )


def _always(value: T) -> Callable[[], T]:
    return lambda: value


def usual_dataset(names: Sequence[str]) -> str:
    """The data set that these nets are made for; MNIST for none.

    Raises:
        EdgegolfError: There is no such net, or they are made for several.
    """
    known = [name for name in names if not is_reference(name)]
    datasets = sorted({named_recipe(name).article.dataset for name in known})
    if len(datasets) > 1:
        raise EdgegolfError(
            f"these nets are made for several data sets: {', '.join(datasets)}",
            hint="name those of one at a time, or give --dataset",
        )
    return datasets[0] if datasets else "mnist"


def _refuse_taken(name: str, own: str) -> None:
    if own in NETS and NETS[own].build.__module__.startswith("edgegolf."):
        raise EdgegolfError(f"{name} has the name of a net of the zoo", hint="give it another")
