"""Which runtimes there are, and which runs a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError, unknown
from edgegolf.files import check_size
from edgegolf.runtimes.onnxruntime import OnnxSession, onnxruntime
from edgegolf.runtimes.session import Session
from edgegolf.runtimes.tflite_interpreter import TfliteSession, litert, tflite_runtime

MAXIMUM_THREADS = 256


@dataclass(frozen=True)
class Runtime:
    """A program that runs model files."""

    suffix: str  # of the files that it runs
    package: str  # the name of its package, as in `pip install`, or of a compiler
    check: Callable[[], object]  # imports it; raises EdgegolfError saying what to install
    # Loads a file, given the path, the provider and the number of threads.
    open: Callable[[Path, str, int], Session]
    is_usual: bool = True  # whether it is used where none is named, too


def _of_c(name: str) -> Callable[..., Any]:
    """A function of the one runtime that exports what it runs: known here by its name only."""
    return lambda *given: getattr(import_module("edgegolf.export.c_library"), name)(*given)


def _tflite(name: str, package: str, load: Callable[[], Any], kernels: str = "") -> Runtime:
    return Runtime(".tflite", package, load, partial(TfliteSession, load, name, kernels))


# Preferred first.
RUNTIMES: dict[str, Runtime] = {
    "litert": _tflite("litert", "ai-edge-litert", litert),
    "tflite-runtime": _tflite("tflite-runtime", "tflite-runtime", tflite_runtime),
    "litert-reference": _tflite("litert-reference", "ai-edge-litert", litert, "BUILTIN_REF"),
    "onnxruntime": Runtime(".onnx", "onnxruntime", onnxruntime, OnnxSession),
    "c": Runtime(".tflite", "gcc", _of_c("command"), _of_c("CSession"), is_usual=False),
}


def find_runtime(name: str) -> Runtime:
    """The runtime of a name. Raises EdgegolfError if there is none."""
    if name not in RUNTIMES:
        raise unknown(f"there is no runtime {name!r}", name, RUNTIMES)
    return RUNTIMES[name]


def runtimes_for(path: Path) -> tuple[str, ...]:
    """The names of the runtimes for files like this, preferred first.

    Raises:
        EdgegolfError: None runs files of this suffix.
    """
    names = tuple(name for name, runtime in RUNTIMES.items() if runtime.suffix == path.suffix)
    if not names:
        suffixes = sorted({runtime.suffix for runtime in RUNTIMES.values()})
        raise EdgegolfError(f"{path} is no {' or '.join(suffixes)} file")
    return names


def installed_runtimes(path: Path) -> tuple[str, ...]:
    """Those of `runtimes_for` that are usual and work here."""
    return tuple(name for name in _usual(path) if works_here(name))


def preferred_runtime(path: Path) -> str:
    """The first of `installed_runtimes`.

    Raises:
        EdgegolfError: None runs files of this suffix, or none of those is installed.
    """
    names = _usual(path)
    for name in names:
        if works_here(name):
            return name
    find_runtime(names[0]).check()
    raise AssertionError("unreachable: the check above raises")


def open_session(
    path: Path, runtime: str | None = None, provider: str = "cpu", threads: int = 1
) -> Session:
    """Load a model file into a runtime.

    A damaged file can crash some runtimes and with them this process; files from strangers
    are opened through `edgegolf.runtimes.worker.run_in_fork`.

    Args:
        path: A `.tflite` or `.onnx` file.
        runtime: A name in `RUNTIMES`; by default the preferred one that is installed.
        provider: What it runs on: `cpu`, or an execution provider of onnxruntime.
        threads: How many threads an operator may use.

    Raises:
        EdgegolfError: The file is missing, empty, broken, or not for this runtime; the runtime
            or provider is not installed.
    """
    if not 1 <= threads <= MAXIMUM_THREADS:
        raise EdgegolfError(f"{threads} threads are not between 1 and {MAXIMUM_THREADS}")
    check_file(path)
    name = preferred_runtime(path) if runtime is None else runtime
    found = find_runtime(name)
    if found.suffix != path.suffix:
        raise EdgegolfError(
            f"{name} runs {found.suffix} files, not {path}",
            hint=f"use --runtime {' or '.join(runtimes_for(path))}",
        )
    return found.open(path, provider, threads)


def check_file(path: Path) -> None:
    """Look whether a file can be read, and has content.

    Raises:
        EdgegolfError: It is missing, a folder, unreadable or empty.
    """
    check_size(path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise EdgegolfError(f"{path} cannot be read: {error.strerror}") from None


def _usual(path: Path) -> tuple[str, ...]:
    return tuple(name for name in runtimes_for(path) if RUNTIMES[name].is_usual)


def works_here(name: str) -> bool:
    """Whether a runtime is installed."""
    try:
        RUNTIMES[name].check()
    except EdgegolfError:
        return False
    return True
