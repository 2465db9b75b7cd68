"""The committed int8 files against stock conversions of the same models.

    python benchmarks/footprint.py
    python benchmarks/footprint.py --docs     # and write the tables into docs/sharing.md

Two tables. For TightResNet: each file's size, its latency relative to the stock float file's and
its accuracy on the test images, each beside its bar. For every other net: the same relative to the
stock int8 file. Files are timed in turn, on one thread. Ends with exit code 1 if a bar is missed or
a file is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from doc_tables import replace_section
from interleaved import time_in_turn
from numpy.typing import NDArray

from edgegolf.bench.accuracy import measure_accuracy
from edgegolf.bench.system import describe_system
from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.export import onnx_export, tflite
from edgegolf.export.model import for_inference, load_model
from edgegolf.export.samples import inputs_of, read_data
from edgegolf.files import write_atomically
from edgegolf.progress import track
from edgegolf.runtimes.child import run_in_child
from edgegolf.workspace import MODEL_NAME, model_folder, trained_folders

DATASET, NET = "mnist", "tight_resnet"
TFLITE, ONNX = "float32.tflite", "float32.onnx"
INT8 = {"int8.tflite": "litert", "int8.onnx": "onnxruntime"}  # with the preferred runtime
CALIBRATION_IMAGES = 500
PAGE = Path(__file__).parent.parent / "docs" / "sharing.md"

# For the nets beside TightResNet: accuracy that may be lost, in percentage points.
POINTS = {"fewest_parameters": 0.5}
OTHER_POINTS = 0.3


@dataclass(frozen=True)
class Bar:
    """What a file has to reach.

    Attributes:
        what: Its purpose.
        files: Its possible names; the first that exists counts. Export leaves out the smallest and
            the fastest file where the balanced one is that already.
        float_file: The file to compare with.
        runtimes: Where the bar for the latency holds.
        size_bytes: At most.
        latency: At most, relative to the float file.
        points: Accuracy that may be lost, in percentage points.
    """

    what: str
    files: tuple[str, ...]
    float_file: str
    runtimes: tuple[str, ...]
    size_bytes: int
    latency: float
    points: float


BARS = (
    Bar("smallest int8-compute", ("int8-smallest.tflite", "int8.tflite"), TFLITE, ("litert",),
        4_200, 1.1, 0.2),
    Bar("fastest int8-compute", ("int8-fastest.tflite", "int8.tflite"), TFLITE, ("litert",),
        10_000, 0.9, 0.1),
    Bar("smallest, fast everywhere", ("int8-weights.tflite",), TFLITE, ("litert", "tflite-runtime"),
        4_200, 1.3, 0.1),
    Bar("ONNX", ("int8.onnx",), ONNX, ("onnxruntime",), 2_900, 1.0, 0.1),
)  # fmt: skip
HEADER = (
    "file", "runtime", "bytes", "bar", "latency, µs", "× float (quartiles)", "bar",
    "points below float", "bar", "met",
)  # fmt: skip


OTHER_HEADER = (
    "net", "file", "bytes", "stock float", "stock int8", "latency × stock int8 (quartiles)",
    "points below float", "met",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One file in one runtime, beside the float file.

    Attributes:
        bar: What it has to reach.
        path: The file.
        runtime: Where it ran.
        microseconds: Median of the rounds' medians.
        ratios: Lower quartile, median and upper quartile over the rounds, relative to the float
            file in the same round.
        points: Accuracy lost, in percentage points.
    """

    bar: Bar
    path: Path
    runtime: str
    microseconds: float
    ratios: tuple[float, float, float]
    points: float

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.path.stat().st_size

    @property
    def is_met(self) -> bool:
        """Whether all three bars are met."""
        return (
            self.size_bytes <= self.bar.size_bytes
            and self.ratios[1] <= self.bar.latency
            and round(self.points, 6) <= self.bar.points
        )


@dataclass(frozen=True)
class OtherRow:
    """An int8 file of another net, beside the stock conversions.

    Attributes:
        net: Its name.
        path: The file.
        float_bytes: Size of the stock float file.
        stock_bytes: Size of the stock int8 file.
        ratios: Lower quartile, median and upper quartile of its latency relative to the stock int8
            file's in the same round.
        points: Accuracy lost against the stock float file, in percentage points.
    """

    net: str
    path: Path
    float_bytes: int
    stock_bytes: int
    ratios: tuple[float, float, float]
    points: float

    @property
    def is_met(self) -> bool:
        """Whether it is smaller than both and accurate; slower only by less than the noise."""
        return (
            self.path.stat().st_size < min(self.float_bytes, self.stock_bytes)
            and self.ratios[0] <= 1
            and round(self.points, 6) <= POINTS.get(self.net, OTHER_POINTS)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="how often each file is timed")
    parser.add_argument("--seconds", type=float, default=0.03, help="per file and round")
    parser.add_argument("--docs", action="store_true", help=f"write the tables into {PAGE.name}")
    arguments = parser.parse_args()
    rounds, seconds = arguments.rounds, arguments.seconds
    folder = model_folder(DATASET, NET)
    load_dataset(DATASET)
    with tempfile.TemporaryDirectory() as temporary:
        write_stock_files(folder / MODEL_NAME, Path(temporary))
        rows = list(measure(folder, Path(temporary), rounds, seconds))
    others = [other for other in trained_folders(DATASET) if other != folder]
    other_rows = [
        row for each in track(others, "other nets") for row in compare(each, rounds, seconds)
    ]
    tables = {"bars": markdown(rows), "other-nets": other_markdown(other_rows)}
    for table in tables.values():
        print(table)
    if arguments.docs:
        text = PAGE.read_text()
        for name, table in tables.items():
            text = replace_section(text, name, f"{_conditions()}\n\n{table}\n")
        write_atomically(PAGE, text)
    missing = [bar for bar in BARS if _find(bar, folder) is None]
    for bar in missing:
        print(f"✗ {bar.what}: {folder} has no {' or '.join(bar.files)}")
    is_met = [row.is_met for row in rows] + [row.is_met for row in other_rows]
    sys.exit(bool(missing) or not all(is_met))


def _conditions() -> str:
    system = describe_system()
    versions = ", ".join(f"{name} {version}" for name, version in system.packages.items())
    return f"{system.cpu} ({', '.join(system.vector_features)}), one thread; {versions}."


def write_stock_files(model: Path, folder: Path) -> None:
    """The stock conversions of a model, float and int8."""
    loaded = load_model(model)
    fixed = for_inference(loaded, 1)
    samples = read_data(
        load_dataset(DATASET), inputs_of(loaded.inputs), CALIBRATION_IMAGES
    ).calibration
    tflite.write_float32(fixed, samples, folder / TFLITE)
    onnx_export.write_float32(fixed, samples, folder / ONNX)
    tflite.write_int8(fixed, samples, folder / "int8.tflite")
    onnx_export.write_int8(fixed, samples, folder / "int8.onnx")


def compare(folder: Path, rounds: int, seconds: float) -> Iterator[OtherRow]:
    """One row for each int8 file of a net, if its model is here to convert."""
    if not (folder / MODEL_NAME).is_file():
        return
    with tempfile.TemporaryDirectory() as temporary:
        stock = Path(temporary)
        write_stock_files(folder / MODEL_NAME, stock)
        for name, runtime in INT8.items():
            float_file = stock / f"float32{Path(name).suffix}"
            files = [stock / name, folder / name]
            times = np.array(run_in_child(time_in_turn, files, runtime, rounds, seconds))
            exact, found = (
                run_in_child(measure_accuracy, path, runtime, "cpu", 1, DATASET)
                for path in (float_file, folder / name)
            )
            yield OtherRow(
                net=folder.name,
                path=folder / name,
                float_bytes=float_file.stat().st_size,
                stock_bytes=(stock / name).stat().st_size,
                ratios=_quartiles(times[:, 1] / times[:, 0]),
                points=(exact - found) * 100,
            )


def _quartiles(ratios: NDArray[np.float64]) -> tuple[float, float, float]:
    lower, median, upper = np.percentile(ratios, (25, 50, 75))
    return float(lower), float(median), float(upper)


def measure(folder: Path, float_folder: Path, rounds: int, seconds: float) -> Iterator[Row]:
    """One row for each bar and runtime whose file exists; the files of a runtime take turns."""
    runtimes = list(dict.fromkeys(runtime for bar in BARS for runtime in bar.runtimes))
    for runtime in track(runtimes, "timing"):
        bars = [bar for bar in BARS if runtime in bar.runtimes and _find(bar, folder)]
        if not bars:
            continue
        baseline = float_folder / bars[0].float_file
        paths = [path for bar in bars if (path := _find(bar, folder))]
        files = list(dict.fromkeys([baseline, *paths]))
        times = np.array(run_in_child(time_in_turn, files, runtime, rounds, seconds))
        accuracies = {
            path: run_in_child(measure_accuracy, path, runtime, "cpu", 1, DATASET) for path in files
        }
        for bar, path in zip(bars, paths, strict=True):
            own = times[:, files.index(path)]
            yield Row(
                bar=bar,
                path=path,
                runtime=runtime,
                microseconds=float(np.median(own)),
                ratios=_quartiles(own / times[:, 0]),
                points=(accuracies[baseline] - accuracies[path]) * 100,
            )


def markdown(rows: list[Row]) -> str:
    """The rows as a table."""
    lines = [HEADER, ("---", "---", *["---:"] * (len(HEADER) - 3), "---")]
    lines += [
        (
            f"{row.bar.what}: `{row.path.name}`",
            row.runtime,
            f"{row.size_bytes:,}",
            f"≤ {row.bar.size_bytes:,}",
            f"{row.microseconds:.1f}",
            f"{row.ratios[1]:.2f} ({row.ratios[0]:.2f}…{row.ratios[2]:.2f})",
            f"≤ {row.bar.latency}",
            f"{row.points:.2f}",
            f"≤ {row.bar.points}",
            "✓" if row.is_met else "✗",
        )
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def other_markdown(rows: list[OtherRow]) -> str:
    """The other nets' rows as a table."""
    lines = [OTHER_HEADER, ("---", "---", *["---:"] * (len(OTHER_HEADER) - 3), "---")]
    lines += [
        (
            row.net,
            f"`{row.path.name}`",
            f"{row.path.stat().st_size:,}",
            f"{row.float_bytes:,}",
            f"{row.stock_bytes:,}",
            f"{row.ratios[1]:.2f} ({row.ratios[0]:.2f}…{row.ratios[2]:.2f})",
            f"{row.points:.2f}",
            "✓" if row.is_met else "✗",
        )
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _find(bar: Bar, folder: Path) -> Path | None:
    return next((folder / name for name in bar.files if (folder / name).is_file()), None)


if __name__ == "__main__":
    try:
        main()
    except EdgegolfError as error:
        print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
        sys.exit(2)
