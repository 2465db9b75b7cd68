"""Every operator that ONNX can say, against the interpreter: in float and with int8 weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras_nets
import numpy as np
import pytest
from ir_nets import Builder, constant

from edgegolf.backends import onnx
from edgegolf.backends.onnx.lowering import NotInOnnxError
from edgegolf.frontends.tflite import read_graph
from edgegolf.ir import Graph, Node, Tensor, ops
from edgegolf.ir.interpreter import run
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.quantize.scale_search import best_scales
from edgegolf.runtimes import open_session
from edgegolf.sqnr import sqnr

checker = pytest.importorskip("onnx")


pytestmark = pytest.mark.long


def in_file(graph: Graph, arrays: list[np.ndarray], path: Path) -> list[np.ndarray]:
    """What onnxruntime gives for the graph's arrays, in the graph's layout."""
    path.write_bytes(onnx.write(graph))
    checker.checker.check_model(checker.load(path), full_check=True)
    inputs, outputs = onnx.layouts(graph)
    given = [a if t is None else a.transpose(t) for a, t in zip(arrays, inputs, strict=True)]
    with open_session(path) as session:
        runs = [
            session.run([np.ascontiguousarray(a[i : i + 1]) for a in given])
            for i in range(len(given[0]))
        ]
    found = [np.concatenate(results) for results in zip(*runs, strict=True)]
    return [
        a if t is None else a.transpose(np.argsort(t)) for a, t in zip(found, outputs, strict=True)
    ]


def agree(graph: Graph, arrays: list[np.ndarray], path: Path) -> None:
    for found, expected in zip(in_file(graph, arrays, path), run(graph, arrays), strict=True):
        assert found.shape == expected.shape
        if expected.dtype == np.float32:
            assert sqnr(expected, found) > 100
        else:
            np.testing.assert_array_equal(found, expected)


def given(graph: Graph, count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [
        random.integers(0, 3, (count, *t.shape[1:])).astype(t.dtype)
        if t.dtype in ("int32", "int64")
        else random.normal(size=(count, *t.shape[1:])).astype(np.float32)
        for t in graph.inputs
    ]


@pytest.mark.parametrize(
    "name",
    [
        "attention", "autoencoder", "conv1d", "dilated", "embedding", "groups", "masked",
        "masked_sequences", "merging",
        "movement", "normalizations", "numeric", "pixel_shuffle", "resizing", "siamese",
        "transposed1d", "unet",
    ],
)  # fmt: skip
def test_nets_of_keras(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    path = tmp_path / "net.tflite"
    model = keras_nets.build(name)
    path.write_bytes(keras_nets.float_tflite(model))
    graph = read_graph(path)
    arrays = keras_nets.samples(model, 3)
    decoded = with_decoded_weights(graph, Quantization({}, best_scales(graph.weights)))
    for each in (graph, fuse_activations(graph), decoded):
        agree(each, arrays, tmp_path / "net.onnx")


def applied(op: ops.Op, *shape: int, dtype: str = "float32") -> Graph:
    build = Builder(*shape)
    hidden = build.relu(build.apply(ops.Sub(), build.source, constant(np.full(1, 0.1))))
    result = Tensor(op.shape((hidden,)), dtype)
    return Graph((build.source,), (result,), (*build.nodes, Node(op, (hidden,), (result,))))


IMAGES = [
    ops.Abs(), ops.ArgMax(3), ops.ArgMin(1), ops.CumSum(3), ops.CumSum(1, True, True), ops.ELU(),
    ops.GELU(), ops.GELU(True), ops.HardSwish(), ops.L2Normalize(), ops.LogSoftmax(),
    ops.Softmax(0.5), ops.Mean((1, 2)), ops.Mean((1, 2), True), ops.Mean((2,)), ops.Sum((1,)),
    ops.Sum((3,)), ops.ReduceMax((1, 3), True), ops.ReduceMin((1, 2, 3)), ops.Round(),
    ops.Sign(), ops.SpaceToDepth(2), ops.SpaceToBatch((2, 2), ((0, 0), (1, 1))),
    ops.MirrorPad(((0, 0), (1, 2), (2, 1), (1, 0))), ops.Reverse((1, 3)),
    ops.MirrorPad(((0, 0), (1, 2), (2, 1), (1, 0)), symmetric=True), ops.Tile((1, 2, 1, 3)),
    ops.Pad(((0, 0), (1, 2), (0, 1), (2, 0)), 0.5), ops.Transpose((0, 3, 1, 2)), ops.Cast(),
]  # fmt: skip


@pytest.mark.parametrize("op", IMAGES, ids=str)
def test_operators_on_images(op: ops.Op, tmp_path: Path) -> None:
    is_index = isinstance(op, ops.ArgMax | ops.Cast)
    graph = applied(op, 4, 6, 4, dtype="int32" if is_index else "float32")
    agree(graph, given(graph), tmp_path / "net.onnx")


def test_resizing_and_transposed_convolutions(tmp_path: Path) -> None:
    build = Builder(4, 5, 2)
    results = []
    for corners, half in ((False, False), (False, True), (True, False)):
        for kind in (ops.ResizeBilinear, ops.ResizeNearest):
            for size in ((8, 10), (7, 3)):
                results.append(build.apply(kind(corners, half), build.source, shape=(*size, 2)))
    for padding in (((0, 1), (1, 1)), ((1, -1), (0, 0))):
        op = ops.TransposeConv2D((2, 2), padding)
        results.append(build.apply(op, build.source, build.weight(3, 3, 3, 2), build.weight(3)))
    names = [replace(t, name=f"out{i}") for i, t in enumerate(results)]
    nodes = [replace(n, outputs=(t,)) for n, t in zip(build.nodes, names, strict=True)]
    graph = Graph((build.source,), tuple(names), tuple(nodes))
    agree(graph, given(graph), tmp_path / "net.onnx")
    model = checker.load(tmp_path / "net.onnx")
    assert [t.name for t in model.graph.output] == [t.name for t in names]
    assert [t.name for t in model.graph.input] == ["input"]


def test_zero_padding_before_pools_counts(tmp_path: Path) -> None:
    for kind in (ops.MaxPool2D, ops.AveragePool2D):
        build = Builder(4, 4, 2)
        hidden = build.convolve(build.source, build.weight(2, 1, 1, 2), constant(-np.ones(2) * 9))
        hidden = build.apply(ops.Pad(((0, 0), (2, 2), (2, 2), (0, 0))), hidden)
        graph = build.graph(build.pool(kind, hidden, (2, 2), (2, 2)))
        agree(graph, given(graph), tmp_path / "net.onnx")


def test_odd_ends(tmp_path: Path) -> None:
    """Inputs with names that cannot stay, one of them unused; constants, inputs, twins as outputs;
    a loop that starts with a constant, and images that broadcast."""
    build = Builder(3, 4, 5)
    inputs = (replace(build.source, name="tensor 1"), Tensor((1, 2), "int32"))
    state = (Tensor((1, 3, 4, 5)), Tensor((1, 3, 4, 5)))
    total, shifted = Tensor(state[0].shape), Tensor(state[0].shape)
    factors = constant(np.linspace(0.5, 1, 20).reshape(4, 5))
    body = Graph(
        state,
        (total, shifted),
        (
            Node(ops.Add(), state, (total,)),
            Node(ops.Mul(), (state[1], factors), (shifted,)),
        ),
    )
    outputs = (Tensor(total.shape), Tensor(total.shape))
    start = constant(np.random.default_rng(0).normal(size=(1, 3, 4, 5)))
    graph = Graph(
        inputs,
        (*outputs, outputs[0], start, inputs[0], inputs[1]),
        (Node(ops.Loop(body, 3), (start, inputs[0]), outputs),),
    )
    agree(graph, given(graph), tmp_path / "net.onnx")
    whole = quantized(graph, calibrate(graph, ranges(graph, given(graph)), Scheme(
        "requantize", "own", "channel")))  # fmt: skip
    with pytest.raises(NotInOnnxError, match="integers"):
        onnx.write(whole)


def test_integers_move_and_join(tmp_path: Path) -> None:
    """Two inputs, an image as output, reals between integers."""
    build = Builder(4, 4, 3)
    inputs = (replace(build.source, name="left"), Tensor((1, 4, 4, 3), name="right"))
    hidden = build.apply(ops.Add(), *inputs)
    hidden = build.convolve(hidden, build.weight(4, 3, 3, 3), build.weight(4))
    turned = build.apply(ops.Transpose((0, 2, 1, 3)), hidden)
    real = build.apply(ops.Exp(), turned)
    graph = Graph(inputs, (turned, real), tuple(build.nodes))
    fused = fuse_activations(graph)
    scheme = Scheme("requantize", "own", "channel")
    whole = quantized(fused, calibrate(fused, ranges(fused, given(graph, 40)), scheme))
    found = in_file(whole, given(graph), tmp_path / "net.onnx")
    for array, expected in zip(found, run(graph, given(graph)), strict=True):
        assert sqnr(expected, array) > 15
