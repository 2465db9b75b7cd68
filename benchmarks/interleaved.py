"""Several models timed in turn in one process, so that what disturbs it slows all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgegolf.bench.inputs import example_inputs
from edgegolf.bench.latency import run_for, time_calls
from edgegolf.runtimes import open_session

WARM_UP_SECONDS = 0.2


def time_in_turn(
    paths: Sequence[Path], runtime: str, rounds: int, seconds: float
) -> list[list[float]]:
    """Median microseconds of one inference on one thread, for each round and file.

    The order changes from round to round: what ran before leaves its traces in the caches.
    """
    sessions = [open_session(path, runtime) for path in paths]
    for session in sessions:
        session.set_inputs(example_inputs(session.inputs))
        run_for(session.invoke, WARM_UP_SECONDS)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(rounds):
        medians = [0.0] * len(sessions)
        for index in generator.permutation(len(sessions)):
            times = time_calls(sessions[index].invoke, seconds)
            medians[index] = float(np.median(times)) / 1000
        found.append(medians)
    return found
