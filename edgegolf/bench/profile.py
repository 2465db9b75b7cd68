"""Time by type of operator, from onnxruntime's profile of single inferences.

LiteRT's Python packages have no profiler, and neither has the benchmark that comes with them.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgegolf.bench.graph_statistics import read_census
from edgegolf.bench.inputs import example_inputs, run_closed
from edgegolf.bench.latency import run_for
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.ir import Graph
from edgegolf.ir.graph import plus, product
from edgegolf.records import parse_json
from edgegolf.runtimes.onnxruntime import OnnxSession
from edgegolf.runtimes.worker import run_in_fork

MAXIMUM_BYTES = 1 << 28  # of onnxruntime's file
TIMEOUT = 900.0


@dataclass(frozen=True)
class OperatorTime:
    """What operators of one type take in an inference."""

    operator: str  # as the runtime calls what it made of the file's operators
    provider: str  # what it ran on
    calls: float  # how often in an inference
    microseconds: float  # in an inference, the mean
    bytes: int  # read and written in an inference: weights, inputs and outputs
    macs: int | None  # multiply-accumulates in an inference; None if unknown


@dataclass(frozen=True)
class Profile:
    """Where the time of an inference goes."""

    SCHEMA: ClassVar[str] = "edgegolf.profile/1"

    file: str  # its path
    runtime: str  # the runtime's name
    provider: str  # what was asked for
    threads: int  # of an operator
    inferences: int  # that were profiled
    # Of an inference, the mean, with what profiling itself takes: longer than without.
    microseconds: float
    operators: tuple[OperatorTime, ...]  # those that take longest first


def profile(path: Path, provider: str = "cpu", threads: int = 1, seconds: float = 0.5) -> Profile:
    """Profile an `.onnx` file for some seconds, in a process of its own.

    Raises:
        EdgegolfError: It is of another format, or does not run.
    """
    if path.suffix != ".onnx":
        raise EdgegolfError(
            f"{path} cannot be profiled: only onnxruntime tells its Python package what each "
            "operator takes",
            hint="profile the .onnx file of the same model; edgegolf show lists the operators",
        )
    found: Profile = run_in_fork(_profile, path, provider, threads, seconds, timeout=TIMEOUT)
    return found


def _profile(path: Path, provider: str, threads: int, seconds: float) -> Profile:
    with tempfile.TemporaryDirectory() as folder:
        session = OnnxSession(path, provider, threads, profile=Path(folder) / "profile")
        run_closed(session, lambda infos: session.run(example_inputs(infos)))
        run_for(session.invoke, seconds)
        events = parse_json(read_bounded(session.end_profile(), MAXIMUM_BYTES), str(path))
    work: dict[str, int | None] = defaultdict(int)
    for name, macs in _work(read_census(path), 1):
        work[name] = plus(work[name], macs)
    return folded(events, work, str(path), provider, threads)


def folded(
    events: Any, work: Mapping[str, int | None], file: str, provider: str, threads: int
) -> Profile:
    """The events of onnxruntime's profile by type of operator.

    Args:
        events: What its JSON file holds.
        work: Multiply-accumulates of an inference, by the name of an operator of the model file.
        file: The model file's path.
        provider: What it was to run on.
        threads: Of an operator.

    Raises:
        EdgegolfError: There is no whole inference in it.
    """
    runs = [each["dur"] for each in events if each.get("name") == "model_run"]
    if not runs:
        raise EdgegolfError(f"the profile of {file} holds no inference")
    kernels: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            told = event["args"]
            kernels[told["op_name"], told.get("provider", "")].append(event)
    operators = (
        OperatorTime(
            name,
            where.removesuffix("ExecutionProvider"),
            len(found) / len(runs),
            sum(event["dur"] for event in found) / len(runs),
            _bytes(found) // len(runs),
            work.get(name, work.get(name.removeprefix("Fused"), 0)),
        )
        for (name, where), found in kernels.items()
    )
    ordered = tuple(sorted(operators, key=lambda each: -each.microseconds))
    mean = sum(runs) / len(runs)
    return Profile(file, "onnxruntime", provider, threads, len(runs), mean, ordered)


def _bytes(events: Sequence[Mapping[str, Any]]) -> int:
    sizes = ("activation_size", "parameter_size", "output_size")
    return sum(int(event["args"].get(name) or 0) for event in events for name in sizes)


def _work(graph: Graph, times: int | None) -> Iterator[tuple[str, int | None]]:
    """Multiply-accumulates of each operator, as often as it runs."""
    for node in graph.nodes:
        macs = node.op.macs(node.inputs, node.outputs)
        yield getattr(node.op, "name", type(node.op).__name__), product(macs, times)
        for inner, count in node.runs:
            yield from _work(inner, product(times, count))
