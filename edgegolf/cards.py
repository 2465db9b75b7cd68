"""`card.json`: what is known of a model beside its files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from edgegolf.files import read_bounded, sha256, write_atomically
from edgegolf.records import from_json, to_json

CARD_NAME = "card.json"
RECORD_NAME = "export.json"  # the same for a user's `.keras` file, whose name it may begin with
_EXPORTED = r"(float32|int8(-\w+)?)\.(tflite|onnx)"  # names that export gives
MAXIMUM_CARD_BYTES = 1 << 20


@dataclass(frozen=True)
class SeedResult:
    """One finished training run.

    Attributes:
        seed: What its random numbers were drawn from.
        validation_accuracy: Of the averaged weights, on the validation split, a fraction.
        test_accuracy: The same on the test split, read once, after training.
        epochs: How long it trained.
        seconds: Wall-clock time of the training.
    """

    seed: int
    validation_accuracy: float
    test_accuracy: float
    epochs: int
    seconds: float


@dataclass(frozen=True)
class FileFacts:
    """One exported file.

    Attributes:
        size_bytes: Its size.
        sha256: Of its content.
        validation_accuracy: Measured from the file, a fraction.
        test_accuracy: Measured from the file, on the test split, a fraction.
        max_difference: Largest difference of an output from the Keras model's, on validation
            images.
        options: Of the export that made it, those that are not the defaults.
    """

    size_bytes: int
    sha256: str
    validation_accuracy: float
    test_accuracy: float
    max_difference: float
    options: dict[str, float | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class BoardChoice:
    """The file of a net that executes the fewest instructions on a board, in one runtime.

    Attributes:
        board: Such as `Raspberry Pi 5`.
        runtime: The runtime's name.
        file: The file's name.
        instructions: Of one inference, as `edgegolf bench --emulate` counts them.
    """

    board: str
    runtime: str
    file: str
    instructions: int


@dataclass(frozen=True)
class Card:
    """What is known of a model: its net, training, and files.

    Attributes:
        net: The zoo's name of it.
        dataset: The data set that it was trained and judged on.
        dataset_checksum: Of that data set's content.
        parameters: How many it has, shared ones counted once.
        trained_parameters: How many of them were trained.
        macs: Multiply-accumulates of one inference.
        recipe: The hyper-parameters of the training.
        article_accuracy: What the article reports, a fraction; None where it reports nothing.
        article_epochs: How long the article trained; None where it does not say.
        seeds: Every finished training run.
        seed: The run whose weights are in the files: the best on the validation split.
        model_sha256: Of `model.keras`.
        packages: Versions of the packages that made the files.
        commit: The commit of the repository, if there was one.
        files: The exported files by name, all of this model.
        choices: What to take on each board in each runtime, the fewest instructions first; empty
            where they were not counted.
    """

    SCHEMA: ClassVar[str] = "edgegolf.card/1"
    net: str
    dataset: str
    dataset_checksum: str
    parameters: int
    trained_parameters: int
    macs: int
    recipe: dict[str, float | str | bool]
    article_accuracy: float | None
    article_epochs: int | None
    seeds: tuple[SeedResult, ...]
    seed: int
    model_sha256: str
    packages: dict[str, str]
    commit: str | None
    files: dict[str, FileFacts] = field(default_factory=dict)
    choices: tuple[BoardChoice, ...] = ()


def read_card(folder: Path) -> Card | None:
    """The card in a model's folder, or None where there is none.

    Raises:
        EdgegolfError: There is one, but it is not valid.
    """
    path = folder / CARD_NAME
    if not path.is_file():
        return None
    return from_json(read_bounded(path, MAXIMUM_CARD_BYTES), Card, str(path))


@dataclass(frozen=True)
class ExportRecord:
    """What is known of the files that were exported from a `.keras` file of a user's.

    Attributes:
        model: That file's name.
        model_sha256: Of its content.
        data_sha256: Of the samples that the files were calibrated and verified with.
        files: SHA-256 of each exported file by name.
        options: Of the export that made each, those that are not the defaults.
    """

    SCHEMA: ClassVar[str] = "edgegolf.export/1"
    model: str
    model_sha256: str
    data_sha256: str
    files: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, float | str | bool]] = field(default_factory=dict)


def read_record(path: Path) -> ExportRecord | None:
    """The record of a `.keras` file's exports, or None where there is none.

    Raises:
        EdgegolfError: There is one, but it is not valid.
    """
    if not path.is_file():
        return None
    return from_json(read_bounded(path, MAXIMUM_CARD_BYTES), ExportRecord, str(path))


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
