"""The median latency alone, for tables that show many files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgegolf.bench.bench import TIMEOUT
from edgegolf.bench.latency import TimedModel, measure_latency
from edgegolf.progress import track
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.registry import preferred_runtime

MIN_TIME = 0.4  # seconds of timed inferences: thousands of them for a tiny net
WARM_UP = 0.1


def median_latencies(paths: Iterable[Path]) -> dict[Path, float]:
    """p50 in microseconds of each file, in its preferred runtime, on one thread of the CPU.

    Raises:
        EdgegolfError: A file does not run.
    """
    return {path: _median_latency(path) for path in track(tuple(paths), "timing")}


def _median_latency(path: Path) -> float:
    timed: TimedModel = run_in_child(
        measure_latency, path, preferred_runtime(path), "cpu", 1, MIN_TIME, WARM_UP, None,
        timeout=TIMEOUT,
    )  # fmt: skip
    return timed.latency.p50
