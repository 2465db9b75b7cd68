"""`card.json`: what is known of a model beside its files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from edgegolf.errors import EdgegolfError
from edgegolf.files import sha256, write_atomically
from edgegolf.records import from_file, to_json
from edgegolf.user_code import is_reference

CARD_NAME = "card.json"
RECORD_NAME = "export.json"  # the same for a user's `.keras` file, whose name it may begin with
# Names that export gives.
_EXPORTED = r"(float32|float16|dynamic|mixed|int[24]|int8(-\w+)?)\.(tflite|onnx)"
MAXIMUM_CARD_BYTES = 1 << 20


@dataclass(frozen=True)
class SeedResult:
    """One finished training run."""

    seed: int  # what its random numbers were drawn from
    validation_accuracy: float  # of the averaged weights, on the validation split, a fraction
    test_accuracy: float  # the same on the test split, read once, after training
    epochs: int  # how long it trained
    seconds: float  # wall-clock time of the training


@dataclass(frozen=True)
class FileFacts:
    """One exported file."""

    size_bytes: int  # its size
    sha256: str  # of its content
    validation_accuracy: float  # measured from the file, a fraction
    test_accuracy: float  # measured from the file, on the test split, a fraction
    # Largest difference of an output from the Keras model's, on validation images.
    max_difference: float
    # Of the export that made it, those that are not the defaults.
    options: dict[str, float | str | bool] = field(default_factory=dict)
    needs: str = ""  # the oldest runtime that runs it; empty where all of this package do


@dataclass(frozen=True)
class BoardChoice:
    """The file of a net that executes the fewest instructions on a board, in one runtime."""

    board: str  # such as `Raspberry Pi 5`
    runtime: str  # the runtime's name
    file: str  # the file's name
    instructions: int  # of one inference, as `edgegolf bench --emulate` counts them


@dataclass(frozen=True)
class Card:
    """What is known of a model: its net, training, and files."""

    SCHEMA: ClassVar[str] = "edgegolf.card/1"
    net: str  # the zoo's name of it
    dataset: str  # the data set that it was trained and judged on
    dataset_checksum: str  # of that data set's content
    parameters: int  # how many it has, shared ones counted once
    trained_parameters: int  # how many of them were trained
    macs: int  # multiply-accumulates of one inference
    recipe: dict[str, float | str | bool]  # the hyper-parameters of the training
    # What the article reports, a fraction; None where it reports nothing.
    article_accuracy: float | None
    article_epochs: int | None  # how long the article trained; None where it does not say
    seeds: tuple[SeedResult, ...]  # every finished training run
    seed: int  # the run whose weights are in the files: the best on the validation split
    model_sha256: str  # of `model.keras`
    packages: dict[str, str]  # versions of the packages that made the files
    commit: str | None  # the commit of the repository, if there was one
    # The exported files by name, all of this model.
    files: dict[str, FileFacts] = field(default_factory=dict)
    # What to take on each board in each runtime, the fewest instructions first; empty where they
    # were not counted.
    choices: tuple[BoardChoice, ...] = ()
    # The day on which a seed was last judged on the test split, such as `2026-11-30`; None in
    # cards of earlier versions.
    tested_on: str | None = None


def read_card(folder: Path) -> Card | None:
    """The card in a model's folder, or None where there is none.

    Raises:
        EdgegolfError: There is one, but it is not valid.
    """
    path = folder / CARD_NAME
    if not path.is_file():
        return None
    card = from_file(path, Card, MAXIMUM_CARD_BYTES)
    if is_reference(card.dataset):  # nobody but the user names code to run
        raise EdgegolfError(f"{path} names a Python file as its data set")
    return card


@dataclass(frozen=True)
class ExportRecord:
    """What is known of the files that were exported from a `.keras` file of a user's."""

    SCHEMA: ClassVar[str] = "edgegolf.export/1"
    model: str  # that file's name
    model_sha256: str  # of its content
    data_sha256: str  # of the samples that the files were calibrated and verified with
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of each exported file by name
    # Of the export that made each, those that are not the defaults.
    options: dict[str, dict[str, float | str | bool]] = field(default_factory=dict)


def read_record(path: Path) -> ExportRecord | None:
    """The record of a `.keras` file's exports, or None where there is none.

    Raises:
        EdgegolfError: There is one, but it is not valid.
    """
    return from_file(path, ExportRecord, MAXIMUM_CARD_BYTES) if path.is_file() else None


def stale_warning(path: Path) -> str | None:
    """What to say if an exported file does not belong to the model beside it; None if it does.

    It is then of an older model, or of an export that did not end. Files with names of their own,
    and those of folders where nothing is written down, are nobody's business.

    Raises:
        EdgegolfError: What is written down there is not valid.
    """
    named = re.fullmatch(f"(.*?){_EXPORTED}", path.name)
    if named is None:
        return None
    card = None if named[1] else read_card(path.parent)
    record = read_record(path.parent / f"{named[1]}{RECORD_NAME}") if card is None else None
    if card is not None:
        model, model_sha256 = path.parent / "model.keras", card.model_sha256
        known = {name: facts.sha256 for name, facts in card.files.items()}
    elif record is not None:
        model, model_sha256 = path.parent / Path(record.model).name, record.model_sha256
        known = record.files
    else:
        return None
    told = "card" if card is not None else "record"
    if path.name not in known:
        return f"{path.name} is not among the files of its {told}: it may be of an older model"
    if known[path.name] != sha256(path):
        return f"{path.name} is not the file that its {told} tells of; export it anew"
    if model.is_file() and model_sha256 != sha256(model):
        return f"{path.name} is older than {model.name} beside it; export it anew"
    return None


def exports_in(folder: Path, prefix: str = "") -> tuple[Path, ...]:
    """The files in a folder that have the names that export gives, sorted.

    Args:
        folder: To look in.
        prefix: What the names begin with: nothing, or a model's name and a point.
    """
    pattern = re.compile(re.escape(prefix) + _EXPORTED)
    return tuple(sorted(path for path in folder.glob("*.*") if pattern.fullmatch(path.name)))


def write_card(folder: Path, card: Card) -> None:
    """Write the card into a model's folder."""
    write_atomically(folder / CARD_NAME, to_json(card))
