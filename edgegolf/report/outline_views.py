"""The operators of a file as a table and as a small picture."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from edgegolf.errors import printable
from edgegolf.report.table import Table, known

if TYPE_CHECKING:
    from edgegolf.bench.outline import Line, Outline

SHOWN = 200  # lines of the table, and of the picture
ROW, INDENT, WIDTH, LEFT = 24, 18, 460, 70  # pixels
COLOURS = ("#c7e3d4", "#f3d9b1", "#cfd8f0", "#f1c9d3", "#e3dbf2", "#e6e8b8")  # of shared weights


def outline_table(outline: Outline) -> Table:
    """A row for each operator; those that a loop runs come after it."""
    rows = tuple(
        (
            f"{line.number} {_name(line)}",
            line.output,
            ", ".join(line.reads),
            f"{line.parameters:,}" if line.parameters else "",
            known(line.macs) if line.macs != 0 else "",
            line.shared,
        )
        for line in outline.lines[:SHOWN]
    )
    more = len(outline.lines) + outline.left_out - len(rows)
    sentences = (
        "Operators with the same letter read the same weights." * any(each[-1] for each in rows),
        f"And {more:,} more operators." if more else "",
    )
    return Table(
        ("operator", "gives", "reads", "parameters", "MACs", "shared"),
        rows,
        labels=3,
        title=f"{outline.file} takes {', '.join(outline.inputs) or 'nothing'}",
        caption=" ".join(filter(None, sentences)),
    )


def outline_svg(outline: Outline) -> str:
    """Boxes from top to bottom: colours tell shared weights, frames loops, arcs what skips some."""
    lines = outline.lines[:SHOWN]
    places = {line.number: index for index, line in enumerate(lines)}
    parts = [part for index, line in enumerate(lines) for part in _box(index, line)]
    for index, line in enumerate(lines):
        for other in line.reads:
            if other in places and _position(other) + 1 < _position(line.number):
                parts.append(_arc(places[other], index, _depth(line)))
        if inside := [
            i for i, each in enumerate(lines) if each.number.startswith(f"{line.number}.")
        ]:
            parts.append(_frame(inside[0], inside[-1], _depth(line), line))
    height = len(lines) * ROW + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {height}" '
        f'font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )


def _name(line: Line) -> str:
    return printable(line.operator) + (f" ×{line.times}" if line.times is not None else "")


def _position(number: str) -> int:
    return int(number.rpartition(".")[2])


def _depth(line: Line) -> int:
    return line.number.count(".")


def _box(index: int, line: Line) -> tuple[str, str]:
    left, top = LEFT + INDENT * _depth(line), index * ROW + 4
    colour = COLOURS[sum(map(ord, line.shared)) % len(COLOURS)] if line.shared else "#ffffff"
    text = escape(" · ".join(filter(None, (_name(line), printable(line.output), line.shared))))
    return (
        f'<rect x="{left}" y="{top}" width="{LEFT + WIDTH - left}" height="{ROW - 6}" rx="3" '
        f'fill="{colour}" stroke="#888"/>',
        f'<text x="{left + 6}" y="{top + 13}" fill="#111">{text}</text>',
    )


def _arc(start: int, end: int, depth: int) -> str:
    left = LEFT + INDENT * depth
    top, bottom = start * ROW + ROW // 2 + 1, end * ROW + ROW // 2 + 1
    reach = max(4, left - 10 - min(50, 5 * (end - start)))
    return (
        f'<path d="M{left} {top}C{reach} {top} {reach} {bottom} {left} {bottom}" fill="none" '
        f'stroke="#666"/>'
    )


def _frame(first: int, last: int, depth: int, line: Line) -> str:
    left, top = LEFT + INDENT * (depth + 1) - 6, first * ROW + 1
    width, height = LEFT + WIDTH - left + 6, (last - first + 1) * ROW
    times = f"×{line.times}" if line.times is not None else "?"
    return (
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#333" '
        f'stroke-dasharray="4 3"/><text x="{left + width + 8}" y="{top + 14}" fill="#333">{times}'
        f"</text>"
    )
