"""What a net of the zoo is: how to build it, train it and judge it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from edgegolf.errors import EdgegolfError, unknown
from edgegolf.user_code import from_package

if TYPE_CHECKING:
    import keras


IMAGE_SHAPES = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
CLASSES = 10  # of all of them

BLACK = "black"
PHOTO = "photo"

FLOAT32 = "float32"
MIXED_BFLOAT16 = "mixed_bfloat16"


@dataclass(frozen=True)
class Article:
    """What the article says of the net; `None` where it says nothing."""

    title: str  # the article's subject, in a few words
    accuracy: float | None = None  # its accuracy on the test set, a fraction
    epochs: int | None = None  # how long it trained
    dataset: str = "mnist"  # what it is of, one of `IMAGE_SHAPES`


@dataclass(frozen=True)
class Training:
    """The hyper-parameters of one training run.

    The learning rate rises linearly over `warm_up_epochs` to `learning_rate` and falls to zero
    along half a cosine (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983).
    """

    epochs: int  # passes over the training images
    learning_rate: float  # the highest learning rate
    # `adam` (Kingma and Ba 2015), `sgd` with Nesterov's momentum of 0.9, `full_matrix_adam` for a
    # few hundred parameters, or `muon` (Jordan et al. 2024), which is for the kernels of
    # convolutions and leaves the rest to Adam.
    optimizer: str = "adam"
    batch_size: int = 128  # images per step
    warm_up_epochs: float = 1.0  # length of the linear rise, in epochs
    shift: int = 0  # each image is moved by up to this many pixels, either way, both axes
    # The weights kept in the end are a running average (Polyak and Juditsky 1992) over about this
    # share of all steps; 0 keeps the last weights.
    average_share: float = 0.05
    clip_norm: float = 0.0  # longest gradient, as a Euclidean norm; 0 does not clip
    flip: float = 0.0  # probability that an image is mirrored, left to right
    # Side of a square somewhere in each image that is cut out, in pixels (DeVries and Taylor 2017,
    # https://arxiv.org/abs/1708.04552).
    cutout: int = 0
    # Share of the target that is spread over all classes (Szegedy et al. 2016).
    label_smoothing: float = 0.0
    # Kernels shrink by this times the learning rate per step (Loshchilov and Hutter 2019); biases
    # and normalizations do not, nor what `muon` leaves to Adam.
    weight_decay: float = 0.0
    precision: str = FLOAT32  # `float32`, or `mixed_bfloat16` where the machine is fast at it
    # What moved images uncover and cut squares show: `black`, as behind digits, or `photo`, which
    # has none: its reflection in its border, and the images' mean colour.
    background: str = BLACK
    # Dropout acts in this share of the epochs, the first ones; a net that has not learnt its images
    # yet does better without in the end (Liu et al. 2023, https://arxiv.org/abs/2303.01500).
    dropout_share: float = 1.0
    # Filters come in pairs that are each other's mirror image, so that the net cannot tell an image
    # from its mirror image; half of the weights are learnt.
    mirror_pairs: bool = False
    # Probability that a rectangle of an image shows another's, whose class then has its share of
    # the target (Yun et al. 2019, https://arxiv.org/abs/1905.04899).
    cutmix: float = 0.0
    cutmix_share: float = 1.0  # images are mixed in this share of the epochs, the first ones
    # How many of the validation split are kept to judge by; the others are trained on, too. 0 keeps
    # all.
    validation_images: int = 0
    # The net whose trained weights it begins with; empty: with random ones.
    start: str = ""

    def to_dict(self) -> dict[str, float | str | bool]:
        """The hyper-parameters by name, as they are written beside results.

        Those that were added later are left out at their defaults, so that earlier results
        stay those of the same recipe.
        """
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ADDED_LATER or value != getattr(Training, name)
        }


Hyper = float | int | str | bool  # a hyper-parameter

# What hyper-parameters may be, where it is not any number from 0 on.
WORDS = {
    "optimizer": ("adam", "sgd", "full_matrix_adam", "muon"),
    "precision": (FLOAT32, MIXED_BFLOAT16),
    "background": (BLACK, PHOTO),
}
LEAST = {"epochs": 1, "batch_size": 1}
MOST = {
    **dict.fromkeys(("flip", "label_smoothing", "dropout_share", "cutmix", "cutmix_share"), 1),
    **dict.fromkeys(("average_share", "learning_rate"), 1),
    **dict.fromkeys(("shift", "cutout"), 64),
}

ADDED_LATER = (
    "flip",
    "cutout",
    "label_smoothing",
    "weight_decay",
    "precision",
    "background",
    "dropout_share",
    "mirror_pairs",
    "cutmix",
    "cutmix_share",
    "validation_images",
    "start",
)


@dataclass(frozen=True)
class Recipe:
    """One net of the zoo, at one size."""

    name: str  # its name, with its size or settings: `cnn:2`, `tight_resnet:iterations=4`
    summary: str  # one line for people
    # Makes the untrained model from the image shape and the number of classes.
    build: Callable[[tuple[int, int, int], int], keras.Model]
    training: Training  # how it is trained
    article: Article  # where it comes from
    # How many it has for images of `image_shape` and 10 classes; 0 where nobody counted them.
    parameters: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that it is made for."""
        return IMAGE_SHAPES[self.article.dataset]


@dataclass(frozen=True)
class Net:
    """A net, whose functions take its size, or its settings, which have defaults, as keywords."""

    summary: str
    build: Callable[..., keras.Model]
    training: Callable[..., Training]
    article: Callable[..., Article]
    parameters: Callable[..., int]
    may_be_zero: tuple[str, ...] = ()  # settings
    sizes: tuple[int, ...] | None = None  # those that are listed; None for a net of one size
    # Whose keywords are the settings, with their defaults; None: those of `parameters`.
    settings: Callable[..., object] | None = None
    is_listed: bool = True  # among the nets of the zoo; a family of nets as data is not
    is_usual: bool = True  # trained where none is named, if it is tiny; records take hours

    @property
    def defaults(self) -> dict[str, Setting]:
        """Every setting with its default, in order."""
        known = inspect.signature(self.settings or self.parameters).parameters.values()
        return {each.name: each.default for each in known}

    def recipe(self, name: str, *size: int, **settings: Setting) -> Recipe:
        """Of a size, or with settings other than the defaults, which no article reports."""
        article = self.article(*size)
        return Recipe(
            name=name,
            summary=self.summary,
            build=lambda shape, classes: self.build(shape, classes, *size, **settings),
            training=self.training(*size),
            article=replace(article, accuracy=None) if settings else article,
            parameters=self.parameters(*size, **settings),
        )


TINY = 10_000  # parameters

LARGEST_SETTING = 4096
Setting = int | str  # a count, or a word of these letters
WORD = re.compile(r"[a-z0-9-]{1,80}")

NETS: dict[str, Net] = {}

PACKAGES = "edgegolf.nets"  # entry points of packages that have nets
OWN_TRAINING = Training(epochs=10, learning_rate=0.002)  # of a function without `@net`

Builder = TypeVar("Builder", bound=Callable[..., "keras.Model"])


def net(
    training: Training,
    article: Article,
    parameters: int | Callable[..., int],
    may_be_zero: tuple[str, ...] = (),
) -> Callable[[Builder], Builder]:
    """Enter a builder `(image_shape, classes, **settings) -> keras.Model` under its name.

    A net with settings has a default for each, and computes its `parameters` from them. They are
    counts from 1, and those that `may_be_zero` from 0, or words where the default is one.
    """

    def enter(build: Builder) -> Builder:
        count = parameters if callable(parameters) else lambda: parameters
        NETS[build.__name__] = Net(
            _first_line(build), build, lambda: training, lambda: article, count, may_be_zero
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
        NETS[build.__name__] = Net(
            _first_line(build), build, training, article, parameters, sizes=sizes
        )
        return build

    return enter


def find_recipe(name: str) -> Recipe:
    """The recipe of a net by its name, such as `cnn:2` or `tight_resnet:iterations=4,channels=8`.

    Raises:
        EdgegolfError: There is no such net, or its size or a setting is missing or not a positive
            number.
    """
    base, colon, detail = name.partition(":")
    if base not in NETS and (found := from_package(PACKAGES, base)):
        NETS[base] = net_of(found)
    if base not in NETS:
        raise unknown(f"there is no net {name!r}", name, all_names())
    sizes = NETS[base].sizes
    if sizes is None:
        return _with_settings(base, _parse_settings(base, detail) if colon else {})
    if not _is_count(detail):
        raise EdgegolfError(
            f"the net {base!r} needs a size from 1 to {LARGEST_SETTING}, not {detail!r}",
            hint=f"for example {base}:{next(iter(sizes), 16)}",
        )
    return NETS[base].recipe(f"{base}:{int(detail)}", int(detail))


def net_of(function: Callable[..., keras.Model]) -> Net:
    """What was entered by `@net`; else a function with the usual training."""
    entered = NETS.get(function.__name__)
    if entered is not None and entered.build is function:
        return entered
    article, summary = Article("a net of a user's own"), _first_line(function)
    return Net(summary, function, lambda: OWN_TRAINING, lambda: article, lambda: 0)


def _parse_settings(base: str, text: str) -> dict[str, Setting]:
    defaults = NETS[base].defaults
    settings: dict[str, Setting] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        is_word = isinstance(defaults.get(key), str) and WORD.fullmatch(value)
        zero = key in NETS[base].may_be_zero and value == "0"
        if key not in defaults or key in settings or not (is_word or zero or _is_count(value)):
            raise EdgegolfError(
                f"the net {base!r} cannot take the setting {part!r}",
                hint=f"it takes {', '.join(defaults)}, each once, as in NET:SETTING=COUNT"
                if defaults
                else "it has no settings",
            )
        settings[key] = value if is_word else int(value)
    return settings


def _is_count(text: str) -> bool:
    return (
        text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LARGEST_SETTING
    )


def all_recipes() -> tuple[Recipe, ...]:
    """Every net of the zoo, families at the sizes that they list, fewest parameters first."""
    plain = [net.recipe(name) for name, net in NETS.items() if net.sizes is None and net.is_listed]
    sized = [
        net.recipe(f"{name}:{size}", size) for name, net in NETS.items() for size in net.sizes or ()
    ]
    return tuple(sorted((*plain, *sized), key=lambda recipe: recipe.parameters))


def all_names() -> tuple[str, ...]:
    """The names of all recipes, in the same order."""
    return tuple(recipe.name for recipe in all_recipes())


def default_names(image_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """The nets made for such images that train in minutes: usual ones below 10,000 parameters.

    All that are made for such images where none is as small.
    """
    fitting = [
        recipe
        for recipe in all_recipes()
        if recipe.image_shape == image_shape and NETS[recipe.name.partition(":")[0]].is_usual
    ]
    tiny = [recipe for recipe in fitting if recipe.parameters < TINY]
    return tuple(recipe.name for recipe in tiny or fitting)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The same recipe, trained for another number of epochs."""
    return replace(recipe, training=replace(recipe.training, epochs=epochs))


def with_start(recipe: Recipe, net: str) -> Recipe:
    """The same recipe from the weights of a net: half as long, in a quarter of the steps' size."""
    training = recipe.training
    epochs, rate = (training.epochs + 1) // 2, training.learning_rate / 4
    changed = replace(training, start=net, epochs=epochs, learning_rate=rate)
    return replace(recipe, training=changed)


def with_changes(training: Training, changes: Mapping[str, Hyper], what: str) -> Training:
    """A training with other hyper-parameters, which a file gives.

    Args:
        training: What is changed.
        changes: Some of its fields; an integer may stand for a fraction.
        what: What has them, for errors.

    Raises:
        EdgegolfError: There is no such hyper-parameter, or it cannot have this value.
    """
    known = asdict(training)
    for key, value in changes.items():
        if key not in known:
            raise unknown(f"{what}: there is no hyper-parameter {key!r}", key, known)
        kind = type(known[key])
        fits = type(value) is kind or (kind is float and type(value) is int)
        if isinstance(value, int | float) and fits:
            fits = LEAST.get(key, 0) <= value <= MOST.get(key, 1_000_000)
        if not fits or (key in WORDS and value not in WORDS[key]):
            raise EdgegolfError(f"{what}: {key} cannot be {value!r}")
    # TOML's 0 is an integer where 0.0 is meant, and would make another run of the same.
    return replace(training, **{key: type(known[key])(value) for key, value in changes.items()})


def _with_settings(base: str, settings: Mapping[str, Setting]) -> Recipe:
    """One name per net: what is the default is left out, the rest in the definition's order."""
    usual = NETS[base].defaults
    chosen = {key: settings[key] for key in usual if settings.get(key) not in (None, usual[key])}
    told = ",".join(f"{key}={value}" for key, value in chosen.items())
    return NETS[base].recipe(f"{base}:{told}" if told else base, **chosen)


def _first_line(function: Callable[..., object]) -> str:
    return (function.__doc__ or function.__name__).splitlines()[0].rstrip(".")
