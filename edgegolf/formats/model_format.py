"""Which kind of model a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgegolf.errors import EdgegolfError
from edgegolf.files import no_such_file
from edgegolf.formats.tflite.schema import FILE_IDENTIFIER

ModelFormat = Literal["tflite", "onnx"]


def model_format(path: Path) -> ModelFormat:
    """The format of a model file, by its identifier, else by its suffix.

    Raises:
        EdgegolfError: The file cannot be read or has neither.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError:
        raise no_such_file(path) from None
    except OSError as error:
        raise EdgegolfError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    if start[4:8] == FILE_IDENTIFIER or path.suffix == ".tflite":
        return "tflite"
    if path.suffix == ".onnx":
        return "onnx"
    raise EdgegolfError(f"{path} is no .tflite or .onnx file")
