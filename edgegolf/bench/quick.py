"""Median latencies of many files, fast and fairly compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegolf.bench.bench import TIMEOUT
from edgegolf.export.measuring import Task, latencies_of
from edgegolf.export.samples import Samples
from edgegolf.runtimes.worker import run_in_fork


def latencies_in_turns(
    files: Sequence[tuple[Path, str]], image: NDArray[np.uint8]
) -> dict[tuple[Path, str], float]:
    """Median microseconds of single inferences on one thread, of files in their runtimes.

    All files of a runtime take turns in one process, so that whatever else the machine does slows
    all of them alike. A file that its runtime refuses is left out.

    Args:
        files: Paths, each with the name of a runtime.
        image: uint8 [1, height, width, channels], what they classify.

    Raises:
        EdgegolfError: A file crashes its runtime.
    """
    task = Task(("image",), Samples((image / np.float32(255),)), ())
    found: dict[tuple[Path, str], float] = {}
    for runtime in dict.fromkeys(runtime for _, runtime in files):
        paths = [path for path, each in files if each == runtime]
        compiled = [False] * len(paths)
        times = run_in_fork(latencies_of, paths, runtime, compiled, task, timeout=TIMEOUT)
        found |= {
            (path, runtime): time[0]
            for path, time in zip(paths, times, strict=True)
            if time is not None
        }
    return found
