"""The table of files that `edgegolf export` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgegolf.report.table import UNKNOWN, Table

if TYPE_CHECKING:
    from edgegolf.export import ExportedFile


def export_table(files: Sequence[ExportedFile], title: str) -> Table:
    """One row per file: its size, its accuracy, and how far it is from the model.

    Args:
        files: What `export_model` returns.
        title: The model, for people.
    """
    header = ("file", "bytes", "accuracy", "model", "SQNR", "seconds")
    rows = (
        (
            file.name,
            f"{file.bytes:,}",
            _percent(file.validation_accuracy),
            _percent(file.model_accuracy),
            f"{file.sqnr:.1f} dB",
            f"{file.seconds:.1f}",
        )
        for file in files
    )
    return Table(header, tuple(rows), title=title)


def _percent(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else f"{fraction * 100:.2f} %"
