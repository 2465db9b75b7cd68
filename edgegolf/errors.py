"""The one error a user sees, and the check for optional packages."""

from __future__ import annotations

import importlib
from types import ModuleType


class EdgegolfError(Exception):
    """Something the user can mend: bad input, a missing package, a full disk.

    The command line prints it as one line and exits with code 2.

    Args:
        message: What is wrong, naming the file or value.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
        raise EdgegolfError(
            f"this needs the package {module!r}, which is not installed",
            hint=f"pip install 'edgegolf[{extra}]'",
        ) from None
