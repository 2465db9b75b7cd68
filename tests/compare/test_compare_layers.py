"""Errors of layers: found where they were made, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ir_nets import Builder, pixels, plain_net, shared_net

from edgegolf.compare.layers import Layers, compare_layers
from edgegolf.compare.matching import match, steps, without_loops
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph, Node, Tensor
from edgegolf.ir.graph import replace_constants
from edgegolf.ir.interpreter import run
from edgegolf.ir.ops import HardSwish, Reshape, Unsupported
from edgegolf.passes.dead_pixels import eliminate_dead_pixels
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.rerolling import reroll
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.equalization import equalize
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.sqnr import sqnr

CHANNEL = Scheme("requantize", "own", "channel")


def compared(first: Graph, second: Graph) -> Layers:
    samples = [pixels(first, 16)]
    return compare_layers(first, second, samples, samples)


def layer_net() -> Graph:
    """Four layers with names."""
    build = Builder(12, 12, 3)
    hidden = build.source
    for channels in (6, 8, 8):
        filters = build.weight(channels, 3, 3, hidden.shape[-1])
        hidden = build.relu(build.convolve(hidden, filters, build.weight(channels)))
    pooled = build.dense(
        build.apply(Reshape(), hidden, shape=(6 * 6 * 8,)), build.weight(5, 6 * 6 * 8, size=0.1)
    )
    return Graph((build.source,), (pooled,), tuple(build.nodes))


def changed(graph: Graph, number: int, factor: float) -> Graph:
    """With noise in the weights of one layer."""
    filters = [node.filter for node in graph.nodes if node.parameters][number]
    noise = np.random.default_rng(1).normal(size=filters.shape) * factor
    return replace_constants(
        graph, {filters: Tensor.constant((filters.values + noise).astype(np.float32))}
    )


@pytest.mark.parametrize("number", range(4))
def test_only_the_layer_that_was_changed_makes_an_error_and_those_behind_inherit_it(number) -> None:
    graph = layer_net()
    found = compared(graph, changed(graph, number, 0.05)).errors
    assert [error.own is None for error in found] == [index != number for index in range(4)]
    assert [error.total is None for error in found] == [index < number for index in range(4)]
    assert found[number].total == pytest.approx(found[number].own, abs=1e-4)
    assert found[number].share == pytest.approx(1)


def test_the_ratios_are_those_of_the_results_themselves() -> None:
    graph = layer_net()
    other = changed(graph, 1, 0.05)
    error = compared(graph, other).errors[1]
    samples = pixels(graph, 16)
    (right,), (wrong,) = run(graph, [samples]), run(other, [samples])
    assert error.output == pytest.approx(sqnr(right, wrong), abs=1e-4)
    cut = [Graph(g.inputs, (g.nodes[3].output,), g.nodes[:4]) for g in (graph, other)]
    (right,), (wrong,) = (run(each, [samples]) for each in cut)
    assert error.total == pytest.approx(sqnr(right, wrong), abs=1e-4)


def test_the_shares_of_an_int8_network_add_up_to_its_noise() -> None:
    graph = fuse_activations(layer_net())
    scales = calibrate(graph, ranges(graph, [pixels(graph)]), CHANNEL)
    found = compared(graph, quantized(graph, scales)).errors
    assert sum(error.share for error in found) == pytest.approx(1)
    together = -10 * np.log10(sum(10 ** (-each.output / 10) for each in found if each.output))
    assert together == pytest.approx(found[-1].total, abs=1.5)
    assert all(error.own >= error.total - 1 for error in found if error.own is not None)


def test_activations_that_are_fused_or_not_are_the_same_layers() -> None:
    graph = layer_net()
    found = compared(graph, fuse_activations(graph))
    assert len(found.errors) == 4
    assert not found.unmatched
    assert all(error.total is None for error in found.errors)


def test_a_loop_is_compared_turn_by_turn_with_what_is_written_out() -> None:
    graph = shared_net(iterations=4)
    rolled = reroll(graph)
    assert rolled.loops
    found = compared(graph, rolled)
    assert len(found.errors) == len(steps(graph))
    assert all(error.total is None and error.own is None for error in found.errors)


def test_dead_pixels_that_are_gone_do_not_hide_a_layer() -> None:
    graph = shared_net()
    smaller = eliminate_dead_pixels(graph).graph
    found = compared(graph, smaller)
    assert not found.unmatched
    assert all(error.own is None for error in found.errors)


def test_equalized_channels_are_seen_in_their_scale() -> None:
    graph = shared_net()
    equalized = equalize(graph, [pixels(graph)])
    found = compared(graph, equalized)
    assert not found.unmatched
    assert all(error.own is None or error.own > 60 for error in found.errors)


def test_weights_that_are_decoded_belong_to_their_layer() -> None:
    graph = plain_net()
    weights = {
        filters: calibrate(graph, ranges(graph, [pixels(graph)]), CHANNEL).weights[filters]
        for filters in [next(node.filter for node in graph.walk() if node.parameters)]
    }
    found = compared(graph, with_decoded_weights(graph, Quantization({}, weights)))
    assert not found.unmatched
    assert [error.own is not None for error in found.errors].index(True) == 0
    assert sum(error.own is not None for error in found.errors) == 1


def test_a_layer_that_the_other_graph_lacks_is_told() -> None:
    """A convolution in the place of two."""
    graph = layer_net()
    build = Builder(12, 12, 3)
    wide = build.convolve(graph.nodes[1].output, build.weight(8, 5, 5, 6))
    nodes = (*graph.nodes[:2], *build.nodes, replaced(graph.nodes[6], graph.nodes[5].output, wide))
    found = compared(graph, Graph(graph.inputs, graph.outputs, (*nodes, *graph.nodes[7:])))
    assert found.unmatched in (1, 2)
    assert found.errors[0].own is None


def replaced(node: Node, old: Tensor, new: Tensor) -> Node:
    return Node(node.op, tuple(new if t is old else t for t in node.inputs), node.outputs)


def test_layers_are_called_by_their_names() -> None:
    graph = layer_net()
    names = ("net/first/Relu;net/first/BiasAdd", "", "stem_2/kernel", "StatefulPartitionedCall:0")
    renamed = {}
    for node, name in zip((n for n in graph.nodes if n.parameters), names, strict=True):
        renamed[node.output] = replace(node.output, name=name)
    nodes = tuple(
        Node(
            node.op,
            tuple(renamed.get(t, t) for t in node.inputs),
            tuple(renamed.get(t, t) for t in node.outputs),
        )
        for node in graph.nodes
    )
    named = Graph(graph.inputs, tuple(renamed.get(t, t) for t in graph.outputs), nodes)
    found = [error.name for error in compared(named, graph).errors]
    assert found == ["first", "Conv2D", "stem_2", "FullyConnected"]


def test_activations_belong_to_their_layer() -> None:
    build = Builder(4)
    hidden = build.apply(HardSwish(), build.dense(build.source, build.weight(3, 4)))
    graph = Graph((build.source,), (build.dense(hidden, build.weight(2, 3)),), tuple(build.nodes))
    assert [len(step.results) for step in steps(graph)] == [2, 1]


def test_steps_that_are_alike_pair_in_order() -> None:
    graph = without_loops(shared_net())
    samples = [pixels(graph, 4)]
    from edgegolf.compare.layers import _values

    values = _values(graph, samples)
    pairs = match(steps(graph), steps(graph), values, values)
    assert all(pair.first is pair.second for pair in pairs)
    assert len(pairs) == len(steps(graph))


def test_what_the_interpreter_lacks_is_named() -> None:
    graph = layer_net()
    nodes = (*graph.nodes[:-1], replace(graph.nodes[-1], op=Unsupported("MAGIC")))
    with pytest.raises(EdgegolfError, match="MAGIC"):
        compared(graph, Graph(graph.inputs, graph.outputs, nodes))
