"""What a device answers is not trusted: whatever it is, it ends in a clear error or a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices import RASPBERRY_PI
from hypothesis import given, settings
from hypothesis import strategies as st
from ssh_server import device, says

from edgegolf.bench.result import BenchResult
from edgegolf.bench.system import describe_system
from edgegolf.deploy import connection
from edgegolf.deploy.contents import Content
from edgegolf.deploy.deploy import _read_sample, status
from edgegolf.deploy.host import parse_host
from edgegolf.deploy.models import ModelFile
from edgegolf.deploy.remote_bench import _results
from edgegolf.deploy.sample import difference
from edgegolf.errors import EdgegolfError, printable, printable_values
from edgegolf.records import to_dict, to_json

HOST = parse_host("pi")
MODEL = ModelFile(Path("a.tflite"), "net/a.tflite", Content("a.tflite", "", 0, b""))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def device_json(**changes: Any) -> bytes:
    return json.dumps({**to_dict(RASPBERRY_PI), **changes}).encode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(b""), "ended with status 0"),
        (says(b"Welcome!\n", b"no such module\n", 1), "no such module"),
        (says(b"[1, 2]"), "ended with status"),
        (says(b"[" * 100_000), "ended with status"),
        (says(b'{"schema": "edgegolf.device/1"}'), "not a valid"),
        (says(json.dumps({"error": "\x1b]0;evil\x07\x1b[2Jgone"}).encode()), "gone"),
        (says(device_json(python="eleven")), "Python eleven"),
        (says(device_json(python="3.\x1b[31m")), "Python 3."),
        (says(device_json(memory_bytes="lots")), "not a valid"),
        (says(device_json(libc="musl-1.2")), "musl"),
        (says(b"x" * 3_000_000), "more than"),
        (says(b"", b"y" * 3_000_000, 1), "ended with status 1"),
        (says(b"", code=127), "no Python"),
    ],
)
def test_hostile_devices(
    answer: Callable[..., None], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(connection, "MAXIMUM_ANSWER_BYTES", 2_000_000)
    with device(answer, tmp_path) as host, pytest.raises(EdgegolfError, match=words) as error:
        status(host)
    assert error.value.message.isprintable()
    assert len(error.value.message) < 10_000


@given(JSON | st.text())
@settings(max_examples=50, deadline=None)
def test_any_answer_to_a_sample(value: object) -> None:
    for text in (value, json.dumps(value)):
        with pytest.raises(EdgegolfError):
            _read_sample(text, MODEL, HOST)


@given(JSON | st.text())
@settings(max_examples=50, deadline=None)
def test_any_answer_to_a_benchmark(value: object) -> None:
    for text in (value, json.dumps(value)):
        try:
            found = list(_results(text, MODEL, HOST))
        except EdgegolfError:
            continue
        assert found == []  # an empty list is a valid answer without results


def test_benchmarks_are_made_printable_and_are_of_our_file() -> None:
    there = BenchResult(
        "/etc/passwd", "litert\x1b[2J", "cpu", 1, describe_system(), error="a\nb\x07",
        machine="somebody else",
    )  # fmt: skip
    (result,) = _results(to_json([there]), MODEL, HOST)
    assert (result.file, result.machine) == ("a.tflite", "pi")
    assert (result.runtime, result.error) == ("litert [2J", "a b ")


@given(st.text())
def test_printable_text_is_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()


def test_printable_values_reach_everywhere() -> None:
    assert printable_values({"a\n": ["b\x1b", 1, {"c": None}]}) == {"a ": ["b ", 1, {"c": None}]}


def test_difference_of_outputs() -> None:
    here = [np.array([[-100, 0, 100], [100, 0, -100]], np.int8)]  # they vary by √(2/3) of 100
    assert difference(here, [here[0].tobytes()]) == 0
    one_more = here[0] + np.array([[0, 1, 0]], np.int8)
    assert difference(here, [one_more.tobytes()]) == pytest.approx(0.01 / 2**0.5)
    constant = [np.full((8, 4), 5, np.int8)]
    assert difference(constant, [(constant[0] + np.int8(1)).tobytes()]) == 0.5
    assert difference(constant, [(constant[0] + np.int8(2)).tobytes()]) == 1
    with pytest.raises(EdgegolfError, match="other sizes"):
        difference(here, [b"\0\0"])
    with pytest.raises(EdgegolfError, match="other sizes"):
        difference(here, [])
    real = [np.array([[-1.0], [1.0]], np.float32)]
    assert difference(real, [np.array([0, np.nan], np.float32).tobytes()]) == float("inf")
    assert difference(real, [np.array([-1.5, 1.5], np.float32).tobytes()]) == 0.5
    zeros = [np.zeros((2, 1), np.float32)]
    assert difference(zeros, [real[0].tobytes()]) == float("inf")
