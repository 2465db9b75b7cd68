"""The record of one benchmark, `edgegolf.bench/1`; docs/bench.md describes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgegolf.bench.system import System
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.records import from_dict, parse_json, to_dict

MAXIMUM_RESULTS_BYTES = 1 << 28


@dataclass(frozen=True)
class Latency:
    """Times of one model, in microseconds except the counts.

    Attributes:
        load: Reading the file and preparing it to run; the runtime is imported before.
        first: The first inference.
        p50: The median of single inferences after the warm-up. Copying inputs and outputs is
            not part of it.
        p90: Nine of ten inferences take no longer.
        p99: 99 of 100 take no longer.
        minimum: The shortest inference.
        mean: Of all inferences, outliers included.
        standard_deviation: Of all inferences, outliers included.
        samples: How many inferences were timed.
        outliers: How many of them took longer than the third quartile plus three times the
            distance between the quartiles (Tukey 1977).
        input_copy: Median time to copy the inputs into the runtime.
        output_copy: Median time to copy the outputs out.
        overhead: Median time of timing an inference that does nothing. It is part of the
            figures above.
    """

    load: float
    first: float
    p50: float
    p90: float
    p99: float
    minimum: float
    mean: float
    standard_deviation: float
    samples: int
    outliers: int
    input_copy: float
    output_copy: float
    overhead: float


@dataclass(frozen=True)
class Memory:
    """Memory of one model, in bytes.

    The first five are resident sets measured in a process of their own, with Python and numpy
    subtracted; the last three are computed from the graph.

    Attributes:
        python_rss_bytes: What was subtracted.
        runtime_rss_bytes: What importing the runtime adds.
        load_rss_bytes: What loading the model adds.
        first_inference_rss_bytes: What the first inference adds.
        peak_rss_bytes: The largest resident set up to the end of the first inference.
        weights_bytes: Constants that are read, equal ones counted once.
        activation_peak_bytes: Largest sum of the tensors alive at a time, batch size 1, without
            state; None if a shape is unknown.
        state_bytes: What is kept from one inference to the next; None if a size is unknown.
    """

    python_rss_bytes: int
    runtime_rss_bytes: int
    load_rss_bytes: int
    first_inference_rss_bytes: int
    peak_rss_bytes: int
    weights_bytes: int | None
    activation_peak_bytes: int | None
    state_bytes: int | None = None


@dataclass(frozen=True)
class BenchResult:
    """One model file in one runtime, with the conditions of the measurement.

    Attributes:
        file: The path as it was given.
        runtime: The runtime's name.
        provider: What it ran on.
        threads: How many threads an operator might use.
        error: Why there are no figures; None if there are.
        inputs: Name, type and shape of each input; what open dimensions were set to is a warning.
        size_bytes: Of the file, with the files that an `.onnx` file keeps its weights in.
        compressed_bytes: The same bytes through zlib at level 9.
        parameters: Weights and biases, shared ones counted once.
        macs: Multiply-accumulates of one inference; None if unknown.
        latency_us: Times.
        memory: Memory.
        accuracy: Fraction of the data set's test images classified rightly.
        dataset: The data set of the accuracy.
        pinned_cpu: The core that the latency was measured on, if one was asked for.
        min_time: Seconds of inferences that were asked for.
        warm_up: Seconds of untimed inferences before.
        system: The machine.
        warnings: What to keep in mind when reading the figures.
        machine: The host that it was measured on, as `--on` named it; None is this machine.
        sha256: Of the file's content, with the files that an `.onnx` file keeps its weights in.
    """

    SCHEMA: ClassVar[str] = "edgegolf.bench/1"

    file: str
    runtime: str
    provider: str
    threads: int
    system: System
    error: str | None = None
    inputs: tuple[str, ...] = ()
    size_bytes: int | None = None
    compressed_bytes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    latency_us: Latency | None = None
    memory: Memory | None = None
    accuracy: float | None = None
    dataset: str | None = None
    pinned_cpu: int | None = None
    min_time: float = 0.0
    warm_up: float = 0.0
    warnings: tuple[str, ...] = ()
    machine: str | None = None
    sha256: str | None = None


def results_to_json(results: Sequence[BenchResult]) -> str:
    """The results as a JSON list."""
    return json.dumps([to_dict(result) for result in results], indent=2, allow_nan=False) + "\n"


def read_results(path: Path) -> tuple[BenchResult, ...]:
    """Results from a file that `results_to_json` wrote.

    Raises:
        EdgegolfError: The file cannot be read or is not a list of such results.
    """
    return parse_results(read_bounded(path, MAXIMUM_RESULTS_BYTES), str(path))


def parse_results(text: str | bytes, source: str) -> tuple[BenchResult, ...]:
    """Results from the JSON list that `results_to_json` makes.

    Args:
        text: The JSON.
        source: What to call it in an error, such as a file name.

    Raises:
        EdgegolfError: It is not a list of such results.
    """
    data = parse_json(text, source)
    if not isinstance(data, list):
        raise EdgegolfError(
            f"{source} is not a list of results", hint="make it with edgegolf bench --json"
        )
    return tuple(
        from_dict(item, BenchResult, f"{source}, result {number}")
        for number, item in enumerate(data, start=1)
    )
