"""Functions of a user's own, named as `my.py:function`, or by packages as entry points.

Code runs only because it was named on the command line or is of an installed package: names that
come from cards, stores or sweep files are never looked up here.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from edgegolf.errors import EdgegolfError, suggestion


def is_reference(name: str) -> bool:
    """Whether this names a function in a Python file."""
    return re.fullmatch(r".*\.py:\w+", name, re.DOTALL) is not None


@contextmanager
def user_function(source: str, hint: str) -> Iterator[Callable[..., Any]]:
    """A function of a Python file, whose code runs here; its folder is on Python's path meanwhile.

    Args:
        source: The file, a colon, and the function's name.
        hint: What such a function is, for errors.

    Raises:
        EdgegolfError: There is no such file or function, or the file's code fails.
    """
    file, _, name = source.rpartition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise EdgegolfError(f"{file} does not exist", hint)
    sys.path.insert(0, str(path.parent))  # as python my.py does
    try:
        with told(source, hint):
            spec = importlib.util.spec_from_file_location(f"functions_of_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        function = getattr(module, name, None)
        if not callable(function):
            known = [each for each, value in vars(module).items() if callable(value)]
            raise EdgegolfError(f"{file} has no function {name!r}", suggestion(name, known) or hint)
        yield function
    finally:
        sys.path.remove(str(path.parent))


@contextmanager
def told(source: str, hint: str) -> Iterator[None]:
    """Turn what a function's or its file's code raises into one line that says where."""
    path = Path(source.rpartition(":")[0]).resolve()
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path)
        ]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines.append(error.lineno)
        where = f"line {lines[-1]} of {path}" if lines else str(path)
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise EdgegolfError(f"{source} fails in {where}: {what}", hint) from None


def from_package(group: str, name: str) -> Any | None:
    """What an installed package offers under a name, as an entry point; None if none does."""
    for found in entry_points(group=group, name=name):
        return found.load()
    return None
