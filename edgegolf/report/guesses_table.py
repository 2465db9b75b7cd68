"""What models say of images, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgegolf.demo.guessing import Answer, Guess


def guesses_tables(answers: Mapping[str, Answer]) -> Iterator[RenderableType]:
    """For each image and what nets were trained on, a title and a table of 80 columns."""
    from rich.text import Text

    for image, answer in answers.items():
        for group, of_group in groupby(answer.guesses, lambda each: each.model.group):
            guesses = tuple(of_group)
            common = _common(guesses)
            own = [each.model.name.replace(common, "").strip() for each in guesses]
            yield Text(", ".join(filter(None, [f"{image}: {group}", common])), style="bold")
            yield _table(own, guesses)
            yield ""


def _common(guesses: Sequence[Guess]) -> str:
    """The net, or the name of the files, if it is the same for all; else nothing."""
    first = guesses[0].model
    if first.net and len(guesses) > 1:
        if all(each.model.net == first.net for each in guesses):
            return first.net
        if all(each.model.file == first.file for each in guesses):
            return first.file
    return ""


def _table(names: Sequence[str], guesses: Sequence[Guess]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("class")
    for title in ("sure", "µs", "params", "bytes", "right"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, each in zip(names, guesses, strict=True):
        model, time = each.model, each.microseconds
        table.add_row(
            Text(name),
            each.label,
            f"{each.probability:.1%}".replace("100.0%", "100%"),
            f"{time:,.1f}" if time < 100 else f"{time:,.0f}",
            "" if model.parameters is None else f"{model.parameters:,}",
            f"{model.bytes:,}",
            "" if model.accuracy is None else f"{model.accuracy:.2%}",
        )
    return table
