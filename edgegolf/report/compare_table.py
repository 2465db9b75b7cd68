"""What `edgegolf compare` prints and writes."""

from __future__ import annotations

from html import escape
from pathlib import Path

from edgegolf.compare.compare import ComparedFile, Comparison, short_names
from edgegolf.compare.layers import LayerError
from edgegolf.errors import EdgegolfError
from edgegolf.files import check_writable, write_atomically
from edgegolf.report import page_charts
from edgegolf.report.pictures import WIDE, draw, to_svg
from edgegolf.report.table import Table, csv_text, known

SUFFIXES = (".html", ".md", ".csv", ".svg", ".png")
LAYER_HEADER = ("layer", "operator", "own, dB", "total, dB", "output, dB", "share")
HOW_TO_READ = (
    "own: given the first model's values; total: with what it inherits; output: of the model if "
    "only this layer errs, of whose noise each has a share; – is exact"
)


def compare_tables(found: Comparison) -> tuple[Table, ...]:
    """The two files, and their layers."""
    return _files(found), *([_layers(found)] if found.layers else [])


def _files(found: Comparison) -> Table:
    def column(file: ComparedFile) -> tuple[str, ...]:
        numbers = (file.bytes, file.parameters, file.macs, file.activation_peak_bytes)
        return (*map(known, numbers), known(file.accuracy, "{:.2%}"))

    names = ("bytes", "parameters", "MACs", "peak of activations, bytes", "accuracy")
    rows = list(zip(names, column(found.first), column(found.second), strict=True))
    for index, ratio in enumerate(found.outputs):
        name = f"output {index + 1}, dB" if found.outputs[1:] else "output, dB"
        rows.append((name, "", known(ratio, "{:.1f}")))
    if found.agreement is not None:
        rows.append(("same class", "", f"{found.agreement:.2%}"))
    caption = f"On {found.data}."
    if found.why_no_layers:
        caption += f"\nNot compared by layer: {found.why_no_layers}."
    header = ("", *short_names(Path(found.first.file), Path(found.second.file)))
    return Table(header, tuple(rows), title=found.finding, caption=caption)


def _layers(found: Comparison) -> Table:
    caption = f"On {found.layer_samples} of the samples; {HOW_TO_READ}."
    if found.unmatched:
        caption += f" {found.unmatched} layers with weights of the first model have no counterpart."
    return Table(LAYER_HEADER, tuple(map(_row, found.layers)), labels=2, caption=caption)


def _row(error: LayerError) -> tuple[str, ...]:
    ratios = (known(each, "{:.1f}") for each in (error.own, error.total, error.output))
    return error.name, error.operator, *ratios, f"{error.share:.0%}"


def write_comparison(found: Comparison, path: Path) -> None:
    """Write it as a page, Markdown, CSV or a picture, as the suffix says.

    Raises:
        EdgegolfError: Another suffix, or the file cannot be written.
    """
    tables = compare_tables(found)
    if path.suffix in (".svg", ".png"):
        draw(page_charts.comparison(found), path)
    elif path.suffix == ".md":
        text = "\n".join(f"{table.markdown()}\n{table.caption}\n" for table in tables)
        write_atomically(path, f"{found.finding}\n\n{text}")
    elif path.suffix == ".csv":
        write_atomically(path, _csv(found))
    else:
        write_atomically(path, _page(found, tables))


def check_output(path: Path) -> None:
    """Raise EdgegolfError if a comparison cannot be written there."""
    if path.suffix not in SUFFIXES:
        raise EdgegolfError(f"{path} is none of {', '.join(SUFFIXES)}")
    check_writable(path)


def _csv(found: Comparison) -> str:
    """One line per layer; what is exact is empty."""
    header = ("layer", "operator", "own_db", "total_db", "output_db", "share")
    rows = ((e.name, e.operator, e.own, e.total, e.output, e.share) for e in found.layers)
    return csv_text([header, *rows])


def _page(found: Comparison, tables: tuple[Table, ...]) -> str:
    """One page that needs no network."""
    title = escape(found.finding)
    chart = page_charts.comparison(found)
    picture = to_svg(chart, WIDE) if chart else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{picture}"
        + "".join(table.html() for table in tables)
        + "</html>\n"
    )


_STYLE = (
    ":root{color-scheme:light dark}body{font:16px system-ui,sans-serif;max-width:880px;"
    "margin:2em auto;padding:0 1em}h1{font-size:1.3em}table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.2em .8em .2em 0;text-align:right}td:first-child,th:first-child{text-align:left}"
)
