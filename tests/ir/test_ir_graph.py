"""What a graph of a file says about itself: sharing, loops, work and memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from one_operator import Tensor, constant, model, one_operator, operator, subgraph
from test_interpreter_files import COMMITTED, ROOT, loop

from edgegolf.bench.graph_statistics import graph_statistics
from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import table
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph, Node, ops
from edgegolf.ir import Tensor as Value
from edgegolf.ir.fixed_point import Requant, Rounding

TIGHT = ROOT / "models" / "mnist" / "tight_resnet" / "int8.tflite"


def write(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_work_and_parameters_are_those_that_bench_counts(path):
    graph, statistics = read_graph(path), graph_statistics(path)
    assert graph.macs == statistics.macs
    stored = sum(t.elements for t in graph.parameters if t.data is not None and t.data.any())
    assert stored == statistics.parameters


def test_shared_block_is_one_loop_of_eight():
    graph = read_graph(TIGHT)
    (found,) = [node.op for node in graph.nodes if isinstance(node.op, ops.Loop)]
    assert found.iterations == 8
    kinds = [type(node.op) for node in found.body.nodes]
    assert kinds.count(ops.DepthwiseConv2D) == kinds.count(ops.Conv2D) == 1
    assert all(tensor.dtype == "int8" for tensor in (*found.body.inputs, *found.body.outputs))


def test_work_of_a_loop_is_that_of_its_body_times_its_iterations():
    graph = read_graph(TIGHT)
    (node,) = [node for node in graph.nodes if isinstance(node.op, ops.Loop)]
    others = sum(n.op.macs(n.inputs, n.outputs) for n in graph.nodes if n is not node)
    assert graph.macs == 740_960 == others + 8 * node.op.body.macs


@pytest.mark.parametrize("turns", [0, 1, 8])
def test_counted_loop_has_no_counter(tmp_path, turns):
    graph = read_graph(write(tmp_path, loop(turns, step=1)))
    (node,) = graph.nodes
    assert isinstance(node.op, ops.Loop)
    assert node.op.iterations == turns
    assert len(node.inputs) == len(node.op.body.nodes) == 1


def test_loop_that_never_ends_is_no_counted_one(tmp_path):
    (node,) = read_graph(write(tmp_path, loop(turns=1, step=0))).nodes
    assert isinstance(node.op, ops.While)


def test_equal_integers_are_stored_once(tmp_path):
    numbers = np.arange(6, dtype=np.int8).reshape(2, 3)
    tensors = [
        Tensor((1, 3), "INT8", (0.1,), (0,)),
        constant(numbers, scale=(0.5,), zero_point=(0,)),
        constant(numbers.copy(), scale=(0.25,), zero_point=(0,)),
        Tensor((1, 2), "INT8", (0.2,), (0,)),
        Tensor((1, 2), "INT8", (0.3,), (0,)),
    ]
    operators = [
        operator(0, [0, 1], [3], table("FullyConnectedOptions")),
        operator(0, [0, 2], [4], table("FullyConnectedOptions")),
    ]
    buffers = [table("Buffer")]
    graph = subgraph(tensors, [0], [3, 4], operators, buffers)
    read = read_graph(write(tmp_path, model(["FULLY_CONNECTED"], [graph], buffers)))
    (stored,) = read.parameters
    assert stored.elements == 6
    assert {node.inputs[1].quant.scale for node in read.nodes} == {(0.5,), (0.25,)}
    assert read.macs == 12


def test_int4_constants_are_unpacked(tmp_path):
    content = one_operator(
        "DEQUANTIZE",
        [Tensor((5,), "INT4", (1.0,), (0,), data=np.array([0xF7, 0x18, 0x0E], np.uint8))],
        [Tensor((5,), "FLOAT32")],
    )
    (node,) = read_graph(write(tmp_path, content)).nodes
    assert node.inputs[0].data.tolist() == [7, -1, -8, 1, -2]


def test_memory_of_a_chain_is_its_two_largest_neighbours():
    tensors = [Value((1, size), "int8") for size in (10, 30, 20, 5)]
    nodes = [Node(ops.Cast(), (a,), (b,)) for a, b in pairwise(tensors)]
    graph = Graph((tensors[0],), (tensors[-1],), tuple(nodes))
    assert graph.peak_bytes == 50


def test_memory_of_a_value_that_is_read_late():
    first, second, third, total = (Value((1, 8), "float32") for _ in range(4))
    nodes = (
        Node(ops.ReLU(), (first,), (second,)),
        Node(ops.ReLU(), (second,), (third,)),
        Node(ops.Add(), (first, third), (total,)),
    )
    assert Graph((first,), (total,), nodes).peak_bytes == 3 * 32


def test_unknown_operator_is_named_and_has_unknown_work(tmp_path):
    tensor = Tensor((1, 2), "FLOAT32")
    graph = read_graph(write(tmp_path, one_operator("HASHTABLE_LOOKUP", [tensor], [tensor])))
    assert graph.nodes[0].op == ops.Unsupported("HASHTABLE_LOOKUP")
    assert graph.macs is None


def test_shape_that_contradicts_the_operator_is_refused(tmp_path):
    inputs = [Tensor((1, 3), "FLOAT32"), constant(np.ones((2, 3), np.float32))]
    options = table("FullyConnectedOptions")
    content = one_operator("FULLY_CONNECTED", inputs, [Tensor((1, 5), "FLOAT32")], options)
    with pytest.raises(EdgegolfError, match="FULLY_CONNECTED gives"):
        read_graph(write(tmp_path, content))


@pytest.mark.parametrize("rounding", list(Rounding))
def test_requantization_is_within_one_half_of_the_real_product(rounding):
    generator = np.random.default_rng(0)
    numbers = generator.integers(-(2**20), 2**20, 10_000)
    for factor in generator.uniform(1e-5, 1e-1, 20):
        found = Requant.of(factor, rounding)(numbers)
        # Twice rounded: the second rounding may add half a unit of the first one's last bit.
        assert np.abs(found - numbers * factor).max() <= 0.5 + 2**-3
