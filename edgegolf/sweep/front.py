"""The fewest parameters for an accuracy: ours, and what others have published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from edgegolf.records import parse_toml
from edgegolf.sweep.sweep import NetSummary

GOALS = (0.95, 0.97, 0.98, 0.99)


@dataclass(frozen=True)
class Published:
    """A record that somebody else holds."""

    dataset: str  # what it was measured on
    accuracy: float  # at least this, a fraction
    cost: int  # how many parameters the net has, or how many bytes it takes
    holder: str  # whose it is
    note: str  # how it was found, and how honestly
    also: str = ""  # what else is known of it
    source: str = ""  # where it was published, a link; empty where that is not known here
    counted: str = "parameters"  # or what the bytes are of


@dataclass(frozen=True)
class Goal:
    """An accuracy and the smallest nets that reach it."""

    accuracy: float  # A fraction
    ours: NetSummary | None  # the net of fewest parameters whose mean reaches it
    published: Published | None  # the published net of fewest parameters that reaches it


@cache
def published_records() -> tuple[Published, ...]:
    """The records that `published.toml` lists."""
    content = parse_toml((files(__package__) / "published.toml").read_text("utf-8"))
    return tuple(Published(**record) for record in content["records"])


def pareto_front(nets: Iterable[NetSummary]) -> tuple[NetSummary, ...]:
    """The nets that no net with as few parameters surpasses, fewest parameters first."""
    front: list[NetSummary] = []
    for net in sorted(nets, key=lambda net: (net.parameters, -net.mean)):
        if not front or net.mean > front[-1].mean:
            front.append(net)
    return tuple(front)


def goals(nets: Sequence[NetSummary], dataset: str) -> tuple[Goal, ...]:
    """For every accuracy of `GOALS`, the smallest net of ours and of others."""
    front = pareto_front(nets)
    records = sorted(
        (
            record
            for record in published_records()
            if (record.dataset, record.counted) == (dataset, "parameters")
        ),
        key=lambda record: record.cost,
    )
    return tuple(
        Goal(
            accuracy,
            next((net for net in front if net.mean >= accuracy), None),
            next((record for record in records if record.accuracy >= accuracy), None),
        )
        for accuracy in GOALS
    )
