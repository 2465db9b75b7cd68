"""How the report's charts are drawn: points, lines, labels and legends in Vega-Lite.

Where a point, a tick or a label stands is computed here, so that nothing overlaps whatever the
data are; Vega-Lite draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from edgegolf.report.page_layout import (
    NUMBER,
    Axis,
    Label,
    axis,
    number,
    place_labels,
    short,
    spread,
    text_width,
)

Spec = dict[str, Any]

VEGA_LITE = "https://vega.github.io/schema/vega-lite/v6.json"
MOST_POINTS = 2_000
MOST_LABELS = 24
LONGEST_WIDE, LONGEST_NARROW, LONGEST_TIP = 36, 16, 300  # letters


@dataclass(frozen=True)
class Look:
    """For whom a chart is drawn."""

    width: int  # pixels, with the axis
    ink: str  # the colour of text and lines

    @property
    def is_wide(self) -> bool:
        """Whether two panels fit beside each other."""
        return self.width > 600

    @property
    def size(self) -> int:
        """Of the font, in pixels."""
        return 13 if self.is_wide else 12


@dataclass(frozen=True)
class Point:
    """A point of a chart."""

    x: float  # where
    y: float  # where
    series: str  # what its colour and shape mean
    says: str  # what is told of it
    label: str = ""  # what stands beside it; empty for nothing
    brief: str = ""  # the same where there is little room; empty to cut the label

    def called(self, longest: int) -> str:
        """Its label in so many letters."""
        return short(
            self.brief if self.brief and len(self.label) > longest else self.label, longest
        )


@dataclass(frozen=True)
class Line:
    """A line through points; its label stands at the right border."""

    points: tuple[tuple[float, float], ...]
    colour: str | None = None
    label: str = ""
    width: float = 1.0
    dash: tuple[int, ...] = ()
    opacity: float = 0.6
    steps: bool = False


Panel = Callable[[Look, float], Spec]  # drawn as wide as this
Style = tuple[str | None, str]  # colour, that of the text where there is none, and shape
Series = Mapping[str, Style]


def beside(panels: Sequence[Panel], legend: Series) -> Callable[[Look], Spec]:
    """Panels in pairs, or below each other where there is no room, and one legend.

    Of an odd number the first has a row of its own.
    """
    odd = len(panels) % 2
    pairs = [panels[:odd], *(panels[n : n + 2] for n in range(odd, len(panels), 2))]

    def draw(look: Look) -> Spec:
        rows = pairs if look.is_wide else [[panel] for panel in panels]
        drawn: list[Spec] = [
            {"spacing": 16, "hconcat": [panel(look, look.width / len(row)) for panel in row]}
            for row in rows
            if row
        ]
        return specification(look, drawn, legend)

    return draw


def plot(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    series: Series,
    lines: Sequence[Line] = (),
    *,
    x_log: bool = True,
    x_ticks: Sequence[float] = (),
) -> Panel:
    """Points and lines on logarithmic axes, with labels that cover nothing.

    Args:
        points: The first `MOST_POINTS` are drawn, and the first `MOST_LABELS` labels.
        x_title: What lies below.
        y_title: What stands at the left.
        series: Colours and shapes of the points' series.
        lines: Below the points.
        x_log: Whether the lower axis is logarithmic too.
        x_ticks: Numbers at the lower axis, if there is room; else round ones.
    """
    points = points[:MOST_POINTS]
    lines = lines[:MOST_POINTS]
    return lambda look, width: _plot(
        look, width, points, x_title, y_title, series, lines, x_log, x_ticks
    )


def _plot(
    look: Look, width: float, points: Sequence[Point], x_title: str, y_title: str, series: Series,
    lines: Sequence[Line], x_log: bool, x_ticks: Sequence[float],
) -> Spec:  # fmt: skip
    size = look.size
    ys = [point.y for point in points] + [y for line in lines for _, y in line.points]
    xs = [point.x for point in points] + [x for line in lines for x, _ in line.points]
    high = max(230.0, min(360.0, 0.62 * width))
    y = axis(y_title, ys, high, size, upright=True)
    left = max(text_width(number(tick), size) for tick in y.ticks or (0,)) + 2.2 * size
    longest = LONGEST_WIDE if width > 600 else LONGEST_NARROW
    ends = [
        replace(line, label=short(line.label, max(longest, 18))) for line in lines if line.label
    ]
    needed = max((text_width(line.label, size) + 20 for line in ends), default=0.0)
    reserve = min(needed, 0.6 * (width - left))
    wide = width - left - 14 - reserve
    x = axis(x_title, xs, wide, size, logarithmic=x_log, ticks=x_ticks)

    def at(x_value: float, y_value: float) -> tuple[float, float]:
        return x.at(x_value), high - y.at(y_value)

    wanted = [(*at(p.x, p.y), p.called(longest)) for p in points if p.label]
    visible = [at(point.x, point.y) for point in points]
    for line in lines:
        visible += _along([at(*point) for point in line.points]) if line.steps else []
    labels = place_labels(wanted[:MOST_LABELS], visible, wide, high, size)
    heights = spread([high - y.at(line.points[-1][1]) for line in ends], 1.35 * size, high - size)
    labels += [
        Label(line.label, wide + 10, height, "left", at(*line.points[-1]), True)
        for line, height in zip(ends, heights, strict=True)
    ]
    layers = [_line_layer(line, look, x, y) for line in lines if len(line.points) > 1]
    if leaders := [label for label in labels if label.leader]:
        layers.append(_leaders(leaders, look))
    if ends:
        layers.append(_room(wide + reserve))
    if points:
        layers.append(_point_layer(points, look, series, x, y))
    for align in ("left", "center", "right"):
        if aligned := [vars(label) for label in labels if label.align == align]:
            layers.append(text_layer(aligned, look, align))
    return {"width": wide, "height": high, "layer": layers}


def _along(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spots every ten pixels on the steps between points."""
    found = []
    for (x, y), (next_x, next_y) in pairwise(spots):
        found += [(x + step, y) for step in range(0, int(next_x - x), 10)]
        found += [(next_x, y + step) for step in range(0, int(next_y - y), 10)]
    return found


def _channel(field: str, scale: Axis, upright: bool = False) -> Spec:
    kind = {"type": "log"} if scale.logarithmic else {"type": "linear", "zero": False}
    return {
        "field": field,
        "type": "quantitative",
        "scale": {**kind, "domain": [scale.low, scale.high], "nice": False},
        "axis": {
            "title": scale.title, "values": list(scale.ticks), "labelExpr": NUMBER,
            "labelFlush": False, "labelOverlap": False, "labelBound": False,
            **({"titleAnchor": "end"} if upright else {}),
        },
    }  # fmt: skip


def pixels(*fields: str) -> Spec:
    """Encodings whose data are pixels from the left and from the top."""
    found: Spec = {}
    for field in fields:
        found[field] = {"field": field}
        if not field.endswith("2"):
            found[field] |= {"type": "quantitative", "scale": None, "axis": None}
    return found


def as_it_is(field: str) -> Spec:
    """An encoding whose data are colours or shapes themselves."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def _point_layer(points: Sequence[Point], look: Look, series: Series, x: Axis, y: Axis) -> Spec:
    return {
        "data": {
            "values": [
                {
                    "x": point.x, "y": point.y, "says": short(point.says, LONGEST_TIP),
                    "colour": series[point.series][0] or look.ink,
                    "shape": series[point.series][1],
                }
                for point in points
            ]
        },
        "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1},
        "encoding": {
            "x": _channel("x", x),
            "y": _channel("y", y, upright=True),
            "color": as_it_is("colour"),
            "shape": as_it_is("shape"),
            "description": {"field": "says"},
        },
    }  # fmt: skip


def _legend(look: Look, series: Series) -> Spec:
    """Names of colours and shapes, in columns that are wide enough for any usual font."""
    names = {name: short(name, 48) for name in series}
    widest = max(text_width(name, look.size) for name in names.values()) + 36
    columns = max(1, int(look.width // widest))
    high = 1.5 * look.size
    entries: list[Spec] = [
        {
            "x": widest * (n % columns) + 7, "y": high * (n // columns + 0.5),
            "text": names[name], "colour": colour or look.ink, "shape": shape,
        }
        for n, (name, (colour, shape)) in enumerate(series.items())
    ]  # fmt: skip
    symbols = {
        "data": {"values": entries},
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1, "aria": False},
        "encoding": pixels("x", "y") | {"color": as_it_is("colour"), "shape": as_it_is("shape")},
    }
    texts = text_layer([entry | {"x": entry["x"] + 12} for entry in entries], look, "left")
    return {
        "width": widest * min(columns, len(entries)),
        "height": high * -(-len(entries) // columns),
        "layer": [symbols, texts],
    }


def _line_layer(line: Line, look: Look, x: Axis, y: Axis) -> Spec:
    mark: Spec = {
        "type": "line", "color": line.colour or look.ink, "strokeWidth": line.width,
        "opacity": line.opacity, "strokeDash": list(line.dash), "aria": False,
        "interpolate": "step-after" if line.steps else "linear",
    }  # fmt: skip
    return {
        "data": {"values": [{"x": at, "y": value} for at, value in line.points]},
        "mark": mark,
        "encoding": {"x": _channel("x", x), "y": _channel("y", y, upright=True)},
    }


def _room(width: float) -> Spec:
    """Nothing, so wide that the labels at the right border fit in any font."""
    return {
        "data": {"values": [{"x": 0, "y": 0, "x2": width}]},
        "mark": {"type": "rule", "opacity": 0, "aria": False},
        "encoding": pixels("x", "y", "x2"),
    }


def _leaders(labels: Sequence[Label], look: Look) -> Spec:
    gap = {"left": -3, "right": 3, "center": 0}
    return {
        "data": {
            "values": [
                {"x": label.point[0], "y": label.point[1],
                 "x2": label.x + gap[label.align], "y2": label.y}
                for label in labels
                if label.leader
            ]
        },
        "mark": {"type": "rule", "color": look.ink, "opacity": 0.35, "aria": False},
        "encoding": pixels("x", "y", "x2", "y2"),
    }  # fmt: skip


def text_layer(labels: Sequence[Spec], look: Look, align: str, ink: str | None = None) -> Spec:
    """Texts at pixels."""
    return {
        "data": {"values": [{key: label[key] for key in ("x", "y", "text")} for label in labels]},
        "mark": {
            "type": "text", "align": align, "baseline": "middle", "fontSize": look.size,
            "color": ink or look.ink, "aria": False,
        },
        "encoding": pixels("x", "y") | {"text": {"field": "text", "type": "nominal"}},
    }  # fmt: skip


def specification(look: Look, rows: Sequence[Spec], legend: Series) -> Spec:
    """Rows of panels and a legend, in the look's ink."""
    ink = look.ink
    return {
        "$schema": VEGA_LITE,
        "config": {
            "background": None,
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "axis": {
                "labelColor": ink, "titleColor": ink, "domainColor": ink, "tickColor": ink,
                "gridColor": ink, "gridOpacity": 0.12, "labelFontSize": look.size - 1,
                "titleFontSize": look.size, "titleFontWeight": "normal", "titlePadding": 8,
            },
        },
        "spacing": 16,
        "vconcat": [*rows, *([_legend(look, legend)] if legend else [])],
    }  # fmt: skip
