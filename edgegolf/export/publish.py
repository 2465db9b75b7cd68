"""Export models where nothing is done twice, and write down beside the files what they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgegolf.cards import (
    CARD_NAME,
    RECORD_NAME,
    Card,
    ExportRecord,
    FileFacts,
    exports_in,
    read_card,
    read_record,
    write_card,
)
from edgegolf.data import Dataset, named_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.export.export import (
    ExportedFile,
    ExportOptions,
    export_model,
    is_made_by,
    ways_of,
)
from edgegolf.export.low_bits import NEEDS
from edgegolf.export.measuring import Candidate
from edgegolf.export.model_source import kind_of
from edgegolf.export.warnings import unnamed_dataset
from edgegolf.files import check_size, remove_leftovers, sha256, write_atomically
from edgegolf.progress import doing, track
from edgegolf.records import to_json
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.classify import accuracy
from edgegolf.side_by_side import Task, run_side_by_side
from edgegolf.surroundings import available_cores
from edgegolf.workspace import MODEL_NAME

Options = dict[str, float | str | bool]


@dataclass(frozen=True)
class Published:
    """A model whose files are up to date."""

    made: tuple[ExportedFile, ...]  # the files that were made now
    # What the int8 files of each format were chosen from.
    candidates: dict[str, tuple[Candidate, ...]]
    card: Card | None  # tells of all files of a net of the zoo
    folder: Path  # where the files are
    # Why others could not be made, by name.
    failures: Mapping[str, EdgegolfError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what the user should know of the model and the samples


def publish_all(
    folders: Sequence[Path], dataset: Dataset, options: ExportOptions
) -> Generator[tuple[Path, Published], None, None]:
    """Publish nets, several at once, and yield each that is ready.

    Args:
        folders: As `publish` takes.
        dataset: What the nets were trained on.
        options: What to export, and how.

    Raises:
        EdgegolfError: As `publish`; the others are stopped.
    """
    ordered = sorted(folders, key=_expected_cost, reverse=True)
    tasks = [
        Task(f"exporting {folder}", publish, (folder, dataset.key, options)) for folder in ordered
    ]
    for index, result in _run(tasks):
        yield ordered[index], result


def publish_files(
    models: Sequence[Path],
    out: Path | None,
    dataset: str | None,
    samples: str | None,
    options: ExportOptions,
) -> Generator[tuple[Path, Published], None, None]:
    """Export users' models, one after another, and yield each that is ready.

    Args:
        models: The files.
        out: Where the only one's files go; else beside it, with its name before theirs.
        dataset: The name of the data set that they were trained on; None takes the usual one.
        samples: What else `read_data` takes, instead.
        options: What to export, and how.

    Raises:
        EdgegolfError: `out` holds a trained net, or is for several files; as `export_model`.
    """
    ways_of(options)
    if out is not None and len(set(models)) > 1:
        raise EdgegolfError(
            f"{out} cannot take the files of {len(models)} models: they have the same names",
            hint="export one at a time, or leave --out away: names then begin with the model's",
        )
    if out is not None and (out / CARD_NAME).is_file():
        raise EdgegolfError(
            f"{out} holds a trained net with its own files", hint="give another folder"
        )
    source = Path(samples) if samples else named_dataset(dataset).key
    unnamed = () if samples or dataset else (unnamed_dataset(str(source)),)
    for model in dict.fromkeys(models):
        task = Task(f"exporting {model}", publish_file, (model, out, source, options))
        for _, result in _run([task]):
            yield model, replace(result, notes=(*unnamed, *result.notes))


def _run(tasks: Sequence[Task]) -> Generator[tuple[int, Published], None, None]:
    """The tasks' results, with progress.

    They have processes of their own, because converters are deaf to Ctrl-C. Lines on a terminal
    are erased before anything else is printed.
    """
    with closing(run_side_by_side(tasks, available_cores())) as messages:
        if len(tasks) == 1:
            with doing(tasks[0].description) as detail:
                for _, message in messages:
                    if isinstance(message, Published):
                        break
                    detail(message)
            yield 0, message
            return
        results = (each for each in messages if isinstance(each[1], Published))
        with closing(track(results, "exporting", total=len(tasks))) as tracked:  # type: ignore[type-var]
            yield from tracked


def _expected_cost(folder: Path) -> int:
    card = read_card(folder)
    return card.macs if card is not None else 0


def publish(
    folder: Path,
    dataset: Dataset | str,
    options: ExportOptions,
    note: Callable[[str], None] = lambda step: None,
) -> Published:
    """Export what is not up to date, and measure each new file on the test images.

    Each file is in the card as soon as it has its name, so that nothing is done twice after an
    interruption. Files that are not of this model are removed.

    Args:
        folder: Holds `model.keras` and `card.json`, as training left them.
        dataset: What the net was trained on, or its name.
        options: What to export, and how.
        note: Called with each step.

    Raises:
        EdgegolfError: There is no trained net, or it was trained on other data; as
            `export_model` otherwise.
    """
    card = read_card(folder)
    if card is None:
        raise EdgegolfError(
            f"{folder} holds no trained net of the zoo", hint="edgegolf train makes it"
        )
    remove_leftovers(folder)
    model = folder / MODEL_NAME
    is_here = model.is_file()
    if is_here and sha256(model) != card.model_sha256:
        raise EdgegolfError(
            f"{model} is not the model that {folder}/card.json tells of",
            hint="train it again, or export the .keras file by its path and with --out",
        )
    known = {name: (facts.sha256, facts.options) for name, facts in card.files.items()}
    fresh = _up_to_date(folder, "", options, known)
    if len(fresh) == len(ways_of(options)):
        return Published((), {}, card, folder)
    if not is_here:
        raise EdgegolfError(f"{model} does not exist", hint="edgegolf train makes it")
    data = named_dataset(dataset) if isinstance(dataset, str) else dataset
    if card.dataset_checksum != data.checksum:
        raise EdgegolfError(
            f"the net in {folder} was trained on {card.dataset}, not on this {data.name}",
            hint=f"--dataset {card.dataset}",
        )
    data = data.with_validation_images(int(card.recipe.get("validation_images", 0)))
    _remove_strangers(folder, "", known)
    made: list[ExportedFile] = []

    def write_down(files: Sequence[ExportedFile]) -> None:
        nonlocal card
        assert card is not None
        made.extend(files)
        new = {each.name: _facts(folder / each.name, each, data, options) for each in files}
        kept = {name: facts for name, facts in card.files.items() if (folder / name).is_file()}
        # The choices were counted with the files before.
        card = replace(card, files=dict(sorted({**kept, **new}.items())), choices=())
        write_card(folder, card)

    candidates: dict[str, tuple[Candidate, ...]] = {}
    exported = export_model(
        model,
        folder,
        data,
        options,
        skip=fresh,
        show=lambda file_format, found: candidates.update({file_format: found}),
        own=known,
        note=note,
        done=write_down,
    )
    for error in exported.failures.values():
        raise error
    return Published(tuple(made), candidates, card, folder)


def publish_file(
    model: Path,
    out: Path | None,
    source: Dataset | Path | str,
    options: ExportOptions,
    note: Callable[[str], None] = lambda step: None,
) -> Published:
    """Export what is not up to date of a user's model, as `publish` does.

    Args:
        model: The file.
        out: The folder of its files, which holds one model's; None: beside it, where their names
            begin with its own, unless that is `model.keras`.
        source: A data set, its name, or the path of what else `read_data` takes.
        options: What to export, and how.
        note: Called with each step.
    """
    kind_of(model)
    source = named_dataset(source) if isinstance(source, str) else source
    folder = out or model.parent
    card = read_card(folder) if out is None else None
    plain = out is not None or (model.name == MODEL_NAME and card is None)
    prefix = "" if plain else f"{model.stem}."
    path = folder / f"{prefix}{RECORD_NAME}"
    data_sha256 = _checksum(source) if isinstance(source, Path) else source.checksum
    if options.labels is not None:
        both = f"{data_sha256} {_checksum(options.labels)}"
        data_sha256 = hashlib.sha256(both.encode()).hexdigest()
    record = ExportRecord(model.name, _checksum(model), data_sha256)
    found = read_record(path)
    if found is not None and replace(record, files=found.files, options=found.options) == found:
        record = found
    remove_leftovers(folder)
    known = {name: (sha, record.options.get(name, {})) for name, sha in record.files.items()}
    fresh = _up_to_date(folder, prefix, options, known)
    made: list[ExportedFile] = []

    def write_down(files: Sequence[ExportedFile]) -> None:
        nonlocal record
        if not made:
            _remove_strangers(folder, prefix, {**known, **{each.name: () for each in files}})
        made.extend(files)
        hashes = {each.name: sha256(folder / each.name) for each in files}
        special = {each.name: options.special(each.dtype) for each in files}
        kept = {name: sha for name, sha in record.files.items() if (folder / name).is_file()}
        hashes = dict(sorted({**kept, **hashes}.items()))
        told = {name: {**record.options, **special}.get(name, {}) for name in hashes}
        record = replace(record, files=hashes, options=told)
        write_atomically(path, to_json(record))

    candidates: dict[str, tuple[Candidate, ...]] = {}
    own = [name.removeprefix(prefix) for name in known]
    exported = export_model(
        model,
        folder,
        source,
        options,
        skip=fresh,
        show=lambda file_format, found: candidates.update({file_format: found}),
        prefix=prefix,
        own=own,
        note=note,
        done=write_down,
    )
    return Published(tuple(made), candidates, None, folder, exported.failures, exported.notes)


def _checksum(path: Path) -> str:
    """Of a file or of all files in a folder; of the file in `file.py:function`.

    Raises:
        EdgegolfError: It is missing.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for each in sorted(path.rglob("*")):
            if each.is_file():
                digest.update(f"{each.relative_to(path)} {sha256(each)}\n".encode())
        return digest.hexdigest()
    if not path.exists() and ":" in path.name:
        path = path.with_name(path.name.partition(":")[0])
    check_size(path)
    return sha256(path)


def _up_to_date(
    folder: Path, prefix: str, options: ExportOptions, known: Mapping[str, tuple[str, Options]]
) -> set[str]:
    """The ways of which every file is there, and was made with these options."""
    return {
        way_name
        for way_name, way in ways_of(options).items()
        if prefix + way_name in known
        and all(
            (folder / name).is_file()
            and (sha256(folder / name), options.special(way.dtype)) == facts
            for name, facts in known.items()
            if is_made_by(name.removeprefix(prefix), way_name)
        )
    }


def _remove_strangers(folder: Path, prefix: str, known: Mapping[str, Any]) -> None:
    """Remove exported files that nothing tells of: they are of another model."""
    for path in exports_in(folder, prefix):
        if path.name not in known:
            path.unlink()


def _facts(
    path: Path, exported: ExportedFile, dataset: Dataset, options: ExportOptions
) -> FileFacts:
    assert exported.validation_accuracy is not None  # every net of the zoo is a classifier
    with open_session(path, installed_runtimes(path)[0]) as session:
        test_accuracy = accuracy(session, dataset.split("test"))
    return FileFacts(
        size_bytes=exported.bytes,
        sha256=sha256(path),
        validation_accuracy=exported.validation_accuracy,
        test_accuracy=test_accuracy,
        max_difference=exported.max_difference,
        options=options.special(exported.dtype),
        needs="" if options.portable and path.suffix == ".onnx" else NEEDS.get(path.name, ""),
    )
