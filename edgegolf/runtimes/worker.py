"""An object in a process of its own, which may crash without harm to this one.

A process that has loaded packages is a template: what uses them is its fork, for whose end it
waits to fork again. TensorFlow alone takes seconds to load.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from typing import Any, ClassVar, TypeVar, cast

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.chatter import strip_chatter
from edgegolf.runtimes.child import (
    PR_SET_PDEATHSIG,
    child_environment,
    crash,
    in_time,
    processor_time,
    subject_of,
    too_long,
)

T = TypeVar("T")

_TEMPLATE = ("-c", "from edgegolf.runtimes.worker import main; main()")
_CAN_FORK = sys.platform == "linux"  # elsewhere not every library survives it


class Worker(AbstractContextManager["Worker"]):
    """Calls the methods of an object that lives in a process of its own.

    A process that died is started again at the next call.

    Args:
        make: A class or function of a module that gives the object.
        *args: Its arguments; they, and all that is passed on, are pickled.
        load: Called with the same before; what it loads stays loaded for other workers with it.
    """

    def __init__(
        self, make: Callable[..., object], *args: Any, load: Callable[..., object] | None = None
    ) -> None:
        self._recipe = (load, make, args)
        self._template: _Template | None = None

    def call(
        self,
        method: str,
        *args: Any,
        what: str,
        timeout: float | None = None,
        busy: float | None = None,
    ) -> Any:
        """What a method returns.

        Args:
            method: Its name.
            *args: Its arguments.
            what: What it does, for errors: `converting to int8.tflite`.
            timeout: Seconds after which the process is ended.
            busy: The same in seconds of processor time, for making the object, too; a machine with
                other work takes no more of it. Where the system does not count it, it is no limit.

        Raises:
            EdgegolfError: Raised by the method, or the process crashed.
            UnfinishedError: It took longer.
        """
        if self._template is None:
            self._template = _Template.take(self._recipe[0])
            try:
                self._ask((os.getcwd(), *self._recipe, busy), "loading the model", busy)
            except BaseException:
                self._give_back()
                raise
        if timeout is None:
            return self._ask((method, args, busy), what, busy)
        timer = threading.Timer(timeout, self._template.kill)
        timer.start()
        try:
            return self._ask((method, args, busy), what, busy)
        except EdgegolfError:
            if timer.finished.is_set():
                raise too_long(what, timeout) from None
            raise
        finally:
            timer.cancel()

    def said(self) -> str:
        """What the process wrote to standard error so far, without the chatter of libraries."""
        words = b"" if self._template is None else self._template.words()
        return strip_chatter(words).decode(errors="replace")

    def close(self) -> None:
        """End the process."""
        if self._template is not None:
            succeeded, _ = self._template.ask(None)
            self._give_back(succeeded)

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def _ask(self, question: object, what: str, busy: float | None) -> Any:
        assert self._template is not None
        succeeded, result = self._template.ask(question)
        if succeeded is None:
            error = crash(what, result, self._template.words())
            self._give_back(False)
            with in_time(what, busy):
                raise error
        if not succeeded:
            raise result
        return result

    def _give_back(self, is_well: bool | None = True) -> None:
        if self._template is not None:
            if is_well:
                self._template.rest()
            else:
                self._template.end()
            self._template = None


class _Template:
    """The process of which workers are forks, which read and write where it does."""

    _idle: ClassVar[list[_Template]] = []

    @classmethod
    def take(cls, load: object) -> _Template:
        """One that waits for a worker with such packages, or a new one."""
        for template in tuple(cls._idle):
            if template._load == load:
                with suppress(ValueError):  # another thread took it
                    cls._idle.remove(template)
                    return template
        return cls(load)

    def __init__(self, load: object) -> None:
        self._load = load
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            (sys.executable, *_TEMPLATE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            # What converters write depends on the order of sets.
            env={**child_environment(), "PYTHONHASHSEED": "0"},
        )

    def ask(self, question: object) -> tuple[bool | None, Any]:
        """Whether it succeeded, and its result or error; None and the status of what crashed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(question, self._process.stdin)
            self._process.stdin.flush()
            answer: tuple[bool | None, Any] = pickle.load(self._process.stdout)
        except (EOFError, OSError):  # it died
            return None, self._process.wait()
        except pickle.UnpicklingError:  # its fork died while it answered
            self._process.kill()
            return None, self._process.wait()
        except BaseException:  # Ctrl-C: it is busy
            self._process.kill()
            self._process.wait()
            raise
        return answer

    def kill(self) -> None:
        """End it while it is asked something, which is then answered as a crash."""
        self._process.kill()

    def words(self) -> bytes:
        """What it wrote to standard error."""
        self._said.seek(0)
        return self._said.read()

    def rest(self) -> None:
        """Wait for the next worker, if it can."""
        if _CAN_FORK and self._load is not None and self._process.poll() is None:
            self._said.seek(0)
            self._said.truncate()
            self._idle.append(self)
        else:
            self.end()

    def end(self) -> None:
        """End it, and its fork."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with suppress(OSError):  # what it did not read is lost
                if stream is not None:
                    stream.close()


@atexit.register
def end_idle() -> None:
    """End the processes that wait for another worker."""
    while _Template._idle:
        _Template._idle.pop().end()


def run_apart(
    function: Callable[..., T],
    *args: Any,
    timeout: float | None = None,
    busy: float | None = None,
) -> T:
    """What `run_in_child` does, in a process that stays for the next call, to the end of this one.

    Args:
        function: A function of a module (not of `__main__`).
        *args: Its arguments; they and the result are pickled.
        timeout: Seconds after which the process is ended.
        busy: The same in seconds of processor time, where the system counts it.

    Raises:
        EdgegolfError: Raised by the function, or the process crashed or took longer.
    """
    what = subject_of(function, args)
    return cast(T, _process().call("call", function, args, what=what, timeout=timeout, busy=busy))


def run_in_fork(
    function: Callable[..., T],
    *args: Any,
    timeout: float | None = None,
    busy: float | None = None,
) -> T:
    """What `run_in_child` does, in a fork of a process that has loaded the function's module.

    Args:
        function: A function of a module (not of `__main__`) that loads no runtime.
        *args: Its arguments; they and the result are pickled.
        timeout: Seconds after which the process is ended.
        busy: The same in seconds of processor time.

    Raises:
        EdgegolfError: Raised by the function, or the process crashed.
        UnfinishedError: It took longer.
    """
    surroundings, what = (dict(os.environ), sys.path), subject_of(function, args)
    with Worker(_Fork, surroundings, function, load=_module_is_loaded) as fork:
        result = fork.call("call", function, args, what=what, timeout=timeout, busy=busy)
        sys.stderr.write(fork.said())
    return cast(T, result)


def _module_is_loaded(*_: object) -> None:
    """Nothing is left to do: the process has read what it is to call."""


class _Calls:
    def call(self, function: Callable[..., T], args: Sequence[Any]) -> T:
        return function(*args)


class _Fork(_Calls):
    def __init__(
        self, surroundings: tuple[dict[str, str], list[str]], _: Callable[..., object]
    ) -> None:
        environment, sys.path[:] = surroundings
        os.environ.clear()
        os.environ.update(environment)


@cache
def _process() -> Worker:
    worker = Worker(_Calls)
    atexit.register(worker.close)
    return worker


def main() -> None:
    """The template's side: load packages, fork, and tell how the fork ended if not well."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print must not mix with the answers

    def answer(succeeded: bool | None, result: object) -> None:
        pickle.dump((succeeded, result), answers)
        answers.flush()

    with suppress(EOFError):  # nobody asks any more
        while True:
            folder, load, make, args, busy = pickle.load(sys.stdin.buffer)
            if load is None or not _CAN_FORK:
                return _serve(make, args, busy, answer)
            os.chdir(folder)
            succeeded, error = _tried(load, args)
            if not succeeded:
                answer(False, error)
                continue
            fork = os.fork()
            if fork == 0:
                os._exit(_serve_as_fork(make, args, busy, answer))
            _end_without_parent(fork)
            _, status = os.waitpid(fork, 0)
            if status:
                answer(None, os.waitstatus_to_exitcode(status))


def _end_without_parent(fork: int) -> None:
    """Wait for a fork's end, or bring it about once nobody is there to read its answers."""
    with suppress(OSError, AttributeError):  # an old kernel
        end = os.pidfd_open(fork)
        both = select.poll()
        both.register(end, select.POLLIN)
        both.register(sys.stdin.fileno(), 0)  # also tells that it is closed
        if end not in dict(both.poll()):
            os.kill(fork, signal.SIGKILL)
        os.close(end)


def _serve_as_fork(
    make: Callable[..., object],
    args: tuple[Any, ...],
    busy: float | None,
    answer: Callable[..., None],
) -> int:
    """Serve, and return the exit status: a fork ends here, whatever comes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _serve(make, args, busy, answer)
    except EOFError:
        pass
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _serve(
    make: Callable[..., object],
    args: tuple[Any, ...],
    busy: float | None,
    answer: Callable[..., None],
) -> None:
    """Make the object, then answer until there is no question."""
    succeeded, made = _tried(make, args, busy)
    answer(succeeded, None if succeeded else made)
    while succeeded:
        question = pickle.load(sys.stdin.buffer)
        if question is None:
            return answer(True, None)  # else the next worker's first question could be read here
        method, given, busy = question
        answer(*_tried(getattr(made, method), given, busy))


def _tried(
    function: Callable[..., object], args: tuple[Any, ...], busy: float | None = None
) -> tuple[bool, Any]:
    try:
        with nullcontext() if busy is None else processor_time(busy):
            return True, function(*args)
    except EdgegolfError as error:
        return False, error
    except MemoryError:
        return False, EdgegolfError("the model needs more memory than there is")
