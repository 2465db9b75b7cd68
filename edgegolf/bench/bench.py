"""Benchmarks model files; every measurement runs in a process of its own."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgegolf.bench.accuracy import dataset_of, measure_accuracy
from edgegolf.bench.energy import POWERCAP, measure_energy
from edgegolf.bench.graph_statistics import read_census
from edgegolf.bench.inspect_file import FileFacts, inspect_file
from edgegolf.bench.latency import TimedModel, measure_latency
from edgegolf.bench.memory import ProcessMemory, measure_memory
from edgegolf.bench.result import BenchResult, Energy, Memory
from edgegolf.bench.system import after_measurement, describe_system
from edgegolf.cards import stale_warning
from edgegolf.data import DatasetUnavailableError, named_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.ir.opaque import Opaque
from edgegolf.progress import track
from edgegolf.runtimes.child import patience, run_in_child
from edgegolf.runtimes.onnxruntime import check_provider
from edgegolf.runtimes.registry import (
    MAXIMUM_THREADS,
    find_runtime,
    preferred_runtime,
    runtimes_for,
)
from edgegolf.runtimes.worker import run_in_fork

TIMEOUT = 900.0  # seconds for one measurement; a damaged file can hold an endless loop


@dataclass(frozen=True)
class BenchOptions:
    """What to measure."""

    # Names; each file runs in those of them that are for its kind. Empty: in the preferred one that
    # is installed.
    runtimes: tuple[str, ...] = ()
    providers: tuple[str, ...] = ("cpu",)  # what to run on
    threads: tuple[int, ...] = (1,)  # numbers of threads
    min_time: float = 2.0  # seconds of timed inferences
    warm_up: float = 0.5  # seconds of untimed inferences before
    # The data set to judge by. None: the one that the card beside the file names, and no accuracy
    # where there is no card.
    accuracy: str | None = None
    cpu: int | None = None  # the core to measure latency on. None: the kernel chooses.
    energy: bool = False  # whether to measure energy, where there is a meter


@dataclass(frozen=True)
class Case:
    """One row: a file in a runtime on a provider with a number of threads."""

    path: Path
    runtime: str
    provider: str
    threads: int


def cases(paths: Iterable[Path], options: BenchOptions) -> tuple[Case, ...]:
    """Every combination to measure: a file in those runtimes and on those providers that fit.

    Raises:
        EdgegolfError: There is no runtime of a name, or none of those or of the providers fits
            a file.
    """
    for name in options.runtimes:
        find_runtime(name)
    return tuple(
        Case(path, runtime, provider, threads)
        for path in paths
        for runtime, provider in _places(path, options)
        for threads in options.threads
    )


def check_options(options: BenchOptions) -> None:
    """Look whether what was asked for can be had here.

    Raises:
        EdgegolfError: It cannot: a data set, a provider, a core, or a number of threads.
    """
    for provider in options.providers:
        if provider != "cpu":
            check_provider(provider)
    if options.accuracy is not None:
        named_dataset(options.accuracy)
    if max(options.threads) > MAXIMUM_THREADS:
        raise EdgegolfError(f"{max(options.threads)} threads are more than {MAXIMUM_THREADS}")
    if options.cpu is not None and hasattr(os, "sched_getaffinity"):
        cores = os.sched_getaffinity(0)
        if options.cpu not in cores:
            there = ", ".join(map(str, sorted(cores)))
            raise EdgegolfError(f"there is no core {options.cpu}", hint=f"one of {there}")


def bench(
    paths: Iterable[Path],
    options: BenchOptions = BenchOptions(),
) -> Iterator[BenchResult]:
    """Measure model files, one result at a time.

    A file that cannot be measured gives a result with `error` set, and the others go on.

    Args:
        paths: `.tflite` and `.onnx` files.
        options: What to measure.

    Raises:
        EdgegolfError: The options or a suffix make no sense.
    """
    check_options(options)
    rows = cases(paths, options)
    # Each file is inspected once, however often it is run.
    inspected = functools.lru_cache(maxsize=1)(_inspected)
    return (_measure(case, options, inspected) for case in track(rows, "benchmarking"))


def _inspected(path: Path) -> FileFacts | EdgegolfError:
    try:
        return inspect_file(path)
    except EdgegolfError as error:
        return error


def _measure(
    case: Case, options: BenchOptions, inspected: Callable[[Path], FileFacts | EdgegolfError]
) -> BenchResult:
    """Measure one row. What goes wrong is in the result's `error`."""
    result = BenchResult(
        file=str(case.path),
        runtime=case.runtime,
        provider=case.provider,
        threads=case.threads,
        pinned_cpu=options.cpu,
        min_time=options.min_time,
        warm_up=options.warm_up,
        system=describe_system(),
    )
    try:
        facts = inspected(case.path)
        if isinstance(facts, EdgegolfError):
            raise facts
        return _measured(result, case, options, facts)
    except EdgegolfError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return replace(result, error=f"{error.message}{hint}")


def _measured(
    result: BenchResult, case: Case, options: BenchOptions, facts: FileFacts
) -> BenchResult:
    find_runtime(case.runtime).check()
    model = (case.path, case.runtime, case.provider, case.threads)
    resident: ProcessMemory = run_in_child(
        measure_memory, *model, timeout=TIMEOUT, busy=patience(case.path)
    )
    timed: TimedModel = run_in_child(
        measure_latency, *model, options.min_time, options.warm_up, options.cpu, timeout=TIMEOUT
    )
    system = after_measurement(result.system)
    judged = _judged(case, options)
    energy, no_energy = _energy(model, options)
    stale = stale_warning(case.path)
    return replace(
        result,
        system=system,
        inputs=timed.inputs,
        size_bytes=facts.size_bytes,
        compressed_bytes=facts.compressed_bytes,
        parameters=facts.graph.parameters,
        macs=facts.graph.macs,
        latency_us=timed.latency,
        memory=Memory(
            **asdict(resident),
            weights_bytes=facts.graph.weights_bytes,
            activation_peak_bytes=facts.graph.activation_peak_bytes,
            state_bytes=facts.graph.state_bytes,
        ),
        energy=energy,
        dataset=judged.dataset,
        accuracy=judged.accuracy,
        warnings=(
            *timed.warnings,
            *judged.warnings,
            *no_energy,
            *([stale] if stale else []),
            *_wrong_kernels(case),
        ),
        sha256=facts.sha256,
    )


def _wrong_kernels(case: Case) -> tuple[str, ...]:
    """What a runtime is known to compute wrongly in a file, without saying so."""
    if case.runtime != "tflite-runtime":
        return ()
    nodes = (node for graph in read_census(case.path).distinct for node in graph.nodes)
    convolved = (
        [tensor.dtype for tensor in node.inputs[:2] if tensor is not None]
        for node in nodes
        if isinstance(node.op, Opaque) and node.op.name == "CONV_2D"
    )
    if ["float32", "int4"] not in convolved:
        return ()
    return (
        "tflite-runtime takes int4 filters of float convolutions for int8: its outputs are garbage",
    )


def _energy(
    model: tuple[Path, str, str, int], options: BenchOptions
) -> tuple[Energy | None, tuple[str, ...]]:
    """The energy of an inference, or why it is not known; neither if it was not asked for."""
    if not options.energy:
        return None, ()
    how = (options.min_time, options.cpu, POWERCAP)
    try:
        return run_in_child(measure_energy, *model, *how, timeout=TIMEOUT), ()
    except EdgegolfError as error:
        return None, (f"energy not measured: {error.message} ({error.hint})",)


@dataclass(frozen=True)
class _Judgement:
    dataset: str | None = None
    accuracy: float | None = None
    warnings: tuple[str, ...] = ()


def _judged(case: Case, options: BenchOptions) -> _Judgement:
    dataset = options.accuracy or dataset_of(case.path)
    if dataset is None:
        return _Judgement()
    model = (case.path, case.runtime, case.provider, case.threads)
    try:
        return _Judgement(dataset, run_in_fork(measure_accuracy, *model, dataset, timeout=TIMEOUT))
    except DatasetUnavailableError as error:
        if options.accuracy:
            raise
        return _Judgement(warnings=(f"accuracy not measured: {error.message}",))


def _places(path: Path, options: BenchOptions) -> Iterator[tuple[str, str]]:
    runtimes = _runtimes(path, options.runtimes)
    # Of the runtimes only one has providers.
    places = [
        (runtime, provider)
        for runtime in runtimes
        for provider in options.providers
        if runtime == "onnxruntime" or provider == "cpu"
    ]
    if not places:
        raise EdgegolfError(f"{path} does not run on {', '.join(options.providers)}, only on cpu")
    yield from places


def _runtimes(path: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    if not wanted:
        return (preferred_runtime(path),)
    fitting = tuple(name for name in wanted if name in runtimes_for(path))
    if not fitting:
        raise EdgegolfError(
            f"{path} does not run in {', '.join(wanted)}",
            hint=f"use --runtime {' or '.join(runtimes_for(path))}",
        )
    return fitting
