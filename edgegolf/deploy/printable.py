"""Text from another machine, made harmless for a terminal."""

from __future__ import annotations

from typing import Any

from edgegolf.errors import printable


def printable_values(value: Any) -> Any:
    """JSON values with every text in them made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_values(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): printable_values(item) for key, item in value.items()}
    return value
