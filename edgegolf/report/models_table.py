"""The table that closes `make train export`: every model, from parameters to latency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.cards import Card


def models_table(cards: Sequence[Card], latencies: Mapping[Path, float]) -> Table:
    """One row per file, below its model's own figures.

    Args:
        cards: The models' cards.
        latencies: p50 in microseconds by the file's path, `.../NET/FILE`.
    """
    by_name = {(path.parent.name, path.name): p50 for path, p50 in latencies.items()}

    def rows() -> Iterator[tuple[str, ...]]:
        for card in sorted(cards, key=lambda card: card.parameters):
            for name, facts in card.files.items():
                p50 = by_name.get((card.net.replace(":", "-"), name))
                yield (
                    _heading(card),
                    name,
                    f"{facts.size_bytes:,}",
                    f"{facts.test_accuracy:.2%}",
                    "" if p50 is None else f"{p50:,.1f}",
                )

    header = ("net", "file", "bytes", "test accuracy", "p50, µs")
    return Table(header, tuple(rows()), labels=2, headings=1)


def _heading(card: Card) -> str:
    article = "" if card.article_accuracy is None else f", article {card.article_accuracy:.2%}"
    return f"{card.net}: {card.parameters:,} parameters{article}"
