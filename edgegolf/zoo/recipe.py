"""What a net of the zoo is: how to build it, train it and judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from edgegolf.errors import EdgegolfError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Article:
    """What the article says of the net; `None` where it says nothing.

    Attributes:
        title: The article's subject, in a few words.
        accuracy: Its accuracy on the MNIST test set, a fraction.
        epochs: How long it trained.
    """

    title: str
    accuracy: float | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Training:
    """The hyper-parameters of one training run.

    The learning rate rises linearly over `warm_up_epochs` to `learning_rate` and falls to zero
    along half a cosine (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983).

    Attributes:
        epochs: Passes over the training images.
        learning_rate: The highest learning rate.
        optimizer: `adam` (Kingma and Ba 2015), or `full_matrix_adam` for a few hundred parameters.
        batch_size: Images per step.
        warm_up_epochs: Length of the linear rise, in epochs.
        shift: Each image is moved by up to this many pixels, either way, both axes.
        average_share: The weights kept in the end are a running average (Polyak and Juditsky
            1992) over about this share of all steps; 0 keeps the last weights.
        clip_norm: Longest gradient, as a Euclidean norm; 0 does not clip.
    """

    epochs: int
    learning_rate: float
    optimizer: str = "adam"
    batch_size: int = 128
    warm_up_epochs: float = 1.0
    shift: int = 0
    average_share: float = 0.05
    clip_norm: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """One net of the zoo, at one size.

    Attributes:
        name: Its name, with the size where it has one: `tight_resnet`, `cnn:2`.
        summary: One line for people.
        build: Makes the untrained model from the image shape and the number of classes.
        training: How it is trained.
        article: Where it comes from.
        parameters: How many it has for 28×28×1 images and 10 classes.
    """

    name: str
    summary: str
    build: Callable[[tuple[int, int, int], int], keras.Model]
    training: Training
    article: Article
    parameters: int


@dataclass(frozen=True)
class Family:
    """A net that comes in sizes; its functions take the size."""

    summary: str
    build: Callable[[tuple[int, int, int], int, int], keras.Model]
    training: Callable[[int], Training]
    article: Callable[[int], Article]
    parameters: Callable[[int], int]
    sizes: tuple[int, ...]


TINY = 10_000  # parameters

NETS: dict[str, Recipe] = {}
FAMILIES: dict[str, Family] = {}

Builder = TypeVar("Builder", bound=Callable[..., "keras.Model"])


def net(training: Training, article: Article, parameters: int) -> Callable[[Builder], Builder]:
    """Enter a builder `(image_shape, classes) -> keras.Model` into the zoo under its name."""

    def enter(build: Builder) -> Builder:
        NETS[build.__name__] = Recipe(
            build.__name__, _first_line(build), build, training, article, parameters
        )
        return build

    return enter


def family(
    training: Callable[[int], Training],
    article: Callable[[int], Article],
    parameters: Callable[[int], int],
    sizes: tuple[int, ...],
) -> Callable[[Builder], Builder]:
    """Enter a builder `(image_shape, classes, size) -> keras.Model`; `sizes` are those listed."""

    def enter(build: Builder) -> Builder:
        FAMILIES[build.__name__] = Family(
            _first_line(build), build, training, article, parameters, sizes
        )
        return build

    return enter


def find_recipe(name: str) -> Recipe:
    """The recipe of a net by its name, such as `tight_resnet` or `cnn:2`.

    Raises:
        EdgegolfError: There is no such net, or its size is missing or not a positive number.
    """
    base, colon, size = name.partition(":")
    if base in NETS and not colon:
        return NETS[base]
    if base in FAMILIES:
        sizes = FAMILIES[base].sizes
        if not (size.isascii() and size.isdigit() and 1 <= int(size) <= 4096):
            raise EdgegolfError(
                f"the net {base!r} needs a size from 1 to 4096, not {size!r}",
                hint=f"for example {base}:{sizes[0]}",
            )
        return _of_size(base, int(size))
    raise EdgegolfError(f"there is no net {name!r}", hint=f"there are {', '.join(all_names())}")


def all_recipes() -> tuple[Recipe, ...]:
    """Every net of the zoo, families at the sizes that they list, fewest parameters first."""
    sized = [_of_size(name, size) for name in FAMILIES for size in FAMILIES[name].sizes]
    return tuple(sorted((*NETS.values(), *sized), key=lambda recipe: recipe.parameters))


def all_names() -> tuple[str, ...]:
    """The names of all recipes, in the same order."""
    return tuple(recipe.name for recipe in all_recipes())


def tiny_names() -> tuple[str, ...]:
    """The names of the nets that train in minutes: those below 10,000 parameters."""
    return tuple(recipe.name for recipe in all_recipes() if recipe.parameters < TINY)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The same recipe, trained for another number of epochs."""
    return replace(recipe, training=replace(recipe.training, epochs=epochs))


def _of_size(base: str, size: int) -> Recipe:
    family = FAMILIES[base]
    return Recipe(
        name=f"{base}:{size}",
        summary=family.summary,
        build=lambda image_shape, classes: family.build(image_shape, classes, size),
        training=family.training(size),
        article=family.article(size),
        parameters=family.parameters(size),
    )


def _first_line(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").splitlines()[0].rstrip(".")
