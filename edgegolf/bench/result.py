"""The record of one benchmark, `edgegolf.bench/1`; docs/bench.md describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgegolf.bench.system import System
from edgegolf.files import read_bounded
from edgegolf.records import MAXIMUM_BYTES, list_from_json


@dataclass(frozen=True)
class Latency:
    """Times of one model, in microseconds except the counts."""

    load: float  # reading the file and preparing it to run; the runtime is imported before
    first: float  # the first inference
    # The median of single inferences after the warm-up. Copying inputs and outputs is not part of
    # it.
    p50: float
    p90: float  # nine of ten inferences take no longer
    p99: float  # 99 of 100 take no longer
    minimum: float  # the shortest inference
    mean: float  # of all inferences, outliers included
    standard_deviation: float  # of all inferences, outliers included
    samples: int  # how many inferences were timed
    # How many of them took longer than the third quartile plus three times the distance between the
    # quartiles (Tukey 1977).
    outliers: int
    input_copy: float  # median time to copy the inputs into the runtime
    output_copy: float  # median time to copy the outputs out
    # Median time of timing an inference that does nothing. It is part of the figures above.
    overhead: float


@dataclass(frozen=True)
class Memory:
    """Memory of one model, in bytes.

    The first five are resident sets measured in a process of their own, with Python and numpy
    subtracted; the last three are computed from the graph.
    """

    python_rss_bytes: int  # what was subtracted
    runtime_rss_bytes: int  # what importing the runtime adds
    load_rss_bytes: int  # what loading the model adds
    first_inference_rss_bytes: int  # what the first inference adds
    peak_rss_bytes: int  # the largest resident set up to the end of the first inference
    weights_bytes: int | None  # constants that are read, equal ones counted once
    # Largest sum of the tensors alive at a time, batch size 1, without state; None if a shape is
    # unknown.
    activation_peak_bytes: int | None
    # What is kept from one inference to the next; None if a size is unknown.
    state_bytes: int | None = None


@dataclass(frozen=True)
class Energy:
    """What inferences one after another take more than the machine does while it waits."""

    meter: str  # what was read, such as `RAPL package-0`
    joules: float  # of an inference, without what the idle machine takes
    idle_watts: float  # while the process slept, with the model loaded
    busy_watts: float  # while it ran inferences
    inferences: int  # how many


@dataclass(frozen=True)
class BenchResult:
    """One model file in one runtime, with the conditions of the measurement."""

    SCHEMA: ClassVar[str] = "edgegolf.bench/1"

    file: str  # the path as it was given
    runtime: str  # the runtime's name
    provider: str  # what it ran on
    threads: int  # how many threads an operator might use
    system: System  # the machine
    error: str | None = None  # why there are no figures; None if there are
    # Name, type and shape of each input; what open dimensions were set to is a warning.
    inputs: tuple[str, ...] = ()
    # Of the file, with the files that an `.onnx` file keeps its weights in.
    size_bytes: int | None = None
    compressed_bytes: int | None = None  # the same bytes through zlib at level 9
    parameters: int | None = None  # weights and biases, shared ones counted once
    macs: int | None = None  # multiply-accumulates of one inference; None if unknown
    latency_us: Latency | None = None  # times
    memory: Memory | None = None  # memory
    energy: Energy | None = None  # if it was asked for, and there is a meter
    accuracy: float | None = None  # fraction of the data set's test images classified rightly
    dataset: str | None = None  # the data set of the accuracy
    pinned_cpu: int | None = None  # the core that the latency was measured on, if one was asked for
    min_time: float = 0.0  # seconds of inferences that were asked for
    warm_up: float = 0.0  # seconds of untimed inferences before
    warnings: tuple[str, ...] = ()  # what to keep in mind when reading the figures
    # The host that it was measured on, as `--on` named it; None is this machine.
    machine: str | None = None
    # Of the file's content, with the files that an `.onnx` file keeps its weights in.
    sha256: str | None = None


def read_results(path: Path) -> tuple[BenchResult, ...]:
    """Results from a file that `edgegolf bench --json` wrote.

    Raises:
        EdgegolfError: The file cannot be read or is not a list of such results.
    """
    return list_from_json(read_bounded(path, MAXIMUM_BYTES), BenchResult, str(path))
