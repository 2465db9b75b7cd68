"""ARM instructions per inference: exact and repeatable, where times need the board itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

from edgegolf.emulation.boards import BOARDS, Board
from edgegolf.emulation.emulator import qemu_version, run_counted
from edgegolf.emulation.guest import REPEATS, mark_inferences
from edgegolf.emulation.tree import package_versions, prepare_host
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded
from edgegolf.progress import track
from edgegolf.records import MAXIMUM_BYTES, list_from_json
from edgegolf.runtimes.registry import RUNTIMES, check_file, find_runtime

DEFAULT_RUNTIMES = ("litert", "tflite-runtime", "onnxruntime")

Case = tuple[Path, str]


@dataclass(frozen=True)
class Instructions:
    """What a processor executes for one inference of a model, on one thread."""

    SCHEMA: ClassVar[str] = "edgegolf.instructions/1"

    file: str  # the path as it was given
    runtime: str  # the runtime's name
    runtime_version: str  # its package's
    board: str  # the board's model
    cpu: str  # its core
    qemu: str  # the emulator's version
    # The fewest of several inferences, less those of an inference that does nothing. Copying inputs
    # and outputs is not part of it. None if it failed.
    instructions: int | None = None
    error: str | None = None  # why there is no figure; None if there is

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from other figures."""
        return self.file, self.runtime, self.cpu


def count_instructions(
    paths: Iterable[Path], architecture: str, runtimes: Sequence[str] = ()
) -> tuple[Instructions, ...]:
    """Count for each file, in each runtime for its kind, on each board of an architecture.

    Args:
        paths: `.tflite` and `.onnx` files.
        architecture: `aarch64` or `armv7l`.
        runtimes: Names. Empty: all that the architecture has, except the reference kernels.

    Raises:
        EdgegolfError: A file is missing, no runtime there runs it, or emulation needs something
            that cannot be installed. A file that does not run is a result with an error.
    """
    prepare_host()
    groups = [
        (board, cases)
        for board in BOARDS
        if board.architecture == architecture
        for cases in _cases(tuple(paths), architecture, runtimes)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = pool.map(lambda group: _count(*group), groups)
        results = [each for group in track(counted, "emulating", len(groups)) for each in group]
    return tuple(results)


def read_instructions(path: Path) -> tuple[Instructions, ...]:
    """Results from a file that `edgegolf bench --emulate --json` wrote.

    Raises:
        EdgegolfError: The file cannot be read or is not a list of such results.
    """
    return list_from_json(read_bounded(path, MAXIMUM_BYTES), Instructions, str(path))


def _cases(
    paths: Sequence[Path], architecture: str, runtimes: Sequence[str]
) -> Iterator[list[Case]]:
    """The files of each runtime."""
    for name in runtimes:
        find_runtime(name)
    chosen = [
        name
        for name in runtimes or DEFAULT_RUNTIMES
        if RUNTIMES[name].package in package_versions(architecture)
    ]
    for path in paths:
        check_file(path)
        if not any(RUNTIMES[name].suffix == path.suffix for name in chosen):
            raise EdgegolfError(
                f"on {architecture} there is no such runtime for {path}",
                hint=f"there are {', '.join(package_versions(architecture))}",
            )
    for name in chosen:
        cases = [(path, name) for path in paths if path.suffix == RUNTIMES[name].suffix]
        if cases:
            yield cases


def _count(board: Board, cases: Sequence[Case]) -> list[Instructions]:
    try:
        # Absolute: the emulator looks for files below the board's root first.
        errors, marks = run_counted(
            board, mark_inferences, [(path.resolve(), runtime) for path, runtime in cases]
        )
    except EdgegolfError as error:
        if len(cases) == 1:
            return [_result(board, cases[0], error=f"{cases[0][0]}: {error.message}")]
        # One of them crashed the process: each in its own.
        return [result for case in cases for result in _count(board, [case])]
    pairs = iter(zip(marks[::2], marks[1::2], strict=True))
    counts = iter(lambda: [end - start for start, end in islice(pairs, REPEATS)], [])
    nothing = min(next(counts))
    return [
        _result(board, case, instructions=min(next(counts)) - nothing)
        if error is None
        else _result(board, case, error=error)
        for case, error in zip(cases, errors, strict=True)
    ]


def _result(
    board: Board, case: Case, instructions: int | None = None, error: str | None = None
) -> Instructions:
    path, runtime = case
    return Instructions(
        file=path.as_posix(),
        runtime=runtime,
        runtime_version=package_versions(board.architecture)[RUNTIMES[runtime].package],
        board=board.model,
        cpu=board.cpu,
        qemu=qemu_version(board),
        instructions=instructions,
        error=error,
    )
