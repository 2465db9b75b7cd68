"""LiteRT (package `ai-edge-litert`): TensorFlow Lite's successor, with its default kernels, which
use XNNPACK, or with the reference kernels, which give the same bits on every machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.session import Session
from edgegolf.runtimes.tflite_interpreter import TfliteSession


def check() -> None:
    """Import the package.

    Raises:
        EdgegolfError: It is not installed or does not work here.
    """
    _interpreter_module()


def open_session(path: Path, provider: str, threads: int) -> Session:
    """Load a `.tflite` file with the default kernels."""

    def make(file: str, threads: int) -> Any:
        return _interpreter_module().Interpreter(model_path=file, num_threads=threads)

    return TfliteSession(make, path, "litert", provider, threads)


def open_reference_session(path: Path, provider: str, threads: int) -> Session:
    """Load a `.tflite` file with the reference kernels."""

    def make(file: str, threads: int) -> Any:
        module = _interpreter_module()
        return module.Interpreter(
            model_path=file,
            num_threads=threads,
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
        )

    return TfliteSession(make, path, "litert-reference", provider, threads)


def _interpreter_module() -> Any:
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        raise EdgegolfError(
            f"litert is not installed or does not work here: {error}",
            hint="pip install ai-edge-litert (64-bit systems only)",
        ) from None
    return interpreter
