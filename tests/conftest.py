"""Before anything else: tflite-runtime loads no model where TensorFlow was imported before it."""

from __future__ import annotations

import importlib
from contextlib import suppress

with suppress(ImportError):
    importlib.import_module("tflite_runtime.interpreter")
