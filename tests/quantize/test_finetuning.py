from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ir_nets import (
    difference_net,
    images,
    mirror_pairs_loop,
    outputs,
    pixels,
    plain_net,
    shared_net,
    three_loops,
)

pytest.importorskip("tensorflow")

from edgegolf.backends import tflite
from edgegolf.ir import Graph, QuantParams
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.calibration import Scheme, calibrate, filters_of, ranges
from edgegolf.quantize.finetuning import finetune, tune_biases
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import scores

ONE_SCALE = Scheme("leaky", "one", "one")


def first_quantization(graph: Graph) -> Quantization:
    return calibrate(graph, ranges(graph, [pixels(graph)]), ONE_SCALE)


def cross_entropy(written: Graph, exact: Graph, folder: Path) -> float:
    """Of what a file gives, to what a graph gives."""
    path = folder / "graph.tflite"
    path.write_bytes(tflite.write(written))
    with open_session(path) as session:
        found = scores(session, images(exact))
    return float(-(outputs(exact, 200) * np.log(found + 1 / 512)).sum(axis=1).mean())


@pytest.mark.long
# Graphs that rounding changes: where it does not, tuning has nothing to recover.
@pytest.mark.parametrize("make", [shared_net, lambda: three_loops(seed=2)])
def test_the_rounded_graph_comes_closer_to_the_exact_one(make, tmp_path) -> None:
    graph = fuse_activations(reroll(make()))
    before = first_quantization(graph)
    tuned, after = finetune(
        graph, before, [pixels(graph)], round_activations=True, steps=60, seed=0
    )
    assert cross_entropy(quantized(tuned, after), graph, tmp_path) < (
        cross_entropy(quantized(graph, before), graph, tmp_path)
    )


@pytest.mark.parametrize("make", [plain_net, mirror_pairs_loop])
def test_biases_make_up_for_rounded_weights(make, tmp_path) -> None:
    graph = make()
    coarse = {w: QuantParams((float(np.abs(w.values).max()) / 9,)) for w in filters_of(graph)}
    rounded = Quantization({}, coarse)
    tuned = tune_biases(graph, rounded, [pixels(graph)], steps=100, seed=0)
    assert filters_of(tuned).keys() == coarse.keys()  # weights are what they were
    assert len(tuned.weights) == len(graph.weights) > len(coarse)
    assert cross_entropy(with_decoded_weights(tuned, rounded), graph, tmp_path) < (
        cross_entropy(with_decoded_weights(graph, rounded), graph, tmp_path)
    )


def test_equal_scales_stay_equal_and_those_of_the_input_stay() -> None:
    graph = fuse_activations(difference_net())  # its first tensors are pixels, cropped
    before = first_quantization(graph)
    tuned, after = finetune(
        graph, before, [pixels(graph)], round_activations=True, steps=60, seed=0
    )
    of_pixels = before.activations[graph.inputs[0]]
    groups: dict[QuantParams, set[QuantParams]] = {}
    for tensor, params in before.activations.items():
        groups.setdefault(params, set()).add(after.activations[tensor])
    assert all(len(found) == 1 for found in groups.values())
    assert groups[of_pixels] == {of_pixels}
    assert any(found != {params} for params, found in groups.items())
    assert tuned.weights != graph.weights


def test_weights_alone_can_be_rounded(tmp_path) -> None:
    graph = fuse_activations(reroll(shared_net()))
    before = Quantization({}, first_quantization(graph).weights)
    tuned, after = finetune(
        graph, before, [pixels(graph)], round_activations=False, steps=60, seed=0
    )
    assert after.activations == {}
    assert cross_entropy(with_decoded_weights(tuned, after), graph, tmp_path) <= 1.01 * (
        cross_entropy(with_decoded_weights(graph, before), graph, tmp_path)
    )
