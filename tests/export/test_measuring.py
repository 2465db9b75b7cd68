from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_nets import images, outputs, pixels, shared_net

from edgegolf.errors import EdgegolfError
from edgegolf.export.choosing import (
    ENOUGH_SAMPLES,
    GOOD_SQNR,
    SAME_LATENCY,
    LargerThanFloatError,
    best_files,
    choose,
    pareto_front,
    price_of_sharing,
)
from edgegolf.export.measuring import STOCK, Candidate, Draft, Task, measure, ratio
from edgegolf.export.samples import Samples
from edgegolf.export.variants import write_int8_weights
from edgegolf.ir import Graph, QuantParams
from edgegolf.quantize.quantization import Quantization
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import scores


def candidate(name: str, size: int, ratio: float, accuracy: float | None, noise: float, **more):
    latency = {"litert": ratio}
    return Candidate(
        name, more.pop("compute", "int8"), b"", size_bytes=size, accuracy=accuracy, sqnr=noise,
        latency_us=latency, latency_ratio=latency, **more,
    )  # fmt: skip


candidates = st.lists(
    st.builds(
        lambda size, latency, accuracy: candidate("", size, latency, accuracy / 10, 20.0),
        size=st.integers(1, 6),
        latency=st.integers(1, 6).map(float),
        accuracy=st.integers(0, 10),
    ),
    min_size=1,
    max_size=12,
)


def task_of(network: Graph, count: int) -> Task:
    exact = outputs(network, count)
    samples = Samples((pixels(network, count),), exact.argmax(axis=1))
    return Task(("image",), samples, (exact,))


def test_drafts_that_do_not_run_are_left_out() -> None:
    network = shared_net()
    task = task_of(network, 200)
    scales = {
        weight: QuantParams((float(np.abs(weight.values).max()) / 127,))
        for weight in network.weights
    }
    runs = Draft("runs", "int8-weights", write_int8_weights(network, Quantization({}, scales)))
    broken = Draft("broken", "int8", b"\x1c\x00\x00\x00TFL3")
    first, second = measure([runs, broken, runs], ".tflite", task)
    assert first.accuracy == second.accuracy > 0.95
    assert first.size_bytes == len(runs.data)
    assert first.latency_ratio["litert"] == 1
    assert first.doubt == 0 < second.doubt
    assert second.latency_us["litert"] > 0
    with pytest.raises(EdgegolfError):
        measure([broken, runs], ".tflite", task)


@pytest.mark.parametrize("count", [1, 97])
def test_accuracy_is_that_of_all_images_together(count: int, tmp_path: Path) -> None:
    network = shared_net()
    scales = {
        weight: QuantParams((float(np.abs(weight.values).max()) / 127,))
        for weight in network.weights
    }
    data = write_int8_weights(network, Quantization({}, scales))
    shown = images(network, count)
    labels = outputs(network, count).argmax(axis=1)
    labels[::3] = (labels[::3] + 1) % 5
    samples = Samples((pixels(network, count),), labels)
    task = Task(("image",), samples, (outputs(network, count),))
    (found,) = measure([Draft("", "int8-weights", data)], ".tflite", task)
    path = tmp_path / "network.tflite"
    path.write_bytes(data)
    with open_session(path) as session:
        assert found.accuracy == np.mean(scores(session, shown).argmax(axis=1) == labels)


@given(candidates)
def test_nothing_beats_what_is_on_the_front_and_something_on_it_beats_the_rest(found) -> None:
    def costs(candidate: Candidate) -> tuple[float, ...]:
        return candidate.size_bytes, candidate.latency_us["litert"], -candidate.accuracy

    def dominates(a: Candidate, b: Candidate) -> bool:
        return costs(a) != costs(b) and all(np.less_equal(costs(a), costs(b)))

    front = pareto_front(found, "litert")
    assert not any(dominates(a, b) for a in found for b in front)
    assert all(any(dominates(a, b) for a in front) for b in found if b not in front)


@given(candidates, st.sampled_from(["size", "latency", "balanced"]))
def test_the_chosen_one_is_the_best_for_its_goal(found, goal) -> None:
    chosen = choose(found, goal, "litert")
    accurate = found

    def cost(candidate: Candidate) -> float:
        size, latency = candidate.size_bytes, candidate.latency_us["litert"]
        return {"size": size, "latency": latency, "balanced": size * latency}[goal]

    if goal == "balanced":
        faster = [c for c in accurate if c.latency_ratio["litert"] < 1]
        accurate = faster or accurate
    margin = 1 if goal == "size" else SAME_LATENCY
    alike = [c for c in accurate if cost(c) <= margin * min(map(cost, accurate))]
    assert chosen in alike
    assert chosen.size_bytes == min(c.size_bytes for c in alike)


def test_a_difference_that_may_be_noise_does_not_pay_for_bytes() -> None:
    """TightResNet's loop and its unrolled form, as measured: their products change places."""
    loop = candidate("loop", 4102, 1.82, 0.992, 30.0)
    unrolled = candidate("unrolled", 5426, 1.36, 0.992, 30.0)
    assert choose([loop, unrolled], "balanced", "litert") == loop
    assert choose([loop, unrolled], "latency", "litert") == unrolled


def test_what_is_smaller_and_no_faster_than_float_is_not_the_balanced_one() -> None:
    """A net in mirror pairs and as it was, as measured."""
    folded = candidate("folded", 70650, 1.01, 0.9, 30.0)
    plain = candidate("plain", 108778, 0.86, 0.9, 30.0)
    assert choose([folded, plain], "balanced", "litert") == plain
    assert choose([folded, plain], "size", "litert") == folded


def against_stock(name: str, size: int, ratio: float, noise: float, **more):
    return candidate(name, size, ratio, None, noise, to_stock=ratio / 0.8, **more)


EXACT = candidate("stock", 4000, 1.0, None, 120.0, compute="float32")


def test_the_main_file_is_never_worse_than_the_stock_one() -> None:
    stock = against_stock(STOCK, 1000, 0.8, 35.0)
    worse = [
        against_stock("larger", 1001, 0.1, 50.0),
        against_stock("slower", 500, 0.9, 50.0),
        against_stock("noisier", 500, 0.5, 34.0),
    ]
    better = against_stock("better", 990, 0.79, 36.0)
    found = best_files([EXACT, stock, *worse], ".tflite", None)
    assert found["int8.tflite"] is stock
    shared = against_stock("shared", 300, 0.9, GOOD_SQNR, shared=True)
    found = best_files([EXACT, stock, *worse, better, shared], ".tflite", None)
    assert found["int8.tflite"] is better
    assert found["int8-smallest.tflite"] is shared
    said = price_of_sharing(found, ".tflite") or ""
    assert "300 bytes for 990 of int8.tflite, at 1.14 times its latency and 30.0 dB" in said
    assert price_of_sharing({**found, "int8-smallest.tflite": better}, ".tflite") is None


def test_a_stock_file_that_few_samples_call_bad_is_taken_before_a_noisier_one() -> None:
    stock = replace(against_stock(STOCK, 1000, 0.8, 35.0), accuracy=0.986)
    shared = replace(against_stock("shared", 300, 0.5, 15.0, shared=True), accuracy=0.99)
    exact = replace(EXACT, accuracy=0.99)
    found = best_files([exact, stock, shared], ".tflite", None)
    assert found["int8.tflite"] is stock
    assert found["int8-smallest.tflite"] is shared
    assert best_files([exact, shared], ".tflite", None)["int8.tflite"] is shared


def test_where_classes_are_known_well_what_is_shared_may_take_time() -> None:
    stock = replace(against_stock(STOCK, 1000, 0.8, 35.0), accuracy=0.99)
    shared = replace(against_stock("shared", 300, 0.9, 30.0, shared=True), accuracy=0.99)
    exact = replace(EXACT, accuracy=0.99)
    many = best_files([exact, stock, shared], ".tflite", None, samples=ENOUGH_SAMPLES)
    assert many["int8.tflite"] is shared
    few = best_files([exact, stock, shared], ".tflite", None, samples=ENOUGH_SAMPLES - 1)
    assert few["int8.tflite"] is stock


def test_ratios_are_known_better_the_more_rounds_there_are() -> None:
    times = np.random.default_rng(0).normal(20, 1, 64), np.random.default_rng(1).normal(10, 1, 64)
    middle, doubt = ratio(*times)
    assert middle == pytest.approx(2, rel=0.1)
    repeats = [
        float(np.median(np.random.default_rng(seed).permutation(times[0] / times[1])[:16]))
        for seed in range(200)
    ]
    assert ratio(times[0][:16], times[1][:16])[1] > doubt
    assert 2 * doubt == pytest.approx(np.std(repeats) / middle, rel=0.5)


def test_no_file_is_larger_than_the_float_file() -> None:
    large = candidate("large", 4001, 0.5, None, 40.0)
    with pytest.raises(LargerThanFloatError, match="4,001 bytes or more for 4,000"):
        best_files([EXACT, large], ".tflite", None, largest=4000)
    small = candidate("small", 3999, 0.5, None, 40.0)
    found = best_files([EXACT, large, small], ".tflite", None, largest=4000)
    assert found["int8.tflite"] is small


@given(candidates)
def test_what_is_kept_is_accurate_or_nothing_is(found) -> None:
    exact = candidate("stock", 100, 1.0, 0.8, 100.0)
    kept = best_files([exact, *found], ".tflite", "size")["int8.tflite"]
    most = max(each.accuracy for each in [*found, exact])
    assert kept.accuracy >= min(0.795, most)
