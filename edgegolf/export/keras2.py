"""Files that Keras 2 wrote, up to TensorFlow 2.15, as Keras 3 reads them: a few words differ."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgegolf.errors import require

_KERNEL = ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint")
# What the layers of Keras 2 say and those of Keras 3 do not take, always of one value.
_GONE = {
    "DepthwiseConv1D": _KERNEL,
    "DepthwiseConv2D": _KERNEL,
    "SeparableConv1D": _KERNEL,
    "SeparableConv2D": _KERNEL,
    "Conv1DTranspose": ("groups",),
    "Conv2DTranspose": ("groups",),
    "Conv3DTranspose": ("groups",),
    "GRU": ("time_major", "implementation"),
    "LSTM": ("time_major", "implementation"),
    "SimpleRNN": ("time_major",),
}


def modernize(config: Any) -> bool:
    """Change a model's configuration to that of Keras 3, in place.

    Returns:
        Whether there was anything to change.
    """
    changed = False
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            changed |= _modernize_layer(value)
    return changed


def _modernize_layer(layer: dict[str, Any]) -> bool:
    kind, config = layer.get("class_name"), layer.get("config")
    if not isinstance(kind, str) or not isinstance(config, dict):
        return False
    changed = [config.pop(name) for name in _GONE.get(kind, ()) if name in config]
    if str(layer.get("module")).startswith("keras.src.engine."):
        layer["module"] = f"keras.src.models.{kind.lower()}"
        changed.append(kind)
    if "batch_input_shape" in config:
        changed.append(config.pop("batch_input_shape"))
        if kind == "InputLayer":
            config["batch_shape"] = changed[-1]
    if kind == "BatchNormalization" and isinstance(axis := config.get("axis"), list) and axis:
        changed.append(axis)
        config["axis"] = axis[0]
    return bool(changed)


@contextmanager
def with_config(path: Path, config: Any) -> Iterator[Path]:
    """A copy of a `.keras` or HDF5 file with another configuration, for as long as it is needed."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
                for entry in source.infolist():
                    is_config = entry.filename == "config.json"
                    data = json.dumps(config).encode() if is_config else source.read(entry)
                    target.writestr(entry.filename, data)
        else:
            h5py = require("h5py", extra="train")
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
        yield copy
