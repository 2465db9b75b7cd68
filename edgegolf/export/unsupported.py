"""Which layer a converter stumbled over, for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgegolf.errors import EdgegolfError

if TYPE_CHECKING:
    import keras

HINT = "replace the layer by others that compute the same, or leave this format out (--formats)"


def unsupported_operation(
    lacking: str, operation: str, node: str, model: keras.Model
) -> EdgegolfError:
    """The error for an operation that a converter stumbles over.

    Args:
        lacking: Who lacks it, as in "TFLite does not have".
        operation: Its name in TensorFlow.
        node: Its path in TensorFlow's graph, which holds the name of the layer.
        model: Whose layers are searched for.
    """
    names = {layer.name for layer in model.operations}
    parts = node.split("/")
    inside_model = parts[-2] if len(parts) > 1 else node
    layer = next((part for part in parts if part in names), inside_model)
    return EdgegolfError(
        f"layer {layer!r} uses the operation {operation}, which {lacking}",
        hint=HINT,
    )


def conversion_error(file_format: str, error: Exception, model: keras.Model) -> EdgegolfError:
    """What a converter's error means; names the layer where the error tells it."""
    text = str(error)
    if found := re.search(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text):
        operation = found[1]
        node = re.search(rf'"{operation}:", "([^"@]+)', text)
        lacking = f"{file_format} does not have"
        return unsupported_operation(lacking, operation, node[1] if node else "?", model)
    lines = [line for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return EdgegolfError(f"the model cannot be converted to {file_format}: {lines[0][:300]}")
