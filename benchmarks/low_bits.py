"""Files with weights below 8 bits beside what is asked of them: low_bits.json, docs/low-bits.md.

    python benchmarks/low_bits.py [--folder FOLDER] [ROW...]

Each row is one net exported with three seeds; what is in the record already is measured again only
where its name is given. Nothing is chosen on the test images, which judge each file once. Files
take turns when they are timed, on one thread, beside the float file and the int8 file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import time_in_turn

from edgegolf.anatomy.anatomy import anatomy
from edgegolf.bench.system import describe_system
from edgegolf.cards import Card, read_card
from edgegolf.data import SOURCES, Dataset, named_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.export import ExportOptions, export_model
from edgegolf.export.choosing import Goal
from edgegolf.files import write_atomically
from edgegolf.progress import track
from edgegolf.report.frontier import Contender
from edgegolf.report.table import UNKNOWN, Table
from edgegolf.runtimes import open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.classify import accuracy

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_name("low_bits.json")
SEEDS = (0, 1, 2)  # of fine-tuning; of these, export keeps the best
RUNTIMES = {".tflite": "litert", ".onnx": "onnxruntime"}
ROUNDS, SECONDS = 15, 0.05  # turns, and how long each file has in one
LIGHT = 0.55  # of an int8 file's weights: what those of 4 bits may take


@dataclass(frozen=True)
class Bar:
    """A file, and what is asked of it."""

    net: str  # of `models/`
    file: str  # what export calls it
    drop: float  # what it may lose on the test images, a fraction
    least: float | None = None  # the accuracy instead
    bytes: int | None = None  # of the whole file; None: fewer than its int8 file
    # The most time, where the float file of `beside` takes 1; None: not more than its int8 file.
    time: float | None = None
    beside: str = ""  # another net, of the same computation
    goal: Goal | None = None  # as export takes it
    portable: bool = False  # likewise

    @property
    def name(self) -> str:
        """What a row is found by."""
        special = ["--portable"] * self.portable + [f"--goal {self.goal}"] * bool(self.goal)
        return " ".join((self.net, self.file, *special))

    @property
    def folder(self) -> Path:
        """Where the net is."""
        (found,) = (ROOT / "models").glob(f"*/{self.net.replace(':', '-')}")
        return found


_SHORT = "tight_resnet:iterations=4"
BARS = (
    Bar("tight_resnet", "int4.onnx", 0.002, bytes=1830, time=1.05),
    Bar("tight_resnet", "int4.onnx", 0.002, bytes=1980, time=1.05, portable=True),
    Bar(_SHORT, "int4.onnx", 0, least=0.989, bytes=1750, time=0.75, beside="tight_resnet"),
    Bar(_SHORT, "mixed.onnx", 0, least=0.988, bytes=1520, time=0.75, beside="tight_resnet"),
    Bar("tight_resnet", "int4.tflite", 0.001, bytes=3600, time=1.2, goal="latency"),
    Bar("tight_resnet", "int4.tflite", 0.002, bytes=3350, time=1.35),
    *(
        Bar(net, "int4.onnx", 0.005)
        for net in (
            "pooled_linear", "golf_375", "golf_535", "double_cnn:2", "uno_resnet", "random_cnn",
            "cnn:2", "tight_resnet_unshared", "linear", "pooled_mlp:64", "mlp:32",
            "fewest_parameters",
        )
    ),
    Bar("loop_resnet:144", "int4.onnx", 0.005, bytes=45_000),
)  # fmt: skip


def main() -> None:
    """Measure what is asked for, and write the record after each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="Their names; all without a record if none is.")
    parser.add_argument("--folder", type=Path, help="Keep the files there.")
    arguments = parser.parse_args()
    found: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    asked = arguments.rows or [bar.name for bar in BARS if bar.name not in found]
    chosen = [bar for bar in BARS if bar.name in asked]
    with tempfile.TemporaryDirectory() as temporary:
        for bar in track(chosen, "measuring", len(chosen)):
            found[bar.name] = measured(bar, arguments.folder or Path(temporary))
            ordered = {each.name: found[each.name] for each in BARS if each.name in found}
            write_atomically(RECORD, json.dumps(ordered, indent=1) + "\n")


def measured(bar: Bar, kept: Path) -> dict[str, Any]:
    """The files of all seeds, as plain values; of the first that is refused, why."""
    card = read_card(bar.folder)
    assert card is not None
    data = named_dataset(card.dataset)
    data = data.with_validation_images(int(card.recipe.get("validation_images", 0)))
    suffix = Path(bar.file).suffix
    options = ExportOptions(
        (suffix[1:],), (Path(bar.file).stem,), goal=bar.goal, portable=bar.portable
    )
    paths, seeds = [], []
    for seed in SEEDS:
        folder = kept / f"{bar.name} {seed}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            made = export_model(bar.folder / "model.keras", folder, data, options, seeds=(seed,))
        except EdgegolfError as error:
            return {"refused": error.message}
        paths.append(folder / bar.file)
        seeds.append(
            {
                "bytes": made.files[0].bytes,
                "validation": made.files[0].validation_accuracy,
                "test": _test_accuracy(paths[-1], data),
            }
        )
    beside = bar.folder.with_name(bar.beside or bar.folder.name) / f"float32{suffix}"
    int8 = bar.folder / f"int8{suffix}"
    timed = [beside, int8, *paths]
    times = np.array(run_in_child(time_in_turn, timed, RUNTIMES[suffix], ROUNDS, SECONDS))
    to_float, to_int8 = (np.median(times[:, 2:] / times[:, i, None], axis=0) for i in (0, 1))
    return {
        "seeds": seeds,
        "weights": _weight_bytes(paths[0]),
        "int8_weights": _weight_bytes(int8),
        "to_float": [round(float(each), 3) for each in to_float],
        "to_int8": [round(float(each), 3) for each in to_int8],
        "system": describe_system().cpu,
    }


def _test_accuracy(path: Path, data: Dataset) -> float:
    with open_session(path, RUNTIMES[path.suffix]) as session:
        return accuracy(session, data.split("test"))


def _weight_bytes(path: Path) -> int:
    return next(part.bytes for part in anatomy(path).parts if part.name == "weights")


def contenders(cards: Sequence[Card]) -> list[Contender]:
    """The files of these nets in the record, each of several seeds."""
    found = json.loads(RECORD.read_text())
    made = []
    for bar in BARS:
        seeds = found.get(bar.name, {}).get("seeds")
        card = next((card for card in cards if card.net == bar.net), None)
        if seeds and card is not None:
            accuracies = tuple(each["test"] for each in seeds)
            size = max(each["bytes"] for each in seeds)
            images = SOURCES[card.dataset].images[2]
            file = bar.name.removeprefix(f"{bar.net} ")
            made.append(Contender(bar.net, file, size, accuracies, accuracies[0], images))
    return made


def low_bits_bars_markdown() -> str:
    """The record beside the bars, as a table."""
    found = json.loads(RECORD.read_text())
    header = (
        "file", "bytes", "asked", "weights / int8", "test accuracy", "asked", "× float", "× int8",
        "asked", "missed by",
    )  # fmt: skip
    rows = [_row(bar, found[bar.name]) for bar in BARS if bar.name in found]
    return Table(header, tuple(rows)).markdown()


def _row(bar: Bar, found: dict[str, Any]) -> tuple[str, ...]:
    if "refused" in found:
        return (f"`{bar.name}`", *(UNKNOWN,) * 8, found["refused"])
    card = read_card(bar.folder)
    assert card is not None
    size = statistics.mean(each["bytes"] for each in found["seeds"])
    test = statistics.mean(each["test"] for each in found["seeds"])
    to_float, to_int8 = (statistics.mean(found[key]) for key in ("to_float", "to_int8"))
    share = found["weights"] / found["int8_weights"]
    int8 = card.files[f"int8{Path(bar.file).suffix}"].size_bytes
    least = bar.least or _float_accuracy(card) - bar.drop
    missed = []
    if size > (most := bar.bytes or int8 - 1):
        missed.append(f"{size - most:,.0f} B")
    if test < least:
        missed.append(f"{100 * (least - test):.2f} points")
    if bar.bytes is None and share > LIGHT:
        missed.append(f"{share - LIGHT:.2f} of the weights")
    time, limit = (to_int8, 1.0) if bar.time is None else (to_float, bar.time)
    if time > limit:
        missed.append(f"{time - limit:.2f} × the time")
    return (
        f"`{bar.name}`",
        f"{size:,.0f}",
        f"≤ {bar.bytes:,}" if bar.bytes else f"< {int8:,}",
        f"{share:.2f}",
        f"{test:.2%}",
        f"≥ {least:.2%}",
        f"{to_float:.2f}",
        f"{to_int8:.2f}",
        f"≤ {bar.time} × float" if bar.time else "≤ 1 × int8",
        ", ".join(missed),
    )


def _float_accuracy(card: Card) -> float:
    """Of the net that is kept."""
    return next(each.test_accuracy for each in card.seeds if each.seed == card.seed)


if __name__ == "__main__":
    main()
