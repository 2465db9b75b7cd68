"""The table that closes `make train export`: every model, from parameters to latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from edgegolf.cards import Card


def models_table(cards: Sequence[Card], latencies: Mapping[Path, float]) -> Table:
    """One row per file of every model, the model's own figures on its first.

    Args:
        cards: The models' cards.
        latencies: p50 in microseconds by the file's path, `.../NET/FILE`.
    """
    table = Table("net")
    for heading in ("parameters", "article", "file", "bytes", "test accuracy", "p50, µs"):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    by_name = {(path.parent.name, path.name): p50 for path, p50 in latencies.items()}
    for card in sorted(cards, key=lambda card: card.parameters):
        head = [
            card.net,
            f"{card.parameters:,}",
            "" if card.article_accuracy is None else f"{card.article_accuracy:.2%}",
        ]
        for name, facts in card.files.items():
            p50 = by_name.get((card.net.replace(":", "-"), name))
            table.add_row(
                *head,
                name,
                f"{facts.size_bytes:,}",
                f"{facts.test_accuracy:.2%}",
                "" if p50 is None else f"{p50:,.1f}",
            )
            head = ["", "", ""]
        table.add_section()
    return table
