"""Where things stand in a chart: ticks, labels that do not overlap, and treemaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Box = tuple[float, float, float, float]  # left, top, right, bottom; pixels

LETTER = 0.66  # of the size of a font: a letter's mean width in the widest of the usual fonts
LONGEST_NAME = 28  # letters
MOST_TICKS = 9
DISTANCES = (9, 18, 30, 44)  # of a label from its point, in pixels
DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))


def text_width(text: str, size: float) -> float:
    """A text's width in pixels, rather too wide than too narrow; other scripts are wider."""
    return size * sum(LETTER if ord(letter) < 0x1100 else 1.1 for letter in text)


def printable(text: str) -> str:
    """A text from a file, without letters that would make a picture invalid."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits a chart: cut where it is long."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def number(value: float) -> str:
    """A tick's label; `NUMBER` is the same as an expression of Vega."""
    value, unit = (value / 1e6, "M") if value >= 1e6 else (value, "")
    return f"{value:,.6f}".rstrip("0").rstrip(".") + unit


NUMBER = (
    "datum.value >= 1e6 ? format(datum.value / 1e6, ',.6~f') + 'M' : format(datum.value, ',.6~f')"
)


@dataclass(frozen=True)
class Axis:
    """An axis of a chart."""

    title: str  # what its numbers are
    low: float  # the number at its beginning
    high: float  # the number at its end
    pixels: float  # its length
    ticks: tuple[float, ...]  # the numbers that stand at it
    logarithmic: bool = True  # whether equal distances are equal quotients

    def at(self, value: float) -> float:
        """How many pixels from the beginning a number is."""
        return self.pixels * _share(value, self.low, self.high, self.logarithmic)


def axis(
    title: str,
    values: Iterable[float],
    pixels: float,
    size: float,
    *,
    logarithmic: bool = True,
    upright: bool = False,
    ticks: Sequence[float] = (),
) -> Axis:
    """An axis on which all values are, with numbers where they are.

    Args:
        title: What the values are.
        values: At least one; positive ones, where it is logarithmic.
        pixels: Its length.
        size: Of the font, in pixels.
        logarithmic: Whether equal distances are equal quotients.
        upright: Whether labels stand one above the other.
        ticks: The numbers that stand at it, if there is room; else round ones.
    """
    values = tuple(values)
    low, high = min(values), max(values)
    if logarithmic:
        margin = max((high / low) ** 0.08, 1.04 if high > low else 2)
        first, last = low / margin, high * margin
    else:
        margin = 0.03 * (high - low) or 1
        first, last = low - margin, high + margin
    found = _numbers(first, last, pixels, size, logarithmic, upright, tuple(ticks))
    return Axis(title, first, last, pixels, found, logarithmic)


def _share(value: float, low: float, high: float, logarithmic: bool) -> float:
    if logarithmic:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _numbers(
    low: float, high: float, pixels: float, size: float, logarithmic: bool, upright: bool,
    preferred: tuple[float, ...],
) -> tuple[float, ...]:  # fmt: skip
    """The preferred numbers, or as many round ones as there is room for."""

    def fits(numbers: Sequence[float]) -> bool:
        if len(numbers) > MOST_TICKS:
            return False
        at = [pixels * _share(value, low, high, logarithmic) for value in numbers]
        widths = [1.5 * size if upright else text_width(number(v), size) + 8 for v in numbers]
        return all(
            there - here >= (one + other) / 2
            for (here, there), (one, other) in zip(pairwise(at), pairwise(widths), strict=True)
        )

    if preferred and fits(preferred):
        return preferred
    grids = _decades(low, high) if logarithmic else []
    if not logarithmic or high / low < 12:
        grids += _steps(low, high)
    return max((grid for grid in grids if fits(grid)), key=len, default=())


def _decades(low: float, high: float) -> list[tuple[float, ...]]:
    """1, 2, 5, 10, … and the like, between two numbers."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    grids = []
    for multiples in ((1, 2, 5), (1, 3), range(1, 10), (1,)):
        for every in range(1, 5) if multiples == (1,) else (1,):
            numbers = (m * 10.0**e for e in exponents if e % every == 0 for m in multiples)
            grids.append(tuple(n for n in numbers if low <= n <= high))
    return grids


def _steps(low: float, high: float) -> list[tuple[float, ...]]:
    """Multiples of 1, 2, 5, 10, …, between two numbers."""
    exponent = math.floor(math.log10(high - low))
    grids = []
    for step in (m * 10.0**e for e in (exponent, exponent - 1) for m in (5, 2, 1)):
        count = range(math.ceil(low / step), math.floor(high / step) + 1)
        grids.append(tuple(float(f"{n * step:.12g}") for n in count))
    return grids


@dataclass(frozen=True)
class Label:
    """A text beside a point."""

    text: str  # what it says
    x: float  # where it begins, ends or is centred, in pixels from the left
    y: float  # where its middle is, in pixels from the top
    align: str  # `left`, `right` or `center`
    # What it belongs to, in pixels; where that is not next to it, a line leads there.
    point: tuple[float, float]
    leader: bool  # whether it does


def place_labels(
    wanted: Sequence[tuple[float, float, str]],
    points: Iterable[tuple[float, float]],
    width: float,
    height: float,
    size: float,
) -> list[Label]:
    """Places for labels where they cover neither each other nor a point.

    Each takes the first place that is free, near ones first. One that finds none is left out.

    Args:
        wanted: x and y of a point and what it is called, the most important first.
        points: What must stay visible.
        width: Of the chart, in pixels.
        height: Likewise.
        size: Of the font, in pixels.
    """
    taken: list[Box] = [(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    labels = []
    for x, y, text in wanted:
        wide, high = text_width(text, size), 1.3 * size
        for distance in DISTANCES:
            label = _free_place(x, y, text, distance, (wide, high), taken, (width, height))
            if label is not None:
                labels.append(label)
                break
    return labels


def _free_place(
    x: float, y: float, text: str, distance: float,
    extent: tuple[float, float], taken: list[Box], area: tuple[float, float],
) -> Label | None:  # fmt: skip
    wide, high = extent
    for right, down in DIRECTIONS:
        at_x = x + right * distance * (0.7 if down else 1)
        at_y = y + down * (distance * (0.7 if right else 1) + high / 2)
        left = at_x - {1: 0, 0: wide / 2, -1: wide}[right]
        box = (left, at_y - high / 2, left + wide, at_y + high / 2)
        inside = box[0] >= 0 and box[1] >= 0 and box[2] <= area[0] and box[3] <= area[1]
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            align = {1: "left", 0: "center", -1: "right"}[right]
            return Label(text, at_x, at_y, align, (x, y), distance > DISTANCES[1])
    return None


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def spread(places: Sequence[float], gap: float, end: float) -> list[float]:
    """Places between 0 and `end` near the given ones, at least `gap` apart if there is room."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    gap = min(gap, end / max(len(places) - 1, 1))
    found = [0.0] * len(places)
    lowest = 0.0
    for index in order:
        found[index] = lowest = max(places[index], lowest)
        lowest += gap
    highest = end
    for index in reversed(order):
        found[index] = highest = min(found[index], highest)
        highest -= gap
    return found


def treemap(sizes: Sequence[int], area: Box) -> list[Box]:
    """Divide a rectangle into rectangles of given relative areas, as square as possible.

    Source: Bruls, Huizing, van Wijk, "Squarified Treemaps", 2000.

    Args:
        sizes: Positive, in descending order.
        area: Left, top, width and height.

    Returns:
        Left, top, width and height for each size.
    """
    left, top, width, height = area
    placed: list[Box] = []
    rest = list(sizes)
    while rest:
        scale = width * height / sum(rest)
        side = min(width, height)
        count = 1
        while count < len(rest) and _worst_ratio(rest[: count + 1], scale, side) <= _worst_ratio(
            rest[:count], scale, side
        ):
            count += 1
        row, rest = rest[:count], rest[count:]
        thickness = sum(row) * scale / side
        offset = 0.0
        for size in row:
            length = size * scale / thickness
            if width >= height:
                placed.append((left, top + offset, thickness, length))
            else:
                placed.append((left + offset, top, length, thickness))
            offset += length
        if width >= height:
            left, width = left + thickness, max(width - thickness, 1e-9)
        else:
            top, height = top + thickness, max(height - thickness, 1e-9)
    return placed


def _worst_ratio(row: Sequence[int], scale: float, side: float) -> float:
    """The largest aspect ratio in a row of rectangles along a side."""
    total = sum(row) * scale
    return max(
        max(side**2 * size * scale / total**2, total**2 / (side**2 * size * scale)) for size in row
    )
