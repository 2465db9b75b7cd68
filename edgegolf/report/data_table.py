"""The table of data sets that `edgegolf data` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgegolf.data import DatasetStatus

CHECKSUM_DIGITS = 12  # of 64: enough to tell data sets apart


def data_table(statuses: Sequence[DatasetStatus]) -> Table:
    """One row per data set: its splits, where it is, whether it is intact, its licence."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True)
    table.add_column("data set", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("licence", no_wrap=True)
    for status in statuses:
        train, validation, test = status.images
        table.add_row(
            Text(status.name, style="bold"),
            Text(f"{train:,} train\n{validation:,} validation\n{test:,} test"),
            _where(status),
            Text(status.licence),
        )
    return table


def _where(status: DatasetStatus) -> Text:
    from rich.text import Text

    if status.problem:
        return Text(status.problem, style="red")
    if not status.found:
        return Text(f"not found: {status.how_to_get}", style="yellow")
    return Text(f"{status.location}\nSHA-256 {status.checksum[:CHECKSUM_DIGITS]}… verified")
