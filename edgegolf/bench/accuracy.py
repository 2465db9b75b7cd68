"""Accuracy of a model file on a data set's test images."""

from __future__ import annotations

from pathlib import Path

from edgegolf.cards import read_card
from edgegolf.data import named_dataset
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import accuracy


def measure_accuracy(path: Path, runtime: str, provider: str, threads: int, dataset: str) -> float:
    """The fraction of all test images that the model classifies rightly.

    Raises:
        EdgegolfError: The data set cannot be had, or the model is no classifier of its images.
    """
    split = named_dataset(dataset).split("test")
    with open_session(path, runtime, provider, threads) as session:
        return accuracy(session, split)


def dataset_of(path: Path) -> str | None:
    """The data set that the card beside a model file names; None without a card.

    Raises:
        EdgegolfError: The card is not valid.
    """
    card = read_card(path.parent)
    return card.dataset if card and path.name in card.files else None
