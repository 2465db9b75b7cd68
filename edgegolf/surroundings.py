"""What this process runs on and in: cores, versions of packages, the commit of this one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def current_commit() -> str | None:
    """The commit of the repository that this package runs from, None outside of one."""
    git = ("git", "-C", str(Path(__file__).parent))
    if not output_of(*git, "ls-files", "--error-unmatch", Path(__file__).name):
        return None  # installed somewhere inside another project's checkout
    return output_of(*git, "rev-parse", "HEAD")


def output_of(*command: str) -> str | None:
    """What a program prints, None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
