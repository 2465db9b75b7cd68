"""From any model to `.tflite` and `.onnx` files, float and int8."""

from edgegolf.export.export import (
    DTYPES,
    FORMATS,
    WAYS,
    ExportedFile,
    ExportOptions,
    Way,
    export_model,
)

__all__ = [
    "DTYPES",
    "FORMATS",
    "WAYS",
    "ExportOptions",
    "ExportedFile",
    "Way",
    "export_model",
]
