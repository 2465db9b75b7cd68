"""Export a trained net of the zoo into its folder, and note in its card what the files can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from edgegolf.cards import Card, FileFacts, read_card, write_card
from edgegolf.data import Dataset, load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.export.export import (
    ExportedFile,
    ExportOptions,
    export_model,
)
from edgegolf.export.sharing.measuring import Candidate
from edgegolf.files import sha256
from edgegolf.progress import track
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.classify import accuracy
from edgegolf.side_by_side import Task, available_cores, run_side_by_side
from edgegolf.workspace import MODEL_NAME


@dataclass(frozen=True)
class Published:
    """A net whose files are up to date.

    Attributes:
        card: Tells of all files.
        made: The files that were made now.
        candidates: What the int8 files of each format were chosen from.
    """

    card: Card
    made: tuple[ExportedFile, ...]
    candidates: dict[str, tuple[Candidate, ...]]


def publish_all(
    folders: Sequence[Path], dataset: Dataset, options: ExportOptions
) -> Iterator[tuple[Path, Published]]:
    """Publish nets, several at once, and yield each that is ready.

    A net by itself is published in this process, which shows every step.

    Args:
        folders: As `publish` takes.
        dataset: What the nets were trained on.
        options: What to export, and how.

    Raises:
        EdgegolfError: As `publish`; the others are stopped.
    """
    if len(folders) == 1:
        yield folders[0], publish(folders[0], dataset, options)
        return
    tasks = [
        Task(f"exporting {folder}", _publish, (folder, dataset.name, options))
        for folder in sorted(folders, key=_expected_cost, reverse=True)
    ]
    with closing(run_side_by_side(tasks, available_cores())) as published:
        for index, result in track(published, "exporting", total=len(tasks)):
            yield tasks[index].arguments[0], result


def _publish(
    folder: Path, dataset: str, options: ExportOptions, send: Callable[[object], None]
) -> Published:
    return publish(folder, load_dataset(dataset), options)


def _expected_cost(folder: Path) -> int:
    card = read_card(folder)
    return card.macs if card is not None else 0


def publish(folder: Path, dataset: Dataset, options: ExportOptions) -> Published:
    """Export what is not up to date, and measure each new file on the test images.

    Args:
        folder: Holds `model.keras` and `card.json`, as training left them.
        dataset: What the net was trained on.
        options: What to export, and how.

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
    dataset = dataset.with_validation_images(int(card.recipe.get("validation_images", 0)))
    model = folder / MODEL_NAME
    if sha256(model) != card.model_sha256:
        raise EdgegolfError(
            f"{model} is not the model that {folder}/card.json tells of",
            hint="train it again, or export the .keras file by its path",
        )
    fresh = {name: facts for name, facts in card.files.items() if _is_fresh(folder / name, facts)}
    candidates: dict[str, tuple[Candidate, ...]] = {}
    exported = export_model(
        model, folder, dataset, options, fresh, lambda form, all_: candidates.update({form: all_})
    )
    fresh = {name: facts for name, facts in fresh.items() if (folder / name).is_file()}
    for file in exported:
        fresh[file.name] = _facts(folder / file.name, file, dataset)
    choices = () if exported else card.choices  # they were counted with the files before
    card = replace(card, files=dict(sorted(fresh.items())), choices=choices)
    write_card(folder, card)
    return Published(card, exported, candidates)


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
