"""Text from another machine, made harmless for a terminal."""

from __future__ import annotations

from typing import Any

MAXIMUM_CHARACTERS = 2000


def printable(text: object) -> str:
    """The text on one line without control characters, and not endless."""
    return "".join(
        character if character.isprintable() else " "
        for character in str(text)[:MAXIMUM_CHARACTERS]
    )


def printable_values(value: Any) -> Any:
    """JSON values with every text in them made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_values(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): printable_values(item) for key, item in value.items()}
    return value
