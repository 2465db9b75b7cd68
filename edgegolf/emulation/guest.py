"""What runs inside an emulated board."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgegolf.bench.inputs import example_inputs, run_closed
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.classify import scores
from edgegolf.runtimes.registry import open_session
from edgegolf.runtimes.session import Array, Nothing, Session, TensorInfo

WARM_UP = 9  # Python specialises its bytecode after eight calls
REPEATS = 5


def mark_inferences(cases: Sequence[tuple[Path, str]]) -> list[str | None]:
    """Call `os.getppid` before and after `REPEATS` inferences that do nothing, then of each model.

    Args:
        cases: Model files and runtimes.

    Returns:
        For each case what is wrong, or None if it was marked.
    """
    gc.disable()
    _mark(Nothing().invoke)
    return [_mark_model(path, runtime) for path, runtime in cases]


def _mark_model(path: Path, runtime: str) -> str | None:
    try:
        with open_session(path, runtime) as session:
            run_closed(session, partial(_invoke, session))
            _mark(session.invoke)
    except EdgegolfError as error:
        return error.message
    return None


def _invoke(session: Session, infos: tuple[TensorInfo, ...]) -> None:
    session.set_inputs(example_inputs(infos))
    session.invoke()


def _mark(invoke: Callable[[], Any]) -> None:
    for _ in range(WARM_UP):
        invoke()
    for _ in range(REPEATS):
        os.getppid()
        invoke()
        os.getppid()


def all_scores(cases: Sequence[tuple[Path, str]], images: Array) -> list[Array]:
    """What each model gives for each image and class, as `edgegolf.runtimes.classify.scores`.

    Raises:
        EdgegolfError: A model does not run, or is no classifier of such images.
    """
    found = []
    for path, runtime in cases:
        with open_session(path, runtime) as session:
            found.append(scores(session, images))
    return found
