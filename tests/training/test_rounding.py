"""Compiled training of rounded weights against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from ir_nets import images, pixels, shared_net

from edgegolf.ir import QuantParams
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.calibration import channel_axis
from edgegolf.quantize.finetuning import finetune
from edgegolf.quantize.quantization import Quantization, is_layer
from edgegolf.training.rounding import as_pixels, finetune_weights

pytest.importorskip("tensorflow")

HOW = {"steps": 4, "seed": 3, "learning_rate": 1e-3}


@pytest.mark.parametrize("channels", [False, True])
def test_steps_are_those_of_tensorflow(channels: bool) -> None:
    graph = reroll(shared_net(iterations=3))
    axes = {node.filter: channel_axis(node.op) for node in graph.walk() if is_layer(node)}
    scales = dict.fromkeys(graph.weights, QuantParams((0.11,)))  # clips some of them
    if channels:
        for number, (weight, axis) in enumerate(axes.items()):
            values = np.linspace(0.08, 0.12 + number / 100, weight.shape[axis])
            scales[weight] = QuantParams(tuple(values), (0,) * len(values), axis)
    bits = {weight: 4 if weight in axes else 8 for weight in scales}
    exact = graph.weights[-1]  # a bias
    del scales[exact]
    before = Quantization({}, scales, bits)
    samples = np.float32(images(graph) / np.float32(255))
    assert as_pixels(pixels(graph) + 0.001) is None
    found = as_pixels(samples)
    assert found is not None
    tuned, after = finetune_weights(graph, before, found, **HOW)
    right, wanted = finetune(graph, before, [samples], round_activations=False, **HOW)
    for weight, a, b in zip(graph.weights, tuned.weights, right.weights, strict=True):
        np.testing.assert_allclose(a.values, b.values, atol=2e-5)
        assert np.abs(a.values - weight.values).max() > 1e-4
        if weight is exact:
            continue
        np.testing.assert_allclose(after.weights[a].scales, wanted.weights[b].scales, rtol=1e-4)
        assert after.bits[a] == bits[weight]
