"""The tables of `edgegolf zoo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.zoo import Recipe
    from edgegolf.zoo.summary import LayerSummary


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
            f"{layer.applications} times, shared" if _shares(layer) else "",
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
        )
        for layer in layers
    ]
    parameters, macs = (
        f"{sum(values):,}"
        for values in zip(*((layer.parameters, layer.macs) for layer in layers), strict=True)
    )
    return Table(header, (*rows, ("sum", "", "", "", parameters, macs)), labels=2)


def _shares(layer: LayerSummary) -> bool:
    return layer.applications > 1 and layer.parameters > 0
