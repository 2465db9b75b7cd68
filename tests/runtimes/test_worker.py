"""Objects in processes of their own: what they answer, how they end, and what the next find."""

from __future__ import annotations

import os
import sys
import time

import psutil
import pytest
import worker_objects

from edgegolf.errors import EdgegolfError, unknown
from edgegolf.runtimes.child import UnfinishedError
from edgegolf.runtimes.worker import Worker, run_apart


def worker(start: int = 0, loads: bool = True) -> Worker:
    return Worker(worker_objects.Total, start, load=worker_objects.load if loads else None)


@pytest.mark.parametrize("loads", [True, False])
def test_an_object_keeps_its_state_and_a_crash_ends_it(loads: bool) -> None:
    with worker(5, loads) as total:
        assert [total.call("add", 2, what="adding") for _ in range(2)] == [7, 9]
        with pytest.raises(EdgegolfError, match="not this"):
            total.call("refuse", what="refusing")
        assert total.call("add", 1, what="adding") == 10
        with pytest.raises(EdgegolfError, match="crashing: the process crashed with SIGSEGV"):
            total.call("crash", what="crashing")
        assert total.call("add", 1, what="adding") == 6  # it was started again
        with pytest.raises(EdgegolfError, match="status 1: ValueError: the last words"):
            total.call("fail", what="failing")


@pytest.mark.parametrize("loads", [True, False])
def test_processor_time_is_bounded_also_for_what_is_made(loads: bool) -> None:
    with worker(5, loads) as total:
        assert total.call("add", 2, what="adding", busy=1) == 7
        with pytest.raises(UnfinishedError, match=r"turning: not finished after 0\.5 seconds"):
            total.call("turn", what="turning", busy=0.5)
        assert total.call("add", 1, what="adding") == 6
    endless = worker(worker_objects.ENDLESS, loads)
    with endless, pytest.raises(UnfinishedError, match="loading the model: not finished"):
        endless.call("add", 1, what="adding", busy=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork")
def test_the_next_find_what_is_loaded_and_nothing_else() -> None:
    families = []
    for start in range(5):
        with worker(start) as total:
            assert total.call("add", 1, what="adding") == start + 1
            families.append(total.call("family", what="asking"))
    pids, parents, loads = zip(*families, strict=True)
    assert len(set(pids)) == 5
    assert len(set(parents)) == 1
    assert set(loads) == {2}  # once, and by its own call


@pytest.mark.parametrize(("start", "says"), [(-1, "below zero"), (13, "nothing to load")])
def test_what_cannot_be_made_is_told_and_the_next_is_made(start: int, says: str) -> None:
    with worker(start) as refused, pytest.raises(EdgegolfError, match=says):
        refused.call("add", 1, what="adding")
    with worker(1) as total:
        assert total.call("add", 1, what="adding") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not fork")
def test_nothing_outlives_its_template() -> None:
    with worker() as total:
        pid, parent, _ = total.call("family", what="asking")
        fork = psutil.Process(pid)
        psutil.Process(parent).kill()
        _, alive = psutil.wait_procs([fork], timeout=60)
        assert alive == []
        with pytest.raises(EdgegolfError, match="asking: the process crashed with SIGKILL"):
            total.call("family", what="asking")
        assert total.call("add", 1, what="adding") == 1


def test_calls_share_one_process_that_is_not_this_one() -> None:
    first, second = run_apart(os.getpid), run_apart(os.getpid)
    assert first == second != os.getpid()


def test_an_error_a_crash_or_a_long_wait_is_an_error_and_the_next_call_goes_on() -> None:
    assert str(run_apart(unknown, "no such thing", "a", ["b"])) == "no such thing"
    with pytest.raises(EdgegolfError, match="SIGABRT"):
        run_apart(os.abort)
    with pytest.raises(EdgegolfError, match=r"not finished after 0\.5 s"):
        run_apart(time.sleep, 60, timeout=0.5)
    assert run_apart(max, 1, 2) == 2
