"""Files from strangers: whatever the bytes, an answer or an EdgegolfError, in bounded memory."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golf_models import chain, loop, onnx_chain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegolf.anatomy.anatomy import anatomy
from edgegolf.anatomy.onnx import dissect_onnx
from edgegolf.anatomy.tflite import dissect_tflite
from edgegolf.bench.graph_statistics import graph_statistics
from edgegolf.errors import EdgegolfError
from edgegolf.golf.golf import golf_file
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.golf.tflite_golf import golf_tflite

SEEDS = {
    ".tflite": [chain(["conv", "relu", "depthwise", "add"], int8=True), loop()],
    ".onnx": [onnx_chain(["conv", "relu", "conv", "relu", "mul"])],
}

# The most that an object of Python needs for the shortest thing in a file that makes one.
BYTES_PER_BYTE = 400
FIXED_BYTES = 4_000_000


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, str]:
    suffix = draw(st.sampled_from(sorted(SEEDS)))
    data = bytearray(draw(st.sampled_from(SEEDS[suffix])))
    for _ in range(draw(st.integers(0, 6))):
        position = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["byte", "word", "copy", "cut", "insert"]))
        if kind == "byte":
            data[position] = draw(st.integers(0, 255))
        elif kind == "word":
            word = draw(st.sampled_from([0, 1, 4, 8, len(data), 2**31 - 1, 2**31, 2**32 - 4]))
            data[position : position + 4] = word.to_bytes(4, "little")
        elif kind == "copy":
            source = draw(st.integers(0, len(data) - 1))
            size = draw(st.integers(1, 64))
            data[position : position + size] = data[source : source + size]
        elif kind == "cut":
            del data[position : position + draw(st.integers(1, 2000))]
        else:
            data[position:position] = draw(st.binary(max_size=16))
        if not data:
            break
    return bytes(data), suffix


def answers(function: Callable[[], object]) -> None:
    with contextlib.suppress(EdgegolfError):
        function()


FUZZED = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZED
@given(damaged())
def test_damaged_files_give_an_answer_or_an_error(tmp_path: Path, case: tuple[bytes, str]) -> None:
    data, suffix = case
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(data)
    answers(lambda: graph_statistics(path))
    answers(lambda: anatomy(path))
    answers(lambda: golf_file(path, tmp_path / f"golfed{suffix}"))


@settings(FUZZED, max_examples=40)
@given(damaged())
def test_damaged_files_need_bounded_memory(case: tuple[bytes, str]) -> None:
    data, suffix = case
    dissect, golf = {
        ".tflite": (dissect_tflite, golf_tflite),
        ".onnx": (dissect_onnx, golf_onnx),
    }[suffix]
    tracemalloc.start()
    answers(lambda: dissect(data, "the file"))
    answers(lambda: golf(data, Keep()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < FIXED_BYTES + BYTES_PER_BYTE * len(data)


@pytest.mark.parametrize("suffix", sorted(SEEDS))
def test_truncated_files_give_an_answer_or_an_error(tmp_path: Path, suffix: str) -> None:
    data = SEEDS[suffix][0]
    path = tmp_path / f"cut{suffix}"
    for size in np.linspace(0, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:size])
        answers(lambda: graph_statistics(path))
        answers(lambda: anatomy(path))
        answers(lambda: golf_file(path, tmp_path / f"golfed{suffix}"))


@settings(FUZZED, max_examples=60)
@given(st.binary(max_size=300), st.sampled_from([".tflite", ".onnx"]))
def test_noise_gives_an_answer_or_an_error(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(data if suffix == ".onnx" else data[:4] + b"TFL3" + data[4:])
    answers(lambda: graph_statistics(path))
    answers(lambda: anatomy(path))
    answers(lambda: golf_file(path, tmp_path / f"golfed{suffix}"))
