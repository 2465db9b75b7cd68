"""The report's charts: what each finds, its values, and what is drawn."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegolf.anatomy.anatomy import Anatomy
from edgegolf.bench.result import BenchResult
from edgegolf.cards import Card, FileFacts
from edgegolf.compare.compare import Comparison
from edgegolf.compare.layers import LayerError
from edgegolf.footprint.result import (
    BLOCK_RAMS,
    FILE,
    LATENCY,
    LUTS,
    Footprint,
    NetFootprint,
)
from edgegolf.report.page_data import Run
from edgegolf.report.page_layout import LETTER, number, short, text_width, treemap
from edgegolf.report.page_plot import (
    MOST_POINTS,
    Line,
    Look,
    Panel,
    Point,
    Series,
    Spec,
    Style,
    as_it_is,
    beside,
    pixels,
    plot,
    specification,
    text_layer,
)
from edgegolf.sweep import NetSummary, SweepResults, summarize_runs
from edgegolf.sweep.costs import smallest
from edgegolf.sweep.front import goals, pareto_front, published_records

Rows = tuple[tuple[Any, ...], ...]

NEAR = 0.01  # accuracies that are as good as the best
LOWEST_ERROR = 0.01  # %; a logarithmic axis has no zero: one image of 10,000
ERRORS = "errors on the test images, %"

# Seen on white and on near-black; the text around them has the colour of the page's text.
BLUE, ORANGE, GREEN, PURPLE, RED, OLIVE, GREY, TEAL, BROWN = (
    "#2f7ed8", "#d95f02", "#1b8a5a", "#a864b4", "#d1404a", "#8a7a1f", "#7f868c", "#0e8f9e",
    "#a0693c",
)  # fmt: skip
FAMILY_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, OLIVE)
# The kind of a file has a colour, its format a shape: the same in every chart.
KINDS = {
    "float32": GREY, "int8": BLUE, "int8-weights": ORANGE, "int8-smallest": GREEN,
    "int8-fastest": PURPLE, "int8-loop": OLIVE, "int8-unrolled": RED, "int4": TEAL,
    "mixed": BROWN,
}  # fmt: skip
FORMATS = {"tflite": "circle", "onnx": "diamond"}
MOST_LAYERS = 100  # of a comparison
COSTS = ("parameters", "bytes", "µs, one thread")  # of a sweep's nets
OTHERS, ARTICLE, ELSEWHERE = "other nets", "an article's figure", "published elsewhere"
ROLES = {"shared": BLUE, "unshared": ORANGE}
# Payload in greens, what describes it in blues, what could go in oranges and greys. The palette
# is Paul Tol's "light", which readers with any colour vision can tell apart:
# https://sronpersonalpages.nl/~pault/
PARTS = {
    "weights": "#44BB99", "biases": "#BBCC33", "other constants": "#AAAA00",
    "quantization parameters": "#99DDFF", "names": "#EE8866", "shapes and types": "#77AADD",
    "tensor records": "#B3CDE9", "operators": "#EEDD88", "operator options": "#F5EBB8",
    "graph structure": "#DDDDDD", "metadata and signatures": "#FFAABB", "unused data": "#CC6677",
    "vtables": "#CCCCCC", "padding": "#BBBBBB", "dead space": "#999999",
    "programs for accelerators": "#66AAAA",
    "unexplained bytes": "#ddaa33",
}  # fmt: skip
OTHER_PART = "#EEEEEE"
ON_PARTS = "#111111"  # text


@dataclass(frozen=True)
class Chart:
    """A chart."""

    subject: str  # what it is of
    finding: str  # what it shows, computed from its data
    caption: str  # how to read it
    draw: Callable[[Look], Spec]  # makes its Vega-Lite specification, without a title
    columns: tuple[str, ...] = ()  # names of the values
    rows: Rows = ()  # the values of every point


OF_OTHERS: Series = {ARTICLE: (None, "diamond"), ELSEWHERE: (None, "cross")}


def percent(accuracy: float) -> str:
    """An accuracy as text."""
    return f"{100 * accuracy:.2f} %"


def count(number: float, noun: str) -> str:
    """How many of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def microseconds(latency: float) -> str:
    """A latency as text."""
    return f"{latency:,.1f} µs" if latency < 100 else f"{latency:,.0f} µs"


def file_style(name: str) -> Style:
    """The colour and the shape of a kind of file."""
    kind, _, suffix = name.rpartition(".")
    return KINDS.get(kind, GREY), FORMATS.get(suffix, "square")


def best_file(cards: Iterable[Card]) -> tuple[Card, str, FileFacts] | None:
    """The smallest file that is within a percentage point of the most accurate one."""
    files = _files(cards)
    if not files:
        return None
    highest = max(facts.test_accuracy for _, _, facts in files)
    near = [file for file in files if file[2].test_accuracy >= highest - NEAR]
    return min(near, key=lambda file: (file[2].size_bytes, -file[2].test_accuracy))


def _files(cards: Iterable[Card]) -> list[tuple[Card, str, FileFacts]]:
    return [
        (card, name, facts)
        for card in cards
        for name, facts in card.files.items()
        if _has_place(facts.size_bytes)
    ]


def accuracy_of(card: Card) -> float:
    """The mean of a net's runs."""
    return statistics.mean(seed.test_accuracy for seed in card.seeds)


# --- Of the cards


def front(cards: Sequence[Card], dataset: str) -> Chart | None:
    """Parameters against errors on the test images: our means over seeds, and the articles."""
    cards = [card for card in cards if card.seeds and _has_place(card.parameters)]
    if not cards:
        return None
    ours, theirs = "edgegolf", "the net's article"
    points, lines = [], []
    for card in cards:
        mean, article = accuracy_of(card), card.article_accuracy
        runs = count(len(card.seeds), "seed")
        says = f"{card.net}: {percent(mean)} with {count(card.parameters, 'parameter')}, {runs}"
        points.append(Point(card.parameters, _error(mean), ours, says, card.net))
        if article is not None:
            says = f"{card.net}: {percent(article)} in its article"
            points.append(Point(card.parameters, _error(article), theirs, says))
            ends = ((card.parameters, _error(article)), (card.parameters, _error(mean)))
            lines.append(Line(ends, dash=(2, 3)))
    highest = max(map(accuracy_of, cards))
    best = min(
        (card for card in cards if accuracy_of(card) >= highest - NEAR),
        key=lambda card: card.parameters,
    )
    finding = f"{best.net}: {percent(accuracy_of(best))} with {count(best.parameters, 'parameter')}"
    known = [card for card in cards if card.article_accuracy is not None]
    if known:
        reached = sum(accuracy_of(card) >= (card.article_accuracy or 0) for card in known)
        finding += f"; article's accuracy reached by {reached} of {count(len(known), 'net')}"
    series = {ours: (BLUE, "circle"), theirs: (ORANGE, "diamond")}
    shown = sorted(points, key=lambda point: point.series == ours)  # ours cover the articles
    return Chart(
        f"Parameters and errors, {dataset}",
        finding,
        "Every net by how many parameters it has and how many test images it gets wrong, the mean "
        "of its seeds, beside what its article reports. Lower and further left is better.",
        beside([plot(shown, "parameters", ERRORS, series, lines)], _used(series, points)),
        ("net", "parameters", "accuracy, %", "standard deviation", "seeds", "article, %"),
        tuple(
            (
                card.net,
                card.parameters,
                100 * accuracy_of(card),
                100 * statistics.stdev(seed.test_accuracy for seed in card.seeds)
                if len(card.seeds) > 1
                else None,
                len(card.seeds),
                None if card.article_accuracy is None else 100 * card.article_accuracy,
            )
            for card in cards
        ),
    )


def variants(cards: Sequence[Card], dataset: str) -> Chart | None:
    """Bytes of every file against errors; those that no smaller one surpasses have labels."""
    best = best_file(cards)
    if best is None:
        return None
    files = sorted(
        _files(cards),
        key=lambda file: (file[2].size_bytes, -file[2].test_accuracy),
    )
    points, highest, named = [], -1.0, set()
    for card, name, facts in files:
        says = f"{card.net}, {name}: {percent(facts.test_accuracy)} in {facts.size_bytes:,} bytes"
        is_ahead = facts.test_accuracy > highest and card.net not in named
        highest = max(highest, facts.test_accuracy)
        named |= {card.net} if is_ahead else set()
        label = card.net if is_ahead else ""
        points.append(Point(facts.size_bytes, _error(facts.test_accuracy), name, says, label))
    series = _file_series(points)
    card, name, facts = best
    finding = f"{card.net}: {percent(facts.test_accuracy)} in {facts.size_bytes:,} bytes ({name})"
    largest = max(card.files.values(), key=lambda each: each.size_bytes)
    if largest.size_bytes > facts.size_bytes:
        times = largest.size_bytes / facts.size_bytes
        other = next(key for key, value in card.files.items() if value == largest)
        finding += f", {times:.1f} times less than its {other}"
    return Chart(
        f"Bytes and errors, {dataset}",
        finding,
        "Every exported file by its bytes and by how many test images it gets wrong. A name stands "
        "at the smallest file of a net that is ahead of all smaller ones. The table of files has "
        "every value.",
        beside([plot(points, "bytes of the file", ERRORS, series)], series),
    )


# --- Of sweeps


def sweeps(nets: Sequence[NetSummary], dataset: str) -> Chart | None:
    """Parameters against errors of every net of the sweeps, with its spread over the seeds.

    The front of our nets is a line; what the articles report and others published are points.
    """
    nets = [net for net in nets if _has_place(net.parameters)]
    if not nets:
        return None
    ahead, legend = pareto_front(nets), _sweep_legend(nets, dataset)
    reached = [
        f"{100 * goal.accuracy:g} % with {goal.ours.parameters:,}"
        for goal in goals(nets, dataset)
        if goal.ours is not None
    ]
    best = ahead[-1]
    finding = f"{best.net}: {percent(best.mean)} with {count(best.parameters, 'parameter')}"
    if reached:
        finding = f"Fewest parameters, {dataset}: {', '.join(reached)}"
    return Chart(
        f"Nets of the sweeps, {dataset}",
        finding,
        "Every net of the sweeps, the mean of its seeds with the standard deviation, beside "
        "what its article reports and what others have published. The line joins the nets of "
        "fewest parameters; families that are never on it are grey." + _left_out(nets),
        beside([_sweep_panel(nets, dataset, "parameters")], legend),
        (
            "net", "epochs", "seeds", "parameters", "MACs", "errors, %", "standard deviation",
            "int8, bytes", "int8, p50, µs",
        ),
        tuple(
            (
                net.net, net.epochs, len(net.accuracies), net.parameters, net.macs,
                100 - 100 * net.mean, None if net.deviation is None else 100 * net.deviation,
                file and file.size_bytes, file and file.latency_us,
            )
            for net in nets
            for file in (smallest(net.files, "int8"),)
        ),
    )  # fmt: skip


def sweep_costs(nets: Sequence[NetSummary], dataset: str) -> Chart | None:
    """Bytes and latency of each net's smallest int8 file against its errors."""
    measured = [(net, file) for net in nets if (file := smallest(net.files, "int8")) is not None]
    if not measured:
        return None
    nets = [net for net, _ in measured]
    accuracy = max(
        (goal.accuracy for goal in goals(nets, dataset) if goal.ours is not None),
        default=max(net.mean for net in nets),
    )
    near = [each for each in measured if each[0].mean >= accuracy]
    net, file = min(near, key=lambda each: each[1].size_bytes)
    quick, fastest = min(near, key=lambda each: each[1].latency_us)
    runtimes = ", ".join(dict.fromkeys(file.runtime for _, file in measured))
    return Chart(
        f"What the nets of the sweeps cost, {dataset}",
        f"{100 * accuracy:.4g} % takes {file.size_bytes:,} bytes ({net.net}) or "
        f"{microseconds(fastest.latency_us)} ({quick.net})",
        "The smallest int8 file of every net: its bytes, and the median of single inferences on "
        f"one thread in {runtimes}. The values are in the table of the sweep's nets.",
        beside([_sweep_panel(nets, dataset, cost) for cost in COSTS[1:]], _families(nets)),
    )


def sweep(results: SweepResults) -> Chart | None:
    """All of one sweep: parameters, and bytes and latency where they are known."""
    nets, dataset = summarize_runs(results.runs, results.costs), results.dataset
    chart = sweeps(nets, dataset)
    if chart is None:
        return None
    chart = replace(chart, subject=results.title)
    if not any(smallest(net.files, "int8") for net in nets):
        return chart
    panels = [_sweep_panel(nets, dataset, cost) for cost in COSTS]
    return replace(chart, draw=beside(panels, _sweep_legend(nets, dataset)))


def _sweep_panel(nets: Sequence[NetSummary], dataset: str, cost: str) -> Panel:
    """Errors against one cost, in the colours of the families."""
    series = _families(nets)
    known = ((x, net) for net in nets if (x := _cost(net, cost)) is not None and _has_place(x))
    points, bars = [], []
    ahead: list[tuple[float, float]] = []
    for x, net in sorted(known, key=lambda pair: (pair[0], -pair[1].mean)):
        error, deviation = _error(net.mean), 100 * (net.deviation or 0)
        spreads = "" if net.deviation is None else f" ± {deviation:.2f}"
        is_ahead = not ahead or error < ahead[-1][1]
        ahead += [(x, error)] if is_ahead else []
        says = (
            f"{net.net}: {100 * net.mean:.2f}{spreads} % with {round(x, 2):,} {cost}, "
            f"{count(len(net.accuracies), 'seed')}, {count(net.epochs, 'epoch')}"
        )
        family = _family(net) if _family(net) in series else OTHERS
        label, brief = (net.net, net.net.partition(":")[2]) if is_ahead else ("", "")
        points.append(Point(x, error, family, says, label, brief))
        ends = ((x, max(error - deviation, error / 10)), (x, error + deviation))
        bars.append(Line(ends, series[family][0]))
    lines = [Line(tuple(ahead), steps=True), *bars]
    if cost == "parameters":
        points += _others_points(nets, dataset)
        series = {**series, **OF_OTHERS}
    return plot(points, cost, ERRORS, series, lines)


def _cost(net: NetSummary, cost: str) -> float | None:
    file = smallest(net.files, "int8")
    if cost == "parameters":
        return net.parameters
    return None if file is None else file.size_bytes if cost == "bytes" else file.latency_us


def _family(net: NetSummary) -> str:
    return net.net.partition(":")[0]


def _families(nets: Sequence[NetSummary]) -> Series:
    """Colours for the families that are on the front, grey for the others."""
    ahead = list(dict.fromkeys(_family(net) for net in pareto_front(nets)))
    colours = dict(zip(ahead, FAMILY_COLOURS, strict=False))
    found: dict[str, Style] = {name: (colour, "circle") for name, colour in colours.items()}
    if any(_family(net) not in found for net in nets):
        found[OTHERS] = (GREY, "circle")
    return found


def _sweep_legend(nets: Sequence[NetSummary], dataset: str) -> Series:
    return {**_families(nets), **_used(OF_OTHERS, _others_points(nets, dataset))}


def _others_points(nets: Sequence[NetSummary], dataset: str) -> list[Point]:
    """What the articles report of these nets, and what others have published."""
    articles = {
        (net.parameters, net.article_accuracy): net
        for net in nets
        if net.article_accuracy is not None
    }
    return [
        Point(x, _error(accuracy), ARTICLE, f"{net.net}: {percent(accuracy)} in its article")
        for (x, accuracy), net in articles.items()
    ] + [
        Point(
            record.cost,
            _error(record.accuracy),
            ELSEWHERE,
            f"{record.holder}: {percent(record.accuracy)} with "
            f"{count(record.cost, 'parameter')}; {record.note}",
        )
        for record in published_records()
        if (record.dataset, record.counted) == (dataset, "parameters")
        and (record.cost, record.accuracy) not in articles
    ]


# --- Of benches


def latency(benches: Sequence[BenchResult], conditions: str) -> Chart | None:
    """Bytes against latency of the files that were measured under the same conditions."""
    timed = sorted(
        (
            (bench, bench.size_bytes, bench.latency_us.p50)
            for bench in benches
            if bench.latency_us is not None
            and bench.size_bytes is not None
            and _has_place(bench.size_bytes)
            and _has_place(bench.latency_us.p50)
        ),
        key=lambda each: (each[1], each[2]),
    )
    if not timed:
        return None
    runtimes = sorted({bench.runtime for bench, _, _ in timed})
    series = {
        runtime: (FAMILY_COLOURS[n % len(FAMILY_COLOURS)], ("circle", "diamond", "square")[n % 3])
        for n, runtime in enumerate(runtimes)
    }
    points, lowest = [], float("inf")
    for bench, size, p50 in timed:
        name = file_name(bench)
        says = f"{name}: {microseconds(p50)} in {bench.runtime}, {size:,} bytes"
        points.append(Point(size, p50, bench.runtime, says, name if p50 < lowest else ""))
        lowest = min(lowest, p50)
    fastest, size, p50 = min(timed, key=lambda each: each[2])
    return Chart(
        "Bytes and latency",
        f"{file_name(fastest)}: {microseconds(p50)} with {size:,} bytes in {fastest.runtime}",
        f"Median of single inferences, {conditions}. Files that no smaller one outruns have their "
        "name. The table of files has every value." + _left_out(timed),
        beside([plot(points, "bytes of the file", "p50, µs", series)], series),
    )


def file_name(bench: BenchResult) -> str:
    """A short name of a benched file: its own, or its folder's too where that says more."""
    path = Path(bench.file)
    generic = path.stem.split("-")[0] in ("float32", "int8", "model")
    return f"{path.parent.name}/{path.name}" if generic and path.parent.name else path.name


# --- Of footprints


def growth(footprint: Footprint, costs: Sequence[str] = (FILE, LATENCY)) -> Chart | None:
    """What the smallest file costs as the block is applied more often, shared and unshared."""
    found = {
        (cost, suffix): lines
        for cost in costs
        for suffix in ("tflite", "onnx")
        if (lines := _growth_lines(footprint, cost, suffix)).keys() == ROLES.keys()
    }
    if not found:
        return None
    panels = [_growth_panel(*key, lines) for key, lines in found.items()]
    return Chart(
        f"Shared and unshared weights, {footprint.net}",
        _growth_finding(found),
        "The smallest file of each format as the block is applied more often: one set of weights "
        "for all iterations, or one for each.",
        beside(panels, {}),
        ("cost", "format", "weights", "iterations", "value", "file"),
        tuple(
            (cost, suffix, role, iterations, round(value) if cost != LATENCY else value, file)
            for (cost, suffix), lines in found.items()
            for role, line in lines.items()
            for iterations, (value, file) in line.items()
        ),
    )


GrowthLines = dict[str, dict[int, tuple[float, str]]]  # by role and iterations: value, file


def _growth_lines(footprint: Footprint, cost: str, suffix: str) -> GrowthLines:
    lines: GrowthLines = {}
    for net in sorted(footprint.growth, key=lambda net: net.iterations or 0):
        smallest_file = _smallest_with(net, cost, suffix)
        if (
            net.iterations
            and _has_place(net.iterations)
            and net.role in ROLES
            and smallest_file is not None
        ):
            lines.setdefault(net.role, {})[net.iterations] = smallest_file
    return lines


def _smallest_with(net: NetFootprint, cost: str, suffix: str) -> tuple[float, str] | None:
    known = [
        (size, value, f"{variant.file}, {variant.way}")
        for variant in net.variants
        if variant.file.endswith(suffix)
        and (size := variant.cost(FILE)) is not None
        and (value := variant.cost(cost)) is not None
        and _has_place(value)
    ]
    return min(known)[1:] if known else None


def _growth_finding(found: Mapping[tuple[str, str], GrowthLines]) -> str:
    """Where the most iterations differ the most, and what the others of that format say."""
    ratios = {}
    for (cost, suffix), lines in found.items():
        shared, unshared = lines["shared"], lines["unshared"]
        both = shared.keys() & unshared.keys()
        if both:
            most = max(both)
            ratios[cost, suffix] = (most, shared[most][0], unshared[most][0])
    if not ratios:
        return "Shared and unshared weights"
    first = next(iter(ratios))[0]
    suffix = max((key for key in ratios if key[0] == first),
                 key=lambda key: ratios[key][2] / ratios[key][1])[1]  # fmt: skip
    told = [
        f"{_amount(cost, shared)} instead of {_amount(cost, unshared)} {_unit(cost)}"
        for (cost, of), (_, shared, unshared) in ratios.items()
        if of == suffix
    ]
    most = ratios[first, suffix][0]
    return f"Sharing weights, {count(most, 'iteration')}: {', '.join(told)} ({suffix})"


def _amount(cost: str, value: float) -> str:
    return microseconds(value).partition(" ")[0] if cost == LATENCY else f"{value:,.0f}"


def _brief(cost: str, value: float) -> str:
    """The same with a short end of large numbers."""
    return _amount(cost, value) if value < 1e6 else number(float(f"{value:.4g}"))


def _unit(cost: str) -> str:
    return cost.partition(", ")[2] if cost in (LATENCY, LUTS, BLOCK_RAMS) else "bytes"


def _growth_panel(cost: str, suffix: str, lines: GrowthLines) -> Panel:
    points, drawn = [], []
    for role, line in lines.items():
        last = line[max(line)][0]
        label = f"{role}: {_brief(cost, last)}"
        values = tuple((iterations, value) for iterations, (value, _) in line.items())
        drawn.append(Line(values, ROLES[role], label, width=2.5, opacity=1))
        points += [
            Point(
                n,
                value,
                role,
                f"{role}, {count(n, 'iteration')}: {_amount(cost, value)} {_unit(cost)} ({file})",
            )
            for n, (value, file) in line.items()
        ]
    series = {role: (colour, "circle") for role, colour in ROLES.items()}
    title = f"{cost.partition(',')[0]}, {_unit(cost)} ({suffix})"
    iterations = sorted({n for line in lines.values() for n in line})
    return plot(points, "iterations of the block", title, series, drawn, x_ticks=iterations)


# --- Of one file, and of training


def anatomy(found: Anatomy, net: str = "") -> Chart:
    """A treemap of a file: areas are bytes."""
    name = f"{net}'s {Path(found.file).name}" if net else Path(found.file).name
    most = found.parts[0]
    return Chart(
        f"Where the bytes of {name} go",
        f"{most.name}: {most.bytes:,} of the {found.bytes:,} bytes of {short(name, 60)} "
        f"({100 * most.bytes / found.bytes:.0f} %)",
        "Areas are bytes.",
        lambda look: _treemap(look, found),
    )


def _treemap(look: Look, found: Anatomy) -> Spec:
    width, height, size = look.width - 10, 340 if look.is_wide else 400, look.size
    boxes = treemap([part.bytes for part in found.parts], (0.0, 0.0, float(width), float(height)))
    tiles, labels = [], []
    names = [
        f"{part.name}: {part.bytes:,} B ({100 * part.bytes / found.bytes:.1f} %)"
        for part in found.parts
    ]
    for part, name, (left, top, wide, high) in zip(found.parts, names, boxes, strict=True):
        tiles.append(
            {"x": left, "x2": left + wide, "y": top, "y2": top + high, "says": name,
             "colour": PARTS.get(part.name, OTHER_PART)}
        )  # fmt: skip
        letters = max(1, int((wide - 10) / (size * LETTER)))
        lines = [*textwrap.wrap(part.name, letters, break_long_words=False),
                 f"{part.bytes:,} B"]  # fmt: skip
        needed = max(text_width(line, size) for line in lines) + 10
        if needed <= wide and 1.3 * size * len(lines) + 8 <= high:
            labels += [
                {"x": left + 6, "y": top + 5 + 1.3 * size * (n + 0.5), "text": line}
                for n, line in enumerate(lines)
            ]
    entries = {
        name: (PARTS.get(part.name, OTHER_PART), "square")
        for name, part in zip(names, found.parts, strict=True)
    }
    tree = {
        "width": width,
        "height": height,
        "layer": [
            {
                "data": {"values": tiles},
                "mark": {"type": "rect", "stroke": "#ffffff", "strokeWidth": 1},
                "encoding": pixels("x", "y", "x2", "y2")
                | {"color": as_it_is("colour"), "description": {"field": "says"}},
            },
            *([text_layer(labels, look, "left", ON_PARTS)] if labels else []),
        ],
    }
    return specification(look, [tree], entries)


def comparison(found: Comparison) -> Chart | None:
    """Each layer's share of the noise in the output, and the error that it makes and inherits."""
    if not found.layers:
        return None
    return Chart(
        f"Where {Path(found.second.file).name} differs from {Path(found.first.file).name}",
        found.finding,
        "Bars: how much of the noise in the output is of each layer alone.",
        lambda look: _shares(look, found.layers[:MOST_LAYERS]),
    )


def _shares(look: Look, layers: Sequence[LayerError]) -> Spec:
    size = look.size
    widest = max(text_width(each.name, size) for each in layers) + 10
    line, left = 1.7 * size, min(0.4 * look.width, widest)
    most, room = max(each.share for each in layers) or 1.0, look.width - left - 10 * size
    bars, names, shares = [], [], []
    for place, each in enumerate(layers):
        top, right = place * line, left + room * each.share / most
        own = "exact" if each.own is None else f"{each.own:.1f} dB"
        says = f"{each.name}: {each.share:.0%}, {own}"
        bars.append({"x": left, "x2": right, "y": top + 2, "y2": top + line - 2, "says": says})
        middle = top + line / 2
        name = short(each.name, int((left - 10) / (size * LETTER)))
        names.append({"x": left - 8, "y": middle, "text": name})
        shares.append({"x": right + 6, "y": middle, "text": f"{each.share:.0%}, {own}"})
    drawn = {
        "data": {"values": bars},
        "mark": {"type": "rect", "color": BLUE},
        "encoding": pixels("x", "y", "x2", "y2") | {"description": {"field": "says"}},
    }
    view = {
        "width": look.width - 10,
        "height": line * len(layers),
        "layer": [drawn, text_layer(names, look, "right"), text_layer(shares, look, "left")],
    }
    return specification(look, [view], {})


def training(runs: Sequence[Run], dataset: str) -> Chart | None:
    """Errors on the validation images, epoch by epoch, of every run."""
    runs = [run for run in runs if run.errors and all(_has_place(epoch) for epoch, _ in run.errors)]
    chosen = [run for run in runs if run.is_chosen] or list(runs)
    if not runs:
        return None
    best = min(chosen, key=lambda run: run.errors[-1][1])
    epoch, error = best.errors[-1]
    by_end = sorted(chosen, key=lambda run: run.errors[-1][1])
    lines = [
        Line(
            tuple((epoch, min(max(error, LOWEST_ERROR), 100)) for epoch, error in run.errors),
            FAMILY_COLOURS[by_end.index(run) % len(FAMILY_COLOURS)] if run in chosen else None,
            run.net if run in chosen else "",
            width=2 if run in chosen else 1,
            opacity=1 if run in chosen else 0.2,
        )
        for run in sorted(runs, key=lambda run: run in chosen)
    ]
    return Chart(
        f"Training, {dataset}",
        f"{best.net} ends with the fewest validation errors: {error:.2f} % after "
        f"{count(epoch, 'epoch')}",
        "Errors on the validation images after each epoch. Strong lines are the runs whose "
        "weights are in the files, faint ones the other seeds.",
        beside(
            [plot([], "epoch", "errors on the validation images, %", {}, lines, x_log=False)], {}
        ),
        ("net", "seed", "epochs", "last error, %", "least error, %", "in the files"),
        tuple(
            (
                run.net, run.seed, run.errors[-1][0], run.errors[-1][1],
                min(error for _, error in run.errors), "yes" if run.is_chosen else "no",
            )
            for run in runs
        ),
    )  # fmt: skip


def _has_place(value: float) -> bool:
    """Whether a logarithmic axis can show a number; files of strangers may say anything."""
    return 0 < value < 1e15


def _error(accuracy: float) -> float:
    """Errors in per cent, as a logarithmic axis can show them."""
    return min(max(100 - 100 * accuracy, LOWEST_ERROR), 100)


def _left_out(drawn: Sequence[Any]) -> str:
    return f" Only {MOST_POINTS:,} of {len(drawn):,} are drawn." if len(drawn) > MOST_POINTS else ""


def _used(series: Series, points: Iterable[Point]) -> Series:
    """A legend tells of what is in the chart only."""
    names = {point.series for point in points}
    return {name: style for name, style in series.items() if name in names}


def _file_series(points: Iterable[Point]) -> Series:
    names = {point.series for point in points}
    order = [f"{kind}.{suffix}" for kind in KINDS for suffix in FORMATS]
    ordered = [name for name in order if name in names] + sorted(names - set(order))
    return {name: file_style(name) for name in ordered}
