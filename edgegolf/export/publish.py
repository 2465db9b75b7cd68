"""Export a trained net of the zoo into its folder, and note in its card what the files can do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgegolf.cards import Card, FileFacts, read_card, write_card
from edgegolf.errors import EdgegolfError
from edgegolf.export.export import (
    ExportedFile,
    ExportOptions,
    ShowCandidates,
    export_model,
)
from edgegolf.files import sha256
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.classify import accuracy
from edgegolf.workspace import MODEL_NAME

if TYPE_CHECKING:
    from edgegolf.data import Dataset


def publish(
    folder: Path, dataset: Dataset, options: ExportOptions, show: ShowCandidates
) -> tuple[Card, tuple[ExportedFile, ...]]:
    """Export what is not up to date, and measure each new file on the test images.

    Args:
        folder: Holds `model.keras` and `card.json`, as training left them.
        dataset: What the net was trained on.
        options: What to export, and how.
        show: Shows the candidates for the int8 files of a format.

    Returns:
        The card with all files, and the files that were made now.

    Raises:
        EdgegolfError: There is no trained net, or it was trained on other data; as
            `export_model` otherwise.
    """
    card = read_card(folder)
    if card is None:
        raise EdgegolfError(
            f"{folder} holds no trained net of the zoo", hint="edgegolf train makes it"
        )
    if card.dataset_checksum != dataset.checksum:
        raise EdgegolfError(
            f"the net in {folder} was trained on {card.dataset}, not on this {dataset.name}",
            hint=f"--dataset {card.dataset}",
        )
    model = folder / MODEL_NAME
    if sha256(model) != card.model_sha256:
        raise EdgegolfError(
            f"{model} is not the model that {folder}/card.json tells of",
            hint="train it again, or export the .keras file by its path",
        )
    fresh = {name: facts for name, facts in card.files.items() if _is_fresh(folder / name, facts)}
    exported = export_model(model, folder, dataset, options, fresh, show)
    fresh = {name: facts for name, facts in fresh.items() if (folder / name).is_file()}
    for file in exported:
        fresh[file.name] = _facts(folder / file.name, file, dataset)
    choices = () if exported else card.choices  # they were counted with the files before
    card = replace(card, files=dict(sorted(fresh.items())), choices=choices)
    write_card(folder, card)
    return card, exported


def _is_fresh(path: Path, facts: FileFacts) -> bool:
    return path.is_file() and sha256(path) == facts.sha256


def _facts(path: Path, exported: ExportedFile, dataset: Dataset) -> FileFacts:
    assert exported.validation_accuracy is not None  # every net of the zoo is a classifier
    with open_session(path, installed_runtimes(path)[0]) as session:
        test_accuracy = accuracy(session, dataset.split("test"))
    return FileFacts(
        size_bytes=exported.bytes,
        sha256=sha256(path),
        validation_accuracy=exported.validation_accuracy,
        test_accuracy=test_accuracy,
        max_difference=exported.max_difference,
    )
