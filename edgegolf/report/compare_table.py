"""What `edgegolf compare` prints and writes."""

from __future__ import annotations

import csv
import io
from html import escape
from pathlib import Path

from edgegolf.compare.compare import ComparedFile, Comparison, short_names
from edgegolf.compare.layers import LayerError
from edgegolf.errors import EdgegolfError
from edgegolf.files import check_writable, write_atomically
from edgegolf.report.pictures import WIDE, draw_comparison, to_svg
from edgegolf.report.table import UNKNOWN, Table

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
    def number(value: int | None) -> str:
        return UNKNOWN if value is None else f"{value:,}"

    def column(file: ComparedFile) -> tuple[str, ...]:
        accuracy = UNKNOWN if file.accuracy is None else f"{file.accuracy:.2%}"
        numbers = (file.bytes, file.parameters, file.macs, file.activation_peak_bytes)
        return (*map(number, numbers), accuracy)

    names = ("bytes", "parameters", "MACs", "peak of activations, bytes", "accuracy")
    rows = list(zip(names, column(found.first), column(found.second), strict=True))
    for index, ratio in enumerate(found.outputs):
        rows.append(
            (f"output {index + 1}, dB" if found.outputs[1:] else "output, dB", "", _decibels(ratio))
        )
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
    ratios = (_decibels(each) for each in (error.own, error.total, error.output))
    return error.name, error.operator, *ratios, f"{error.share:.0%}"


def _decibels(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{ratio:.1f}"


def write_comparison(found: Comparison, path: Path) -> None:
    """Write it as a page, Markdown, CSV or a picture, as the suffix says.

    Raises:
        EdgegolfError: Another suffix, or the file cannot be written.
    """
    tables = compare_tables(found)
    if path.suffix in (".svg", ".png"):
        draw_comparison(found, path)
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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("layer", "operator", "own_db", "total_db", "output_db", "share"))
    for each in found.layers:
        writer.writerow((each.name, each.operator, each.own, each.total, each.output, each.share))
    return text.getvalue()


def _page(found: Comparison, tables: tuple[Table, ...]) -> str:
    """One page that needs no network."""
    from edgegolf.report import page_charts

    title = escape(found.finding)
    picture = to_svg(page_charts.comparison(found), WIDE) if found.layers else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{picture}"
        + "".join(map(_html, tables))
        + "</html>\n"
    )


_STYLE = (
    ":root{color-scheme:light dark}body{font:16px system-ui,sans-serif;max-width:880px;"
    "margin:2em auto;padding:0 1em}h1{font-size:1.3em}table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.2em .8em .2em 0;text-align:right}td:first-child,th:first-child{text-align:left}"
)


def _html(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(row(cells, "td") for cells in table.rows)
    return f"<table>{row(table.header, 'th')}{body}</table><p>{escape(table.caption)}</p>"
