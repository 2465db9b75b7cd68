"""The fewest parameters, or bytes, at an accuracy on the test images: ours, and others'."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgegolf.cards import Card
from edgegolf.data import SOURCES
from edgegolf.report.table import UNKNOWN, Table, mean_and_spread
from edgegolf.sweep.front import Published, published_records

LEVELS = {"mnist": (0.95, 0.97, 0.98, 0.99, 0.994, 0.995), "cifar10": (0.8, 0.85, 0.9)}
SEEDS = 3  # whose mean counts
CONFIDENCE = 0.95  # of the lower bound of one net or file, one-sided
PARAMETERS = "parameters"


@dataclass(frozen=True)
class Contender:
    """A net or a file of ours."""

    net: str  # the zoo's name of it
    file: str  # its file; empty for the net itself
    cost: int  # parameters, or bytes
    accuracies: tuple[float, ...]  # on the test images, fractions: of each seed
    kept: float  # likewise, of the one that is kept
    images: int  # how many test images there are

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.net} {self.file}".strip()

    @property
    def lower_bound(self) -> float:
        """An accuracy that the one that is kept surpasses, with a confidence of 95 %.

        Wilson's bound of a binomial share (1927), one-sided, of as many test images as there are.
        """
        share, images = self.kept, self.images
        z = statistics.NormalDist().inv_cdf(CONFIDENCE)
        middle = share + z * z / (2 * images)
        spread = z * (share * (1 - share) / images + (z / (2 * images)) ** 2) ** 0.5
        return float((middle - spread) / (1 + z * z / images))

    def reason(self, level: float) -> str:
        """Why it holds an accuracy on the test images; empty if it does not."""
        if len(self.accuracies) >= SEEDS and statistics.mean(self.accuracies) >= level:
            return f"mean of {len(self.accuracies)} seeds"
        return "lower bound" if self.lower_bound >= level else ""


@dataclass(frozen=True)
class Level:
    """An accuracy with what holds it at the least cost."""

    SCHEMA: ClassVar[str] = "edgegolf.frontier/1"

    dataset: str  # the name of the data set
    accuracy: float  # at least this, a fraction
    published: Published | None  # what others have
    ours: Contender | None  # what we have
    by: str  # why ours holds it


def nets_of(cards: Iterable[Card]) -> list[Contender]:
    """Nets by their parameters."""
    return [
        _contender(card, "", card.parameters, [each.test_accuracy for each in card.seeds])
        for card in cards
    ]


def files_of(cards: Iterable[Card]) -> list[Contender]:
    """All files by their bytes."""
    return [
        _contender(card, name, facts.size_bytes, [facts.test_accuracy])
        for card in cards
        for name, facts in card.files.items()
    ]


def _contender(card: Card, file: str, cost: int, accuracies: Sequence[float]) -> Contender:
    kept = accuracies[0]
    if not file:
        kept = next(each.test_accuracy for each in card.seeds if each.seed == card.seed)
    images = SOURCES[card.dataset].images[2]
    return Contender(card.net, file, cost, tuple(accuracies), kept, images)


def levels(dataset: str, ours: Sequence[Contender], counted: str = "") -> tuple[Level, ...]:
    """Of every accuracy, what holds it.

    Args:
        dataset: The name of the data set that these are of.
        ours: What may hold it.
        counted: `PARAMETERS`; else bytes, of whatever the published ones count.
    """
    return tuple(level(dataset, each, ours, counted) for each in LEVELS.get(dataset, ()))


def level(dataset: str, accuracy: float, ours: Sequence[Contender], counted: str = "") -> Level:
    """What holds one accuracy."""
    others = [record for record in _published(dataset, counted) if record.accuracy >= accuracy]
    holding = [each for each in ours if each.reason(accuracy)]
    best = min(holding, key=lambda each: each.cost, default=None)
    theirs = min(others, key=lambda record: record.cost, default=None)
    return Level(dataset, accuracy, theirs, best, best.reason(accuracy) if best else "")


def levels_table(found: Sequence[Level], title: str = "", markdown: bool = False) -> Table:
    """A row for each level; of Markdown with links."""
    header = (
        "at least", "published", "of what", "whose", "how selected", "ours", "of what", "by",
        "test accuracy, mean of seeds", "lower bound",
    )  # fmt: skip

    def row(level: Level) -> tuple[str, ...]:
        record, own = level.published, level.ours
        theirs, ours = (UNKNOWN,) * 4, (UNKNOWN,) * 5
        if record is not None:
            notes = "; ".join(filter(None, (record.note, record.also)))
            whose = linked(record) if markdown else record.holder
            theirs = f"{record.cost:,}", record.counted, whose, notes
        if own is not None:
            name = f"`{own.name}`" if markdown else own.name
            accuracy = mean_and_spread(own.accuracies)
            ours = f"{own.cost:,}", name, level.by, accuracy, f"{own.lower_bound:.2%}"
        return f"{level.accuracy * 100:g} %", *theirs, *ours

    return Table(header, tuple(map(row, found)), title=title)


def published_table(dataset: str, ours: Sequence[Contender]) -> Table:
    """A row for each published number of bytes, and our fewest that hold its accuracy: Markdown."""
    header = ("accuracy", "bytes", "of what", "whose", "how selected", "ours", "of what", "by")
    rows = []
    for record in sorted(_published(dataset, ""), key=lambda record: record.accuracy):
        held = level(dataset, record.accuracy, ours)
        own = (UNKNOWN,) * 3
        if held.ours is not None:
            own = f"{held.ours.cost:,}", f"`{held.ours.name}`", held.by
        theirs = f"{record.cost:,}", record.counted, linked(record), record.note
        rows.append((f"{record.accuracy:.2%}", *theirs, *own))
    return Table(header, tuple(rows))


def linked(record: Published) -> str:
    """Whose it is, with a link if there is one."""
    return f"[{record.holder}]({record.source})" if record.source else record.holder


def _published(dataset: str, counted: str) -> list[Published]:
    return [
        record
        for record in published_records()
        if record.dataset == dataset and (record.counted == PARAMETERS) == (counted == PARAMETERS)
    ]
