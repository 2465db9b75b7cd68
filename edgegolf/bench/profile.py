"""Time by type of operator, from the runtime's own profile of single inferences."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from edgegolf.bench.graph_statistics import read_census
from edgegolf.bench.inputs import example_inputs, run_closed
from edgegolf.bench.latency import run_for
from edgegolf.bench.litert_profile import BUILT_IN, DELEGATED, INVOKE, Event, events
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.formats.model_format import model_format
from edgegolf.frontends.tflite_census import tflite_subgraphs
from edgegolf.ir import Graph, Node
from edgegolf.ir.graph import plus, product
from edgegolf.ir.opaque import Opaque
from edgegolf.ir.tensor import BITS
from edgegolf.records import parse_json
from edgegolf.runtimes.onnxruntime import OnnxSession
from edgegolf.runtimes.worker import run_in_fork

MAXIMUM_BYTES = 1 << 28  # of onnxruntime's file
TIMEOUT = 900.0


@dataclass(frozen=True)
class OperatorTime:
    """What operators of one type take in an inference."""

    operator: str  # as the runtime calls what it made of the file's operators
    provider: str  # what it ran on; of LiteRT `built-in` or the delegate that took it
    calls: float  # how often in an inference
    microseconds: float  # in an inference, the mean
    bytes: int | None  # read and written in an inference: weights, inputs, outputs; None if unknown
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
    # Of the file's operators how many of each type a delegate took, and how many not.
    delegated: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)


def profile(path: Path, provider: str = "cpu", threads: int = 1, seconds: float = 0.5) -> Profile:
    """Profile a `.tflite` or `.onnx` file for some seconds, in a process of its own.

    Raises:
        EdgegolfError: It does not run, or its runtime has no profiler.
    """
    if model_format(path) == "tflite" and provider != "cpu":
        raise EdgegolfError(f"{path} is profiled on the cpu only, not on {provider}")
    run = _profile_tflite if model_format(path) == "tflite" else _profile
    found: Profile = run_in_fork(run, path, provider, threads, seconds, timeout=TIMEOUT)
    return found


def _profile_tflite(path: Path, provider: str, threads: int, seconds: float) -> Profile:
    graphs = tflite_subgraphs(path)
    return folded_events(list(events(path, threads, seconds)), graphs, str(path), threads)


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


XNNPACK = "XNNPACK"  # LiteRT's delegate for processors
# What it calls operators otherwise than the file.
XNNPACK_NAMES = {
    "Convolution": {"CONV_2D", "DEPTHWISE_CONV_2D"},
    "Fully Connected": {"FULLY_CONNECTED", "CONV_2D"},  # of one pixel
    "Deconvolution": {"TRANSPOSE_CONV"},
    "Batch Matrix Multiply": {"BATCH_MATMUL"},
    "Max Pooling": {"MAX_POOL_2D"},
    "Average Pooling": {"AVERAGE_POOL_2D"},
    "Multiply": {"MUL"},
    "Subtract": {"SUB"},
    "Slice": {"SLICE", "STRIDED_SLICE"},
    "Clamp": {"RELU", "RELU6", "RELU_N1_TO_1"},
    "Convert": {"QUANTIZE", "DEQUANTIZE"},
    "Constant Pad": {"PAD", "PADV2"},
    "Concatenate": {"CONCATENATION"},
}


def folded_events(
    inferences: Sequence[Sequence[Event]], graphs: Mapping[int, Graph], file: str, threads: int
) -> Profile:
    """The events of LiteRT's profiler by type of operator.

    Args:
        inferences: The events of each.
        graphs: The graphs of the file, of `Opaque` operators, by their numbers.
        file: Its path.
        threads: Of an operator.
    """
    runs = len(inferences)
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in (event for inference in inferences for event in inference):
        if event.kind != INVOKE and not _calls(event, graphs):
            times[_row(event)].append(event.microseconds)
    nodes, delegated, left = _nodes_of_rows(inferences[0], graphs)
    work = {row: [node.op.macs(node.inputs, node.outputs) for node in nodes[row]] for row in times}
    known = _sum(each for row in work.values() for each in row) == graphs[0].macs
    operators = (
        OperatorTime(
            *row,
            len(times[row]) / runs,
            sum(times[row]) / runs,
            sum(map(_moved, nodes[row])) if nodes[row] else None,
            _sum(work[row]) if known or row[1] != XNNPACK else None,
        )
        for row in times
    )
    ordered = tuple(sorted(operators, key=lambda each: -each.microseconds))
    whole = [e for each in inferences for e in each if (e.kind, e.graph) == (INVOKE, 0)]
    mean = sum(event.microseconds for event in whole) / runs
    return Profile(file, "litert", "cpu", threads, runs, mean, ordered, delegated, left)


def _nodes_of_rows(
    inference: Sequence[Event], graphs: Mapping[int, Graph]
) -> tuple[Mapping[tuple[str, str], list[Node]], dict[str, int], dict[str, int]]:
    """The file's operators that each row is of, as often as they run; who took how many of each.

    XNNPACK tells only names, but goes through the file in its order; what it adds of its own has
    no operator there.
    """
    own = {(event.graph, event.position) for event in inference if event.kind == BUILT_IN}
    has_delegate = {event.graph for event in inference if event.kind == DELEGATED}
    taken = {
        number: [n for i, n in enumerate(graph.nodes) if (number, i) not in own and not n.runs]
        for number, graph in graphs.items()
        if number in has_delegate
    }
    found: dict[tuple[str, str], list[Node]] = defaultdict(list)
    waiting: dict[int, list[Node]] = {}
    for event in inference:
        if event.kind == INVOKE:
            waiting[event.graph] = list(taken.get(event.graph, ()))
        elif event.kind == BUILT_IN:
            found[_row(event)].append(graphs[event.graph].nodes[event.position])
        else:
            found[_row(event)] += _next(waiting[event.graph], _row(event)[0])
    left = [graphs[number].nodes[i] for number, i in own if not graphs[number].nodes[i].runs]
    return found, _census(n for nodes in taken.values() for n in nodes), _census(left)


def _next(waiting: list[Node], name: str) -> list[Node]:
    """The operator that XNNPACK calls so, if it is next but for some without work; taken out."""
    name = name.removeprefix("Static ")
    wanted = XNNPACK_NAMES.get(name, {name})
    for position, node in enumerate(waiting):
        if _plain(_name(node)) in map(_plain, wanted):
            del waiting[: position + 1]
            return [node]
        if node.op.macs(node.inputs, node.outputs) != 0:
            break
    return []


def _row(event: Event) -> tuple[str, str]:
    """Operator and provider."""
    if event.kind == DELEGATED:
        return event.name.partition(" (")[0], XNNPACK
    return event.name, "built-in"


def _calls(event: Event, graphs: Mapping[int, Graph]) -> bool:
    """Whether it is an operator that runs other graphs, which are events of their own."""
    return event.kind == BUILT_IN and bool(graphs[event.graph].nodes[event.position].runs)


def _name(node: Node) -> str:
    return node.op.name if isinstance(node.op, Opaque) else ""


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).upper()


def _moved(node: Node) -> int:
    tensors = (*node.inputs, *node.outputs)
    return sum(t.size_bytes for t in tensors if t is not None and t.dtype in BITS)


def _census(nodes: Iterable[Node]) -> dict[str, int]:
    return dict(Counter(map(_name, nodes)).most_common())


def _sum(values: Iterable[int | None]) -> int | None:
    total: int | None = 0
    for value in values:
        total = plus(total, value)
    return total
