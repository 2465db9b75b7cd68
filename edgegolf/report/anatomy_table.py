"""The anatomy of a model file as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.anatomy.anatomy import Anatomy

MAXIMUM_ROWS = 12
NAME_LENGTH = 160


def anatomy_table(anatomy: Anatomy) -> Table:
    """What the bytes of a file are for, which weights are shared, and what is stored twice."""
    rows = [
        (part.name, f"{part.bytes:,}", f"{part.bytes / anatomy.bytes:.1%}")
        for part in anatomy.parts
    ]
    rows.append(("total", f"{anatomy.bytes:,}", "100.0%"))
    shared = [
        (f"{weight.role} {_short(weight.name)}", f"{weight.bytes:,}", f"{weight.operators} uses")
        for weight in anatomy.weights
        if weight.operators > 1
    ]
    equal = [
        (
            f"equal data: {_short(each.names[0] if each.names else 'unused')}",
            f"{each.bytes:,}",
            f"{each.copies} copies",
        )
        for each in anatomy.duplicates
    ]
    rows += [*_first(shared), *_first(equal)]
    if equal:
        saved = f"{anatomy.sharing_would_save:,}"
        rows.append(("storing equal data once would save", saved, ""))
    title = f"{anatomy.file}: {anatomy.bytes:,} bytes"
    return Table(("what", "bytes", "share"), tuple(rows), title=title)


def _first(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    more = len(rows) - MAXIMUM_ROWS
    return [*rows[:MAXIMUM_ROWS], (f"and {more} more", "", "")] if more > 0 else rows


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"… {name[2 - NAME_LENGTH :]}"
