"""What models say of images, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from edgegolf.demo.guessing import Guess


def guesses_table(found: Mapping[str, Sequence[Guess]]) -> Table:
    """A row for each image and model."""
    from rich.table import Table

    table = Table()
    table.add_column("image")
    table.add_column("class", justify="center")
    for title in ("probability", "µs"):
        table.add_column(title, justify="right")
    table.add_column("model")
    table.add_column("bytes", justify="right")
    for image, guesses in found.items():
        for each in guesses:
            table.add_row(
                image,
                each.label,
                f"{each.probability:.1%}",
                f"{each.microseconds:,.1f}",
                each.model,
                f"{each.bytes:,}",
            )
    return table
