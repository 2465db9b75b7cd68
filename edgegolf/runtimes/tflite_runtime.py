"""TensorFlow Lite's own small package `tflite-runtime`, the one for 32-bit systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

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

    return TfliteSession(make, path, "tflite-runtime", provider, threads)


def _interpreter_module() -> Any:
    if int(np.__version__.split(".")[0]) >= 2:  # imports, then fails when an interpreter is made
        raise EdgegolfError(
            f"tflite-runtime does not work with numpy {np.__version__}",
            hint="pip install 'numpy<2', or use --runtime litert",
        )
    try:
        from tflite_runtime import interpreter
    except ImportError as error:
        raise EdgegolfError(
            f"tflite-runtime is not installed or does not work here: {error}",
            hint="pip install tflite-runtime 'numpy<2' (Python 3.11 or older), "
            "or use --runtime litert",
        ) from None
    return interpreter
