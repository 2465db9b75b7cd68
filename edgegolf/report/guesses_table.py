"""What models say of images, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box

if TYPE_CHECKING:
    from rich.table import Table

    from edgegolf.demo.guessing import Answer


def guesses_tables(answers: Mapping[str, Answer]) -> Iterator[Table]:
    """For each image and what the models were trained on, a row for each model; 80 columns wide."""
    from rich.markup import escape
    from rich.table import Table

    for image, answer in answers.items():
        for group, guesses in groupby(answer.guesses, lambda each: each.model.group):
            table = Table(
                title=escape(f"{image}, by nets for {group}"),
                title_justify="left",
                box=box.SIMPLE_HEAD,
                padding=(0, 1, 0, 0),
            )
            table.add_column("model", overflow="fold")
            table.add_column("class")
            for title in ("sure", "µs", "parameters", "bytes", "accuracy"):
                table.add_column(title, justify="right", no_wrap=True)
            for each in guesses:
                model = each.model
                table.add_row(
                    escape(model.name),
                    each.label,
                    f"{each.probability:.1%}",
                    f"{each.microseconds:,.1f}",
                    "" if model.parameters is None else f"{model.parameters:,}",
                    f"{model.bytes:,}",
                    "" if model.accuracy is None else f"{model.accuracy:.2%}",
                )
            yield table
