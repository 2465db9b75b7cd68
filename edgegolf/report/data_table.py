"""The table of data sets that `edgegolf data` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.data import DatasetStatus

CHECKSUM_DIGITS = 12  # of 64: enough to tell data sets apart


def data_table(statuses: Sequence[DatasetStatus]) -> Table:
    """One row per data set: where it is, whether it is intact, its splits, its licence."""
    header = ("data set", "train", "validation", "test", "licence")
    rows = (
        (
            f"{status.name}: {_where(status)}",
            *(f"{count:,}" for count in status.images),
            status.licence,
        )
        for status in statuses
    )
    return Table(header, tuple(rows), headings=1)


def _where(status: DatasetStatus) -> str:
    if status.problem:
        return status.problem
    if not status.found:
        return f"not found: {status.how_to_get}"
    return f"{status.location}, verified, SHA-256 {status.checksum[:CHECKSUM_DIGITS]}"
