"""TensorFlow and the converters without their chatter."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from types import ModuleType

from edgegolf.errors import require
from edgegolf.progress import Work


def import_tensorflow() -> ModuleType:
    """TensorFlow, imported so that only its errors are printed, with oneDNN's kernels.

    What is already set in the environment wins.

    Raises:
        EdgegolfError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when the library loads
    # Depthwise convolutions and their gradients run twice as fast through oneDNN.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    loaded = "tensorflow" in sys.modules
    shown = nullcontext() if loaded else Work("loading TensorFlow")
    kept = nullcontext() if loaded else _kept_for_ever()
    with shown, silenced(), hidden("sklearn"), hidden("cv2"), kept:  # oneDNN announces itself
        tensorflow = require("tensorflow", extra="train")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tensorflow


def import_keras() -> ModuleType:
    """Keras on the backend that `KERAS_BACKEND` names; on TensorFlow if it names none.

    Raises:
        EdgegolfError: Keras or TensorFlow is not installed.
    """
    if os.environ.setdefault("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import_tensorflow()
    return require("keras", extra="train")


@contextmanager
def _kept_for_ever() -> Iterator[None]:
    """Let no garbage be looked for among what is made inside the block, then or later.

    To look at all objects of a large package again and again takes a quarter of its time to load.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Let nothing inside the block import a package, unless it is imported already.

    Keras has wrappers for scikit-learn, which takes a quarter of TensorFlow's time to load, and for
    OpenCV.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


@contextmanager
def silenced() -> Iterator[None]:
    """Drop what Python and native code print, log and warn about inside the block.

    The converters' native libraries write to the file descriptors, past `sys.stderr`.
    """
    null_handler = logging.NullHandler()  # else a library's logging.warning() installs a real one
    root = logging.getLogger()
    with tempfile.TemporaryFile("w") as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stdout.flush()
        sys.stderr.flush()
        saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
        root.addHandler(null_handler)
        disabled = root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            for descriptor, _ in saved:
                os.dup2(sink.fileno(), descriptor)
            with redirect_stdout(sink), redirect_stderr(sink):
                yield
        finally:
            logging.disable(disabled)
            root.removeHandler(null_handler)
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)
