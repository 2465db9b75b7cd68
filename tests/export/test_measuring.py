from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_nets import images, outputs, shared_net

from edgegolf.data import Split
from edgegolf.errors import EdgegolfError
from edgegolf.export.measuring import (
    SAME_LATENCY,
    Candidate,
    Draft,
    choose,
    measure,
    pareto_front,
)
from edgegolf.export.variants import write_int8_weights
from edgegolf.ir import QuantParams
from edgegolf.quantize.quantization import Quantization
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import scores

candidates = st.lists(
    st.builds(
        lambda size, latency, accuracy: Candidate(
            "", "int8", size, accuracy / 10, {"litert": latency}, {"litert": latency}, b""
        ),
        size=st.integers(1, 6),
        latency=st.integers(1, 6).map(float),
        accuracy=st.integers(0, 10),
    ),
    min_size=1,
    max_size=12,
)


def test_drafts_that_do_not_run_are_left_out() -> None:
    network = shared_net()
    exact = outputs(network, 200)
    validation = Split(images(network), exact.argmax(axis=1))
    scales = {
        weight: QuantParams((float(np.abs(weight.values).max()) / 127,))
        for weight in network.weights
    }
    runs = Draft("runs", "int8-weights", write_int8_weights(network, Quantization({}, scales)))
    broken = Draft("broken", "int8", b"\x1c\x00\x00\x00TFL3")
    first, second = measure([runs, broken, runs], ".tflite", validation)
    assert first.accuracy == second.accuracy > 0.95
    assert first.size_bytes == len(runs.data)
    assert first.latency_ratio["litert"] == 1
    assert second.latency_us["litert"] > 0
    with pytest.raises(EdgegolfError):
        measure([broken, runs], ".tflite", validation)


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
    (found,) = measure([Draft("", "int8-weights", data)], ".tflite", Split(shown, labels))
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


@given(candidates, st.sampled_from(["size", "latency", "balanced"]), st.floats(0, 1))
def test_the_chosen_one_is_accurate_enough_and_the_best_for_its_goal(found, goal, least) -> None:
    chosen = choose(found, goal, "litert", least)
    accurate = [c for c in found if c.accuracy >= least]
    if not accurate:
        assert chosen.accuracy == max(c.accuracy for c in found)
        return

    def cost(candidate: Candidate) -> float:
        size, latency = candidate.size_bytes, candidate.latency_us["litert"]
        return {"size": size, "latency": latency, "balanced": size * latency}[goal]

    assert chosen.accuracy >= least
    if goal == "balanced":
        faster = [c for c in accurate if c.latency_ratio["litert"] < 1]
        accurate = faster or accurate
    margin = 1 if goal == "size" else SAME_LATENCY
    alike = [c for c in accurate if cost(c) <= margin * min(map(cost, accurate))]
    assert chosen in alike
    assert chosen.size_bytes == min(c.size_bytes for c in alike)


def test_a_difference_that_may_be_noise_does_not_pay_for_bytes() -> None:
    """TightResNet's loop and its unrolled form, as measured: their products change places."""
    loop = Candidate("loop", "int8", 4102, 0.992, {"litert": 120.2}, {"litert": 1.82}, b"")
    unrolled = Candidate("unrolled", "int8", 5426, 0.992, {"litert": 89.6}, {"litert": 1.36}, b"")
    assert choose([loop, unrolled], "balanced", "litert") == loop
    assert choose([loop, unrolled], "latency", "litert") == unrolled


def test_what_is_smaller_and_no_faster_than_float_is_not_the_balanced_one() -> None:
    """A net in mirror pairs and as it was, as measured."""
    folded = Candidate("folded", "int8", 70650, 0.9, {"litert": 314.0}, {"litert": 1.01}, b"")
    plain = Candidate("plain", "int8", 108778, 0.9, {"litert": 269.0}, {"litert": 0.86}, b"")
    assert choose([folded, plain], "balanced", "litert") == plain
    assert choose([folded, plain], "size", "litert") == folded
