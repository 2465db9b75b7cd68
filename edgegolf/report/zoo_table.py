"""The tables of `edgegolf zoo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from edgegolf.zoo import Recipe
    from edgegolf.zoo.summary import LayerSummary


def zoo_table(recipes: Sequence[Recipe]) -> Table:
    """One row per net."""
    table = Table("net", "what", "for")
    for heading in ("parameters", "article", "epochs"):
        table.add_column(heading, justify="right")
    for recipe in recipes:
        accuracy = recipe.article.accuracy
        table.add_row(
            recipe.name,
            recipe.summary,
            recipe.article.dataset,
            f"{recipe.parameters:,}",
            "" if accuracy is None else f"{accuracy:.2%}",
            f"{recipe.training.epochs}",
        )
    return table


def layer_table(layers: Sequence[LayerSummary]) -> Table:
    """One row per layer, and a row of sums."""
    table = Table("layer", "kind", "output", show_footer=True)
    for heading in ("applied", "parameters", "MACs"):
        table.add_column(heading, justify="right")
    for layer in layers:
        frozen = "" if layer.trained or not layer.parameters else ", frozen"
        table.add_row(
            layer.name,
            layer.kind + frozen,
            "×".join(map(str, layer.output_shape)),
            f"{layer.applications} times, shared" if _shares(layer) else "",
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
        )
    table.columns[0].footer = "sum"
    table.columns[4].footer = f"{sum(layer.parameters for layer in layers):,}"
    table.columns[5].footer = f"{sum(layer.macs for layer in layers):,}"
    return table


def _shares(layer: LayerSummary) -> bool:
    return layer.applications > 1 and layer.parameters > 0
