"""Where the files of a data set are looked for, and where downloads go."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from edgegolf.errors import EdgegolfError

ENVIRONMENT_VARIABLE = "EDGEGOLF_DATA"


def cache_folder(name: str) -> Path:
    """A folder in the user's cache, as the operating system has it."""
    return platformdirs.user_cache_path("edgegolf", appauthor=False) / name


def find_folders(
    name: str, files: Sequence[str], missing: Callable[[Path], Sequence[str]]
) -> tuple[Path, ...]:
    """The folders `name` that hold all files: below $EDGEGOLF_DATA, and in the user's cache.

    Args:
        name: What the folder is called.
        files: What the data set consists of.
        missing: Which of the files a folder lacks.

    Raises:
        EdgegolfError: The one below $EDGEGOLF_DATA holds some of the files, not all.
    """
    folders = [cache_folder(name)]
    if root := os.environ.get(ENVIRONMENT_VARIABLE):
        given = Path(root, name)
        absent = missing(given)
        if 0 < len(absent) < len(files):
            raise EdgegolfError(f"{given} lacks {', '.join(absent)}", hint="add what is missing")
        folders.insert(0, given)
    return tuple(folder for folder in folders if not missing(folder))
