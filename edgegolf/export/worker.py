"""An object in a process of its own, which may crash without harm to this one."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Any

from edgegolf.errors import EdgegolfError
from edgegolf.runtimes.child import crash

_CHILD = ("-c", "from edgegolf.export.worker import main; main()")


class Worker:
    """Calls the methods of an object that lives in a fresh Python process.

    A process that died is started again at the next call.

    Args:
        make: A class or function of a module that gives the object.
        *args: Its arguments; they, and all that is passed on, are pickled.
    """

    def __init__(self, make: Callable[..., object], *args: Any) -> None:
        self._recipe = (make, args)
        self._process: subprocess.Popen[bytes] | None = None
        self._said: Any = None

    def call(self, method: str, *args: Any, what: str) -> Any:
        """What a method returns.

        Args:
            method: Its name.
            *args: Its arguments.
            what: What it does, for errors: `converting to int8.tflite`.

        Raises:
            EdgegolfError: Raised by the method, or the process crashed.
        """
        if self._process is None:
            self._start()
        try:
            return self._ask((method, args), what)
        except BaseException:
            if self._process is not None and self._process.poll() is not None:
                self.close()
            raise

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout, self._said):
                if stream is not None:
                    stream.close()
            self._process = None

    def __enter__(self) -> Worker:
        """Itself, to be closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def _start(self) -> None:
        # What converters write depends on the order of sets.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONHASHSEED": "0",
        }
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            (sys.executable, *_CHILD),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
        )
        try:
            self._ask(self._recipe, "loading the model")
        except BaseException:
            self.close()
            raise

    def _ask(self, question: Any, what: str) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(question, self._process.stdin)
            self._process.stdin.flush()
            succeeded, result = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            status = self._process.wait()
            self._said.seek(0)
            raise crash(what, status, self._said.read()) from None
        if not succeeded:
            raise result
        return result


def main() -> None:
    """The child's side: make the object, then answer until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print must not mix with the answers
    made: Any = None
    while True:
        try:
            question, args = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        function = question if made is None else getattr(made, question)
        result: tuple[bool, object]
        try:
            value = function(*args)
            result = (True, None if made is None else value)
            made = value if made is None else made
        except EdgegolfError as error:
            result = (False, error)
        except MemoryError:
            result = (False, EdgegolfError("the model needs more memory than there is"))
        pickle.dump(result, answers)
        answers.flush()
