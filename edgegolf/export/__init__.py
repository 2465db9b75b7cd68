"""From any model to `.tflite` and `.onnx` files, float and int8."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    # The processes of an export load a module of this package each, not all that it can.
    if name not in __all__:
        raise AttributeError(name)
    from edgegolf.export import export

    return getattr(export, name)
