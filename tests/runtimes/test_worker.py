from __future__ import annotations

import os
import time

import pytest

from edgegolf.errors import EdgegolfError, unknown
from edgegolf.runtimes.worker import run_apart


def test_calls_share_one_process_that_is_not_this_one() -> None:
    first, second = run_apart(os.getpid), run_apart(os.getpid)
    assert first == second != os.getpid()


def test_an_error_a_crash_or_a_long_wait_is_an_error_and_the_next_call_goes_on() -> None:
    assert str(run_apart(unknown, "no such thing", "a", ["b"])) == "no such thing"
    with pytest.raises(EdgegolfError, match="SIGABRT"):
        run_apart(os.abort)
    with pytest.raises(EdgegolfError, match="SIGKILL"):
        run_apart(time.sleep, 60, timeout=0.5)
    assert run_apart(max, 1, 2) == 2
