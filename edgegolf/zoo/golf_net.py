"""A family of tiny nets as data, for searches: which convolution is applied where, and how often.

The body of a net is a word: one letter for each application of a convolution, in which the same
letter is the same weights, and a `-` for each pooling. `a-aa-aa` applies one convolution five times
at three scales (`fewest_parameters`), `aaaaaaaa` eight times at one (`tight_resnet`), and `ab-cd-`
is a plain net of four convolutions (`double_cnn`): all of them are points of this space, which a
test holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegolf.errors import EdgegolfError, require
from edgegolf.zoo.fewest_parameters import SLOPE, edges, side_by_side
from edgegolf.zoo.recipe import CLASSES, IMAGE_SHAPES, NETS, Article, Net, Setting, Training

if TYPE_CHECKING:
    import keras

CHOICES = {
    "stem": ("conv", "rank1", "edges", "dct", "copies", "none"),
    "convolution": ("separable", "plain"),
    "padding": ("same", "valid"),
    "activation": ("relu", "leaky"),
    "head": ("mean", "flatten", "centre", "quarters", "classes", "votes"),
}
SWITCHES = ("residual", "biases", "head_biases")  # 0 or 1
POOLS = {"max2": (2, 2), "max3": (3, 2), "avg2": (2, 2)}  # side of the window, stride
# Of what needs no parameters, of grey images; copies are as many as are wanted.
FIXED_CHANNELS = {"edges": 9, "dct": 4, "copies": 1, "none": 1}
LONGEST_BODY = 64
LARGEST_NUMBER = 256  # of channels, and of a side

TRAINING = Training(epochs=20, learning_rate=0.01, clip_norm=5.0)


@dataclass(frozen=True)
class Settings:
    """One net of the family.

    Raises:
        EdgegolfError: A setting is none, or they do not go together.
    """

    # What comes first: a convolution; one of rank 1, of columns and then rows; without parameters:
    # differences with the eight neighbours, the cosine transform of 2 × 2 pixels, copies of the
    # image in all channels, or the image.
    stem: str = "conv"
    stem_kernel: int = 5  # side of its window, of those with parameters
    stem_stride: int = 2  # pixels from one position to the next, also of `dct`
    body: str = "aaaaaaaa"  # which convolution is applied where; `-` is a pooling
    # Channels that each convolution gives, in the alphabet's order; the last is also of those that
    # follow. The stem gives those of `a`.
    widths: str = "20"
    kernels: str = "3"  # side of each convolution's window, likewise
    convolution: str = "separable"  # or `plain`
    padding: str = "same"  # or `valid`
    residual: int = 1  # whether what a convolution gives is added to its input, where it fits
    activation: str = "relu"  # before every convolution; `leaky` has a slope of 0.1 below zero
    pools: str = "max2"  # at each `-` in turn: `max2`, `max3` of stride 2, or `avg2`; likewise
    # What comes last: a dense layer on the mean of all positions, on all of them, on 2 × 2 means in
    # the centre, or on the means of 2 × 2 quarters. Without parameters: the first channels are the
    # classes; or all are, and four copies of the image side by side vote.
    head: str = "mean"
    biases: int = 1  # whether the convolutions have some
    head_biases: int = 1  # whether the dense layer has some

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            _one_of(name, getattr(self, name), known)
        for name in SWITCHES:
            _one_of(name, getattr(self, name), (0, 1))
        for pool in self.pools.split("-"):
            _one_of("pools", pool, POOLS)
        for name in ("widths", "kernels"):
            _numbers(name, getattr(self, name))
        letters = "".join(sorted(set(self.body) - {"-"}))
        if len(self.body) > LONGEST_BODY or not "abcdefghijklmnopqrstuvwxyz".startswith(letters):
            raise _error(f"body {self.body!r}", "it is of letters from a on, such as aa-ab")

    def width(self, letter: str) -> int:
        """How many channels a convolution gives."""
        return _nth(_numbers("widths", self.widths), letter)

    def kernel(self, letter: str) -> int:
        """The side of a convolution's window."""
        return _nth(_numbers("kernels", self.kernels), letter)

    def pool(self, index: int) -> str:
        """The kind of a pooling."""
        names = self.pools.split("-")
        return names[min(index, len(names) - 1)]

    @property
    def stem_width(self) -> int:
        """How many channels the body is given."""
        width = self.width("a")
        if self.stem not in FIXED_CHANNELS or self.stem == "copies":
            return width
        # What is added to needs as many channels; those that are missing are empty.
        fixed = FIXED_CHANNELS[self.stem]
        return max(fixed, width) if self.residual and self.padding == "same" else fixed


@dataclass(frozen=True)
class Convolution:
    """One that the body applies, once or more often."""

    kernel: int  # side of its window
    before: int  # channels that it takes
    after: int  # channels that it gives
    is_plain: bool
    has_biases: bool

    @property
    def parameters(self) -> int:
        """How many it has."""
        area, biases = self.kernel**2, self.after * self.has_biases
        if self.is_plain:
            return area * self.before * self.after + biases
        return area * self.before + self.before * self.after + biases


def convolutions(settings: Settings) -> dict[str, Convolution]:
    """The convolutions of a body by their letters.

    Raises:
        EdgegolfError: One is applied to different numbers of channels.
    """
    found: dict[str, Convolution] = {}
    channels = settings.stem_width
    for letter in settings.body.replace("-", ""):
        each = Convolution(
            settings.kernel(letter),
            channels,
            settings.width(letter),
            settings.convolution == "plain",
            bool(settings.biases),
        )
        if found.setdefault(letter, each) != each:
            raise _error(
                f"no body {settings.body!r} with {letter!r} of {found[letter].before} and of "
                f"{channels} channels",
                "a convolution that is applied often gives as many channels as it takes",
            )
        channels = each.after
    return found


def count_parameters(
    settings: Settings,
    image_shape: tuple[int, int, int] = IMAGE_SHAPES["mnist"],
    classes: int = CLASSES,
) -> int:
    """How many parameters a net has, shared ones counted once; nothing is built.

    Args:
        settings: Which net.
        image_shape: Height, width, channels.
        classes: Classes to tell apart.

    Raises:
        EdgegolfError: There is no such net.
    """
    height, width, channels = _shape_before_head(settings, image_shape)
    total = sum(each.parameters for each in convolutions(settings).values())
    stem, side = settings.stem_width, settings.stem_kernel
    if settings.stem == "conv":
        total += (side**2 * image_shape[2] + settings.biases) * stem
    elif settings.stem == "rank1":
        total += (side * image_shape[2] + side + settings.biases) * stem
    positions = {"mean": 1, "flatten": height * width, "centre": 4, "quarters": 4}
    if settings.head in positions:
        total += (positions[settings.head] * channels + settings.head_biases) * classes
    elif channels < classes or (channels > classes and settings.head == "votes"):
        raise _error(f"{channels} channels that are {classes} classes", "give widths, or a head")
    return total


def _shape_before_head(
    settings: Settings, image_shape: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Height, width and channels that the head is given; refuses nets that do not fit."""
    if settings.stem in FIXED_CHANNELS and image_shape[2] != 1:
        raise _error(f"stem {settings.stem!r} for images in colour", "stem=conv")
    if settings.head == "votes" and settings.stem not in FIXED_CHANNELS:
        raise _error("votes after a stem with parameters", "stem=edges")
    channels, found = settings.stem_width, convolutions(settings)
    sides = []
    for side in image_shape[:2]:
        if settings.stem in ("conv", "rank1"):
            side = (side - settings.stem_kernel) // settings.stem_stride + 1
        elif settings.stem == "dct":
            side = (side - 2) // settings.stem_stride + 1
        if settings.head == "votes":
            side = 2 * _pitch(side)
        pools = 0
        for letter in settings.body:
            if letter == "-":
                window, stride = POOLS[settings.pool(pools)]
                side, pools = (side - window) // stride + 1, pools + 1
            elif settings.padding == "valid":
                side -= settings.kernel(letter) - 1
            if side < 1:
                break
        if side < (1 if settings.head in ("mean", "flatten", "classes") else 2):
            raise _error("images so small", "fewer poolings, smaller windows")
        sides.append(side)
    if settings.body.strip("-"):
        channels = found[settings.body.strip("-")[-1]].after
    return sides[0], sides[1], channels


def _pitch(side: int) -> int:
    """How far apart copies of half the size are on their canvas: a multiple of 8."""
    return -(-(side + 2) // 16) * 8


def build_golf_net(
    settings: Settings, image_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    """The untrained net.

    Args:
        settings: Which net.
        image_shape: Height, width, channels.
        classes: Classes to tell apart.

    Raises:
        EdgegolfError: There is no such net, or Keras is not installed.
    """
    count_parameters(settings, image_shape, classes)  # refuses what does not go together
    library = require("keras", extra="train")
    layers = library.layers
    made = {
        letter: _convolution(library, settings, letter, each)
        for letter, each in convolutions(settings).items()
    }

    def activated(hidden: keras.KerasTensor) -> keras.KerasTensor:
        slope = SLOPE if settings.activation == "leaky" else 0.0
        layer = layers.LeakyReLU(negative_slope=slope) if slope else layers.ReLU()
        return layer(hidden)

    image = library.Input(image_shape, name="image")
    hidden = _stem(library, settings, image)
    is_linear = settings.stem not in FIXED_CHANNELS  # nothing was cut off since a convolution
    pools = 0
    for letter in settings.body:
        if letter == "-":
            hidden = _pooling(layers, settings.pool(pools))(hidden)
            pools += 1
            continue
        residual = made[letter](activated(hidden) if is_linear else hidden)
        adds = settings.residual and residual.shape == hidden.shape
        hidden = layers.Add()([hidden, residual]) if adds else residual
        is_linear = True
    if is_linear and not settings.residual and settings.head not in ("classes", "votes"):
        hidden = activated(hidden)
    scores = _head(library, settings, hidden, classes)
    return library.Model(image, scores, name="golf_net")


def _convolution(library: Any, settings: Settings, letter: str, each: Convolution) -> Any:
    # Small residuals first, which all applications add up; else what keeps the scale.
    gain = 0.63 if settings.residual else 2**0.5
    normal = library.initializers.RandomNormal
    options = {"padding": settings.padding, "use_bias": each.has_biases, "name": f"shared_{letter}"}
    if each.is_plain:
        deviation = gain / (each.kernel * each.before**0.5)
        initial = {"kernel_initializer": normal(stddev=deviation)}
        return library.layers.Conv2D(each.after, each.kernel, **options, **initial)
    return library.layers.SeparableConv2D(
        each.after,
        each.kernel,
        depthwise_initializer=normal(stddev=1 / each.kernel),
        pointwise_initializer=normal(stddev=gain / each.before**0.5),
        **options,
    )


def _stem(library: Any, settings: Settings, image: keras.KerasTensor) -> keras.KerasTensor:
    layers, width, side = library.layers, settings.stem_width, settings.stem_kernel
    stride, has_biases = settings.stem_stride, bool(settings.biases)
    if settings.stem == "conv":
        return layers.Conv2D(width, side, strides=stride, use_bias=has_biases, name="stem")(image)
    if settings.stem == "rank1":
        # A depthwise convolution has one stride for both axes; the columns skip rows and columns.
        columns = layers.Conv2D(width, (side, 1), use_bias=False, name="stem_columns")(image)
        rows = layers.DepthwiseConv2D(
            (1, side), strides=stride, use_bias=has_biases, name="stem_rows"
        )
        return rows(columns)
    if settings.stem == "edges":
        parts = edges(layers, image)
    else:
        parts = _cosines(layers, image, stride) if settings.stem == "dct" else [image]
    if settings.stem == "copies":
        parts *= width
    elif missing := width - FIXED_CHANNELS[settings.stem]:
        parts += [layers.Subtract()([parts[0], parts[0]])] * missing
    features = layers.Concatenate()(parts) if len(parts) > 1 else image
    if settings.head == "votes":
        features = side_by_side(layers, features, _pitch(features.shape[1]))
    return features


def _cosines(layers: Any, image: keras.KerasTensor, stride: int) -> list[keras.KerasTensor]:
    """The cosine transform of 2 × 2 pixels, without its factor: sums and differences."""
    corners = []
    for row in (0, 1):
        for column in (0, 1):
            corner = layers.Cropping2D(((row, 1 - row), (column, 1 - column)))(image)
            corners.append(layers.AveragePooling2D(1, strides=stride)(corner))
    rows = corners[:2], corners[2:]
    means = [layers.Add()(row) for row in rows]
    rises = [layers.Subtract()(row) for row in rows]
    return [layer()(pair) for pair in (means, rises) for layer in (layers.Add, layers.Subtract)]


def _pooling(layers: Any, name: str) -> Any:
    window, stride = POOLS[name]
    kind = layers.AveragePooling2D if name.startswith("avg") else layers.MaxPooling2D
    return kind(window, strides=stride)


def _head(
    library: Any, settings: Settings, hidden: keras.KerasTensor, classes: int
) -> keras.KerasTensor:
    layers, sides = library.layers, hidden.shape[1:3]
    if settings.head == "votes":
        hidden = _centres(layers, hidden)
    if settings.head in ("mean", "classes", "votes"):
        hidden = layers.GlobalAveragePooling2D(name="pool")(hidden)
    if settings.head in ("classes", "votes"):
        if others := hidden.shape[1] - classes:  # channels of no class come last
            column = layers.Reshape((hidden.shape[1], 1, 1))(hidden)
            hidden = layers.Flatten()(layers.Cropping2D(((0, others), (0, 0)))(column))
        return layers.Softmax()(hidden)
    if settings.head == "centre":
        hidden = layers.AveragePooling2D(tuple(max(1, side // 4) for side in sides))(hidden)
        cut = [side - 2 for side in hidden.shape[1:3]]
        hidden = layers.Cropping2D(tuple((each // 2, each - each // 2) for each in cut))(hidden)
    elif settings.head == "quarters":
        # Of an odd side, the last row or column is left out.
        hidden = layers.AveragePooling2D(tuple(side // 2 for side in sides))(hidden)
        if hidden.shape[1:3] != (2, 2):
            hidden = layers.Cropping2D(tuple((0, side - 2) for side in hidden.shape[1:3]))(hidden)
    if settings.head != "mean":
        hidden = layers.Flatten(name="flatten")(hidden)
    return layers.Dense(
        classes, activation="softmax", use_bias=bool(settings.head_biases), name="classifier"
    )(hidden)


def _centres(layers: Any, hidden: keras.KerasTensor) -> keras.KerasTensor:
    """The centres of the four copies."""
    side = hidden.shape[1]
    first, apart = (side - 1) // 4, (side + 1) // 2
    last = side - first - apart - 1
    cropped = layers.Cropping2D(((first, last),) * 2)(hidden)
    return layers.AveragePooling2D(1, strides=apart)(cropped)


def _one_of(name: str, value: Setting, known: Collection[Setting]) -> None:
    if value not in known:
        raise _error(f"{name} {value!r}", f"{name} is one of {', '.join(map(str, known))}")


def _numbers(name: str, text: str) -> list[int]:
    found = text.split("-")
    if not all(each.isdigit() and 1 <= int(each) <= LARGEST_NUMBER for each in found):
        raise _error(f"{name} {text!r}", f"{name} are numbers up to {LARGEST_NUMBER}, as 8-10-10")
    return [int(each) for each in found]


def _nth(numbers: Sequence[int], letter: str) -> int:
    """That of a letter; of letters behind the last, the last."""
    return numbers[min(ord(letter) - ord("a"), len(numbers) - 1)]


def _error(what: str, hint: str) -> EdgegolfError:
    return EdgegolfError(f"there is no golf_net with {what}", hint)


def _build(image_shape: tuple[int, int, int], classes: int, **settings: Setting) -> keras.Model:
    return build_golf_net(Settings(**settings), image_shape, classes)  # type: ignore[arg-type]


def _parameters(**settings: Setting) -> int:
    return count_parameters(Settings(**settings))  # type: ignore[arg-type]


NETS["golf_net"] = Net(
    "Any of a family of tiny nets that apply few convolutions often; what searches look through",
    _build,
    lambda: TRAINING,
    lambda: Article("a question of our own: the fewest parameters for an accuracy"),
    _parameters,
    may_be_zero=SWITCHES,
    settings=Settings,
    is_listed=False,
)
