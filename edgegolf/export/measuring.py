"""Measures the files that a network can be deployed as, and chooses between them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgegolf.data import Split
from edgegolf.errors import EdgegolfError
from edgegolf.files import sha256, write_atomically
from edgegolf.runtimes import Array, Session, installed_runtimes, open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.classify import accuracy, quantize, scores
from edgegolf.runtimes.registry import preferred_runtime
from edgegolf.side_by_side import available_cores

Compute = Literal["float32", "int8", "int8-weights"]
Goal = Literal["size", "latency", "balanced"]
# Of each file: microseconds, and their ratio to the first file's; None where it does not run.
Latencies = list[tuple[float, float] | None]

LATENCY_ROUNDS = 40
SECONDS_PER_ROUND = 0.003
TIMEOUT = 900.0  # seconds for one kind of measurement of all files
SAME_LATENCY = 1.05  # two measurements of one file differ by as much


@dataclass(frozen=True)
class Draft:
    """One file before it is measured."""

    name: str
    compute: Compute
    data: bytes


def probabilities_of(data: bytes, images: NDArray[np.uint8], suffix: str) -> NDArray[np.float32]:
    """What a file gives for images, float32 [n, classes]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"choice{suffix}"
        path.write_bytes(data)
        with open_session(path) as session:
            return scores(session, images)


@dataclass(frozen=True)
class Candidate:
    """One file that a network can be deployed as.

    Attributes:
        name: What is special about it.
        compute: The arithmetic: `int8-weights` computes in float32.
        size_bytes: Its size.
        accuracy: On the validation images, a fraction.
        latency_us: Median of one inference on one thread, by runtime that runs it.
        latency_ratio: The same divided by the stock float32 file's, both measured alternately.
        data: The file.
    """

    SCHEMA: ClassVar[str] = "edgegolf.candidate/1"

    name: str
    compute: Compute
    size_bytes: int
    accuracy: float
    latency_us: Mapping[str, float]
    latency_ratio: Mapping[str, float]
    data: bytes = field(repr=False)


def measure(drafts: Sequence[Draft], suffix: str, validation: Split) -> tuple[Candidate, ...]:
    """Accuracy and latency of each file, in every installed runtime that runs its kind.

    Runs in processes of their own: a runtime may crash, and tflite-runtime does not load where
    TensorFlow is loaded.

    Drafts that the preferred runtime does not run are left out.

    Args:
        drafts: The first one is the stock float32 file that latencies are compared with.
        suffix: `.tflite` or `.onnx`.
        validation: What accuracy is measured on.

    Raises:
        EdgegolfError: The first file does not run, or one crashes the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}{suffix}" for index in range(len(drafts))]
        for path, draft in zip(paths, drafts, strict=True):
            path.write_bytes(draft.data)
        preferred = preferred_runtime(paths[0])
        others = set(installed_runtimes(paths[0])) - {preferred, "litert-reference"}
        accuracies = run_in_child(accuracies_of, paths, preferred, validation, timeout=TIMEOUT)
        latencies = {
            name: latencies_on_this_machine(paths, name, validation.images[:1])
            for name in (preferred, *sorted(others))
        }
    candidates = []
    for index, (draft, accuracy_found) in enumerate(zip(drafts, accuracies, strict=True)):
        if accuracy_found is None:
            continue
        found = {name: pair for name, pairs in latencies.items() if (pair := pairs[index])}
        candidates.append(
            Candidate(
                name=draft.name,
                compute=draft.compute,
                size_bytes=len(draft.data),
                accuracy=accuracy_found,
                latency_us={name: pair[0] for name, pair in found.items()},
                latency_ratio={name: pair[1] for name, pair in found.items()},
                data=draft.data,
            )
        )
    return tuple(candidates)


def pareto_front(candidates: Iterable[Candidate], runtime: str) -> tuple[Candidate, ...]:
    """Those that no other one beats in bytes, latency and accuracy, smallest first."""
    found = list(candidates)

    def beats(a: Candidate, b: Candidate) -> bool:
        first, second = _costs(a, runtime), _costs(b, runtime)
        return first != second and all(x <= y for x, y in zip(first, second, strict=True))

    best = [c for c in found if not any(beats(other, c) for other in found)]
    return tuple(sorted(best, key=lambda candidate: candidate.size_bytes))


def choose(
    candidates: Iterable[Candidate], goal: Goal, runtime: str, least_accuracy: float = 0.0
) -> Candidate:
    """The best candidate for a goal.

    Args:
        candidates: To choose from.
        goal: `size` for the fewest bytes, `latency` for the fastest, `balanced` for the smallest
            product of both, of those faster than the stock float32 file where there are any. Where
            latencies cannot be told apart, the smallest file wins.
        runtime: Whose latency counts.
        least_accuracy: Candidates below are chosen only if none reaches it.

    Raises:
        EdgegolfError: There are no candidates.
    """
    front = pareto_front(candidates, runtime)
    if not front:
        raise EdgegolfError("there is no candidate to choose from")
    good = [c for c in front if c.accuracy >= least_accuracy]
    good = good or [max(front, key=lambda candidate: candidate.accuracy)]
    if goal == "balanced":
        good = [c for c in good if c.latency_ratio[runtime] < 1] or good

    def cost(candidate: Candidate) -> float:
        latency = candidate.latency_ratio[runtime]
        return {
            "size": candidate.size_bytes,
            "latency": latency,
            "balanced": candidate.size_bytes * latency,
        }[goal]

    margin = 1.0 if goal == "size" else SAME_LATENCY
    least_cost = min(map(cost, good))
    alike = [candidate for candidate in good if cost(candidate) <= margin * least_cost]
    return min(alike, key=lambda candidate: candidate.size_bytes)


def _costs(candidate: Candidate, runtime: str) -> tuple[float, ...]:
    # The ratio: what slows the machine for a while slows all alike.
    return candidate.size_bytes, candidate.latency_ratio[runtime], -candidate.accuracy


def latencies_on_this_machine(paths: Sequence[Path], runtime: str, image: Array) -> Latencies:
    """What `latencies_of` gives, measured once for the same files, runtime and machine.

    What is chosen by it is then the same in every export of a model. The measurements are kept in
    the user's cache folder; without it, they are made anew.
    """
    from platformdirs import user_cache_path

    known = [runtime, _versions(), platform.processor(), platform.node(), *map(sha256, paths)]
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    cached = user_cache_path("edgegolf") / "latencies" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        pairs = json.loads(cached.read_bytes())
        if len(pairs) == len(paths):
            return [None if pair is None else (float(pair[0]), float(pair[1])) for pair in pairs]
    found = run_in_child(latencies_of, paths, runtime, image, timeout=TIMEOUT)
    with contextlib.suppress(EdgegolfError):
        write_atomically(cached, json.dumps(found))
    return found


def _versions() -> list[str]:
    """Of the packages that run files, where they are installed."""
    found = []
    for package in ("ai-edge-litert", "tflite-runtime", "onnxruntime"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return found


def accuracies_of(paths: Sequence[Path], runtime: str, validation: Split) -> list[float | None]:
    """The accuracy of each file, None where it does not run.

    Raises:
        EdgegolfError: The first file does not run.
    """
    found: list[float | None] = []
    for path in paths:
        try:
            found.append(_accuracy(path, runtime, validation))
        except EdgegolfError:
            if not found:
                raise
            found.append(None)
    return found


def _accuracy(path: Path, runtime: str, split: Split) -> float:
    """Of a file, with a session on every core."""
    labels = split.labels

    def right(part: NDArray[np.int64]) -> int:
        with open_session(path, runtime) as session:
            share = accuracy(session, Split(split.images[part], labels[part]))
        return round(share * len(part))

    parts = np.array_split(np.arange(len(labels)), min(available_cores(), len(labels)))
    with ThreadPoolExecutor(len(parts)) as pool:
        return sum(pool.map(right, parts)) / len(labels)


def latencies_of(paths: Sequence[Path], runtime: str, image: Array) -> Latencies:
    """Microseconds of each file, and their ratio to the first file's; None where it does not run.

    The files take turns, so that whatever else the machine does slows all of them alike.
    """
    sessions: dict[int, Session] = {}
    for index, path in enumerate(paths):
        with contextlib.suppress(EdgegolfError):
            session = open_session(path, runtime)
            session.set_inputs([quantize(_laid_out(image, session), session.inputs[0])])
            sessions[index] = session
    if 0 not in sessions:
        return [None] * len(paths)
    times = dict(zip(sessions, _take_turns([*sessions.values()]), strict=True))
    return [times.get(index) for index in range(len(paths))]


def _take_turns(sessions: Sequence[Session]) -> list[tuple[float, float]]:
    """The median microseconds of each, and its median ratio to the first."""
    rounds = np.array(
        [[_microseconds(session) for session in sessions] for _ in range(LATENCY_ROUNDS)]
    )
    medians = np.median(rounds, axis=0)
    ratios = np.median(rounds / rounds[:, :1], axis=0)
    return [(float(m), float(r)) for m, r in zip(medians, ratios, strict=True)]


def _laid_out(image: Array, session: Session) -> Array:
    """One image in the shape that a file takes, NHWC or NCHW."""
    shape = session.inputs[0].example_shape
    return image if image.shape == shape else image.transpose(0, 3, 1, 2).reshape(shape)


def _microseconds(session: Session) -> float:
    session.invoke()
    end = time.perf_counter() + SECONDS_PER_ROUND
    times: list[float] = []
    while not times or time.perf_counter() < end:
        started = time.perf_counter()
        session.invoke()
        times.append(time.perf_counter() - started)
    return median(times) * 1e6
