"""Compares the median latency of `edgegolf bench` with what the runtime's own tool finds.

    python benchmarks/fidelity.py models/mnist/tight_resnet/*.tflite

Both run in fresh processes in turn, several times; of each the round with the smallest median, the
least disturbed one, counts. Ends with exit code 1 if they are more than 10 % apart for a file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from runtime_tools import litert_benchmark, onnxruntime_loop

from edgegolf.bench.latency import measure_latency
from edgegolf.progress import track
from edgegolf.runtimes.child import run_in_child

SECONDS = 0.5
WARM_UP_SECONDS = 0.2
TOLERANCE = 0.10
TOOLS: dict[str, tuple[str, Callable[[Path, int], float]]] = {
    ".tflite": ("litert", litert_benchmark),
    ".onnx": ("onnxruntime", onnxruntime_loop),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=15, help="how often each side runs")
    arguments = parser.parse_args()
    print(f"{'bench, µs':>10} {'tool, µs':>10} {'ratio':>6}  file, tool")
    ratios = [compare(path, arguments.rounds) for path in arguments.files]
    sys.exit(any(abs(ratio - 1) > TOLERANCE for ratio in ratios))


def compare(path: Path, rounds: int) -> float:
    """Print one line for a file; bench's smallest median over the tool's."""
    runtime, tool = TOOLS[path.suffix]
    ours, theirs = [], []
    for _ in track(range(rounds), str(path)):
        timed = run_in_child(
            measure_latency, path, runtime, "cpu", 1, SECONDS, WARM_UP_SECONDS, None
        )
        ours.append(timed.latency.p50)
        theirs.append(run_in_child(tool, path, timed.latency.samples))
    ratio = min(ours) / min(theirs)
    print(
        f"{min(ours):10.1f} {min(theirs):10.1f} {ratio:6.3f}  {path}, {tool.__name__}", flush=True
    )
    return ratio


if __name__ == "__main__":
    main()
