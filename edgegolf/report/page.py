"""`edgegolf report`: one page of everything that was measured, which needs no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from edgegolf.anatomy.anatomy import anatomy as dissect
from edgegolf.bench.result import BenchResult
from edgegolf.bench.system import System
from edgegolf.cards import Card
from edgegolf.files import write_atomically
from edgegolf.footprint.result import BLOCK_RAMS, LUTS
from edgegolf.progress import track
from edgegolf.report import page_charts, pictures
from edgegolf.report.page_charts import Chart, best_file, count, percent
from edgegolf.report.page_data import (
    UNKNOWN,
    FileRow,
    Judgement,
    Sources,
    file_rows,
    judge,
    read_sources,
    training_runs,
)
from edgegolf.sweep import summarize_runs

MOST_ROWS = 2_000  # of a table

Charts = dict[str, Chart]


def write_report(paths: Sequence[Path], output: Path, figures: Path | None = None) -> None:
    """Write the page, and each of its charts as a picture.

    Args:
        paths: Model folders, and JSON files of benches, footprints and sweeps.
        output: The page.
        figures: A folder for NAME.svg and NAME.png of each chart.

    Raises:
        EdgegolfError: A source cannot be read, or the package for charts is missing.
    """
    sources = read_sources(paths)
    charts = make_charts(sources)
    rows = file_rows(sources)
    judgements, notes = _judge(sources)
    page = resources.files("edgegolf.report") / "page"
    html = Template((page / "report.html").read_text("utf-8")).substitute(
        style=(page / "report.css").read_text("utf-8"),
        headline=_title(headline(sources, charts)),
        about=escape(about(sources)),
        charts="".join(_figure(name, chart) for name, chart in track(charts.items(), "drawing")),
        files=_section("files", "Files", _files(rows)) if rows else "",
        judgements=_section("judgements", "Mistakes", _judgements(judgements))
        if judgements
        else "",
        systems=_section("systems", "Where the figures come from", _systems(sources, notes)),
        script=(page / "report.js").read_text("utf-8"),
    )
    if figures is not None:
        for name, chart in charts.items():
            for suffix in pictures.SUFFIXES:
                pictures.draw(chart, figures / f"{name}{suffix}")
    write_atomically(output, html.encode(errors="replace"))  # lone surrogates of JSON files


def make_charts(sources: Sources) -> Charts:
    """The charts that the sources have something for, by name."""
    charts: dict[str, Chart | None] = {}
    datasets = _datasets(sources)
    for dataset in datasets:
        suffix = _suffix(datasets.index(dataset))
        cards = [card for _, card in _folders(sources, dataset)]
        nets = _swept_nets(sources, dataset)
        charts |= {
            f"front{suffix}": page_charts.front(cards, dataset),
            f"variants{suffix}": page_charts.variants(cards, dataset),
            f"sweeps{suffix}": page_charts.sweeps(nets, dataset),
            f"costs{suffix}": page_charts.sweep_costs(nets, dataset),
        }
    for number, (conditions, benches) in enumerate(_conditions(sources.benches).items()):
        charts[f"latency{_suffix(number)}"] = page_charts.latency(benches, conditions)
    for number, footprint in enumerate(sources.footprints):
        charts[f"depth{_suffix(number)}"] = page_charts.growth(footprint)
        circuits = page_charts.growth(footprint, (LUTS, BLOCK_RAMS))
        charts[f"circuit{_suffix(number)}"] = circuits
    for number, dataset in enumerate(datasets):
        charts[f"anatomy{_suffix(number)}"] = _anatomy(sources, dataset)
    for number, dataset in enumerate(datasets):
        runs = training_runs(_folders(sources, dataset))
        charts[f"training{_suffix(number)}"] = page_charts.training(runs, dataset)
    return {name: chart for name, chart in charts.items() if chart is not None}


def headline(sources: Sources, charts: Charts) -> str:
    """The best figures: of each data set the smallest file that is about as good as any."""
    told = []
    for dataset in _datasets(sources):
        best = best_file(card for _, card in _folders(sources, dataset))
        if best is not None:
            card, _, facts = best
            told.append(
                f"{percent(facts.test_accuracy)} of {dataset} in {facts.size_bytes:,} bytes "
                f"with {card.parameters:,} parameters"
            )
    return "; ".join(told) or next((chart.finding for chart in charts.values()), "Measurements")


def about(sources: Sources) -> str:
    """Which files the headline is of, and how they were chosen."""
    chosen = [
        f"{card.net}'s {name}"
        for dataset in _datasets(sources)
        if (best := best_file(card for _, card in _folders(sources, dataset)))
        for card, name, _ in [best]
    ]
    if not chosen:
        return "edgegolf report"
    return (
        f"edgegolf report. The headline is of {' and '.join(chosen)}: the smallest file within one "
        "percentage point of the most accurate one, on the test images."
    )


def _suffix(number: int) -> str:
    return f"-{number + 1}" if number else ""


def _datasets(sources: Sources) -> list[str]:
    """The data sets of the nets and sweeps, those of the smallest nets first."""
    of_nets = [card.dataset for _, card in sources.folders]
    return list(dict.fromkeys([*of_nets, *(sweep.dataset for sweep in sources.sweeps)]))


def _folders(sources: Sources, dataset: str) -> list[tuple[Path, Card]]:
    return [(folder, card) for folder, card in sources.folders if card.dataset == dataset]


def _swept_nets(sources: Sources, dataset: str) -> Sequence[page_charts.NetSummary]:
    """The nets of all sweeps of a data set; runs that are in several of them count once."""
    chosen = [sweep for sweep in sources.sweeps if sweep.dataset == dataset]
    runs = {(run.net, run.epochs, run.seed): run for sweep in chosen for run in sweep.runs}
    costs = {(cost.net, cost.file): cost for sweep in chosen for cost in sweep.costs}
    return summarize_runs(runs.values(), costs.values())


def _conditions(benches: Sequence[BenchResult]) -> dict[str, list[BenchResult]]:
    """Benches by the conditions under which they can be compared."""
    found: dict[str, list[BenchResult]] = {}
    for bench in benches:
        if bench.error is None and bench.latency_us is not None:
            threads = count(bench.threads, "thread")
            found.setdefault(f"{threads}, {bench.system.cpu}", []).append(bench)
    return found


def _anatomy(sources: Sources, dataset: str) -> Chart | None:
    """Of the file that the headline is of, if it is here."""
    folders = _folders(sources, dataset)
    best = best_file(card for _, card in folders)
    if best is None:
        return None
    folder = next(folder for folder, card in folders if card is best[0])
    path = folder / best[1]
    return page_charts.anatomy(dissect(path), best[0].net) if path.is_file() else None


def _judge(sources: Sources) -> tuple[list[Judgement], list[str]]:
    judgements: list[Judgement] = []
    notes: list[str] = []
    for dataset in _datasets(sources):
        if folders := _folders(sources, dataset):
            found, missing = judge(folders, dataset)
            judgements += found
            notes += missing
    return judgements, notes


FILE_COLUMNS = (
    "net", "file", "data set", "bytes", "accuracy, %", "p50, µs", "runtime", "threads",
    "timed on", "parameters", "MACs",
)  # fmt: skip


def _files(rows: Sequence[FileRow]) -> str:
    systems = [row.system for row in rows if row.system is not None]
    machines = dict.fromkeys(system.cpu for system in systems)
    threads = dict.fromkeys(row.threads for row in rows if row.threads is not None)
    datasets = dict.fromkeys(row.dataset for row in rows if row.dataset is not None)
    said = ""
    if systems:
        where = f" on {count(next(iter(threads)), 'thread')}" if len(threads) == 1 else ""
        where += f", {next(iter(machines))}" if len(machines) == 1 else ""
        when = " to ".join(sorted({edge(s.date for s in systems)[:10] for edge in (min, max)}))
        said = f"<p>p50: the median of single inferences{escape(where)}, {escape(when)}.</p>"
    if len(datasets) == 1:
        said += f"<p>Accuracy: on the test images of {escape(next(iter(datasets)))}.</p>"
    told = [
        (
            row.net, row.file, row.dataset if len(datasets) > 1 else None, row.size_bytes,
            None if row.accuracy is None else 100 * row.accuracy, row.p50_us, row.runtime,
            row.threads if len(threads) > 1 else None,
            row.system.cpu if row.system is not None and len(machines) > 1 else None,
            row.parameters, row.macs,
        )
        for row in rows
    ]  # fmt: skip
    return (
        f'{said}<p class="control"><label>Show rows with <input type="search" id="filter"></label> '
        '<span role="status" id="count"></span></p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Files">'
        f"{_table(FILE_COLUMNS, told)}</div>"
    )


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}">\n<h2>{title}</h2>\n{content}\n</section>\n'


def _figure(name: str, chart: Chart) -> str:
    values = ""
    if chart.rows:
        table = _table(chart.columns, chart.rows)
        values = f'<details><summary>Values</summary><div class="scroll">{table}</div></details>'
    return (
        f'<figure id="{name}"><div class="whole"><p class="subject">{escape(chart.subject)}</p>'
        f"<h2>{_title(chart.finding)}</h2>"
        f'<div class="chart wide">{pictures.to_svg(chart, pictures.WIDE)}</div>'
        f'<div class="chart phone">{pictures.to_svg(chart, pictures.PHONE)}</div></div>'
        f"<figcaption>{escape(chart.caption)}</figcaption>{values}</figure>\n"
    )


def _title(text: str) -> str:
    """A line breaks before no unit."""
    return re.sub(r"(?<=\d) (?=(%|µs|bytes)( |,|$))", "&nbsp;", escape(text))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Without columns of which nothing is known, and without end."""
    known = [n for n in range(len(columns)) if any(row[n] is not None for row in rows)]
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(columns[n])}</button></th>'
        for n in known
    )
    numbers = {n for n in known if any(isinstance(row[n], (int, float)) for row in rows)}
    body = "\n".join(
        f"<tr>{''.join(_cell(row[n], n in numbers) for n in known)}</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = len(rows) - MOST_ROWS
    rest = f"<p>{more:,} more rows are not shown.</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(value: Any, is_number: bool) -> str:
    if value is None:
        return f'<td class="number">{UNKNOWN}</td>' if is_number else f"<td>{UNKNOWN}</td>"
    if isinstance(value, int):
        return f'<td class="number" data-value="{value}">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="number" data-value="{value}">{value:,.2f}</td>'
    return f"<td>{escape(str(value))}</td>"


def _judgements(judgements: Sequence[Judgement]) -> str:
    best = max(judgements, key=lambda each: sum(row[n] for n, row in enumerate(each.confusion)))
    options = "".join(
        f'<option value="{number}"{" selected" if each is best else ""}>'
        f"{escape(each.net)}, {escape(each.file)}</option>"
        for number, each in enumerate(judgements)
    )
    chooser = f'<p class="control"><label>Net <select id="judged">{options}</select></label></p>'
    return chooser + "".join(_judgement(number, each) for number, each in enumerate(judgements))


def _judgement(number: int, judgement: Judgement) -> str:
    names = [escape(name) for name in judgement.names]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = ""
    for label, row in enumerate(judgement.confusion):
        most = max((count for guess, count in enumerate(row) if guess != label), default=0)
        cells = "".join(
            f'<td class="{_shade(count, most, guess == label)}">{count or "·"}</td>'
            for guess, count in enumerate(row)
        )
        rows += f'<tr><th scope="row">{names[label]}</th>{cells}</tr>'
    pictures_of = "".join(
        f'<li><img src="{mistake.image}" width="56" height="56" alt="">'
        f"<span>{names[mistake.label]}, taken for {names[mistake.guess]} "
        f"({mistake.probability:.0%})</span></li>"
        for mistake in judgement.worst
    )
    images = sum(map(sum, judgement.confusion))
    wrong = images - sum(row[n] for n, row in enumerate(judgement.confusion))
    return (
        f'<div class="judgement" data-number="{number}">'
        f"<h3>{escape(judgement.net)}, {escape(judgement.file)}: {wrong:,} of {images:,} test "
        'images wrong</h3><div class="scroll">'
        f'<table class="confusion"><caption>Test images by label (rows) and guess (columns)'
        f"</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"<h4>The mistakes it was surest of</h4><ul>{pictures_of}</ul></div>"
    )


def _shade(count: int, most: int, right: bool) -> str:
    if right:
        return "right"
    return f"wrong-{round(4 * count / most)}" if count and most else ""


def _systems(sources: Sources, notes: Sequence[str]) -> str:
    found: dict[str, System] = {}
    measured = [bench.system for bench in sources.benches]
    for system in measured + [footprint.system for footprint in sources.footprints]:
        found.setdefault(f"{system.cpu}, {system.date[:10]}", system)
    parts = [f"<p>{escape(note)}.</p>" for note in notes]
    failed = sum(bench.error is not None for bench in sources.benches)
    if failed:
        parts.append(f"<p>{count(failed, 'measurement')} failed and left out.</p>")
    for title, system in found.items():
        items = "".join(
            f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_plain(value))}</dd>"
            for name, value in asdict(system).items()
            if value not in (None, (), {})
        )
        parts.append(f"<details><summary>{escape(title)}</summary><dl>{items}</dl></details>")
    for _, card in sources.folders[:1]:
        parts.append(f"<p>Made with {escape(_plain(card.packages))}.</p>")
    if sources.sweeps:
        runs = sum(len(sweep.runs) for sweep in sources.sweeps)
        names = ", ".join(sweep.name for sweep in sources.sweeps)
        parts.append(f"<p>{runs:,} runs of the sweeps {escape(names)}.</p>")
    return "".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
