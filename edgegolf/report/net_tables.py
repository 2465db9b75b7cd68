"""The tables of nets, of data sets, and of what was trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.cards import Card
    from edgegolf.data import DatasetStatus
    from edgegolf.zoo import Recipe
    from edgegolf.zoo.summary import LayerSummary

CHECKSUM_DIGITS = 12  # of 64: enough to tell data sets apart


def zoo_table(recipes: Sequence[Recipe]) -> Table:
    """One row per net, below the data set that it is made for."""
    header = ("for", "net", "what", "parameters", "article", "epochs")
    rows = [
        (
            recipe.article.dataset,
            recipe.name,
            recipe.summary,
            f"{recipe.parameters:,}",
            "" if recipe.article.accuracy is None else f"{recipe.article.accuracy:.2%}",
            f"{recipe.training.epochs}",
        )
        for recipe in recipes
    ]
    datasets = list(dict.fromkeys(row[0] for row in rows))
    ordered = tuple(sorted(rows, key=lambda row: datasets.index(row[0])))
    return Table(header, ordered, labels=3, headings=1)


def layer_table(layers: Sequence[LayerSummary]) -> Table:
    """One row per layer, and a row of sums."""
    header = ("layer", "kind", "output", "applied", "parameters", "MACs")
    rows = [
        (
            layer.name,
            layer.kind + ("" if layer.trained or not layer.parameters else ", frozen"),
            "×".join(map(str, layer.output_shape)),
            f"{layer.applications} times, shared"
            if layer.applications > 1 and layer.parameters
            else "",
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
        )
        for layer in layers
    ]
    sums = (sum(layer.parameters for layer in layers), sum(layer.macs for layer in layers))
    return Table(header, (*rows, ("sum", "", "", "", *(f"{total:,}" for total in sums))), labels=2)


def data_table(statuses: Sequence[DatasetStatus]) -> Table:
    """One row per data set: where it is, whether it is intact, its splits, its licence."""
    header = ("data set", "train", "validation", "test", "licence")
    rows = (
        (f"{each.name}: {_where(each)}", *(f"{count:,}" for count in each.images), each.licence)
        for each in statuses
    )
    return Table(header, tuple(rows), headings=1)


def _where(status: DatasetStatus) -> str:
    if status.problem:
        return status.problem
    if not status.found:
        return f"not found: {status.how_to_get}"
    return f"{status.location}, verified, SHA-256 {status.checksum[:CHECKSUM_DIGITS]}"


def models_table(cards: Sequence[Card], latencies: Mapping[Path, float]) -> Table:
    """One row per file, below its model's own figures: what `make train export` ends with.

    Args:
        cards: The models' cards.
        latencies: p50 in microseconds by the file's path, `.../NET/FILE`.
    """
    by_name = {(path.parent.name, path.name): p50 for path, p50 in latencies.items()}

    def rows() -> Iterator[tuple[str, ...]]:
        for card in sorted(cards, key=lambda card: card.parameters):
            heading = f"{card.net}: {card.parameters:,} parameters"
            if card.article_accuracy is not None:
                heading += f", article {card.article_accuracy:.2%}"
            for name, facts in card.files.items():
                p50 = by_name.get((card.net.replace(":", "-"), name))
                figures = f"{facts.size_bytes:,}", f"{facts.test_accuracy:.2%}"
                yield heading, name, *figures, "" if p50 is None else f"{p50:,.1f}"

    header = ("net", "file", "bytes", "test accuracy", "p50, µs")
    return Table(header, tuple(rows()), labels=2, headings=1)
