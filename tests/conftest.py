"""What all tests need before anything else."""

from __future__ import annotations

import gc
import importlib
import os
from contextlib import suppress

from hypothesis import HealthCheck, settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads that wait take processor time, too

with suppress(ImportError):  # it loads no model where TensorFlow was imported before it
    importlib.import_module("tflite_runtime.interpreter")

gc.disable()  # imports make no garbage, but a million objects to look for it in

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a machine may have other things to do


def pytest_collection_finish() -> None:
    """What is imported by now stays: Keras collects garbage for every net."""
    gc.freeze()
    gc.enable()
