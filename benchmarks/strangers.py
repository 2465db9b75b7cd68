"""Other people's files through golf, anatomy and bench: what becomes of them.

python benchmarks/strangers.py [FOLDER]... [--json docs/strangers.json]

Takes the backend suite that the installed `onnx` package makes and ships, with its inputs and
expected outputs, and every .onnx and .tflite file below the folders. Files are golfed with the
comparison that `edgegolf golf` does; the suite's are then run on its own inputs before and after.
A file that brings a process down is done again with a process of its own for all that may crash,
and the next one gets a new process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests, load_node_model_tests

from edgegolf.anatomy.anatomy import anatomy
from edgegolf.bench import inspect_file as inspection
from edgegolf.bench.inspect_file import inspect_file
from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.formats.onnx.inlining import inlined
from edgegolf.frontends.onnx_shapes import infer_types
from edgegolf.golf import onnx_checks
from edgegolf.golf.golf import golf_file
from edgegolf.progress import track
from edgegolf.records import to_json
from edgegolf.runtimes import compare

KINDS = ("pytorch-converted", "pytorch-operator", "simple")
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SECONDS = 300  # for one file
FIGURES = ("parameters", "macs", "weights_bytes", "activation_peak_bytes")
OUTCOMES = ("smaller", "same", "refused", "wrong", "crashed")


@dataclass(frozen=True)
class Stranger:
    """What became of one file.

    Attributes:
        name: Its name in the suite, or its path below the folder.
        outcome: Of golf, one of `OUTCOMES`.
        reason: Why, where it was refused, wrong or crashed.
        verified: The runtimes that ran it before and after golf, bit for bit alike.
        bytes_before: Its size.
        bytes_after: Golfed.
        lost: Figures of bench that the original has and the golfed file has not.
        changed: Figures that differ; weights may shrink where the file had some twice.
        unknown: Figures that the original lacks.
        shapes: How many shapes of tensors onnxruntime and bench both know.
        wrong_shapes: Tensors of which they say different ones.
        expected: Whether onnxruntime gives the suite's expected outputs: before and after golf;
            None where it does not run the file.
    """

    name: str
    outcome: str
    reason: str = ""
    verified: tuple[str, ...] = ()
    bytes_before: int = 0
    bytes_after: int = 0
    lost: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    shapes: int = 0
    wrong_shapes: tuple[str, ...] = ()
    expected: tuple[bool | None, bool | None] = (None, None)


@dataclass(frozen=True)
class Reason:
    """Why files were refused, wrong or crashed, and how many."""

    outcome: str
    reason: str
    files: int


@dataclass(frozen=True)
class Strangers:
    """What became of many files.

    Attributes:
        conditions: Versions and the machine.
        counts: Of files, by what is true of them.
        reasons: The most frequent first.
        noted: The files of which something is wrong, crashed, lost or changed.
    """

    SCHEMA: ClassVar[str] = "edgegolf.strangers/1"
    conditions: dict[str, str]
    counts: dict[str, int]
    reasons: tuple[Reason, ...]
    noted: tuple[Stranger, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, help="Write what became of every file there.")
    parser.add_argument("--processes", type=int, default=2, help="Files at once.")
    parser.add_argument("--only", default="", help="Files whose name has this in it.")
    arguments = parser.parse_args()
    found = [path for folder in arguments.folders for path in _files(folder)]
    names = [name for name in (*_suite(), *map(str, found)) if arguments.only in name]
    result = summarize(sorted(_all(names, arguments.processes), key=lambda each: each.name))
    if arguments.json:
        write_atomically(arguments.json, to_json(result))
    print(strangers_markdown(result))
    sys.exit(bool(result.counts["wrong"] or result.counts["crashed"]))


def summarize(files: Sequence[Stranger]) -> Strangers:
    """Counts of what became of the files, and those to look at."""
    outcomes = Counter(each.outcome for each in files)
    smaller = [each for each in files if each.outcome == "smaller"]
    run = [each.expected for each in files if each.expected[0] is not None]
    counts = {
        "files": len(files),
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        "smaller, run by no runtime": sum(not each.verified for each in smaller),
        "bytes of those that got smaller, before": sum(each.bytes_before for each in smaller),
        "bytes of those that got smaller, after": sum(each.bytes_after for each in smaller),
        "run by onnxruntime on the suite's inputs": len(run),
        "with the expected outputs, before golf": sum(each[0] is True for each in run),
        "with the expected outputs, after golf": sum(each[1] is True for each in run),
        "shapes that bench and onnxruntime know": sum(each.shapes for each in files),
        "shapes that differ": sum(len(each.wrong_shapes) for each in files),
    }
    for figure in FIGURES:
        counts |= {
            f"{figure} unknown": sum(figure in each.unknown for each in files),
            f"{figure} lost by golf": sum(figure in each.lost for each in files),
            f"{figure} changed by golf": sum(figure in each.changed for each in files),
        }
    reasons = Counter((each.outcome, each.reason) for each in files if each.reason)
    packages = ("onnx", "onnxruntime", "ai-edge-litert")
    return Strangers(
        {
            "machine": platform.machine(),
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        counts,
        tuple(Reason(*reason, number) for reason, number in reasons.most_common()),
        tuple(each for each in files if _to_note(each)),
    )


def _to_note(file: Stranger) -> bool:
    differs = file.expected[0] != file.expected[1]
    return bool(
        file.outcome in ("wrong", "crashed")
        or file.lost
        or file.changed
        or file.wrong_shapes
        or differs
    )


def strangers_markdown(result: Strangers) -> str:
    """The counts and reasons as tables."""
    lines = [
        ", ".join(f"{name} {value}" for name, value in result.conditions.items()) + ".",
        "",
        "| | |",
        "| --- | ---: |",
        *(f"| {name} | {number:,} |" for name, number in result.counts.items()),
    ]
    if result.reasons:
        lines += ["", "| | reason | files |", "| --- | --- | ---: |"]
    for each in result.reasons:
        lines.append(f"| {each.outcome} | {each.reason.replace('|', '/')} | {each.files:,} |")
    return "\n".join(lines) + "\n"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".onnx", ".tflite"))


@cache
def _suite() -> dict[str, Any]:
    """The suite's cases by name; those that would have to be downloaded are left out."""
    cases = [
        *load_node_model_tests(),
        *(case for kind in KINDS for case in load_model_tests(kind=kind)),
    ]
    light = {path.stem: path for path in sorted(LIGHT.glob("*.onnx"))}
    return {f"{case.kind}/{case.name}": case for case in cases} | light


def _all(names: Sequence[str], processes: int) -> Iterator[Stranger]:
    """Every file, in processes that do one after another until one brings them down."""
    children: SimpleQueue[_Child] = SimpleQueue()
    for _ in range(processes):
        children.put(_Child())

    def ask(name: str) -> Stranger:
        child = children.get()
        try:
            return child.ask(name)
        finally:
            children.put(child)

    with ThreadPoolExecutor(processes) as threads:
        yield from track(threads.map(ask, names), "strangers' files", len(names))
    for _ in range(processes):
        children.get().stop()


class _Child:
    """A process that does one file after another, made anew when it dies.

    A file that brings it down is done once more as `edgegolf golf` does, with a process of its own
    for all that may crash.
    """

    process: BaseProcess | None = None
    pipe: Connection

    def ask(self, name: str) -> Stranger:
        if self.process is None:
            self._start(apart=False)
        found = self._answer(name)
        if found.outcome == "crashed" and self.process is None:
            self._start(apart=True)
            found = self._answer(name)
            self.stop()
        return found

    def _start(self, apart: bool) -> None:
        self.pipe, end = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_serve, args=(end, apart), daemon=True)
        self.process.start()
        end.close()

    def _answer(self, name: str) -> Stranger:
        assert self.process is not None
        self.pipe.send(name)
        try:
            if self.pipe.poll(SECONDS):
                found: Stranger = self.pipe.recv()
                return found
            reason = f"not finished after {SECONDS} seconds"
        except EOFError:
            self.process.join()
            reason = f"the process ended with {self.process.exitcode}"
        self.stop()
        return Stranger(name, "crashed", reason)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def _serve(pipe: Connection, apart: bool) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what runtimes say of files that they refuse
    if not apart:
        # This process may crash already; more of them for each comparison and check would take
        # twenty times as long.
        compare.run_in_fork = onnx_checks.run_apart = inspection.run_in_fork = _here
    while True:
        name = pipe.recv()
        try:
            pipe.send(_try(name))
        except Exception as error:
            pipe.send(Stranger(name, "crashed", _general(name, f"{type(error).__name__}: {error}")))


def _here(
    function: Callable[..., Any],
    *args: Any,
    timeout: float | None = None,
    busy: float | None = None,
) -> Any:
    return function(*args)


def _try(name: str) -> Stranger:
    case = _suite().get(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{Path(name).suffix if case is None else '.onnx'}"
        path.write_bytes(_content(name, case))
        try:
            return _tried(name, path, [] if case is None else _data_sets(case), case)
        except EdgegolfError as error:
            size = path.stat().st_size
            return Stranger(name, "refused", _general(str(path), error.message), (), size, size)


def _content(name: str, case: Any) -> bytes:
    if case is None:
        return Path(name).read_bytes()
    if isinstance(case, Path):
        return case.read_bytes()
    if case.model is None:
        return (Path(case.model_dir) / "model.onnx").read_bytes()
    return bytes(case.model.SerializeToString())


def _tried(name: str, path: Path, data: Sequence[tuple[list, list]], case: Any) -> Stranger:
    size = path.stat().st_size
    if (total := sum(part.bytes for part in anatomy(path).parts)) != size:
        return Stranger(name, "wrong", f"the parts of anatomy are {total - size:+} bytes off")
    before = inspect_file(path).graph
    golfed = path.with_name(f"golfed{path.suffix}")
    result = golf_file(path, golfed, compare=compare.compare_files, unverified=True)
    after = inspect_file(golfed).graph
    pairs = {figure: (getattr(before, figure), getattr(after, figure)) for figure in FIGURES}
    first, second = _outputs(path, data), _outputs(golfed, data)
    outcome, reason = "smaller" if result.bytes_after < size else "same", ""
    if result.refused and outcome == "same":
        outcome, reason = "refused", _general(str(golfed), "; ".join(result.refused))
    if not _equal(first, second) and _equal(first, _outputs(path, data)):  # nothing drawn at random
        outcome, reason = "wrong", "other outputs on the suite's inputs"
    elif _checked(path) and not _checked(golfed):
        outcome, reason = "wrong", "onnx.checker refuses the golfed file"
    shapes, wrong = _shapes(path, data)
    return Stranger(
        name,
        outcome,
        reason,
        result.verified,
        size,
        result.bytes_after,
        tuple(key for key, (old, new) in pairs.items() if old is not None and new is None),
        tuple(key for key, (old, new) in pairs.items() if None not in (old, new) and old != new),
        tuple(key for key, (old, _) in pairs.items() if old is None),
        shapes,
        wrong,
        (_as_expected(first, data, case), _as_expected(second, data, case)),
    )


def _general(path: str, message: str) -> str:
    """A reason without what is of one file only, so that equal ones are counted together."""
    message = re.sub(r"'[^']*'|\"[^\"]*\"", "…", message.replace(path, "FILE"))
    message = re.sub(r"\S*/(?=(model|golfed)\.)", "", message)
    return re.sub(r"\d[\d,]*", "N", message)[:160]


def _data_sets(case: Any) -> list[tuple[list, list]]:
    """Inputs and expected outputs; None for what is no tensor that onnxruntime takes."""
    if isinstance(case, Path):
        return []
    if case.model is not None:
        return [tuple([_array(item) for item in side] for side in pair) for pair in case.data_sets]  # type: ignore[misc]
    model = onnx.load(Path(case.model_dir) / "model.onnx", load_external_data=False)
    return [
        (_read(folder, "input", model.graph.input), _read(folder, "output", model.graph.output))
        for folder in sorted(Path(case.model_dir).glob("test_data_set_*"))
    ]


def _array(item: Any) -> Any:
    return onnx.numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item


def _read(folder: Path, kind: str, infos: Iterable[Any]) -> list[Any]:
    found = []
    for number, info in enumerate(infos):
        path = folder / f"{kind}_{number}.pb"
        if not path.exists():
            break
        if info.type.HasField("sequence_type"):
            sequence = onnx.SequenceProto.FromString(path.read_bytes())
            found.append(onnx.numpy_helper.to_list(sequence))
        else:
            found.append(onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
    return found


def _session(model: Path | bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, ["CPUExecutionProvider"]
    )


def _outputs(path: Path, data: Sequence[tuple[list, list]]) -> list[Any] | None:
    """What onnxruntime computes of every data set; None where it does not run the file."""
    try:
        session = _session(path)
        return [session.run(None, _feed(session, inputs)) for inputs, _ in data] or None
    except Exception:  # of many kinds, onnxruntime's own among them
        return None


def _feed(session: Any, inputs: Sequence[Any]) -> dict[str, Any]:
    names = [each.name for each in session.get_inputs()]
    return dict(zip(names, inputs, strict=False))


def _equal(first: Any, second: Any) -> bool:
    """Bit for bit, whatever is nested in whatever."""
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray) and first.dtype != object:
        same = first.dtype == second.dtype and first.shape == second.shape
        return same and first.tobytes() == second.tobytes()
    return repr(first) == repr(second)


def _as_expected(outputs: Any, data: Sequence[tuple[list, list]], case: Any) -> bool | None:
    if outputs is None:
        return None
    return _close(outputs, [expected for _, expected in data], case)


def _close(found: Any, expected: Any, case: Any) -> bool:
    if isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(
            _close(one, other, case) for one, other in zip(found, expected, strict=True)
        )
    one, other = np.asarray(found), np.asarray(expected)
    if one.shape != other.shape:
        return False
    if one.dtype.kind in "fiub" and other.dtype.kind in "fiub":
        return bool(np.allclose(one, other, case.rtol, case.atol, equal_nan=True))
    return one.tolist() == other.tolist()


def _checked(path: Path) -> bool:
    if path.suffix != ".onnx":
        return True
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception:  # of many kinds; ValidationError and InferenceError among them
        return False
    return True


def _shapes(path: Path, data: Sequence[tuple[list, list]]) -> tuple[int, tuple[str, ...]]:
    """How many shapes both know, and the tensors of which bench says another than was computed."""
    if path.suffix != ".onnx" or not data:
        return 0, ()
    model = onnx.load(str(path), load_external_data=False)
    inputs = [each.type.tensor_type.shape.dim for each in model.graph.input]
    if not all(size.HasField("dim_value") for shape in inputs for size in shape):
        return 0, ()  # bench takes 1 for open sizes, the suite something else
    known = {each.name for each in model.graph.output}
    names = dict.fromkeys(name for node in model.graph.node for name in node.output if name)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    try:
        session = _session(model.SerializeToString())
        outputs = session.run(None, _feed(session, data[0][0]))
    except Exception:  # not every tensor can be an output
        return 0, ()
    types = next(infer_types(inlined(path.read_bytes(), str(path))))
    wrong, count = [], 0
    for info, output in zip(session.get_outputs(), outputs, strict=True):
        shape, _ = types.get(info.name, (None, 0))
        if shape is None or not isinstance(output, np.ndarray):
            continue
        count += 1
        if shape != output.shape:
            wrong.append(f"{info.name}: {shape}, computed {output.shape}")
    return count, tuple(wrong)


if __name__ == "__main__":
    main()
