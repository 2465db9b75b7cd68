"""The trained TightResNet's int8 files against stock float conversions of the same model.

    python benchmarks/footprint.py

Prints for each file its size, its latency relative to the float file's, timed in turn with it on
one thread, and its accuracy on the test images, each beside its bar. Ends with exit code 1 if a bar
is missed or a file is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from interleaved import time_in_turn

from edgegolf.bench.accuracy import measure_accuracy
from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.export import onnx_export, tflite
from edgegolf.export.model import for_inference, load_model
from edgegolf.export.samples import Samples
from edgegolf.progress import track
from edgegolf.runtimes.child import run_in_child
from edgegolf.workspace import MODEL_NAME, model_folder

DATASET, NET = "mnist", "tight_resnet"
TFLITE, ONNX = "float32.tflite", "float32.onnx"


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="how often each file is timed")
    parser.add_argument("--seconds", type=float, default=0.03, help="per file and round")
    arguments = parser.parse_args()
    folder = model_folder(DATASET, NET)
    load_dataset(DATASET)
    with tempfile.TemporaryDirectory() as temporary:
        write_float_files(folder / MODEL_NAME, Path(temporary))
        rows = list(measure(folder, Path(temporary), arguments.rounds, arguments.seconds))
    print(markdown(rows))
    missing = [bar for bar in BARS if _find(bar, folder) is None]
    for bar in missing:
        print(f"✗ {bar.what}: {folder} has no {' or '.join(bar.files)}")
    sys.exit(bool(missing) or not all(row.is_met for row in rows))


def write_float_files(model: Path, folder: Path) -> None:
    """The stock float conversions of a model."""
    fixed = for_inference(load_model(model), 1)
    samples = Samples((np.zeros((1, 28, 28, 1), np.float32),))  # float files need none
    tflite.write_float32(fixed, samples, folder / TFLITE)
    onnx_export.write_float32(fixed, samples, folder / ONNX)


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
            quartiles = np.percentile(own / times[:, 0], (25, 50, 75))
            yield Row(
                bar=bar,
                path=path,
                runtime=runtime,
                microseconds=float(np.median(own)),
                ratios=tuple(map(float, quartiles)),  # type: ignore[arg-type]
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


def _find(bar: Bar, folder: Path) -> Path | None:
    return next((folder / name for name in bar.files if (folder / name).is_file()), None)


if __name__ == "__main__":
    try:
        main()
    except EdgegolfError as error:
        print(f"error: {error.message}\n  {error.hint}", file=sys.stderr)
        sys.exit(2)
