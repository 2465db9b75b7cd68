"""The one error a user sees, one line, and the check for optional packages."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
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


class EdgegolfError(Exception):
    """Something the user can mend: bad input, a missing package, a full disk.

    The command line prints it as one line and exits with code 2. Both texts may quote a file of a
    stranger: they are made printable.

    Args:
        message: What is wrong, naming the file or value.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = printable(message)
        self.hint = printable(hint)
        super().__init__(self.message)


def unknown(message: str, name: str, known: Iterable[str]) -> EdgegolfError:
    """The error of a name that is none of those known, with the likeliest meant, if any.

    Args:
        message: What is wrong, such as `there is no net 'lineer'`.
        name: What was given.
        known: What could have been given.
    """
    names = tuple(known)
    listed = f"there are {', '.join(names)}"
    return EdgegolfError(message, f"{suggestion(name, names)} {listed}".strip())


def suggestion(name: str, known: Iterable[str]) -> str:
    """Asks for the likeliest of the names known; empty if none is like the one given."""
    meant = likeliest(name, known)
    return f"did you mean {meant!r}?" if meant else ""


def likeliest(name: str, known: Iterable[str]) -> str:
    """The name known that is most like the one given; empty if none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name.lower(), list(dict.fromkeys(known)), n=1)), "")


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Raises:
        EdgegolfError: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise missing(module, extra) from None


def missing(module: str, extra: str) -> EdgegolfError:
    """The error of an optional package that is not installed."""
    return EdgegolfError(
        f"this needs the package {module!r}, which is not installed",
        hint=f"pip install 'edgegolf[{extra}]'",
    )
