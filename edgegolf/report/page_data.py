"""What the report shows, from cards, histories, benches, footprints and sweeps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.bench.result import BenchResult, read_results
from edgegolf.bench.system import System
from edgegolf.cards import CARD_NAME, Card, FileFacts, read_card
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.footprint.result import FILE, LATENCY, Footprint
from edgegolf.records import from_dict, parse_json
from edgegolf.sweep import SweepResults
from edgegolf.workspace import exported_files

if TYPE_CHECKING:
    from edgegolf.data import Split
    from edgegolf.runtimes.session import Array

MAXIMUM_HISTORY_BYTES = 1 << 26
MAXIMUM_RECORD_BYTES = 1 << 26
MISTAKES = 24
PREFERRED_FILE = "int8.tflite"
OURS = "edgegolf"  # how a footprint calls files that export made
UNKNOWN = "–"


@dataclass(frozen=True)
class Run:
    """A training run."""

    net: str  # what was trained
    seed: int  # of its random numbers
    # Epochs, counted from 1, and the errors on the validation split, in per cent.
    errors: tuple[tuple[int, float], ...]
    is_chosen: bool  # whether its weights are those of the files


@dataclass(frozen=True)
class FileRow:
    """What is known of a file in one runtime; None where it is not known."""

    net: str  # its net, or its folder
    file: str  # its name
    parameters: int | None  # of the net
    macs: int | None  # multiply-accumulates of one inference
    dataset: str | None  # what it was judged on
    size_bytes: int | None  # of the file
    accuracy: float | None  # on the test images, a fraction
    p50_us: float | None = None  # median of single inferences
    runtime: str | None = None  # what it was timed in
    threads: int | None = None  # how many it might use
    system: System | None = None  # the machine that it was timed on


@dataclass(frozen=True)
class Mistake:
    """An image taken for something else: a PNG as a data URI, and how probable that seemed."""

    image: str
    label: int
    guess: int
    probability: float


@dataclass(frozen=True)
class Judgement:
    """How a file does on the test images."""

    net: str  # its net
    file: str  # its name
    confusion: tuple[tuple[int, ...], ...]  # rows are labels, columns guesses
    worst: tuple[Mistake, ...]  # the mistakes that it was surest of
    names: tuple[str, ...]  # what each label means


@dataclass(frozen=True)
class Sources:
    """What was found in the paths that a report is made from."""

    folders: tuple[tuple[Path, Card], ...]
    benches: tuple[BenchResult, ...]
    footprints: tuple[Footprint, ...]
    sweeps: tuple[SweepResults, ...] = ()


def read_sources(paths: Iterable[Path]) -> Sources:
    """Read model folders, and JSON files of `edgegolf bench`, `footprint` and `sweep`.

    Raises:
        EdgegolfError: A path is none of them.
    """
    folders: list[tuple[Path, Card]] = []
    benches: list[BenchResult] = []
    footprints: list[Footprint] = []
    sweeps: list[SweepResults] = []
    for path in paths:
        if path.is_dir():
            card = read_card(path)
            if card is None:
                raise EdgegolfError(f"{path} has no {CARD_NAME}", hint="give a model's folder")
            folders.append((path, card))
        elif read_bounded(path).lstrip().startswith(b"["):
            benches += read_results(path)
        else:
            record = _read_record(path)
            if isinstance(record, SweepResults):
                sweeps.append(record)
            else:
                footprints.append(record)
    if not any((folders, benches, footprints, sweeps)):
        raise EdgegolfError("there is nothing to report", hint="edgegolf export makes models")
    folders.sort(key=lambda pair: pair[1].parameters)
    return Sources(tuple(folders), tuple(benches), tuple(footprints), tuple(sweeps))


def _read_record(path: Path) -> Footprint | SweepResults:
    data = parse_json(read_bounded(path, MAXIMUM_RECORD_BYTES), str(path))
    if isinstance(data, dict) and data.get("schema") == SweepResults.SCHEMA:
        return from_dict(data, SweepResults, str(path))
    return from_dict(data, Footprint, str(path))


def training_runs(folders: Sequence[tuple[Path, Card]]) -> list[Run]:
    """Every training run that a history tells of."""
    found = []
    for folder, card in folders:
        path = folder / "history.json"
        if not path.is_file():
            continue
        try:
            runs = parse_json(read_bounded(path, MAXIMUM_HISTORY_BYTES), str(path))["runs"]
            found += [
                Run(
                    card.net,
                    int(run["seed"]),
                    tuple(
                        (int(epoch["epoch"]) + 1, 100 * (1 - float(epoch["validation_accuracy"])))
                        for epoch in run["epochs"]
                        if epoch["validation_accuracy"] is not None
                    ),
                    int(run["seed"]) == card.seed,
                )
                for run in runs
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise EdgegolfError(f"{path} is no history: {error!r}") from None
    return found


def file_rows(sources: Sources) -> list[FileRow]:
    """A row for each file of a card and runtime that it was timed in; then other benched files."""
    rows: list[FileRow] = []
    told = set()
    for folder, card in sources.folders:
        for name, facts in sorted(card.files.items()):
            row = FileRow(
                card.net, name, card.parameters, card.macs, card.dataset, facts.size_bytes,
                facts.test_accuracy,
            )  # fmt: skip
            benches = [bench for bench in sources.benches if _is_of(bench, folder, name, facts)]
            told |= {id(bench) for bench in benches}
            timed = [
                _timed(row, bench)
                for bench in benches
                if bench.latency_us is not None and bench.error is None
            ]
            rows += timed or _timed_by_footprints(row, sources.footprints) or [row]
    for bench in sources.benches:
        if id(bench) not in told and bench.error is None:
            path = Path(bench.file)
            known = (bench.parameters, bench.macs, bench.dataset, bench.size_bytes, bench.accuracy)
            rows.append(_timed(FileRow(path.parent.name or UNKNOWN, path.name, *known), bench))
    return rows


def _is_of(bench: BenchResult, folder: Path, name: str, facts: FileFacts) -> bool:
    """Whether a bench measured this very file, not an earlier one of its name."""
    if bench.sha256 is not None:
        return bench.sha256 == facts.sha256
    return (
        Path(bench.file).parts[-2:] == (folder.name, name) and bench.size_bytes == facts.size_bytes
    )


def _timed(row: FileRow, bench: BenchResult) -> FileRow:
    if bench.latency_us is None:
        return row
    return replace(
        row, p50_us=bench.latency_us.p50, runtime=bench.runtime, threads=bench.threads,
        system=bench.system,
    )  # fmt: skip


def _timed_by_footprints(row: FileRow, footprints: Sequence[Footprint]) -> list[FileRow]:
    """The same file as a footprint timed it: on one thread."""
    return [
        replace(row, p50_us=cost.value, runtime=cost.runtime, threads=1, system=footprint.system)
        for footprint in footprints
        for net in footprint.comparison
        if net.net == row.net and net.trained
        for variant in net.variants
        if (variant.file, variant.way, variant.cost(FILE)) == (row.file, OURS, row.size_bytes)
        for cost in variant.costs
        if cost.name == LATENCY
    ]


def judge(folders: Sequence[tuple[Path, Card]], dataset: str) -> tuple[list[Judgement], list[str]]:
    """Run one file of each net on the test images of its data set, if they are on this machine.

    Returns:
        How each file does, and what could not be done.
    """
    from edgegolf.data import SOURCES
    from edgegolf.progress import track

    source = SOURCES.get(dataset)
    try:
        found = None if source is None else source.find()
    except EdgegolfError:  # an incomplete folder; the error tells its path
        found = None
    if source is None or found is None:
        return [], [f"The test images of {dataset} are not here: its nets' mistakes are not shown"]
    split = found.split("test")
    judgements, notes = [], []
    for folder, card in track(folders, "judging"):
        files = exported_files(folder)
        path = next((file for file in files if file.name == PREFERRED_FILE), None)
        path = path or next(iter(files), None)
        if path is None:
            continue
        try:
            judgements.append(_judgement(path, card.net, split, source.class_names))
        except EdgegolfError:  # its text names paths of this machine
            notes.append(f"{card.net}'s {path.name} does not run here: its mistakes are not shown")
    return judgements, notes


def _judgement(path: Path, net: str, split: Split, names: tuple[str, ...]) -> Judgement:
    from edgegolf.runtimes import open_session
    from edgegolf.runtimes.classify import scores

    with open_session(path) as session:
        results = scores(session, split.images)
    guesses = results.argmax(axis=1)
    classes = max(results.shape[1], len(names))
    confusion = np.bincount(split.labels * classes + guesses, minlength=classes**2)
    wrong = np.flatnonzero(guesses != split.labels)
    surest = wrong[np.argsort(-results[wrong].max(axis=1), kind="stable")][:MISTAKES]
    worst = tuple(
        Mistake(
            _data_uri(split.images[index]),
            int(split.labels[index]),
            int(guesses[index]),
            round(float(results[index].max()), 4),
        )
        for index in surest
    )
    rows = tuple(tuple(map(int, row)) for row in confusion.reshape(classes, classes))
    names = (*names, *map(str, range(len(names), classes)))
    return Judgement(net, path.name, rows, worst, names)


def _data_uri(pixels: Array) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
