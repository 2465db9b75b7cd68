"""Runs a function in a fresh process, which may crash without harm to this one."""

from __future__ import annotations

import ctypes
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.chatter import strip_chatter

T = TypeVar("T")

# Not multiprocessing: its fresh processes import the caller's main module, which costs time and
# memory that would be measured.
_CHILD = ("-c", "from edgegolf.runtimes.child import main; main()")

PR_SET_PDEATHSIG = 1  # Linux, sys/prctl.h

SECONDS = 30.0
BYTES_PER_SECOND = 1_000_000


class UnfinishedError(EdgegolfError):
    """What ran in a process took longer than it may."""


def patience(path: Path) -> float:
    """Seconds of processor time for reading a model file or running it once.

    Strangers' files hold loops without end.
    """
    return SECONDS + path.stat().st_size / BYTES_PER_SECOND


def run_in_child(
    function: Callable[..., T],
    *args: Any,
    timeout: float | None = None,
    busy: float | None = None,
) -> T:
    """Call a function in a fresh Python process, whose memory nothing else takes.

    Args:
        function: A function of a module (not of `__main__`).
        *args: Its arguments; they and the result are pickled.
        timeout: Seconds after which the process is ended.
        busy: The same in seconds of processor time, where the system counts it.

    Returns:
        Its result.

    Raises:
        EdgegolfError: Raised by the function, or the process crashed (the first path among
            the arguments and the signal are named).
        UnfinishedError: It took longer than `timeout` or `busy`.
    """
    python = (sys.executable,)
    call = (function, *args) if busy is None else (_limited, busy, function, *args)
    with in_time(subject_of(function, args), busy):
        return run_in_python(python, child_environment(), *call, timeout=timeout)


def _limited(busy: float, function: Callable[..., T], *args: Any) -> T:
    with processor_time(busy):
        return function(*args)


@contextmanager
def in_time(subject: str, busy: float | None) -> Iterator[None]:
    """Say that what `processor_time` ended in another process took longer than it may.

    Raises:
        UnfinishedError: Instead of the error for a process that the signal ended.
    """
    try:
        yield
    except EdgegolfError as error:
        if busy is not None and "SIGXCPU" in error.message:
            seconds = f"{busy:.4g} seconds of processor time"
            raise UnfinishedError(f"{subject}: not finished after {seconds}") from None
        raise


@contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """End this process with SIGXCPU once the block has taken so much more of it."""
    try:
        import resource
    except ImportError:  # Windows has none
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_CPU)
    limit = math.ceil(time.process_time() + seconds)
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_CPU, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, before)


def child_environment() -> dict[str, str]:
    """The environment in which a fresh Python finds what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run_in_python(
    python: Sequence[str],
    environment: Mapping[str, str],
    function: Callable[..., T],
    *args: Any,
    timeout: float | None = None,
) -> T:
    """The same in any Python that finds this package.

    Args:
        python: The command that starts it.
        environment: Its environment variables.
        function: As in `run_in_child`, whose errors this raises, too.
        *args: The same.
        timeout: The same.
    """
    subject = subject_of(function, args)
    try:
        child = subprocess.run(
            (*python, *_CHILD),
            input=pickle.dumps((function, args)),
            capture_output=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        assert timeout is not None
        raise too_long(subject, timeout) from None
    said = strip_chatter(child.stderr).decode(errors="replace")
    try:
        succeeded, result = pickle.loads(child.stdout)
    except (EOFError, pickle.UnpicklingError):
        raise crash(subject, child.returncode, child.stderr) from None
    sys.stderr.write(said)
    if not succeeded:
        raise result
    return result  # type: ignore[no-any-return]


def main() -> None:
    """The child's side: call what standard input holds, write the pickled result."""
    if sys.platform == "linux":  # nobody would end it once the other side is killed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print must not mix with the answer
    function, args = pickle.load(sys.stdin.buffer)
    try:
        result = (True, function(*args))
    except EdgegolfError as error:
        result = (False, error)
    except MemoryError:
        result = (False, EdgegolfError(f"{function.__qualname__} needs more memory than there is"))
    with answer:
        pickle.dump(result, answer)


def subject_of(function: Callable[..., object], args: Sequence[Any]) -> str:
    """What a call is about, for errors: the first path among its arguments, else its name."""
    return next((str(arg) for arg in args if isinstance(arg, Path)), function.__qualname__)


def too_long(subject: str, seconds: float) -> UnfinishedError:
    """The error for a process that was ended because it took longer."""
    return UnfinishedError(f"{subject}: not finished after {seconds:.4g} seconds")


def crash(subject: str, status: int, said: bytes) -> EdgegolfError:
    """The error for a process that ended before it answered.

    Args:
        subject: What it was busy with.
        status: How it ended; negative for a signal.
        said: What it wrote to standard error.
    """
    lines = strip_chatter(said).decode(errors="replace").strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    if status >= 0:
        return EdgegolfError(f"{subject}: the process ended with status {status}{last}")
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return EdgegolfError(
        f"{subject}: the process crashed with {name}{last}",
        hint="the file is damaged, or holds something that this runtime or converter cannot take",
    )
