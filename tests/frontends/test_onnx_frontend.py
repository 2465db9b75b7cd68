"""Graphs read from ONNX files compute what onnxruntime says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from ir_nets import pixels, shared_net
from random_graphs import float_graphs

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_suite import in_interpreter  # noqa: E402

from edgegolf.backends import onnx as writer  # noqa: E402
from edgegolf.bench.graph_statistics import graph_statistics  # noqa: E402
from edgegolf.errors import EdgegolfError  # noqa: E402
from edgegolf.frontends.onnx import UnsupportedOperatorError, read_graph  # noqa: E402
from edgegolf.ir import Graph, ops  # noqa: E402
from edgegolf.ir.interpreter import run  # noqa: E402
from edgegolf.passes.normalization import fold_normalizations  # noqa: E402
from edgegolf.passes.rerolling import reroll  # noqa: E402

ROOT = Path(__file__).parents[2]
TORCH = Path(__file__).parents[1] / "cases" / "torch"
COMMITTED = sorted((ROOT / "models").glob("*/*/*.onnx"))
FLOAT = [path for path in COMMITTED if path.stem == "float32"]
OPSET = 17


def session(data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def assert_as_onnxruntime(data: bytes) -> Graph:
    """The graph of a file, after its results are compared on random inputs."""
    runtime, found = session(data), read_graph(data)
    random = np.random.default_rng(0)
    arrays = [
        random.normal(size=[n if isinstance(n, int) else 1 for n in info.shape]).astype(np.float32)
        for info in runtime.get_inputs()
    ]
    expected = runtime.run(None, dict(zip([i.name for i in runtime.get_inputs()], arrays)))  # noqa: B905
    for one, other in zip(in_interpreter(found, arrays), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    return found.graph


def kinds(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


# ------------------------------------------------------------------------------ what people have


@pytest.mark.parametrize("path", sorted(TORCH.glob("*.onnx")), ids=lambda path: path.stem)
def test_exports_of_pytorch(path: Path) -> None:
    data = path.read_bytes()
    graph = assert_as_onnxruntime(data)
    assert read_graph(data).inputs == ((0, 2, 3, 1),)
    assert "Transpose" not in kinds(graph)
    if path.stem.startswith("shared"):
        (loop,) = reroll(graph).loops
        assert (loop.iterations, kinds(loop.body)[1:]) == (
            4, ["DepthwiseConv2D", "Conv2D", "Add"]
        )  # fmt: skip


@pytest.mark.parametrize("path", FLOAT, ids=lambda path: path.parent.name)
def test_committed_float_models(path: Path) -> None:
    """Those of tf2onnx take their channels last and have transpositions."""
    graph = assert_as_onnxruntime(path.read_bytes())
    assert "Transpose" not in kinds(graph)
    if path.parent.name == "tight_resnet":
        assert [loop.iterations for loop in reroll(graph).loops] == [8]


def test_work_and_parameters_of_every_committed_model() -> None:
    assert len(COMMITTED) > 25
    for path in COMMITTED:
        graph, expected = read_graph(path.read_bytes()).graph, graph_statistics(path)
        # Inference forgets shapes in loops, whose work is then told as unknown.
        unknown = {None} if "Loop" in expected.operators else set()
        assert expected.macs in {graph.macs} | unknown, path
        parameters = sum(t.elements for t in graph.parameters if t.values.any())
        # Where a file splits one vector, pieces of zeros or equal ones count there and not here;
        # where it multiplies filters, their product counts here.
        pieces = {
            "random_cnn": 12, "loop_resnet_unshared-144": 16,
            "tight_resnet-iterations=4": 9 * 20 + 20 * 20 - 9 * 20 * 20,
        }.get(path.parent.name, 0)  # fmt: skip
        is_split = path.name == "int8-smallest.onnx"
        assert parameters + pieces * is_split == expected.parameters, path


# ----------------------------------------------------------------------------------- nets


def net(nodes: list[onnx.NodeProto], shape: tuple[int, ...], opset: int = OPSET, **arrays) -> bytes:
    """A file from nodes that read `x` and named constants, and give `y`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def node(operator: str, inputs: str, outputs: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


NETS = {
    "a row of pixels": net(
        [node("Conv", "x w b", "c", pads=[2, 1], strides=[2]), node("Relu", "c", "r"),
         node("BatchNormalization", "r s b m v", "n"), node("MaxPool", "n", "y", kernel_shape=[2])],
        (1, 3, 20), w=weights(5, 3, 3), b=weights(5), s=weights(5), m=weights(5),
        v=weights(5) ** 2),
    "channels shuffled": net(
        [node("Conv", "x w", "c", group=2), node("Reshape", "c s", "r"),
         node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]), node("Reshape", "t u", "v"),
         node("Conv", "v d", "y", group=6, pads=[1, 1, 1, 1])],
        (1, 4, 5, 6), w=weights(6, 2, 1, 1), s=np.array([1, 2, 3, 5, 6]),
        u=np.array([1, 6, 5, 6]), d=weights(6, 1, 3, 3)),
    "patches as tokens": net(
        [node("Conv", "x w b", "c", strides=[4, 4]), node("Reshape", "c s", "r"),
         node("Transpose", "r", "t", perm=[0, 2, 1]), node("Add", "t p", "a"),
         node("MatMul", "a m", "h"), node("Add", "h v", "y")],
        (1, 3, 16, 16), w=weights(8, 3, 4, 4), b=weights(8), s=np.array([0, 0, -1]),
        p=weights(1, 16, 8), m=weights(8, 12), v=weights(12)),
    "an image flattened for two matrices": net(
        [node("Conv", "x w", "c"), node("Flatten", "c", "f"), node("Gemm", "f m b", "g", transB=1),
         node("Gemm", "f n", "h", alpha=0.5), node("Add", "g h", "y")],
        (1, 2, 6, 5), w=weights(3, 2, 3, 3), m=weights(4, 36), n=weights(36, 4), b=weights(4)),
    "a normalized vector": net(
        [node("MatMul", "x m", "h"), node("BatchNormalization", "h s b u v", "n"),
         node("LeakyRelu", "n", "y", alpha=0.1)],
        (3, 7), m=weights(7, 5), s=weights(5), b=weights(5), u=weights(5), v=weights(5) ** 2),
    "a hard swish in pieces": net(
        [node("Conv", "x w", "c"), node("Add", "c three", "a"), node("Clip", "a zero six", "r"),
         node("Mul", "c r", "p"), node("Div", "p six", "y")],
        (1, 2, 6, 5), w=weights(3, 2, 3, 3), three=np.float32(3), zero=np.float32(0),
        six=np.float32(6)),
    "a hard swish of a hard sigmoid": net(
        [node("HardSigmoid", "x", "h", alpha=1 / 6, beta=0.5), node("Mul", "x h", "y")],
        (1, 4)),
    "shapes computed": net(
        [node("Shape", "x", "s"), node("Gather", "s zero", "n", axis=0),
         node("Unsqueeze", "n zeros", "u"), node("Concat", "u minus", "t", axis=0),
         node("Relu", "x", "r"), node("Reshape", "r t", "y")],
        (2, 3, 4, 5), zero=np.array(0), zeros=np.array([0]), minus=np.array([-1])),
    "a channel's mean, scaled": net(
        [node("ReduceMean", "x", "m", axes=[2, 3]), node("Conv", "m w", "c"),
         node("Sigmoid", "c", "s"), node("Mul", "x s", "p"), node("GlobalMaxPool", "p", "y")],
        (1, 4, 5, 6), w=weights(4, 4, 1, 1)),
    "pieces of an image": net(
        [node("Split", "x", "a b", axis=1), node("Slice", "a s e ax", "c"), node("Pad", "c p", "d"),
         node("Concat", "b d", "f", axis=1), node("Gather", "f i", "y", axis=1)],
        (1, 4, 5, 6), s=np.array([1, 0]), e=np.array([4, 99]), ax=np.array([2, 3]),
        p=np.array([0, 0, 1, 0, 0, 0, 1, 0]), i=np.array([3, 0, 1])),
    "pixels shuffled": net(
        [node("Conv", "x w", "c"), node("DepthToSpace", "c", "d", blocksize=2, mode="CRD"),
         node("MaxPool", "d", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
        (1, 2, 5, 4), w=weights(8, 2, 1, 1)),
    "slopes by channel": net(
        [node("PRelu", "x w", "p"), node("Max", "p z", "m"), node("Sub", "one m", "y")],
        (1, 4, 3, 2), w=weights(4, 1, 1), z=weights(1, 1, 3, 1), one=np.float32(1)),
    "a constant times columns": net(
        [node("MatMul", "w x", "m"), node("Softmax", "m", "y", axis=1)],
        (2, 4, 3), w=weights(5, 4)),
    "an image with its channels last": net(
        [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "c"),
         node("Transpose", "c", "y", perm=[0, 2, 3, 1])],
        (1, 5, 6, 2), w=weights(3, 2, 3, 3)),
    "opset 9": net(
        [node("Clip", "x", "c", min=0.0, max=6.0), node("Slice", "c", "s", starts=[1], ends=[3]),
         node("Unsqueeze", "s", "u", axes=[0]), node("Squeeze", "u", "q"),
         node("Softmax", "q", "y", axis=1)],
        (4, 2, 3), 9),
    "attention": net(
        [*(node("MatMul", f"x {m}", f"{m}x") for m in "qkv"),
         node("Transpose", "kx", "t", perm=[0, 2, 1]), node("MatMul", "qx t", "s"),
         node("Div", "s r", "d"), node("Where", "mask d low", "a"), node("Softmax", "a", "p"),
         node("MatMul", "p vx", "h"), node("LayerNormalization", "h g b", "y")],
        (1, 5, 4), q=weights(4, 6), k=weights(4, 6), v=weights(4, 8), r=np.float32(2),
        mask=np.tri(5, dtype=bool), low=np.float32(-100), g=weights(8), b=weights(8)),
    **{f"a GELU, {name}": net(
        [node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "a"), *nodes],
        (3, 4), root=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5))
       for name, nodes in {
           "halved last": [node("Mul", "x a", "m"), node("Mul", "m half", "y")],
           "halved first": [node("Mul", "x half", "m"), node("Mul", "m a", "y")],
           "its share halved": [node("Mul", "a half", "m"), node("Mul", "x m", "y")]}.items()},
    "curves": net(
        [node("Exp", "x", "a"), node("Elu", "a", "b"), node("Elu", "x", "c", alpha=0.5),
         node("Selu", "x", "d"), node("Softplus", "x", "e"), node("Mish", "x", "f"),
         node("ThresholdedRelu", "x", "g", alpha=0.3), node("Softsign", "x", "h"),
         node("Sum", "a b c d e f g h", "i"), node("Abs", "i", "j"), node("Sqrt", "j", "k"),
         node("Reciprocal", "k", "l"), node("Div", "x k", "m"), node("Pow", "k l", "n"),
         node("Sum", "l m n", "o"), node("LogSoftmax", "o", "y")],
        (3, 4), 18),
    "norms of groups": net(
        [node("GroupNormalization", "x s b", "g", num_groups=2, epsilon=1e-3),
         node("InstanceNormalization", "g s b", "i"), node("MeanVarianceNormalization", "i", "y")],
        (1, 4, 3, 5), 21, s=weights(4), b=weights(1, 4)[0]),
    "along any axes": net(
        [node("ReduceMax", "x", "a", axes=[1]), node("ReduceMin", "x", "b", axes=[2]),
         node("ReduceL2", "x", "c", axes=[1, 3]), node("ReduceL1", "x", "d", axes=[0]),
         node("ReduceSumSquare", "x", "e", axes=[3], keepdims=0), node("Unsqueeze", "e u", "f"),
         node("CumSum", "x three", "g"), node("Sum", "a b c d f g", "y")],
        (2, 3, 4, 5), u=np.array([3]), three=np.array(3)),
    "margins": net(
        [node("Conv", "x w", "c"), node("Pad", "c p", "r", mode="reflect"),
         node("Pad", "r p", "e", mode="edge"), node("Tile", "e t", "y")],
        (1, 2, 5, 4), w=weights(3, 2, 1, 1), p=np.array([0, 0, 2, 1, 0, 0, 1, 0]),
        t=np.array([1, 2, 1, 3])),
    "the largest place of a table": net(
        [node("ArgMax", "x", "i", axis=1, keepdims=0), node("Gather", "table i", "g"),
         node("MatMul", "g m", "y")],
        (3, 5), table=weights(5, 4), m=weights(4, 2)),
    "transposed convolutions": net(
        [node("ConvTranspose", "x v b", "a", strides=[2, 3], pads=[1, 0, 2, 1],
              output_padding=[1, 2]),
         node("ConvTranspose", "a g", "c", group=2, dilations=[2, 1]),
         node("ConvTranspose", "c h", "y", strides=[2, 2], auto_pad="SAME_UPPER")],
        (1, 3, 4, 5), v=weights(3, 4, 3, 2), b=weights(4), g=weights(4, 1, 2, 2),
        h=weights(2, 1, 3, 3)),
    "a transposed row": net(
        [node("ConvTranspose", "x w", "c", strides=[2]), node("Resize", "c e s", "y")],
        (1, 3, 7), w=weights(3, 2, 4), e=np.zeros(0, np.float32),
        s=np.array([1, 1, 2], np.float32)),
    **{f"a resize, {mode} {place} {rounding}": net(
        [node("Conv", "x w", "c"),
         node("Resize", "c e e z", "y", mode=mode, nearest_mode=rounding,
              coordinate_transformation_mode=place)],
        (1, 2, 4, 5), w=weights(3, 2, 1, 1), e=np.zeros(0, np.float32),
        z=np.array([1, 3, 8, 15]))
       for mode, place, rounding in (
           ("nearest", "asymmetric", "floor"), ("nearest", "half_pixel", "round_prefer_floor"),
           ("linear", "pytorch_half_pixel", "floor"), ("linear", "align_corners", "floor"),
           ("linear", "asymmetric", "floor"))},
    "opset 9, upsampled": net([node("Upsample", "x s", "y")], (1, 2, 3, 4), 9,
                              s=np.array([1, 1, 2, 2], np.float32)),
    **{f"{kind}, {direction}{', reset late' * bool(extra)}": net(
        [node("Transpose", "x", "t", perm=[1, 0, 2]),
         helper.make_node(kind, ["t", "w", "r", "b", "", *states], ["s", "e"], hidden_size=3,
                          direction=direction, **extra),
         node("Transpose", "s", "q", perm=[0, 2, 1, 3]), node("Gather", "q last", "g"),
         node("ReduceMean", "e", "m", axes=[0], keepdims=0),
         node("ReduceMean", "g", "n", axes=[1], keepdims=0), node("Concat", "m n", "y", axis=1)],
        (2, 6, 4), w=weights(sides, gates * 3, 4), r=weights(sides, gates * 3, 3),
        b=weights(sides, gates * 6), last=np.array(4), **{s: weights(sides, 2, 3) for s in states})
       for kind, gates, states, extra in (
           ("LSTM", 4, "hc", {}), ("GRU", 3, "h", {}), ("GRU", 3, "h", {"linear_before_reset": 1}),
           ("RNN", 1, "h", {}))
       for direction, sides in (("forward", 1), ("reverse", 1), ("bidirectional", 2))},
}  # fmt: skip
TRANSPOSED = {
    "channels shuffled": 1, "pixels shuffled": 1, "a constant times columns": 1,
    "norms of groups": 3, "LSTM": 1, "GRU": 1, "RNN": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_a_net_computes_what_onnxruntime_does(name: str) -> None:
    graph = assert_as_onnxruntime(NETS[name])
    assert kinds(graph).count("Transpose") == TRANSPOSED.get(name.partition(",")[0], 0)
    if "hard swish" in name:
        assert kinds(graph)[-1] == "HardSwish"
    if "GELU" in name:
        assert kinds(graph) == ["GELU"]
    if name == "a normalized vector":
        assert kinds(graph) == ["FullyConnected", "LeakyReLU"]


def test_one_constant_is_one_tensor_under_any_name() -> None:
    same = weights(2, 2, 3, 3)
    nodes = [node("Conv", f"{a} {w}", b, pads=[1, 1, 1, 1]) for a, w, b in ("xua", "avb", "buy")]
    graph = assert_as_onnxruntime(net(nodes, (1, 2, 6, 6), u=same, v=same))
    assert len(graph.weights) == 1
    assert [loop.iterations for loop in reroll(graph).loops] == [3]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(float_graphs())
def test_what_our_back_end_writes_is_read_again(graph: Graph) -> None:
    if writer.unsupported(graph):
        assume(False)
    found = read_graph(writer.write(graph))
    images = pixels(graph, 3)
    (expected,) = run(graph, [images])
    in_file = images.transpose(0, 3, 1, 2)
    (result,) = run(found.graph, [np.ascontiguousarray(in_file.transpose(found.inputs[0]))])
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert found.graph.macs == graph.macs


def branches(condition: str) -> list[onnx.NodeProto]:
    """Twice `x` or, if the condition is false, what is computed outside."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "tf"]
    then = helper.make_graph([node("Add", "x x", "t")], "then", [], ends[:1])
    other = helper.make_graph([node("Identity", "n", "f")], "else", [], ends[1:])
    return [
        node("Neg", "x", "n"),
        helper.make_node("If", [condition], ["y"], then_branch=then, else_branch=other),
    ]


@pytest.mark.parametrize("holds", [True, False])
def test_of_a_known_condition_the_branch_is_read(holds: bool) -> None:
    graph = assert_as_onnxruntime(net(branches("c"), (1, 4), c=np.array(holds)))
    assert len(graph.nodes) == 1


def loop(times: str, *body: onnx.NodeProto, carried: str = "x", end: str = "c") -> onnx.NodeProto:
    """`body` makes `b` of `a`, in turn `i`."""
    inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("a", TensorProto.FLOAT, None),
    ]
    outputs = [
        helper.make_tensor_value_info(end, TensorProto.BOOL, []),
        helper.make_tensor_value_info("b", TensorProto.FLOAT, None),
    ]
    inside = helper.make_graph(list(body), "body", inputs, outputs)
    return helper.make_node("Loop", [times, "", carried], ["y"], body=inside)


def test_loops_of_known_length_are_written_out() -> None:
    body = [
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("MatMul", "a w", "m"),
        node("Add", "m f", "b"),
    ]
    one = {"w": weights(4, 4)}
    graph = assert_as_onnxruntime(net([loop("n", *body)], (1, 4), n=np.array(3), **one))
    assert [weight.shape for weight in graph.weights].count((4, 4)) == 1
    assert kinds(graph).count("FullyConnected") == 3
    early = [node("Less", "i k", "e"), *body]
    graph = assert_as_onnxruntime(
        net([loop("n", *early, end="e")], (1, 4), n=np.array(9), k=np.array(1), **one)
    )
    assert kinds(graph).count("FullyConnected") == 2


def test_loops_that_our_back_end_writes_are_found_again(tmp_path: Path) -> None:
    rolled = reroll(shared_net())
    (written,) = rolled.loops
    found = reroll(read_graph(writer.write(rolled)).graph)
    (loop,) = found.loops
    assert loop.iterations == written.iterations
    assert found.macs == rolled.macs
    assert sum(w.elements for w in found.weights) == sum(w.elements for w in rolled.weights)


# ------------------------------------------------------------------------------------ integers

IN_INTEGERS = {"Conv2D", "DepthwiseConv2D", "FullyConnected", "Add", "Sub", "MaxPool2D", "ReLU"}
STEPS = 6  # of the result that a difference may have after a few layers that round otherwise


def digits(count: int) -> np.ndarray:
    images: np.ndarray = np.load(TORCH / "samples.npz")["x"][:count]
    return images


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("name", ["cnn", "shared", "residual"])
def test_what_onnxruntime_quantizes(
    name: str, form: str, per_channel: bool, tmp_path: Path
) -> None:
    from onnxruntime import quantization

    class Digits(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(digits(32))

        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(self.left, None)
            return None if found is None else {source: found[None]}

    model = onnx.load(TORCH / f"{name}_torchscript.onnx")
    source = model.graph.input[0].name
    if name == "residual":
        model.graph.node.append(node("Softmax", model.graph.output[0].name, "shares", axis=1))
        model.graph.output[0].name = "shares"
    path = tmp_path / "int8.onnx"
    # Weights of 7 bits, because without VNNI two products saturate in 16 bits.
    quantization.quantize_static(
        model, path, Digits(), quantization.QuantFormat[form], per_channel=per_channel,
        reduce_range=True, activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip
    runtime, found = session(path.read_bytes()), read_graph(path.read_bytes())
    images = digits(32)
    expected = np.concatenate([runtime.run(None, {source: each[None]})[0] for each in images])
    (result,) = in_interpreter(found, [images])
    step = found.graph.nodes[-1].source.scale
    assert np.abs(result - expected).max() <= STEPS * step
    assert np.abs(result - expected).mean() <= 1.5 * step
    for each in found.graph.nodes:
        if type(each.op).__name__ in IN_INTEGERS:
            assert (each.output.dtype, each.source.dtype) == ("int8", "int8")
    assert found.graph.macs == graph_statistics(path).macs


@pytest.mark.parametrize("factor", [1, 2])
def test_a_bias_counts_in_its_own_scale(factor: int) -> None:
    """Kernels take its scale for the product of the others: one that is not stays real."""
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "xq"),
        node("DequantizeLinear", "w t", "wq"),
        node("DequantizeLinear", "b u", "bq"),
        node("Gemm", "xq wq bq", "g", transB=1),
        node("QuantizeLinear", "g r z", "o"),
        node("DequantizeLinear", "o r z", "y"),
    ]
    random = np.random.default_rng(0)
    data = net(
        nodes, (1, 8), s=np.float32(0.05), z=np.uint8(128), r=np.float32(0.1), t=np.float32(0.02),
        u=np.float32(factor * 0.05 * 0.02), w=random.integers(-99, 99, (4, 8)).astype(np.int8),
        b=random.integers(-3000, 3000, 4).astype(np.int32),
    )  # fmt: skip
    x = random.normal(size=(1, 8)).astype(np.float32)
    found = read_graph(data)
    (expected,) = session(data).run(None, {"x": x})
    (result,) = in_interpreter(found, [x])
    np.testing.assert_allclose(result, expected, atol=0.101)  # one step
    assert kinds(found.graph).count("FullyConnected") == 1


def test_our_own_files_in_integers() -> None:
    for path in COMMITTED:
        if path.stem == "float32" or path.parts[-3] != "mnist":
            continue
        runtime, found = session(path.read_bytes()), read_graph(path.read_bytes())
        (source,) = runtime.get_inputs()
        expected = np.concatenate(
            [runtime.run(None, {source.name: each[None]})[0] for each in digits(16)]
        )
        (result,) = in_interpreter(found, [digits(16)])
        np.testing.assert_allclose(result, expected, atol=0.02, err_msg=str(path))
        dtypes = {tensor.dtype for tensor in found.graph.parameters}
        products = {"float32"} if "Mul" in graph_statistics(path).operators else set()
        assert dtypes <= {"int8", "int32", "int4", "int2"} | products, path


# -------------------------------------------------------------------------------------- refusals

TWICE = node("Add", "a a", "b")
REFUSED = {
    "LSTM with clip": net(
        [node("LSTM", "x w r", "y", hidden_size=2, clip=1.0)], (3, 1, 4), w=weights(1, 8, 4),
        r=weights(1, 8, 2)),
    "RNN with the activations relu": net(
        [node("RNN", "x w r", "y", hidden_size=2, activations=["Relu"])], (3, 1, 4),
        w=weights(1, 2, 4), r=weights(1, 2, 2)),
    "If with a condition that is computed": net(
        [node("Less", "x z", "c"), *branches("c")], (1, 4), z=np.float32(0)),
    "Loop with a length that is computed": net(
        [helper.make_node("Cast", ["x"], ["n"], to=TensorProto.INT64), loop("n", TWICE)], (1, 4)),
    "the operator Erf": net([node("Erf", "x", "y")], (1, 4)),
    "the operator com.acme.Relu": net([node("Relu", "x", "y", domain="com.acme")], (1, 4)),
    "MaxPool with dilation": net(
        [node("MaxPool", "x", "y", kernel_shape=[2, 2], dilations=[2, 2])], (1, 2, 8, 8)),
    "Pad with the mode wrap": net(
        [node("Pad", "x p", "y", mode="wrap")], (1, 4), p=np.array([0, 1, 0, 1])),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(what: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=what):
        read_graph(REFUSED[what])


HOSTILE = {
    "absurd number of nodes": net([loop("n", TWICE)], (1, 4), n=np.array(2**40)),
    "older than 7": net([node("Relu", "x", "y")], (1, 4), 6),
    "newer than": net([node("Relu", "x", "y")], (1, 4), 99),
    "open dimensions": net([node("Relu", "x", "y")], (1, None, 4)),  # type: ignore[arg-type]
    "absurd size": net(
        [node("ConstantOfShape", "s", "c"), node("Add", "x c", "y")], (1, 4),
        s=np.array([2**20, 2**20])),
    "computed from itself": net([node("Add", "x z", "z"), node("Relu", "z", "y")], (1, 4)),
    "never computed": net([node("Add", "x nothing", "y")], (1, 4)),
    "is not valid": net([node("Slice", "x s e", "y")], (1, 4), s=np.array([0]), e=np.array([1, 2])),
    "cannot become": net([node("Reshape", "x s", "y")], (1, 4), s=np.array([5, 1])),
    "filters of shape": net([node("Conv", "x w", "y")], (1, 3, 5, 5), w=weights(2, 7, 3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_not_valid_is_refused(what: str) -> None:
    with pytest.raises(EdgegolfError, match=what):
        read_graph(HOSTILE[what])


def test_an_open_shape_can_be_given() -> None:
    data = net([node("Relu", "x", "y")], (None, None, 4))  # type: ignore[arg-type]
    assert read_graph(data, shapes={"x": (1, 6, 4)}).graph.inputs[0].shape == (1, 6, 4)


def test_weights_in_a_file_beside_are_read_and_none_elsewhere() -> None:
    model = onnx.load_from_string(net([node("MatMul", "x w", "y")], (1, 4), w=weights(4, 3)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "in"
        folder.mkdir()
        onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="net.data",
                  size_threshold=0)  # fmt: skip
        data = (folder / "net.onnx").read_bytes()
        whole = onnx.load(folder / "net.onnx").SerializeToString()
        found = read_graph(data, folder=folder)
        np.testing.assert_array_equal(
            found.graph.weights[0].values, read_graph(whole).graph.weights[0].values
        )
        with pytest.raises(EdgegolfError, match="in another file"):
            read_graph(data)
        (folder / "net.data").rename(folder.parent / "net.data")
        outside = onnx.load_from_string(data)
        for entry in outside.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = "../net.data"
        with pytest.raises(EdgegolfError, match="in another file"):
            read_graph(outside.SerializeToString(), folder=folder)


def test_normalizations_become_part_of_convolutions() -> None:
    nodes = [
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c s b m v", "n"),
        node("Relu", "n", "y"),
    ]
    arrays = {"s": weights(3), "b": weights(3), "m": weights(3), "v": weights(3) ** 2}
    graph = assert_as_onnxruntime(net(nodes, (1, 2, 6, 6), w=weights(3, 2, 3, 3), **arrays))
    assert kinds(fold_normalizations(graph)) == ["Conv2D", "ReLU"]
    assert isinstance(graph.nodes[1].op, ops.DepthwiseConv2D)
