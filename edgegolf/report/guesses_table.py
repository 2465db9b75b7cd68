"""What models say of images, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.demo.guessing import Answer, Guess

HEADER = ("model", "class", "sure", "µs", "params", "bytes", "right")


def guesses_tables(answers: Mapping[str, Answer]) -> Iterator[Table]:
    """For each image and what nets were trained on, a table with a title."""
    for image, answer in answers.items():
        for group, of_group in groupby(answer.guesses, lambda each: each.model.group):
            guesses = tuple(of_group)
            common = _common(guesses)
            own = [each.model.name.replace(common, "").strip() for each in guesses]
            rows = tuple(map(_row, own, guesses))
            title = ", ".join(filter(None, [f"{image}: {group}", common]))
            yield Table(HEADER, rows, labels=2, title=title)


def _common(guesses: Sequence[Guess]) -> str:
    """The net, or the name of the files, if it is the same for all; else nothing."""
    first = guesses[0].model
    if first.net and len(guesses) > 1:
        if all(each.model.net == first.net for each in guesses):
            return first.net
        if all(each.model.file == first.file for each in guesses):
            return first.file
    return ""


def _row(name: str, guess: Guess) -> tuple[str, ...]:
    model, time = guess.model, guess.microseconds
    return (
        name,
        guess.label,
        f"{guess.probability:.1%}".replace("100.0%", "100%"),
        f"{time:,.1f}" if time < 100 else f"{time:,.0f}",
        "" if model.parameters is None else f"{model.parameters:,}",
        f"{model.bytes:,}",
        "" if model.accuracy is None else f"{model.accuracy:.2%}",
    )
