"""Measures the files that a network can be deployed as."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import ClassVar, Literal

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.model_source import Compiled
from edgegolf.export.samples import Samples
from edgegolf.export.verify import compare, feed, run_file
from edgegolf.files import sha256, write_atomically
from edgegolf.runtimes import Array, Session, installed_runtimes, open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.registry import preferred_runtime
from edgegolf.side_by_side import available_cores

Compute = Literal["float32", "float16", "int8", "int8-weights", "int4-weights", "int2-weights"]
# Of each file: microseconds, their ratio to the first file's, and how far the middle half of these
# ratios lies apart, a fraction of it; None where it does not run.
Latencies = list[tuple[float, float, float] | None]

LATENCY_ROUNDS = 40
SECONDS_PER_ROUND = 0.003
TIMEOUT = 900.0  # seconds for one kind of measurement of all files


@dataclass(frozen=True)
class Draft:
    """One file before it is measured.

    Attributes:
        name: What is special about it.
        compute: The arithmetic: `int8-weights` computes in float32.
        data: The file.
        shared: Whether it holds a block of weights once that stock converters do not.
        compiled: Whether it was written from the graph, whose axes may not be the model's.
    """

    name: str
    compute: Compute
    data: bytes = field(repr=False)
    shared: bool = False
    compiled: bool = True


@dataclass(frozen=True)
class Task:
    """What files are to compute.

    Attributes:
        names: What converters call the inputs.
        samples: What the model is given.
        expected: What it answers.
        compiled: The model as a graph, None where there is none.
    """

    names: tuple[str, ...]
    samples: Samples
    expected: tuple[Array, ...]
    compiled: Compiled | None = None

    def given(self, compiled: bool) -> Samples:
        """The samples, in the layout of the model or in that of its graph."""
        if not compiled or self.compiled is None:
            return self.samples
        return self.compiled.given(self.samples)

    def names_in(self, compiled: bool) -> tuple[str, ...] | None:
        """What the inputs are found by; the compiler keeps their order."""
        return None if compiled else self.names

    def run(self, path: Path, compiled: bool, samples: Samples | None = None) -> list[Array]:
        """A file's outputs for samples in its layout, in the model's layout."""
        given = self.given(compiled) if samples is None else samples
        found = run_file(path, self.names_in(compiled), given)
        if not compiled or self.compiled is None:
            return found
        return self.compiled.answers(found)


@dataclass(frozen=True)
class Candidate:
    """One file that a network can be deployed as.

    Attributes:
        name: What is special about it.
        compute: The arithmetic: `int8-weights` computes in float32.
        size_bytes: Its size.
        accuracy: On the validation samples, a fraction; None where outputs are no classes.
        sqnr: The worst output's signal-to-quantization-noise ratio against the model, dB.
        latency_us: Median of one inference on one thread, by runtime that runs it.
        latency_ratio: The same divided by the stock float32 file's, both measured alternately.
        data: The file.
        shared: As in `Draft`.
        compiled: As in `Draft`.
        scatter: How far the middle half of the ratios lies apart in the preferred runtime, a
            fraction of their median.
    """

    SCHEMA: ClassVar[str] = "edgegolf.candidate/2"

    name: str
    compute: Compute
    size_bytes: int
    accuracy: float | None
    sqnr: float
    latency_us: Mapping[str, float]
    latency_ratio: Mapping[str, float]
    data: bytes = field(repr=False)
    shared: bool = False
    compiled: bool = True
    scatter: float = 0.0


def outputs_of(data: bytes, samples: Samples, suffix: str, laid_out: Compiled) -> list[Array]:
    """What a file gives for samples in the graph's layout, float32 [n, …] each in it, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"choice{suffix}"
        path.write_bytes(data)
        return laid_out.answers(run_file(path, None, laid_out.given(samples)))


def measure(drafts: Sequence[Draft], suffix: str, task: Task) -> tuple[Candidate, ...]:
    """Quality and latency of each file, in every installed runtime that runs its kind.

    Runs in processes of their own: a runtime may crash, and tflite-runtime does not load where
    TensorFlow is loaded.

    Drafts that the preferred runtime does not run are left out.

    Args:
        drafts: The first one is the float32 file that latencies are compared with.
        suffix: `.tflite` or `.onnx`.
        task: What quality is measured on.

    Raises:
        EdgegolfError: The first file does not run, or one crashes the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}{suffix}" for index in range(len(drafts))]
        for path, draft in zip(paths, drafts, strict=True):
            path.write_bytes(draft.data)
        compiled = [draft.compiled for draft in drafts]
        preferred = preferred_runtime(paths[0])
        others = set(installed_runtimes(paths[0])) - {preferred, "litert-reference"}
        qualities = run_in_child(qualities_of, paths, compiled, task, timeout=TIMEOUT)
        one = Task(task.names, task.samples.take(1), (), task.compiled)
        latencies = {
            name: latencies_on_this_machine(paths, name, compiled, one)
            for name in (preferred, *sorted(others))
        }
    candidates = []
    for index, (draft, quality) in enumerate(zip(drafts, qualities, strict=True)):
        found = {name: times for name, each in latencies.items() if (times := each[index])}
        if quality is None or preferred not in found:
            continue
        candidates.append(
            Candidate(
                name=draft.name,
                compute=draft.compute,
                size_bytes=len(draft.data),
                accuracy=quality[0],
                sqnr=quality[1],
                latency_us={name: times[0] for name, times in found.items()},
                latency_ratio={name: times[1] for name, times in found.items()},
                data=draft.data,
                shared=draft.shared,
                compiled=draft.compiled,
                scatter=found[preferred][2],
            )
        )
    return tuple(candidates)


def latencies_on_this_machine(
    paths: Sequence[Path], runtime: str, compiled: Sequence[bool], task: Task
) -> Latencies:
    """What `latencies_of` gives, measured once for the same files, runtime and machine.

    What is chosen by it is then the same in every export of a model. The measurements are kept in
    the user's cache folder; without it, they are made anew.
    """
    from platformdirs import user_cache_path

    known = [runtime, _versions(), platform.processor(), platform.node(), *map(sha256, paths)]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    cached = user_cache_path("edgegolf") / "latencies" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        known_times = json.loads(cached.read_bytes())
        if len(known_times) == len(paths):
            return [None if each is None else _times(*each) for each in known_times]
    found = run_in_child(latencies_of, paths, runtime, compiled, task, timeout=TIMEOUT)
    with contextlib.suppress(EdgegolfError):
        write_atomically(cached, json.dumps(found))
    return found


def _times(microseconds: float, ratio: float, scatter: float) -> tuple[float, float, float]:
    return float(microseconds), float(ratio), float(scatter)


def _versions() -> list[str]:
    """Of the packages that run files, where they are installed."""
    found = []
    for package in ("ai-edge-litert", "tflite-runtime", "onnxruntime"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return found


def qualities_of(
    paths: Sequence[Path], compiled: Sequence[bool], task: Task
) -> list[tuple[float | None, float] | None]:
    """Accuracy, where there is one, and SQNR of each file; None where it does not run.

    Raises:
        EdgegolfError: The first file does not run.
    """
    found: list[tuple[float | None, float] | None] = []
    for path, is_compiled in zip(paths, compiled, strict=True):
        try:
            outputs = _outputs(path, is_compiled, task)
        except EdgegolfError:
            if not found:
                raise
            found.append(None)
            continue
        judged = compare(outputs, task.expected, task.samples)
        found.append((judged.accuracy, min(output.sqnr for output in judged.outputs)))
    return found


def _outputs(path: Path, compiled: bool, task: Task) -> list[Array]:
    """What a file gives, with a session on every core."""
    given = task.given(compiled)
    parts = np.array_split(np.arange(len(given)), min(available_cores(), len(given)))
    with ThreadPoolExecutor(len(parts)) as pool:
        found = pool.map(lambda part: task.run(path, compiled, given.at(part)), parts)
        return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def latencies_of(
    paths: Sequence[Path], runtime: str, compiled: Sequence[bool], task: Task
) -> Latencies:
    """Of each file in one runtime.

    The files take turns, so that whatever else the machine does slows all of them alike.
    """
    sessions: dict[int, Session] = {}
    for index, (path, is_compiled) in enumerate(zip(paths, compiled, strict=True)):
        with contextlib.suppress(EdgegolfError):
            session = open_session(path, runtime)
            arrays = next(task.given(is_compiled).batches(session.inputs[0].shape[0] or 1))
            session.set_inputs(feed(session, task.names_in(is_compiled), arrays))
            session.invoke()
            sessions[index] = session
    if 0 not in sessions:
        return [None] * len(paths)
    times = dict(zip(sessions, _take_turns([*sessions.values()]), strict=True))
    return [times.get(index) for index in range(len(paths))]


def _take_turns(sessions: Sequence[Session]) -> list[tuple[float, float, float]]:
    """The median microseconds of each, its median ratio to the first, and how that scatters."""
    rounds = np.array(
        [[_microseconds(session) for session in sessions] for _ in range(LATENCY_ROUNDS)]
    )
    medians = np.median(rounds, axis=0)
    low, ratios, high = np.quantile(rounds / rounds[:, :1], (0.25, 0.5, 0.75), axis=0)
    return list(map(_times, medians, ratios, (high - low) / ratios))


def _microseconds(session: Session) -> float:
    session.invoke()
    end = time.perf_counter() + SECONDS_PER_ROUND
    times: list[float] = []
    while not times or time.perf_counter() < end:
        started = time.perf_counter()
        session.invoke()
        times.append(time.perf_counter() - started)
    return median(times) * 1e6
