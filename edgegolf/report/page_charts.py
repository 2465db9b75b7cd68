"""The report's charts as Vega and Vega-Lite specifications."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgegolf.bench.result import BenchResult
from edgegolf.cards import Card
from edgegolf.footprint.result import ACTIVATIONS, COMPRESSED, FILE, LATENCY, Footprint
from edgegolf.golf.anatomy import Anatomy
from edgegolf.report.anatomy_plot import COLOURS, OTHER_COLOUR
from edgegolf.report.page_data import Epoch
from edgegolf.sweep import NetSummary
from edgegolf.sweep.costs import smallest
from edgegolf.sweep.front import pareto_front, published_records

Spec = dict[str, Any]

VEGA_LITE = "https://vega.github.io/schema/vega-lite/v6.json"
VEGA = "https://vega.github.io/schema/vega/v6.json"
# The colour of the text around it, so that light and dark are the page's business.
INK = "currentColor"
CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "domainColor": INK, "tickColor": INK,
        "gridColor": INK, "gridOpacity": 0.12,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "orient": "bottom", "columns": 2},
    "header": {"labelColor": INK, "titleColor": INK},
    "text": {"color": INK},
    "range": {"category": {"scheme": "tableau20"}},
}  # fmt: skip
# Who made a point; told apart by shape as well.
MAKERS = {"domain": ["edgegolf", "article"], "range": ["#2f7ed8", "#d9822b"]}
FAMILY = {"field": "family", "type": "nominal", "title": None}
ARTICLE, ELSEWHERE = "an article's figure", "published elsewhere"


def front(cards: Sequence[Card]) -> Spec:
    """Parameters against errors on the test images: our means over seeds, and the articles."""
    points = []
    for card in cards:
        accuracies = [100 * seed.test_accuracy for seed in card.seeds]
        ours = {"seeds": len(accuracies), "error": 100 - statistics.mean(accuracies)}
        points.append({"net": card.net, "parameters": card.parameters, "by": "edgegolf", **ours})
        if card.article_accuracy is not None:
            theirs = {"seeds": None, "error": 100 - 100 * card.article_accuracy}
            points.append(
                {"net": card.net, "parameters": card.parameters, "by": "article", **theirs}
            )
    encoding = {
        "x": _logarithmic("parameters", "parameters", padding=60),  # for the names
        "y": _logarithmic("error", "errors on the test images, %"),
    }
    return _chart(
        points,
        layer=[
            {
                "mark": {"type": "line", "strokeDash": [2, 3], "color": INK, "opacity": 0.5},
                "encoding": encoding | {"detail": {"field": "net"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": encoding
                | {
                    "color": {"field": "by", "scale": MAKERS, "title": None},
                    "shape": {
                        "field": "by",
                        "scale": {"domain": MAKERS["domain"]},
                        "title": None,
                    },
                    "tooltip": _tooltip("net", "by", "seeds", parameters=",", error=".2f"),
                },
            },
            {
                "transform": [{"filter": "datum.by == 'edgegolf'"}],
                "mark": {"type": "text", "align": "left", "dx": 8, "dy": -6},
                "encoding": encoding | {"text": {"field": "net"}},
            },
        ],
    )


def variants(cards: Sequence[Card], benches: Sequence[BenchResult]) -> Spec:
    """Bytes of every file against errors; larger points are slower, where that was measured."""
    latencies = {
        (*Path(bench.file).parts[-2:], bench.size_bytes): bench.latency_us.p50
        for bench in benches
        if bench.latency_us is not None
    }
    points = [
        {
            "net": card.net,
            "file": name,
            "bytes": facts.size_bytes,
            "error": 100 - 100 * facts.test_accuracy,
            "latency": latencies.get((card.net.replace(":", "-"), name, facts.size_bytes)),
        }
        for card in cards
        for name, facts in card.files.items()
    ]
    size: Spec = {"value": 80}
    if any(point["latency"] for point in points):
        size = {"field": "latency", "type": "quantitative", "title": "p50, µs"}
    return _chart(
        points,
        mark={"type": "point", "filled": True, "opacity": 0.85},
        encoding={
            "x": _logarithmic("bytes", "bytes of the file"),
            "y": _logarithmic("error", "errors on the test images, %"),
            "color": {"field": "file", "type": "nominal"},
            "shape": {"field": "file", "type": "nominal"},
            "size": size,
            "tooltip": _tooltip("net", "file", bytes=",", error=".2f", latency=",.1f"),
        },
    )


def sweeps(nets: Sequence[NetSummary], dataset: str) -> Spec:
    """Parameters against errors of every net of the sweeps, with its spread over the seeds.

    The front of our nets is a line; what the articles report and others published are points.
    """
    points = [_net_point(net) for net in nets]
    articles = {
        (net.parameters, net.article_accuracy): net
        for net in nets
        if net.article_accuracy is not None
    }
    marks = [
        {
            "kind": ARTICLE,
            "net": net.net,
            "by": "article",
            "parameters": parameters,
            "error": 100 - 100 * accuracy,
        }
        for (parameters, accuracy), net in articles.items()
    ] + [
        {
            "kind": ELSEWHERE,
            "net": record.note,
            "by": record.holder,
            "parameters": record.parameters,
            "error": 100 - 100 * record.accuracy,
        }
        for record in published_records()
        if record.dataset == dataset and (record.parameters, record.accuracy) not in articles
    ]
    x = _logarithmic("parameters", "parameters", padding=30)
    y = _logarithmic("error", "errors on the test images, %")
    return _chart(
        points,
        layer=[
            {
                "data": {"values": [_net_point(net) for net in pareto_front(nets)]},
                "mark": {"type": "line", "interpolate": "step-after", "color": INK, "opacity": 0.5},
                "encoding": {"x": x, "y": y},
            },
            {
                "mark": {"type": "rule", "opacity": 0.6},
                "encoding": {
                    "x": x,
                    "y": {"field": "lowest", "type": "quantitative"},
                    "y2": {"field": "highest"},
                    "color": FAMILY,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": FAMILY, "tooltip": _net_tooltip()},
            },
            {
                "data": {"values": marks},
                "mark": {"type": "point", "size": 90, "color": INK, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "shape": {
                        "field": "kind",
                        "scale": {
                            "domain": [ARTICLE, ELSEWHERE],
                            "range": ["diamond", "cross"],
                        },
                        "title": None,
                    },
                    "tooltip": _tooltip("net", "by", parameters=",", error=".2f"),
                },
            },
        ],
    )


def sweep_costs(nets: Sequence[NetSummary]) -> Spec:
    """Bytes and latency of each net's smallest int8 file against its errors."""
    points = [
        _net_point(net) | {"cost": cost, "value": value}
        for net in nets
        if (file := smallest(net.files, "int8")) is not None
        for cost, value in (("bytes", file.size_bytes), ("µs, one thread", file.latency_us))
    ]
    chart = _chart(
        points,
        mark={"type": "point", "filled": True, "size": 60, "opacity": 0.9},
        encoding={
            "x": _logarithmic("value", None),
            "y": _logarithmic("error", "errors on the test images, %"),
            "color": FAMILY,
            "facet": {"field": "cost", "type": "nominal", "columns": 2, "title": None},
            "tooltip": [*_net_tooltip(), *_tooltip("cost", value=",.1f")],
        },
    )
    del chart["width"], chart["autosize"]
    return chart | {"width": 260, "height": 240, "resolve": {"scale": {"x": "independent"}}}


def _net_tooltip() -> list[Spec]:
    return _tooltip(
        "net", "seeds", "epochs", parameters=",", MACs=",", error=".2f", deviation=".2f"
    )


def _net_point(net: NetSummary) -> Spec:
    """A net of a sweep; its spread is cut off where the errors' logarithm has no value."""
    error, spread = 100 - 100 * net.mean, 100 * (net.deviation or 0)
    return {
        "net": net.net,
        "family": net.net.partition(":")[0],
        "parameters": net.parameters,
        "MACs": net.macs,
        "seeds": len(net.accuracies),
        "epochs": net.epochs,
        "error": error,
        "deviation": spread,
        "lowest": max(error - spread, error / 10),
        "highest": error + spread,
    }


def anatomy(found: Anatomy) -> Spec:
    """A treemap of a file: areas are bytes."""
    parts: list[Spec] = [{"id": "file"}]
    for part in found.parts:
        share = f"{part.bytes / found.bytes:.0%}"
        parts.append(
            {
                "id": part.name,
                "parent": "file",
                "bytes": part.bytes,
                "colour": COLOURS.get(part.name, OTHER_COLOUR),
                "label": f"{part.name}, {part.bytes:,} B",
                "tooltip": f"{part.name}: {part.bytes:,} bytes, {share}",
            }
        )
    rectangle = {"x": {"field": "x0"}, "x2": {"field": "x1"}}
    rectangle |= {"y": {"field": "y0"}, "y2": {"field": "y1"}}
    leaves = {
        "name": "leaves",
        "source": "tree",
        "transform": [{"type": "filter", "expr": "datum.parent"}],
    }
    return {
        "$schema": VEGA,
        "config": CONFIG,
        "width": 860,
        "height": 340,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": [
            {
                "name": "tree",
                "values": parts,
                "transform": [
                    {"type": "stratify", "key": "id", "parentKey": "parent"},
                    {
                        "type": "treemap",
                        "field": "bytes",
                        "sort": {"field": "value", "order": "descending"},
                        "paddingInner": 2,
                        "size": [{"signal": "width"}, {"signal": "height"}],
                    },
                ],
            },
            leaves,
        ],
        "marks": [
            {
                "type": "rect",
                "from": {"data": "leaves"},
                "encode": {
                    "update": rectangle
                    | {"fill": {"field": "colour"}, "tooltip": {"field": "tooltip"}}
                },
            },
            {
                "type": "text",
                "from": {"data": "leaves"},
                "interactive": False,
                "encode": {
                    "update": {
                        "x": {"field": "x0", "offset": 5},
                        "y": {"field": "y0", "offset": 15},
                        "fill": {"value": "#111"},
                        "text": {"field": "label"},
                        "limit": {"signal": "datum.x1 - datum.x0 - 8"},
                        "opacity": {
                            "signal": "datum.y1 - datum.y0 > 18 && datum.x1 - datum.x0 > 40 ? 1 : 0"
                        },
                    }
                },
            },
        ],
    }


def depth(footprint: Footprint) -> Spec:
    """What a file costs as the block is applied more often, shared and unshared."""
    points = [
        {
            "iterations": net.iterations,
            "weights": net.role,
            "file": f"{variant.file}, {variant.way}",
            "cost": name,
            "value": value,
        }
        for net in footprint.growth
        for variant in net.variants
        for name in (FILE, COMPRESSED, ACTIVATIONS, LATENCY)
        if (value := variant.cost(name)) is not None and net.iterations is not None
    ]
    chart = _chart(
        points,
        mark={"type": "line", "point": True},
        encoding={
            "x": _logarithmic("iterations", "iterations of the block", base=2),
            "y": _logarithmic("value", None),
            "color": {"field": "file", "type": "nominal"},
            "strokeDash": {"field": "weights", "type": "nominal"},
            "facet": {"field": "cost", "type": "nominal", "columns": 2, "title": None},
            "tooltip": _tooltip("file", "weights", "iterations", "cost", value=",.1f"),
        },
    )
    del chart["width"], chart["autosize"]
    return chart | {"width": 260, "height": 180, "resolve": {"scale": {"y": "independent"}}}


def training(epochs: Sequence[Epoch]) -> Spec:
    """Errors on the validation images, epoch by epoch, of every run."""
    return _chart(
        [asdict(epoch) for epoch in epochs],
        mark={"type": "line", "interpolate": "monotone", "tooltip": True},
        encoding={
            "x": {"field": "epoch", "type": "quantitative", "title": "epoch"},
            "y": _logarithmic("error", "errors on the validation images, %"),
            "color": {"field": "net", "type": "nominal"},
            "detail": {"field": "seed"},
            "tooltip": _tooltip("net", "seed", "epoch", error=".2f"),
        },
    )


def _chart(values: Sequence[Spec], **parts: Any) -> Spec:
    return {
        "$schema": VEGA_LITE,
        "config": CONFIG,
        "width": "container",
        "height": 340,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": list(values)},
        **parts,
    }


def _logarithmic(field: str, title: str | None, base: int = 10, padding: int = 12) -> Spec:
    scale = {"type": "log", "base": base, "nice": False, "padding": padding}
    return {"field": field, "type": "quantitative", "scale": scale, "title": title}


def _tooltip(*fields: str, **formats: str) -> list[Spec]:
    return [{"field": field} for field in fields] + [
        {"field": field, "type": "quantitative", "format": form} for field, form in formats.items()
    ]
