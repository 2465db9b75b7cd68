"""Times of single inferences."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, perf_counter_ns

import numpy as np

from edgegolf.bench.inputs import example_inputs, run_closed
from edgegolf.bench.result import Latency
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import Array, Session, TensorInfo, open_session
from edgegolf.runtimes.registry import find_runtime
from edgegolf.runtimes.session import Nothing

OUTLIER_FENCE = 3.0  # quartile distances above the third quartile; Tukey's "far out"
NOISY_P90 = 1.2  # p90 over p50 of an undisturbed machine stays well below this
NOISY_DRIFT = 1.1  # so does the largest over the smallest median of ten windows
WINDOWS = 10
COPY_SHARE = 0.1  # of the time goes to measuring the copies
OVERHEAD_SECONDS = 0.01
MAXIMUM_SAMPLES = 50_000_000


@dataclass(frozen=True)
class TimedModel:
    """What `measure_latency` finds: the times, the inputs they hold for, what disturbed them."""

    latency: Latency
    inputs: tuple[str, ...]
    warnings: tuple[str, ...]


def measure_latency(
    path: Path,
    runtime: str,
    provider: str,
    threads: int,
    min_time: float,
    warm_up: float,
    cpu: int | None,
) -> TimedModel:
    """Time a model in this process, which should do nothing else.

    Args:
        path: The model file.
        runtime: The runtime's name.
        provider: What it runs on.
        threads: How many threads an operator may use.
        min_time: Seconds of timed inferences; at least one is timed.
        warm_up: Seconds of untimed inferences before.
        cpu: The core to stay on; None lets the kernel choose.

    Raises:
        EdgegolfError: The model cannot be run, or the core cannot be chosen.
    """
    if cpu is not None:
        pin(cpu)
    find_runtime(runtime).check()  # imports it, so that the load time is the model's alone
    start = perf_counter_ns()
    session = open_session(path, runtime, provider, threads)
    load = perf_counter_ns() - start

    def first_inference(infos: tuple[TensorInfo, ...]) -> tuple[list[Array], int]:
        inputs = example_inputs(infos)
        session.set_inputs(inputs)
        return inputs, int(time_calls(session.invoke, 0.0)[0])

    open_size, (inputs, first) = run_closed(session, first_inference)
    run_for(session.invoke, warm_up)
    samples = time_calls(session.invoke, min_time)
    input_copy, output_copy = _time_copies(session, inputs, min_time * COPY_SHARE)
    return TimedModel(
        Latency(
            load=load / 1000,
            first=first / 1000,
            **statistics(samples),  # type: ignore[arg-type]
            input_copy=input_copy,
            output_copy=output_copy,
            overhead=overhead(),
        ),
        tuple(map(str, session.inputs)),
        (*_open_dimensions(session, open_size), *noise_warnings(samples)),
    )


def pin(cpu: int) -> None:
    """Keep this process on one core.

    Raises:
        EdgegolfError: There is no such core, or the system cannot do this.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise EdgegolfError("this system cannot pin a process to a core")
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError, OverflowError):
        cores = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise EdgegolfError(f"there is no core {cpu} to pin to; use one of {cores}") from None


def run_for(call: Callable[[], None], seconds: float) -> None:
    """Call again and again until the time is over."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        call()


def time_calls(call: Callable[[], None], seconds: float) -> Array:
    """Time single calls until their times add up to `seconds`; at least one.

    Returns:
        int64, the time of each call in nanoseconds.
    """
    samples = array("q")
    left = int(seconds * 1e9)
    while True:
        start = perf_counter_ns()
        call()
        taken = perf_counter_ns() - start
        samples.append(taken)
        left -= taken
        if left <= 0 or len(samples) == MAXIMUM_SAMPLES:
            return np.frombuffer(samples, np.int64)


def statistics(samples: Array) -> dict[str, float | int]:
    """Those fields of `Latency` that come from the times in nanoseconds."""
    microseconds = samples / 1000
    lower, median, upper, p90, p99 = np.percentile(microseconds, (25, 50, 75, 90, 99))
    fence = upper + OUTLIER_FENCE * (upper - lower)
    return {
        "p50": float(median),
        "p90": float(p90),
        "p99": float(p99),
        "minimum": float(microseconds.min()),
        "mean": float(microseconds.mean()),
        "standard_deviation": float(microseconds.std()),
        "samples": len(samples),
        "outliers": int((microseconds > fence).sum()),
    }


def noise_warnings(samples: Array) -> tuple[str, ...]:
    """What the spread of the times says about the machine; empty if it was quiet."""
    median, p90 = np.percentile(samples, (50, 90))
    warnings = []
    if p90 > NOISY_P90 * median:
        warnings.append(f"noisy machine: p90 is {p90 / median:.2f} times p50")
    if len(samples) >= WINDOWS * 10:
        medians = [np.median(window) for window in np.array_split(samples, WINDOWS)]
        drift = max(medians) / min(medians)
        if drift > NOISY_DRIFT:
            warnings.append(f"unsteady machine: medians of {WINDOWS} windows vary {drift:.2f}-fold")
    return tuple(warnings)


def overhead() -> float:
    """Median microseconds that timing adds to an inference, from a model that does nothing."""
    return float(np.median(time_calls(Nothing().invoke, OVERHEAD_SECONDS))) / 1000


def _time_copies(session: Session, inputs: list[Array], seconds: float) -> tuple[float, float]:
    times: list[tuple[int, int, int, int]] = []
    end = perf_counter() + seconds
    while not times or perf_counter() < end:
        start = perf_counter_ns()
        session.set_inputs(inputs)
        copied_in = perf_counter_ns()
        session.invoke()
        ran = perf_counter_ns()
        session.get_outputs()
        times.append((start, copied_in, ran, perf_counter_ns()))
    taken_in, _, taken_out = (np.median(np.diff(times), axis=0) / 1000).tolist()
    return taken_in, taken_out


def _open_dimensions(session: Session, size: int) -> tuple[str, ...]:
    other = "" if size == 1 else ": it fails with 1, for which the figures of the file are"
    return tuple(
        f"open dimensions of the input {info} were set to {size}{other}"
        for info in session.inputs
        if None in info.shape
    )
