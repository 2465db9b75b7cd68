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
from itertools import count
from math import inf
from pathlib import Path
from statistics import median
from typing import Literal, TypeAlias

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.model_source import Compiled
from edgegolf.export.samples import Samples
from edgegolf.export.verify import compare, feed, run_file
from edgegolf.files import sha256, write_atomically
from edgegolf.runtimes import Array, Session, installed_runtimes, open_session
from edgegolf.runtimes.registry import preferred_runtime
from edgegolf.runtimes.worker import run_apart, run_in_fork
from edgegolf.surroundings import available_cores

Compute = Literal["float32", "float16", "int8", "int8-weights"]
#: Of each file: its microseconds in each round; None where it does not run.
Latencies: TypeAlias = "list[list[float] | None]"

STOCK = "stock, golfed"  # the stock converter's int8 file, losslessly rewritten

# Rounds go on until the ratios are known so well, a fraction, or time is up.
PRECISE = 0.01
FEWEST_ROUNDS = 16
TIMEOUT = 900.0  # seconds for one kind of measurement of all files


@dataclass(frozen=True)
class Pace:
    """How much time latencies are given."""

    seconds_per_round: float  # of each file
    seconds: float  # of all, on a noisy machine


THOROUGH, QUICK = Pace(0.003, 15.0), Pace(0.001, 1.5)


@dataclass(frozen=True)
class Draft:
    """One file before it is measured."""

    name: str  # what is special about it
    compute: Compute  # the arithmetic: `int8-weights`, or of fewer bits, computes in float32
    data: bytes = field(repr=False)  # the file
    shared: bool = False  # whether it holds a block of weights once that stock converters do not
    # Whether it was written from the graph, whose axes may not be the model's.
    compiled: bool = True


@dataclass(frozen=True)
class Task:
    """What files are to compute."""

    names: tuple[str, ...]  # what converters call the inputs
    samples: Samples  # what the model is given
    expected: tuple[Array, ...]  # what it answers
    compiled: Compiled | None = None  # the model as a graph, None where there is none

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


@dataclass(frozen=True, kw_only=True)
class Candidate(Draft):
    """One file that a network can be deployed as, measured."""

    size_bytes: int  # its size
    # On the validation samples, a fraction; None where outputs are no classes.
    accuracy: float | None
    sqnr: float  # the worst output's signal-to-quantization-noise ratio against the model, dB
    # Of one inference on one thread, the median of rounds, by runtime that runs it.
    latency_us: Mapping[str, float]
    # The same divided by the stock float32 file's, both measured alternately.
    latency_ratio: Mapping[str, float]
    # The same divided by the golfed stock int8 file's, in the preferred runtime; None where there
    # is none.
    to_stock: float | None = None
    # The standard error of the latency ratios in the preferred runtime, a fraction.
    doubt: float = 0.0


def outputs_of(data: bytes, samples: Samples, suffix: str, laid_out: Compiled) -> list[Array]:
    """What a file gives for samples in the graph's layout, float32 [n, …] each in it, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"choice{suffix}"
        path.write_bytes(data)
        return laid_out.answers(run_file(path, None, laid_out.given(samples)))


def measure(
    drafts: Sequence[Draft], suffix: str, task: Task, quick: bool = False
) -> tuple[Candidate, ...]:
    """Quality and latency of each file, in every installed runtime that runs its kind.

    Runs in processes of their own: a runtime may crash, and tflite-runtime does not load where
    TensorFlow is loaded.

    Drafts that the preferred runtime does not run are left out.

    Args:
        drafts: The first one is the float32 file that latencies are compared with.
        suffix: `.tflite` or `.onnx`.
        task: What quality is measured on.
        quick: In the preferred runtime only, and not for long on a noisy machine.

    Raises:
        EdgegolfError: The first file does not run, or one crashes the process.
    """
    pace = QUICK if quick else THOROUGH
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}{suffix}" for index in range(len(drafts))]
        for path, draft in zip(paths, drafts, strict=True):
            path.write_bytes(draft.data)
        compiled = [draft.compiled for draft in drafts]
        preferred = preferred_runtime(paths[0])
        others = set(installed_runtimes(paths[0])) - {preferred, "litert-reference"}
        cached = _cached(paths, preferred, pace)
        qualities, times = run_apart(
            _qualities_and_latencies, paths, preferred, compiled, task, cached, timeout=TIMEOUT
        )
        latencies = {preferred: times}
        one = Task(task.names, task.samples.take(1), (), task.compiled)
        for name in () if quick else sorted(others):
            cached = _cached(paths, name, pace)
            latencies[name] = cached.known() or run_in_fork(
                cached.measured, paths, name, compiled, one, timeout=TIMEOUT
            )
    stock = next((index for index, draft in enumerate(drafts) if draft.name == STOCK), None)
    stock_times = None if stock is None else times[stock]
    candidates = []
    for index, (draft, quality) in enumerate(zip(drafts, qualities, strict=True)):
        found = {
            name: (own, ratio(own, first))
            for name, (first, *_) in latencies.items()
            if (own := latencies[name][index]) and first
        }
        if quality is None or preferred not in found:
            continue
        own, (_, doubt) = found[preferred]
        candidates.append(
            Candidate(
                **vars(draft),
                size_bytes=len(draft.data),
                accuracy=quality[0],
                sqnr=quality[1],
                latency_us={name: median(times) for name, (times, _) in found.items()},
                latency_ratio={name: to_first for name, (_, (to_first, _)) in found.items()},
                to_stock=ratio(own, stock_times)[0] if stock_times else None,
                doubt=doubt,
            )
        )
    return tuple(candidates)


def ratio(times: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The median ratio of latencies that were measured in turns, and its standard error.

    That of the median is 1.253 times that of the mean, and a normal distribution's deviation the
    width of its middle half by 1.349.

    Returns:
        The ratio; its error as a fraction of it.
    """
    ratios = np.divide(times, others)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return float(middle), float(1.253 / 1.349 * (high - low) / middle / len(ratios) ** 0.5)


@dataclass(frozen=True)
class _Cached:
    """Latencies that are measured once for the same files, runtime and machine.

    What is chosen by them is then the same in every export of a model, also where the machine was
    noisy, which a warning tells. They are kept in the user's cache folder; without it, they are
    made anew.
    """

    path: Path
    pace: Pace

    def known(self) -> Latencies | None:
        """What was measured before."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            found = json.loads(self.path.read_bytes())
            return [None if each is None else list(map(float, each)) for each in found]
        return None

    def measured(
        self, paths: Sequence[Path], runtime: str, compiled: Sequence[bool], task: Task
    ) -> Latencies:
        """The same, anew."""
        found = latencies_of(paths, runtime, compiled, task, self.pace)
        with contextlib.suppress(EdgegolfError):
            write_atomically(self.path, json.dumps(found))
        return found


def rounds_folder() -> Path:
    """Where latencies are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("edgegolf") / "rounds"


def _cached(paths: Sequence[Path], runtime: str, pace: Pace) -> _Cached:
    machine = [_versions(), platform.processor(), platform.node()]
    known = [runtime, pace.seconds, *machine, *map(sha256, paths)]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    return _Cached(rounds_folder() / f"{key}.json", pace)


def _versions() -> list[str]:
    """Of the packages that run files, where they are installed."""
    found = []
    for package in ("ai-edge-litert", "tflite-runtime", "onnxruntime"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return found


def _qualities_and_latencies(
    paths: Sequence[Path], runtime: str, compiled: Sequence[bool], task: Task, cached: _Cached
) -> tuple[list[tuple[float | None, float] | None], Latencies]:
    qualities = qualities_of(paths, compiled, task)
    return qualities, cached.known() or cached.measured(paths, runtime, compiled, task)


def qualities_of(
    paths: Sequence[Path], compiled: Sequence[bool], task: Task
) -> list[tuple[float | None, float] | None]:
    """Accuracy, where there is one, and SQNR of each file; None where it does not run.

    Raises:
        EdgegolfError: The first file does not run.
    """
    found: list[tuple[float | None, float] | None] = []
    with open_session(paths[0]):
        pass  # LiteRT fails now and then where threads load it for the first time
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
    paths: Sequence[Path],
    runtime: str,
    compiled: Sequence[bool],
    task: Task,
    pace: Pace = THOROUGH,
) -> Latencies:
    """Of each file in one runtime, on one thread.

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
    found: Latencies = [None] * len(paths)
    if 0 not in sessions:
        return found
    for index in sessions:
        found[index] = []
    end = time.perf_counter() + pace.seconds
    for done in count(1):
        for index, session in sessions.items():
            times = found[index]
            assert times is not None
            times.append(_microseconds(session, pace.seconds_per_round))
        late = time.perf_counter() > end
        if done >= FEWEST_ROUNDS and (late or _doubt(found) <= PRECISE):
            break
    return found


def _doubt(latencies: Latencies) -> float:
    """The largest standard error of any file's ratio to the first one, a fraction."""
    first = latencies[0]
    return max((ratio(each, first)[1] for each in latencies if each and first), default=0.0)


def _microseconds(session: Session, seconds: float) -> float:
    """Of the fastest inference of a round: what else the machine does makes others slower."""
    session.invoke()
    end = time.perf_counter() + seconds
    fastest = inf
    while time.perf_counter() < end or fastest == inf:
        started = time.perf_counter()
        session.invoke()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest * 1e6
