"""What the report shows, from cards, histories, benches, footprints and sweeps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.bench.result import BenchResult, read_results
from edgegolf.cards import CARD_NAME, Card, read_card
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.footprint.result import Footprint
from edgegolf.records import from_dict, parse_json
from edgegolf.sweep import SweepResults
from edgegolf.workspace import exported_files

if TYPE_CHECKING:
    from edgegolf.runtimes.session import Array

MAXIMUM_HISTORY_BYTES = 1 << 26
MAXIMUM_RECORD_BYTES = 1 << 26
MISTAKES = 24
PREFERRED_FILE = "int8.tflite"


@dataclass(frozen=True)
class Epoch:
    """One point of a training curve: the error on the validation split, in per cent."""

    net: str
    seed: int
    epoch: int
    error: float


@dataclass(frozen=True)
class Mistake:
    """An image taken for something else: a PNG as a data URI, and how probable that seemed."""

    image: str
    label: int
    guess: int
    probability: float


@dataclass(frozen=True)
class Judgement:
    """How a file does on the test images.

    Attributes:
        net: Its net.
        file: Its name.
        confusion: Rows are labels, columns guesses.
        worst: The mistakes that it was surest of.
    """

    net: str
    file: str
    confusion: tuple[tuple[int, ...], ...]
    worst: tuple[Mistake, ...]


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
    if not folders and not benches and not sweeps:
        raise EdgegolfError("there is nothing to report", hint="edgegolf export makes models")
    folders.sort(key=lambda pair: pair[1].parameters)
    return Sources(tuple(folders), tuple(benches), tuple(footprints), tuple(sweeps))


def _read_record(path: Path) -> Footprint | SweepResults:
    data = parse_json(read_bounded(path, MAXIMUM_RECORD_BYTES), str(path))
    if isinstance(data, dict) and data.get("schema") == SweepResults.SCHEMA:
        return from_dict(data, SweepResults, str(path))
    return from_dict(data, Footprint, str(path))


def curves(folders: Sequence[tuple[Path, Card]]) -> list[Epoch]:
    """Every epoch of every training run."""
    found = []
    for folder, card in folders:
        path = folder / "history.json"
        if not path.is_file():
            continue
        try:
            runs = parse_json(read_bounded(path, MAXIMUM_HISTORY_BYTES), str(path))["runs"]
            found += [
                Epoch(
                    card.net,
                    int(run["seed"]),
                    int(epoch["epoch"]) + 1,
                    100 * (1 - float(epoch["validation_accuracy"])),
                )
                for run in runs
                for epoch in run["epochs"]
                if epoch["validation_accuracy"] is not None
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise EdgegolfError(f"{path} is no history: {error!r}") from None
    return found


def judge(folders: Sequence[tuple[Path, Card]]) -> list[Judgement]:
    """Run one file of each net on the test images of its data set.

    Raises:
        EdgegolfError: A data set is missing, or a file does not run.
    """
    from edgegolf.data import load_dataset
    from edgegolf.progress import track
    from edgegolf.runtimes import open_session
    from edgegolf.runtimes.classify import scores

    found = []
    for folder, card in track(folders, "judging"):
        files = exported_files(folder)
        if not files:
            continue
        path = next((file for file in files if file.name == PREFERRED_FILE), files[0])
        split = load_dataset(card.dataset).split("test")
        with open_session(path) as session:
            results = scores(session, split.images)
        guesses = results.argmax(axis=1)
        classes = results.shape[1]
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
        found.append(Judgement(card.net, path.name, rows, worst))
    return found


def _data_uri(pixels: Array) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
