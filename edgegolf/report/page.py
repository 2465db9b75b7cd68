"""`edgegolf report`: one page of everything that was measured, which needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from edgegolf.bench.result import BenchResult
from edgegolf.bench.system import System
from edgegolf.cards import Card
from edgegolf.errors import EdgegolfError, require
from edgegolf.files import atomic_path, write_atomically
from edgegolf.golf.anatomy import anatomy as dissect
from edgegolf.report import page_charts
from edgegolf.report.page_data import Judgement, Sources, curves, judge, read_sources
from edgegolf.sweep import summarize_runs

DISSECTED = "int8.tflite"
FIGURE_WIDTH = 720  # pixels, where no page gives a width
RESOLUTION = 2  # of PNG files

Charts = dict[str, tuple[str, str, page_charts.Spec]]  # by name: title, what it shows, chart


def write_report(paths: Sequence[Path], output: Path, figures: Path | None = None) -> None:
    """Write the page, and each of its charts as a picture.

    Args:
        paths: Model folders, and JSON files of benches, footprints and sweeps.
        output: The page.
        figures: A folder for NAME.svg and NAME.png of each chart.

    Raises:
        EdgegolfError: A source cannot be read, or the package for charts is missing.
    """
    vl_convert = require("vl_convert", extra="report")
    sources = read_sources(paths)
    charts = make_charts(sources)
    script = vl_convert.javascript_bundle().replace("</script", "<\\/script")
    page = resources.files("edgegolf.report") / "page"
    specs = json.dumps({name: chart for name, (_, _, chart) in charts.items()})
    html = Template((page / "report.html").read_text("utf-8")).substitute(
        style=(page / "report.css").read_text("utf-8"),
        charts="".join(_figure(name, *chart[:2]) for name, chart in charts.items()),
        files=_table(FILE_COLUMNS, file_rows(sources)),
        judgements=_judgements(sources),
        systems=_systems(sources),
        specs=specs.replace("<", "\\u003c"),
        library=script,
        script=(page / "report.js").read_text("utf-8"),
    )
    if figures is not None:
        for name, (_, _, chart) in charts.items():
            draw(chart, figures / f"{name}.svg")
            draw(chart, figures / f"{name}.png")
    write_atomically(output, html)


def make_charts(sources: Sources) -> Charts:
    """The charts that the sources have something for."""
    charts: Charts = {}
    suffixes = {
        dataset: f"-{number}" if number > 1 else ""
        for number, dataset in enumerate(_datasets(sources), start=1)
    }
    for dataset, suffix in suffixes.items():
        charts |= _card_charts(sources, dataset, suffix)
        charts |= _sweep_charts(sources, dataset, suffix)
    for folder, card in sources.folders:
        if card.net == "tight_resnet" and (folder / DISSECTED).is_file():
            charts["anatomy"] = (
                f"Where the bytes of {card.net}'s {DISSECTED} go",
                "Areas are bytes.",
                page_charts.anatomy(dissect(folder / DISSECTED)),
            )
    for footprint in sources.footprints:
        charts["depth"] = (
            f"Shared and unshared weights, {footprint.net}",
            "What the files cost as the block is applied more often.",
            page_charts.depth(footprint),
        )
    for dataset, suffix in suffixes.items():
        if epochs := curves(_folders(sources, dataset)):
            charts[f"training{suffix}"] = (
                f"Training, {dataset}",
                "Errors on the validation images after each epoch, a line for each run.",
                page_charts.training(epochs),
            )
    return charts


def _datasets(sources: Sources) -> list[str]:
    """The data sets of the nets and sweeps, those of the smallest nets first."""
    of_nets = [card.dataset for _, card in sources.folders]
    return list(dict.fromkeys([*of_nets, *(sweep.dataset for sweep in sources.sweeps)]))


def _folders(sources: Sources, dataset: str) -> list[tuple[Path, Card]]:
    return [(folder, card) for folder, card in sources.folders if card.dataset == dataset]


def _card_charts(sources: Sources, dataset: str, suffix: str) -> Charts:
    """The nets of a data set, and their files."""
    cards = [card for _, card in _folders(sources, dataset)]
    if not cards:
        return {}
    return {
        f"front{suffix}": (
            f"Parameters and errors, {dataset}",
            "Every net by how many parameters it has and how many test images it gets wrong, "
            "beside what its article reports. Fewer is better on both axes.",
            page_charts.front(cards),
        ),
        f"variants{suffix}": (
            f"Bytes and errors, {dataset}",
            "Every exported file by its bytes and by how many test images it gets wrong.",
            page_charts.variants(cards, sources.benches),
        ),
    }


def _sweep_charts(sources: Sources, dataset: str, suffix: str) -> Charts:
    """All sweeps of a data set in one chart; runs that are in several of them are shown once."""
    chosen = [sweep for sweep in sources.sweeps if sweep.dataset == dataset]
    runs = {(run.net, run.epochs, run.seed): run for sweep in chosen for run in sweep.runs}
    costs = {(cost.net, cost.file): cost for sweep in chosen for cost in sweep.costs}
    nets = summarize_runs(runs.values(), costs.values())
    charts: Charts = {}
    if nets:
        charts[f"sweeps{suffix}"] = (
            f"Sweeps over sizes and settings, {dataset}",
            "Every net of the sweeps, the mean of its seeds with the standard deviation, beside "
            "what its article reports and what others have published. The line joins the nets of "
            "fewest parameters.",
            page_charts.sweeps(nets, dataset),
        )
    if any(net.files for net in nets):
        charts[f"costs{suffix}"] = (
            f"What the nets of the sweeps cost, {dataset}",
            "Bytes and latency of the smallest int8 file of every net against its errors.",
            page_charts.sweep_costs(nets),
        )
    return charts


def draw(chart: page_charts.Spec, path: Path) -> None:
    """Write a chart as an .svg or .png file, black on white.

    Raises:
        EdgegolfError: The package for charts is missing, or the file cannot be written.
    """
    vl_convert = require("vl_convert", extra="report")
    config = chart["config"] | {"background": "white"}
    text = json.dumps(chart | {"config": config}).replace(page_charts.INK, "#111111")
    spec = json.loads(text)
    if spec.get("width") == "container":
        spec["width"] = FIGURE_WIDTH
    is_vega = spec["$schema"] == page_charts.VEGA
    convert = getattr(vl_convert, f"{'vega' if is_vega else 'vegalite'}_to_{path.suffix[1:]}")
    data = convert(spec).encode() if path.suffix == ".svg" else convert(spec, scale=RESOLUTION)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


FILE_COLUMNS = (
    "net", "file", "parameters", "MACs", "bytes", "test accuracy, %", "p50, µs", "runtime",
    "machine",
)  # fmt: skip


def file_rows(sources: Sources) -> list[tuple[Any, ...]]:
    """A row for each file of a card, with its benches; and for each bench of another file."""
    rows: list[tuple[Any, ...]] = []
    told = set()
    for folder, card in sources.folders:
        for name, facts in sorted(card.files.items()):
            benches: list[BenchResult | None] = [
                bench
                for bench in sources.benches
                if bench.error is None
                and Path(bench.file).parts[-2:] == (folder.name, name)
                and bench.size_bytes == facts.size_bytes  # else of an earlier file
            ]
            told |= {id(bench) for bench in benches}
            known = (card.net, name, card.parameters, card.macs, facts.size_bytes)
            accuracy = 100 * facts.test_accuracy
            rows += [(*known, accuracy, *_measured(bench)) for bench in benches or [None]]
    for bench in sources.benches:
        if id(bench) not in told and bench.error is None:
            path = Path(bench.file)
            accuracy_known = None if bench.accuracy is None else 100 * bench.accuracy
            costs = (bench.parameters, bench.macs, bench.size_bytes, accuracy_known)
            rows.append((path.parent.name, path.name, *costs, *_measured(bench)))
    return rows


def _measured(bench: BenchResult | None) -> tuple[Any, ...]:
    if bench is None or bench.latency_us is None:
        return (None, None, None)
    return (bench.latency_us.p50, bench.runtime, bench.system.cpu)


def _figure(name: str, title: str, shows: str) -> str:
    return (
        f'<figure id="{name}"><h2>{escape(title)}</h2>'
        f'<div class="chart" role="img" aria-label="{escape(title)}. {escape(shows)}"></div>'
        f"<figcaption>{escape(shows)}</figcaption></figure>\n"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    known = [n for n in range(len(columns)) if any(row[n] is not None for row in rows)]
    columns = [columns[n] for n in known]
    rows = [[row[n] for n in known] for row in rows]
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(column)}</button></th>'
        for column in columns
    )
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return "<td>–</td>"
    if isinstance(value, int):
        return f'<td class="number" data-value="{value}">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="number" data-value="{value}">{value:,.2f}</td>'
    return f"<td>{escape(str(value))}</td>"


def _judgements(sources: Sources) -> str:
    judgements: list[Judgement] = []
    failures = ""
    for dataset in _datasets(sources):
        try:
            judgements += judge(_folders(sources, dataset))
        except EdgegolfError as error:
            failures += f"<p>Not made here: {escape(error.message)}.</p>"
    if not judgements:
        return failures or "<p>None: no model folder is among the sources.</p>"
    best = max(judgements, key=lambda each: sum(row[n] for n, row in enumerate(each.confusion)))
    options = "".join(
        f'<option value="{number}"{" selected" if each is best else ""}>'
        f"{escape(each.net)}, {escape(each.file)}</option>"
        for number, each in enumerate(judgements)
    )
    chooser = f'<p><label>Net <select id="judged">{options}</select></label></p>'
    return (
        failures
        + chooser
        + "".join(_judgement(number, each) for number, each in enumerate(judgements))
    )


def _judgement(number: int, judgement: Judgement) -> str:
    classes = range(len(judgement.confusion))
    head = "".join(f'<th scope="col">{guess}</th>' for guess in classes)
    rows = ""
    for label, row in enumerate(judgement.confusion):
        most = max((count for guess, count in enumerate(row) if guess != label), default=0)
        cells = "".join(
            f'<td class="{_shade(count, most, guess == label)}">{count or "·"}</td>'
            for guess, count in enumerate(row)
        )
        rows += f'<tr><th scope="row">{label}</th>{cells}</tr>'
    pictures = "".join(
        f'<li><img src="{mistake.image}" width="56" height="56" alt="">'
        f"<span>{mistake.label}, taken for {mistake.guess} ({mistake.probability:.0%})</span></li>"
        for mistake in judgement.worst
    )
    return (
        f'<div class="judgement" data-number="{number}"><div class="scroll">'
        f'<table class="confusion"><caption>Test images by label (rows) and guess (columns)'
        f"</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"<h3>The mistakes it was surest of</h3><ul>{pictures}</ul></div>"
    )


def _shade(count: int, most: int, right: bool) -> str:
    if right:
        return "right"
    return f"wrong-{round(4 * count / most)}" if count and most else ""


def _systems(sources: Sources) -> str:
    found: dict[str, System] = {}
    measured = [bench.system for bench in sources.benches]
    for system in measured + [footprint.system for footprint in sources.footprints]:
        found.setdefault(f"{system.cpu}, {system.date[:10]}", system)
    parts = []
    for title, system in found.items():
        items = "".join(
            f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_plain(value))}</dd>"
            for name, value in asdict(system).items()
            if value not in (None, (), {})
        )
        parts.append(f"<details><summary>{escape(title)}</summary><dl>{items}</dl></details>")
    for _, card in sources.folders[:1]:
        parts.append(f"<p>Made with {escape(_plain(card.packages))}.</p>")
    return "".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
