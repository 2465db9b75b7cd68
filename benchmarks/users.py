"""Users' models through `edgegolf export`, and against the stock converters' files.

python benchmarks/users.py [--only NAME]... [--json docs/users.json] [--folder FOLDER] [--search]

Each model of `users_models` is built, exported, and its int8 files are compared with those of
`TFLiteConverter` (full-integer) and of onnxruntime's `quant_pre_process` and `quantize_static`,
both golfed: bytes, SQNR against the model on the samples that verify, latency in turns. The usual
export is `--quick`, whose CPU seconds stand beside the converters'; with `--search` the files come
from an export that searches for scales and fine-tunes. A model runs in a process of its own; one
that is in the JSON file already is not measured again, and what is in the folder is neither built
nor converted again.
"""

from __future__ import annotations

import argparse
import os
import pickle
import platform
import resource
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import users_models

from edgegolf.errors import EdgegolfError
from edgegolf.export import ExportOptions, export_model
from edgegolf.export.export import in_file
from edgegolf.export.measuring import Task, latencies_of, ratio
from edgegolf.export.model_source import Compiled, Described, open_source
from edgegolf.export.samples import ExportData, read_data
from edgegolf.export.verify import compare
from edgegolf.files import write_atomically
from edgegolf.golf.golf import golf_file
from edgegolf.progress import track
from edgegolf.records import from_json, to_json
from edgegolf.report.table import UNKNOWN, Table
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.worker import Worker, end_idle

SECONDS = 1500.0  # for one model
RUNTIMES = {"int8.tflite": "litert", "int8.onnx": "onnxruntime"}
STEMS = ("float32", "int8-smallest")
STOCK = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")
SHAPES = {"heatmaps_of_any_size": (("", (24, 24, 3)),)}
# What two measurements of one file differ by.
SAME_SQNR = 0.1  # dB
SAME_LATENCY = 1.1
NO_NOISE = 200.0  # dB, where nothing differs: JSON has no infinity
SLOWEST = 3.0  # times the converters' seconds
WHOLE = "whole.pickle"  # tells of what is in a folder, when that is complete


@dataclass(frozen=True)
class Measured:
    """One int8 file of ours beside the stock converter's, golfed.

    Attributes:
        name: `int8.tflite` or `int8.onnx`.
        bytes: Of ours.
        stock_bytes: Of the other; None where the converter has none.
        float_bytes: Of our float32 file of the format, if it is written.
        sqnr: Of our worst output, dB.
        stock_sqnr: The same of the other.
        latency_ratio: Ours by the other, in turns.
        smallest: The bytes of `int8-smallest`, where that is another file.
    """

    name: str
    bytes: int
    stock_bytes: int | None
    float_bytes: int | None
    sqnr: float
    stock_sqnr: float | None
    latency_ratio: float | None
    smallest: int | None

    @property
    def missed(self) -> tuple[str, ...]:
        """The bars that it misses."""
        found = []
        if self.stock_bytes is not None and self.bytes > self.stock_bytes:
            found.append("larger")
        if self.stock_sqnr is not None and self.sqnr < self.stock_sqnr - SAME_SQNR:
            found.append("noisier")
        if self.latency_ratio is not None and self.latency_ratio > SAME_LATENCY:
            found.append("slower")
        if self.name.endswith(".onnx") and self.float_bytes and self.bytes > self.float_bytes:
            found.append("larger than float")
        return tuple(found)


@dataclass(frozen=True)
class User:
    """What became of one model.

    Attributes:
        name: Of its builder.
        refused: Why it did not get in.
        files: How many files were made.
        failures: Which were not, and why.
        notes: What export said.
        int8: The int8 files.
        seconds: Of CPU, that the export took.
        stock_seconds: That loading the model and the stock converters took.
    """

    name: str
    refused: str = ""
    files: int = 0
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    int8: tuple[Measured, ...] = ()
    seconds: float = 0.0
    stock_seconds: float = 0.0


@dataclass(frozen=True)
class Users:
    """What became of all models.

    Attributes:
        conditions: Versions and the machine.
        quick: Whether the exports were quick.
        users: In the order of the builders.
    """

    SCHEMA: ClassVar[str] = "edgegolf.users/1"
    conditions: dict[str, str]
    quick: bool
    users: tuple[User, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="Models with this name.")
    parser.add_argument("--json", type=Path, help="Keep what is measured there.")
    parser.add_argument("--folder", type=Path, help="Keep models and stock files there.")
    parser.add_argument("--search", action="store_true", help="Not quick: search and fine-tune.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _measure(arguments, (arguments.folder or Path(temporary)).absolute())


def _measure(arguments: argparse.Namespace, folder: Path) -> None:
    import users  # whose functions another process can find, as it cannot those of __main__

    known: dict[str, users.User] = {}
    if arguments.json and arguments.json.exists():
        found = from_json(arguments.json.read_bytes(), users.Users, str(arguments.json))
        known = {each.name: each for each in found.users if found.quick != arguments.search}
    names = [*users_models.MODELS]
    wanted = [name for name in names if name in arguments.only or not arguments.only]
    for name in track(wanted, "users' models"):
        if name in known and name not in arguments.only:
            continue
        try:
            known[name] = run_in_child(
                users.measured, name, folder / name, not arguments.search, timeout=SECONDS
            )
        except EdgegolfError as error:
            known[name] = users.User(name, f"crashed: {error.message}")
        if arguments.json:
            write_atomically(arguments.json, to_json(_result(users, known, not arguments.search)))
    shown = _result(users, {name: known[name] for name in wanted}, not arguments.search)
    print(users.users_markdown(shown))


def _result(users: Any, known: dict[str, User], quick: bool) -> Any:
    packages = ("keras", "tensorflow_cpu", "tf2onnx", "onnxruntime", "ai-edge-litert")
    conditions = {"machine": platform.machine(), "cores": str(os.cpu_count())}
    conditions |= {package: version(package) for package in packages}
    names = [name for name in users_models.MODELS if name in known]
    return users.Users(conditions, quick, tuple(known[name] for name in names))


def measured(name: str, place: Path, quick: bool) -> User:
    """Build, export and convert one model, and compare what came of it."""
    if not (place / WHOLE).exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "model").mkdir(parents=True)
        built = run_in_child(_built, name, place / "model", timeout=SECONDS)
        (place / "stock").mkdir()
        seconds = _convert(*built[0], place / "stock")
        write_atomically(place / WHOLE, pickle.dumps((*built, seconds)))
    (path, samples), task, stock_seconds = pickle.loads((place / WHOLE).read_bytes())
    shutil.rmtree(place / "ours", ignore_errors=True)
    options = ExportOptions(quick=quick, input_shapes=SHAPES.get(name, ()))
    started = _cpu_seconds()
    try:
        made = run_in_child(export_model, path, place / "ours", samples, options, timeout=SECONDS)
    except EdgegolfError as error:
        return User(name, f"{error.message} ({error.hint})" if error.hint else error.message)
    seconds = _cpu_seconds() - started
    return User(
        name,
        files=len(made.files),
        failures=tuple(f"{key}: {error.message}" for key, error in made.failures.items()),
        notes=tuple(note.replace(f"{path.parent}/", "") for note in made.notes),
        int8=run_in_child(_judged, place, task, timeout=SECONDS),
        seconds=round(seconds, 1),
        stock_seconds=round(stock_seconds, 1),
    )


def _built(name: str, folder: Path) -> tuple[tuple[Path, Path], Task]:
    """Where a model and its samples are, and what it computes."""
    path, samples = users_models.MODELS[name](folder)
    source = open_source(path)
    described, data, shapes = _described(source.describe(), samples)
    compiled: Compiled | None = None
    with suppress(EdgegolfError):
        compiled = source.compile(shapes)
    expected = tuple(source.predict(data.validation))
    return (path, samples), Task(described.files, data.validation, expected, compiled)


def _convert(path: Path, samples: Path, folder: Path) -> float:
    """All that the stock converters make of a model, in how many seconds of CPU."""
    started = _cpu_seconds()
    with Worker(open_source, path) as worker:
        _, data, shapes = _described(worker.call("describe", what="reading"), samples)
        for name in STOCK:
            with suppress(EdgegolfError):  # they may crash
                made = worker.call("convert", name, shapes, data.calibration, what=name)
                if made is not None:
                    (folder / name).write_bytes(made)
    end_idle()
    return _cpu_seconds() - started


def _described(
    described: Described, samples: Path
) -> tuple[Described, ExportData, tuple[tuple[int, ...], ...]]:
    data = read_data(samples, described.inputs, ExportOptions().calibration_images)
    return described, data, tuple((1, *array.shape[1:]) for array in data.validation.inputs)


def _judged(folder: Path, task: Task) -> tuple[Measured, ...]:
    found = []
    compiled = task.compiled
    for name, runtime in RUNTIMES.items():
        ours, stock = folder / "ours" / name, folder / "stock" / name
        if not ours.exists():
            continue
        golfed = stock.with_name(f"golfed-{name}")
        if stock.exists():
            golfed.write_bytes(stock.read_bytes())
            with suppress(EdgegolfError):
                golf_file(stock, golfed)
        exact, smallest = (ours.with_name(f"{stem}{ours.suffix}") for stem in STEMS)
        if compiled is not None:
            task = replace(task, compiled=in_file(compiled, ours.suffix))
        (own, layout), (other, stock_layout) = _sqnr(ours, task), _sqnr(golfed, task)
        latency = None
        if stock.exists() and other is not None:
            paths, layouts = [golfed, ours], [stock_layout, layout]
            pairs = run_in_child(latencies_of, paths, runtime, layouts, task, timeout=SECONDS)
            latency = ratio(pairs[1], pairs[0])[0] if pairs[0] and pairs[1] else None
        found.append(
            Measured(
                name,
                ours.stat().st_size,
                golfed.stat().st_size if stock.exists() else None,
                exact.stat().st_size if exact.exists() else None,
                -1.0 if own is None else own,
                other,
                latency,
                smallest.stat().st_size if smallest.exists() else None,
            )
        )
    return tuple(found)


def _sqnr(path: Path, task: Task) -> tuple[float | None, bool]:
    """Of the worst output, dB; and whether it has the graph's layout and not the model's."""
    best: tuple[float | None, bool] = (None, False)
    for is_compiled in (False, True):
        with suppress(EdgegolfError, ValueError, FileNotFoundError):
            outputs = task.run(path, is_compiled)
            compared = compare(outputs, task.expected, task.samples)
            found = min(NO_NOISE, *(output.sqnr for output in compared.outputs))
            if best[0] is None or found > best[0]:
                best = found, is_compiled
    return best


def _cpu_seconds() -> float:
    """Of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


# -------------------------------------------------------------------------------------- the table


def users_markdown(result: Users) -> str:
    """Each model, and how many miss a bar."""
    figures = ("/ stock", "dB", "stock", "latency")
    header = ("model", "int8.tflite", *figures, "int8.onnx", *figures, "CPU s", "/ stock", "misses")
    rows = tuple(_row(user) for user in result.users)
    lines = [
        ", ".join(f"{name} {value}" for name, value in result.conditions.items()) + ".",
        "",
        "| | |",
        "| --- | ---: |",
        *(f"| {name} | {count} |" for name, count in counts(result).items()),
        "",
        Table(header, rows).markdown(),
    ]
    told = [
        f"- `{user.name}`: {each}"
        for user in result.users
        for each in (*filter(None, (user.refused,)), *user.failures, *_smaller(user))
    ]
    return "\n".join([*lines, *told]) + "\n"


def _smaller(user: User) -> list[str]:
    return [
        f"{each.name.replace('int8', 'int8-smallest')} takes {each.smallest:,} bytes"
        for each in user.int8
        if each.smallest is not None
    ]


def counts(result: Users) -> dict[str, int]:
    """How many models there are, and how many miss which bar."""
    found = {
        "models": len(result.users),
        "get in": sum(not user.refused for user in result.users),
        "of these with a file that is missing, and why": sum(
            bool(user.failures) for user in result.users
        ),
    }
    for name in RUNTIMES:
        for bar in ("larger", "noisier", "slower", "larger than float"):
            missed = sum(m.name == name and bar in m.missed for u in result.users for m in u.int8)
            if name.endswith(".onnx") or bar != "larger than float":
                against = "" if bar == "larger than float" else " than golfed stock"
                found[f"{name} {bar}{against}"] = missed
    slow = sum(user.seconds > SLOWEST * user.stock_seconds > 0 for user in result.users)
    return found | {f"more than {SLOWEST:.0f} times the converters' CPU seconds": slow}


def _row(user: User) -> tuple[str, ...]:
    by_name = {each.name: each for each in user.int8}
    cells = [user.name]
    missed = []
    for name in RUNTIMES:
        each = by_name.get(name)
        if each is None:
            cells += [UNKNOWN] * 5
            continue
        missed += [f"{name[5:]} {bar}" for bar in each.missed]
        cells += [
            f"{each.bytes:,}",
            _number(each.stock_bytes and each.bytes / each.stock_bytes, 3),
            _number(each.sqnr, 1),
            _number(each.stock_sqnr, 1),
            _number(each.latency_ratio, 2),
        ]
    if user.stock_seconds and user.seconds > SLOWEST * user.stock_seconds:
        missed.append("seconds")
    ratio = f"{user.seconds / user.stock_seconds:.1f}" if user.stock_seconds else UNKNOWN
    cells += [f"{user.seconds:.0f}", ratio, "refused" if user.refused else ", ".join(missed)]
    return tuple(cells)


def _number(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
