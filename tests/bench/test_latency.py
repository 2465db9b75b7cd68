from __future__ import annotations

import math
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegolf.bench.inputs import example_inputs, smooth_inputs
from edgegolf.bench.latency import noise_warnings, overhead, pin, statistics, time_calls
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import TensorInfo

TIMES = st.lists(st.integers(1, 10**9), min_size=1, max_size=200)


@settings(max_examples=50, deadline=None)
@given(TIMES)
def test_statistics_are_those_of_the_textbook(times):
    found = statistics(np.array(times))
    mean = sum(times) / len(times)
    spread = math.sqrt(sum((time - mean) ** 2 for time in times) / len(times))
    assert found["samples"] == len(times)
    assert found["minimum"] == min(times) / 1000
    assert found["mean"] == pytest.approx(mean / 1000)
    assert found["standard_deviation"] == pytest.approx(spread / 1000, abs=1e-6)
    ordered = sorted(times)
    middle = (ordered[(len(times) - 1) // 2] + ordered[len(times) // 2]) / 2
    assert found["p50"] == pytest.approx(middle / 1000)
    assert found["minimum"] <= found["p50"] <= found["p90"] <= found["p99"] <= max(times) / 1000


def test_far_out_times_are_outliers():
    times = np.array([100, 101, 102, 103] * 25 + [10_000, 20_000])
    assert statistics(times)["outliers"] == 2
    assert statistics(np.full(50, 7))["outliers"] == 0


def test_noise_is_told():
    quiet = np.array([100, 101, 102, 101] * 50)
    assert noise_warnings(quiet) == ()
    (warning,) = noise_warnings(np.where(np.arange(200) % 5 == 0, 150, quiet))
    assert "p90 is 1.49 times p50" in warning
    (warning,) = noise_warnings(np.concatenate([quiet[:180], quiet[:20] * 1.2]))
    assert "vary 1.20-fold" in warning


def test_calls_are_timed_until_the_time_is_over():
    calls = []
    samples = time_calls(lambda: calls.append(sum(range(1000))), 0.01)
    assert len(samples) == len(calls)
    assert samples.sum() >= 0.01e9 > samples[:-1].sum()
    assert len(time_calls(lambda: None, 0.0)) == 1


def test_overhead_is_small():
    assert 0 < overhead() < 1000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot pin here")
def test_pinning():
    cores = os.sched_getaffinity(0)
    try:
        pin(max(cores))
        assert os.sched_getaffinity(0) == {max(cores)}
    finally:
        os.sched_setaffinity(0, cores)
    for wrong in (10**6, -1, sys.maxsize * 2):
        with pytest.raises(EdgegolfError, match="no core"):
            pin(wrong)


def test_inputs_suit_their_types():
    infos = (
        TensorInfo("real", (None, 3), "float32"),
        TensorInfo("half", (2,), "float16"),
        TensorInfo("quantized", (400,), "int8", (0.5,), (3,)),
        TensorInfo("bytes", (400,), "uint8"),
        TensorInfo("index", (5,), "int64"),
        TensorInfo("flag", (), "bool"),
    )
    real, half, quantized, pixels, index, flag = example_inputs(infos)
    assert real.shape == (1, 3)
    assert real.dtype == np.float32
    assert ((real >= 0) & (real < 1)).all()
    assert half.dtype == np.float16
    assert quantized.dtype == np.int8
    assert quantized.min() < -100
    assert quantized.max() > 100
    assert pixels.max() > 200
    assert index.tolist() == [0] * 5
    assert flag.shape == ()
    for first, second in zip(example_inputs(infos), example_inputs(infos), strict=True):
        np.testing.assert_array_equal(first, second)


def test_smooth_inputs_have_neighbours_that_are_alike():
    infos = (
        TensorInfo("image", (1, 28, 28, 1), "uint8", (1 / 255,), (0,)),
        TensorInfo("real", (None, 3, 40, 30), "float32"),
        TensorInfo("index", (50,), "int64"),
    )
    for seed in range(3):
        image, real, index = smooth_inputs(infos, seed)
        assert (image.shape, image.dtype) == ((1, 28, 28, 1), np.uint8)
        assert (real.shape, real.dtype) == ((1, 3, 40, 30), np.float32)
        assert np.ptp(image.astype(int)) > 128
        assert np.abs(np.diff(image.astype(int), axis=2)).max() <= np.ceil(255 * 4 / 27)
        assert np.abs(np.diff(real, axis=2)).max() <= 4 / 39 + 1e-6
        assert not np.array_equal(real[0, 0], real[0, 1])
        assert index.tolist() == [0] * 50
    assert not np.array_equal(image, smooth_inputs(infos, 0)[0])


@pytest.mark.parametrize(
    "info",
    [
        TensorInfo("words", (1,), "string"),
        TensorInfo("list", (), "seq(tensor(float))"),
        TensorInfo("brain", (1,), "bfloat16"),
        TensorInfo("huge", (2**20, 2**20), "float32"),
    ],
)
def test_inputs_that_cannot_be_made_up_are_refused(info):
    with pytest.raises(EdgegolfError, match=info.name):
        example_inputs((info,))
    with pytest.raises(EdgegolfError, match=info.name):
        smooth_inputs((info,))
