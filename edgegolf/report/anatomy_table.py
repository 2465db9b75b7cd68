"""The anatomy of a model file as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from edgegolf.golf.anatomy import Anatomy

MAXIMUM_ROWS = 12
NAME_LENGTH = 48


def anatomy_table(anatomy: Anatomy) -> Table:
    """What the bytes of a file are for, which weights are shared, and what is stored twice."""
    from rich.table import Table

    title = f"{_short(anatomy.file)}: {anatomy.bytes:,} bytes"
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("bytes", justify="right")
    table.add_column("share", justify="right")
    for part in anatomy.parts:
        table.add_row(part.name, f"{part.bytes:,}", f"{part.bytes / anatomy.bytes:.1%}")
    table.add_section()
    table.add_row("total", f"{anatomy.bytes:,}", "100.0%")
    shared = [weight for weight in anatomy.weights if weight.operators > 1]
    if shared:
        table.add_section()
        for weight in shared[:MAXIMUM_ROWS]:
            table.add_row(
                f"{weight.role} {_short(weight.name)}",
                f"{weight.bytes:,}",
                f"{weight.operators} uses",
            )
        _add_rest(table, len(shared) - MAXIMUM_ROWS)
    if anatomy.duplicates:
        table.add_section()
        for duplicate in anatomy.duplicates[:MAXIMUM_ROWS]:
            table.add_row(
                f"equal data: {_short(duplicate.names[0] if duplicate.names else 'unused')}",
                f"{duplicate.bytes:,}",
                f"{duplicate.copies} copies",
            )
        _add_rest(table, len(anatomy.duplicates) - MAXIMUM_ROWS)
        table.add_row("storing equal data once would save", f"{anatomy.sharing_would_save:,}", "")
    return table


def _add_rest(table: Table, count: int) -> None:
    if count > 0:
        table.add_row(f"and {count} more", "", "")


def _short(name: str) -> str:
    from rich.markup import escape

    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    shown = printable if len(printable) <= NAME_LENGTH else "…" + printable[1 - NAME_LENGTH :]
    return escape(shown)
