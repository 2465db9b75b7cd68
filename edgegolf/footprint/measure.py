"""What one model file costs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgegolf.bench.bench import TIMEOUT
from edgegolf.bench.inputs import example_inputs
from edgegolf.bench.inspect_file import inspect_file
from edgegolf.bench.latency import run_for, time_calls
from edgegolf.bench.memory import ProcessMemory, measure_memory
from edgegolf.files import read_bounded
from edgegolf.footprint.heap import heap_bytes
from edgegolf.footprint.result import (
    ACTIVATIONS,
    COMPRESSED,
    COMPRESSED_UPDATE,
    FILE,
    LATENCY,
    LOADED_HEAP,
    MACS,
    PEAK_RESIDENT,
    RESTING_HEAP,
    RESTING_RESIDENT,
    UPDATE,
    Cost,
)
from edgegolf.golf.anatomy_parts import BIASES, WEIGHTS
from edgegolf.golf.model_format import model_format
from edgegolf.golf.onnx_anatomy import dissect_onnx
from edgegolf.golf.tflite_anatomy import dissect_tflite
from edgegolf.runtimes import open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.registry import find_runtime

WARM_UP_SHARE = 0.25  # of the time for the latency


@dataclass(frozen=True)
class Running:
    """A model loaded and run in a process of its own.

    Attributes:
        loaded_heap_bytes: What loading added to the heap; None where that cannot be counted.
        resting_heap_bytes: The same after the first inference, when the model waits for the next.
        latency_us: Median of single inferences, on one thread.
    """

    loaded_heap_bytes: int | None
    resting_heap_bytes: int | None
    latency_us: float


def file_costs(path: Path) -> Iterator[Cost]:
    """What a file costs wherever it runs. Raises EdgegolfError if it is damaged."""
    facts = inspect_file(path)
    weights = weight_data(path)
    yield Cost(FILE, facts.size_bytes)
    yield Cost(COMPRESSED, facts.compressed_bytes)
    yield Cost(UPDATE, len(weights))
    yield Cost(COMPRESSED_UPDATE, min(len(zlib.compress(weights, 9)), len(weights)))
    if facts.graph.activation_peak_bytes is not None:
        yield Cost(ACTIVATIONS, facts.graph.activation_peak_bytes)
    if facts.graph.macs is not None:
        yield Cost(MACS, facts.graph.macs)


def running_costs(path: Path, runtime: str, seconds: float) -> Iterator[Cost]:
    """Heap and latency of a file in a runtime.

    Args:
        path: The file.
        runtime: The runtime's name.
        seconds: How long to time it.

    Raises:
        EdgegolfError: It does not run.
    """
    running: Running = run_in_child(measure_running, path, runtime, seconds, timeout=TIMEOUT)
    if running.loaded_heap_bytes is not None and running.resting_heap_bytes is not None:
        yield Cost(LOADED_HEAP, running.loaded_heap_bytes, runtime)
        yield Cost(RESTING_HEAP, running.resting_heap_bytes, runtime)
    yield Cost(LATENCY, running.latency_us, runtime)


def resident_costs(path: Path, runtime: str) -> Iterator[Cost]:
    """Resident memory that a file adds to its runtime. Raises EdgegolfError if it does not run."""
    memory: ProcessMemory = run_in_child(measure_memory, path, runtime, "cpu", 1, timeout=TIMEOUT)
    at_rest = memory.load_rss_bytes + memory.first_inference_rss_bytes
    yield Cost(RESTING_RESIDENT, at_rest, runtime)
    yield Cost(
        PEAK_RESIDENT, max(memory.peak_rss_bytes - memory.runtime_rss_bytes, at_rest), runtime
    )


def weight_data(path: Path) -> bytes:
    """The distinct weights and biases of a file: what an update of a device has to carry."""
    dissect = dissect_tflite if model_format(path) == "tflite" else dissect_onnx
    contents = dissect(read_bounded(path), str(path)).contents
    return b"".join(dict.fromkeys(c.data for c in contents if c.role in (WEIGHTS, BIASES)))


def measure_running(path: Path, runtime: str, seconds: float) -> Running:
    """Load and run a model in this process, which should be a fresh one.

    Raises:
        EdgegolfError: It does not run.
    """
    find_runtime(runtime).check()  # imports it, so that the model's memory is counted alone
    before = heap_bytes()
    session = open_session(path, runtime)
    loaded = _since(before)
    inputs = example_inputs(session.inputs)
    before = heap_bytes()
    session.run(inputs)
    added = _since(before)
    run_for(session.invoke, seconds * WARM_UP_SHARE)
    times = time_calls(session.invoke, seconds)
    return Running(
        loaded_heap_bytes=loaded,
        resting_heap_bytes=None if loaded is None or added is None else loaded + added,
        latency_us=float(np.median(times)) / 1000,
    )


def _since(before: int | None) -> int | None:
    now = heap_bytes()
    return None if now is None or before is None else now - before
