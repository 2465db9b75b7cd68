"""The table of files that `edgegolf export` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from edgegolf.export import ExportedFile


def export_table(files: Sequence[ExportedFile], title: str) -> Table:
    """One row per file: its size, its accuracy, and how far it is from the Keras model.

    Args:
        files: What `export_model` returns.
        title: The model, for people.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title))
    table.add_column("file", no_wrap=True)
    for heading in ("bytes", "accuracy", "Keras model", "largest difference", "seconds"):
        table.add_column(heading, justify="right")
    for file in files:
        table.add_row(
            Text(file.name, style="bold"),
            f"{file.bytes:,}",
            _percent(file.validation_accuracy),
            _percent(file.keras_accuracy),
            f"{file.max_difference:.2g}",
            f"{file.seconds:.1f}",
        )
    return table


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:.2f} %"
