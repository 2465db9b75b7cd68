"""One table for all of them: laid out for a terminal of any width, as Markdown, or as HTML."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

UNKNOWN = "–"
BEST = "*"
GAP = 2  # spaces between columns, and before the rows below a heading
NARROW = 16  # text of several words is not wrapped below this


def known(value: float | None, form: str = "{:,}") -> str:
    """A figure as text, a dash where it is not known."""
    return UNKNOWN if value is None else form.format(value)


def mean_and_spread(accuracies: Sequence[float]) -> str:
    """The mean of fractions and their sample standard deviation, in per cent."""
    if not accuracies:
        return UNKNOWN
    spread = f" ± {statistics.stdev(accuracies) * 100:.2f}" if len(accuracies) > 1 else ""
    return f"{statistics.mean(accuracies) * 100:.2f}{spread} %"


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as comma-separated values; None is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@dataclass(frozen=True)
class Table:
    """Rows of text below a header.

    On a terminal, leading labels that repeat are printed once, as a heading above their rows. So
    are more labels, and then the figures go into several tables, as far as the width demands.
    Words and figures stay whole; a single word wider than the terminal breaks after punctuation.
    """

    header: tuple[str, ...]  # one text per column
    rows: tuple[tuple[str, ...], ...]  # one text per column each; one that ends with `*` stands out
    labels: int = 1  # so many leading columns say what a row is about
    title: str = ""  # goes above
    caption: str = ""  # goes below
    headings: int = 0  # so many leading labels are always headings

    def markdown(self) -> str:
        """The header and the rows as Markdown; what stands out is bold."""
        right = ["---" if index < self.labels else "---:" for index in range(len(self.header))]
        lines = (self.header, right, *self.rows)
        return "".join(f"| {' | '.join(map(_markdown, cells))} |\n" for cells in lines)

    def html(self) -> str:
        """The header, the rows and the caption."""

        def row(cells: tuple[str, ...], tag: str) -> str:
            return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

        body = "".join(row(cells, "td") for cells in self.rows)
        return f"<table>{row(self.header, 'th')}{body}</table><p>{escape(self.caption)}</p>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The lines for a terminal of `options.max_width` columns."""
        from rich.text import Text

        yield from (Text(line, "bold") for line in wrap(self.title, options.max_width) if line)
        for block in _blocks(self, options.max_width) if self.rows else ():
            yield from block.lines()
        yield from (Text(line) for line in wrap(self.caption, options.max_width) if line)
        if self.rows or self.title or self.caption:
            yield Text()


def _markdown(text: str) -> str:
    text = text.strip().replace("|", "\\|").replace("\n", ", ")
    return f"**{text[:-1]}**" if text.endswith(BEST) else text


@dataclass(frozen=True)
class _Block:
    """Some columns of a table with their widths; the first `headings` labels stand above rows."""

    table: Table
    headings: int
    columns: tuple[int, ...]
    widths: tuple[int, ...]
    width: int

    def lines(self) -> Iterator[Text]:
        from rich.text import Text

        indent = " " * (GAP if self.headings else 0)
        header = [self.table.header[column] for column in self.columns]
        if self.headings > self.table.headings:  # what these say is not as plain
            above = ", ".join(filter(None, self.table.header[: self.headings]))
            yield from (Text(line, "bold") for line in wrap(above, self.width) if line)
        yield from self._row(indent, header, header=True)
        yield Text(indent + "─" * (sum(self.widths) + GAP * (len(self.widths) - 1)), "dim")
        below: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for row in self.table.rows:
            below.setdefault(row[: self.headings], []).append(row)
        for labels, rows in below.items():
            heading = ", ".join(filter(None, labels))
            yield from (Text(line, "bold") for line in wrap(heading, self.width) if line)
            for row in rows:
                yield from self._row(indent, [row[column] for column in self.columns])

    def _row(self, indent: str, cells: Sequence[str], header: bool = False) -> Iterator[Text]:
        from rich.cells import cell_len
        from rich.text import Text

        wrapped = [wrap(cell, width) for cell, width in zip(cells, self.widths, strict=True)]
        height = max(map(len, wrapped))
        for number in range(height):
            line = Text(indent, no_wrap=True)
            for position, column in enumerate(self.columns):
                # What the words of a header say stands right above the column.
                skipped = height - len(wrapped[position]) if header else 0
                lines = wrapped[position]
                text = lines[number - skipped] if 0 <= number - skipped < len(lines) else ""
                style = "bold green" if cells[position].endswith(BEST) else "bold" * header
                padding = " " * (self.widths[position] - cell_len(text))
                before, after = (padding, "") if _is_right(self.table, column) else ("", padding)
                line.append(" " * GAP * (position > 0) + before).append(text, style).append(after)
            line.rstrip()
            yield line


def _blocks(table: Table, width: int) -> list[_Block]:
    """The fewest blocks, then the fewest headings, that fit a width."""
    repeats = table.labels > 1 and len(table.rows) > len({row[0] for row in table.rows})
    least = max(table.headings, int(repeats))
    most = min(table.labels, len(table.header) - 1)
    layouts = (_layout(table, number, width) for number in range(least, most + 1))
    return min(layouts, key=lambda blocks: (any(map(_breaks_words, blocks)), len(blocks)))


def _breaks_words(block: _Block) -> bool:
    least = [_least(block.table, column, block.width) for column in block.columns]
    return any(few > width for few, width in zip(least, block.widths, strict=True))


def _layout(table: Table, headings: int, width: int) -> list[_Block]:
    """The columns in as many blocks as it takes, each with the labels that are no headings."""
    room = width - (GAP if headings else 0)
    labels = list(range(headings, table.labels))
    parts: list[list[int]] = [[]]
    for column in range(table.labels, len(table.header)):
        taken = [*labels, *parts[-1], column]
        if parts[-1] and _total([_least(table, each, room) for each in taken]) > room:
            parts.append([])
        parts[-1].append(column)
    return [
        _Block(table, headings, columns, _widths(table, columns, room), width)
        for part in parts
        if (columns := (*labels, *part))
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _widths(table: Table, columns: Sequence[int], room: int) -> tuple[int, ...]:
    """As wide as the texts; where that is too wide, headers are wrapped first, then texts."""
    least = [_least(table, column, room) for column in columns]
    content = [_widest(row[column] for row in table.rows) for column in columns]
    widths = [
        max(size, _widest([table.header[column]]))
        for size, column in zip(content, columns, strict=True)
    ]
    while _total(widths) > room:
        spare = [number for number, size in enumerate(widths) if size > least[number]]
        if not spare:  # a word alone is too wide: the widest column breaks it
            spare = [max(range(len(widths)), key=widths.__getitem__)]
        headers = [number for number in spare if widths[number] > content[number]]
        widths[max(headers or spare, key=widths.__getitem__)] -= 1
    return tuple(widths)


def _least(table: Table, column: int, room: int) -> int:
    """The least width of a column that breaks no word and no figure."""
    cells = [row[column] for row in table.rows]
    words = [word for text in (*cells, table.header[column]) for word in text.split()]
    if _is_right(table, column):
        return max(_widest(cells), _widest(table.header[column].split()))
    return min(room, max(_widest(words), min(NARROW, _widest(cells))))


def _widest(texts: Sequence[str] | Iterator[str]) -> int:
    from rich.cells import cell_len

    return max((cell_len(line) for text in texts for line in text.split("\n")), default=0)


def _is_right(table: Table, column: int) -> bool:
    """Whether a column holds figures."""
    return column >= table.labels and all(
        re.search(r"\d", row[column]) or row[column] in ("", UNKNOWN) for row in table.rows
    )


def wrap(text: str, width: int) -> list[str]:
    """Lines of whole words; a word that is wider breaks after punctuation, or where it must."""
    from rich.cells import cell_len

    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _printable(paragraph).split(" "):
            if line and cell_len(f"{line} {word}") > width:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else word
            *full, line = _pieces(line, width)
            lines += full
        lines.append(line)
    return lines


def _pieces(word: str, width: int) -> list[str]:
    from rich.cells import cell_len, chop_cells

    if cell_len(word) <= width:
        return [word]
    pieces = [""]
    for part in re.split(r"(?<=[/\\_.,:;-])", word):
        if cell_len(pieces[-1] + part) <= width:
            pieces[-1] += part
        else:
            pieces += chop_cells(part, width)
    return [piece for piece in pieces if piece]


def _printable(text: str) -> str:
    """Names in files from strangers may hold what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
