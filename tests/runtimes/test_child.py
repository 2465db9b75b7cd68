from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import small_models as models

from edgegolf.errors import EdgegolfError
from edgegolf.files import write_atomically
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.child import run_in_child
from edgegolf.runtimes.worker import run_in_fork

in_both = pytest.mark.parametrize("call", [run_in_child, run_in_fork])


def process_and_sum(*numbers):
    os.write(1, b"noise that must not mix with the result\n")
    return os.getpid(), sum(numbers)


def fail(path):
    raise EdgegolfError(f"{path} is odd", hint="take another")


def die(path, number):
    os.kill(os.getpid(), number)


def stop_early(path):
    print("half a result", file=sys.stderr, flush=True)
    os._exit(3)


def wait_forever(path):
    signal.pause()


def modules():
    return set(sys.modules)


def run_once(path, runtime):
    with open_session(path, runtime) as session:
        session.invoke()


@in_both
def test_results_come_from_another_process(call):
    pid, total = call(process_and_sum, 1, 2, 3)
    assert total == 6
    assert pid != os.getpid()


@in_both
def test_errors_come_back_whole(call):
    with pytest.raises(EdgegolfError, match="a is odd") as caught:
        call(fail, Path("a"))
    assert caught.value.hint == "take another"


@in_both
@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_crash_names_file_and_signal(call):
    with pytest.raises(EdgegolfError, match=r"odd\.onnx: the process crashed with SIGSEGV"):
        call(die, Path("odd.onnx"), signal.SIGSEGV)


@in_both
def test_an_early_end_names_status_and_last_words(call):
    with pytest.raises(EdgegolfError, match="ended with status 3: half a result"):
        call(stop_early, Path("odd.onnx"))


@in_both
def test_a_timeout_is_an_error(call):
    with pytest.raises(EdgegolfError, match=r"odd\.onnx: not finished"):
        call(wait_forever, Path("odd.onnx"), timeout=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends by itself")
@in_both
def test_the_child_of_a_killed_process_ends(tmp_path, call):
    path = tmp_path / "pid"
    with pytest.raises(EdgegolfError, match="crashed with SIGKILL"):
        run_in_child(wait_and_be_killed, path, call)
    while _is_alive(int(path.read_text())):
        time.sleep(0.05)


def wait_and_be_killed(path, call):
    threading.Thread(target=_kill_this_process_when_there, args=(path,), daemon=True).start()
    call(_say_who_and_wait, path)


def _kill_this_process_when_there(path):
    while not path.exists():
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


def _say_who_and_wait(path):
    write_atomically(path, str(os.getpid()))
    time.sleep(600)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@in_both
def test_the_child_imports_no_runtime(call):
    assert not {"ai_edge_litert", "onnxruntime", "tflite_runtime", "tensorflow"} & call(modules)


@in_both
@pytest.mark.parametrize("runtime", ["litert", "tflite-runtime"])
def test_a_model_that_crashes_its_runtime(tmp_path, runtime, call):
    pytest.importorskip("ai_edge_litert")
    if runtime not in installed_runtimes(tmp_path / "any.tflite"):
        pytest.skip(f"{runtime} is not installed")
    path = models.tflite_crashing(tmp_path / "crashing.tflite")
    with pytest.raises(EdgegolfError, match=r"crashing\.tflite: the process crashed with SIG"):
        call(run_once, path, runtime)


def surroundings():
    print("a word", file=sys.stderr)
    return os.getcwd(), os.environ["NEW"], sys.path[0]


def test_a_fork_finds_what_this_process_has_now(tmp_path, monkeypatch, capsys):
    run_in_fork(os.getpid)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEW", "1")
    monkeypatch.syspath_prepend("here")
    assert run_in_fork(surroundings) == (str(tmp_path), "1", "here")
    assert capsys.readouterr().err == "a word\n"


def count(end):
    while end:
        end += 1


def test_a_fork_may_be_busy_for_so_long_only():
    with pytest.raises(EdgegolfError, match="count: not finished after 1 seconds"):
        run_in_fork(count, 1, busy=1)
    assert run_in_fork(max, 1, 2, busy=1) == 2
