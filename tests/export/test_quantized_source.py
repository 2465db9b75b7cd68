"""A quantized `.tflite` file that is exported: it keeps its integers, and odd samples are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ir_nets import pixels, plain_net
from onnx import TensorProto, helper, numpy_helper, parser
from onnxruntime import InferenceSession
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgegolf.backends import onnx, tflite
from edgegolf.errors import EdgegolfError
from edgegolf.export import ExportOptions, export_model
from edgegolf.export.export import Exported
from edgegolf.export.onnx_export import with_stored_weights
from edgegolf.export.onnx_source import OnnxSource
from edgegolf.export.samples import Samples
from edgegolf.export.variants import OWN_SCALES, write_int8
from edgegolf.export.verify import run_file
from edgegolf.frontends.tflite import read_graph
from edgegolf.golf.golfing import Keep
from edgegolf.golf.tflite_golf import golf_tflite
from edgegolf.ir import Graph, Node, ops
from edgegolf.ir.interpreter import run
from edgegolf.passes.fusion import fuse_activations
from edgegolf.quantize.calibration import calibrate, ranges
from edgegolf.quantize.quantization import Quantization, quantized, with_decoded_weights
from edgegolf.quantize.scale_search import best_scales
from edgegolf.sqnr import sqnr


def test_what_a_quantized_input_cuts_off_is_told(tmp_path: Path) -> None:
    graph = fuse_activations(plain_net())
    shown = pixels(graph, 50)
    path = tmp_path / "net.tflite"
    path.write_bytes(write_int8(graph, calibrate(graph, ranges(graph, (shown,)), OWN_SCALES)))
    options = ExportOptions(("tflite",), ("int8",), quick=True)
    for factor, is_told in ((1, False), (3, True)):
        samples = tmp_path / "samples.npz"
        np.savez(samples, x=factor * shown)
        made = export_model(path, tmp_path / "out", samples, options)
        assert [file.name for file in made.files] == ["int8.tflite"]
        assert made.files[0].max_difference == 0
        assert made.files[0].bytes <= path.stat().st_size
        assert any("cuts off" in note for note in made.notes) == is_told


def exported(data: bytes, suffix: str, folder: Path) -> Exported:
    (folder / f"net{suffix}").write_bytes(data)
    np.savez(folder / "x.npz", x=pixels(plain_net(), 30))
    options = ExportOptions((suffix[1:],), ("int8",), quick=True)
    return export_model(folder / f"net{suffix}", folder / "out", folder / "x.npz", options)


def in_integers() -> Graph:
    graph = fuse_activations(plain_net())
    return quantized(graph, calibrate(graph, ranges(graph, (pixels(graph, 50),)), OWN_SCALES))


def test_integers_of_onnx_are_golfed(tmp_path: Path) -> None:
    data = onnx.write(in_integers())
    (file,) = exported(data, ".onnx", tmp_path).files
    assert file.name == "int8.onnx"
    assert file.validation_accuracy == 1
    assert file.bytes <= len(data)


def test_integers_of_golfed_tflite_are_kept_in_onnx(tmp_path: Path) -> None:
    """Golf drops the reshape before a dense layer."""
    whole = in_integers()
    path = tmp_path / "net.tflite"
    path.write_bytes(golf_tflite(tflite.write(whole), Keep()).data)
    samples = Samples((pixels(whole, 30).transpose(0, 3, 1, 2),))
    found = []
    for number, graph in enumerate((whole, read_graph(path))):
        file = tmp_path / f"{number}.onnx"
        file.write_bytes(onnx.write(graph))
        found += run_file(file, None, samples)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_weights_that_a_file_decodes_are_weights(suffix: str, tmp_path: Path) -> None:
    """A file with int8 weights and float arithmetic is a float model."""
    graph = plain_net()
    stored = with_decoded_weights(graph, Quantization({}, best_scales(graph.weights)))
    back_end = onnx if suffix == ".onnx" else tflite
    made = exported(back_end.write(stored), suffix, tmp_path)
    assert not made.failures
    assert f"int8{suffix}" in {file.name for file in made.files}


def test_weights_in_int8_that_layers_read_on_real_numbers(tmp_path: Path) -> None:
    """What TensorFlow calls dynamic range: the model is what the weights stand for."""
    graph = plain_net()
    scales = {w: s for w, s in best_scales(graph.weights).items() if len(w.shape) > 1}
    stored = with_decoded_weights(graph, Quantization({}, scales))
    integers = {
        node.output: node.source for node in stored.nodes if isinstance(node.op, ops.Dequantize)
    }
    nodes = tuple(
        Node(node.op, tuple(integers.get(t, t) if t else None for t in node.inputs), node.outputs)
        for node in stored.nodes
        if node.output not in integers
    )
    (tmp_path / "net.tflite").write_bytes(tflite.write(Graph(stored.inputs, stored.outputs, nodes)))
    np.savez(tmp_path / "x.npz", x=pixels(graph, 30))
    made = export_model(
        tmp_path / "net.tflite", tmp_path / "out", tmp_path / "x.npz", ExportOptions(quick=True)
    )
    assert not made.failures
    found = {file.name: file.sqnr for file in made.files}
    assert found["float32.onnx"] > 90
    assert {"int8.tflite", "int8.onnx"} <= found.keys()


def with_a_real_tail() -> bytes:
    """A quantized convolution as onnxruntime's tools write it, and layers on real numbers."""
    random = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.02), "z": np.uint8(128), "scale": np.float32(0.01), "zero": np.int8(0),
        "w": random.integers(-15, 16, (4, 1, 3, 3)).astype(np.int8),
        "b": random.integers(-500, 500, 4).astype(np.int32), "bs": np.float32(0.0002),
        "v": random.integers(-15, 16, (3, 4)).astype(np.int8),
        "c": random.integers(-500, 500, 3).astype(np.int32),
    }  # fmt: skip

    def node(operator: str, inputs: str, output: str, **attributes: int) -> helper.NodeProto:
        return helper.make_node(operator, inputs.split(), [output], **attributes)

    nodes = [
        node("QuantizeLinear", "x s z", "xq"), node("DequantizeLinear", "xq s z", "xd"),
        node("DequantizeLinear", "w scale zero", "wd"), node("DequantizeLinear", "b bs", "bd"),
        node("Conv", "xd wd bd", "conv"), node("QuantizeLinear", "conv s z", "q"),
        node("DequantizeLinear", "q s z", "d"), node("Relu", "d", "r"),
        node("QuantizeLinear", "r scale z", "rq"), node("DequantizeLinear", "rq scale z", "rd"),
        node("Relu", "rd", "real"), node("GlobalAveragePool", "real", "pool"),
        node("Flatten", "pool", "flat"), node("DequantizeLinear", "v scale zero", "vd"),
        node("DequantizeLinear", "c bs", "cd"), node("Gemm", "flat vd cd", "y", transB=1),
    ]  # fmt: skip
    ends = [
        helper.make_tensor_value_info(*each)
        for each in (("x", TensorProto.FLOAT, [1, 1, 8, 8]), ("y", TensorProto.FLOAT, [1, 3]))
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    imports = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def test_integers_that_end_in_real_numbers(tmp_path: Path) -> None:
    """A bias in int32 that a layer on real numbers decodes, which TFLite's operator cannot."""
    (tmp_path / "net.onnx").write_bytes(with_a_real_tail())
    images = np.random.default_rng(1).uniform(-2, 2, (40, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=images)
    made = export_model(
        tmp_path / "net.onnx", tmp_path / "out", tmp_path / "x.npz", ExportOptions(quick=True)
    )
    assert {file.name for file in made.files} == {"int8.tflite", "int8.onnx"}
    assert min(file.sqnr for file in made.files) > 25
    assert not made.failures
    assert "no float32.tflite, float32.onnx: the model is quantized already" in made.notes
    assert not any("of integers" in note for note in made.notes)


@pytest.mark.parametrize("operator", ["LSTM", "Conv"])
def test_operators_that_the_graph_lacks_get_weights_in_int8(tmp_path: Path, operator: str) -> None:
    """Recurrent layers are loops there, which take longer, and volumes are not covered."""
    random = np.random.default_rng(0)
    if operator == "LSTM":
        node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=12)
        shapes, image = {"w": (1, 48, 6), "r": (1, 48, 12)}, (5, 1, 6)
    else:
        node = helper.make_node("Conv", ["x", "w"], ["y"])
        shapes, image = {"w": (6, 2, 3, 3, 3)}, (1, 2, 6, 6, 6)
    stored = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    ends = [
        helper.make_tensor_value_info(*each)
        for each in (("x", TensorProto.FLOAT, image), ("y", TensorProto.FLOAT, None))
    ]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], stored)
    imports = [helper.make_opsetid("", 14)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    float32 = model.SerializeToString()
    decoded = with_stored_weights(float32)
    assert len(decoded) < len(float32) / 2 + 200
    x = {"x": random.normal(size=image).astype(np.float32)}
    expected, found = (InferenceSession(data).run(None, x)[0] for data in (float32, decoded))
    assert sqnr(expected, found) > 30


@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamically_quantized_layers_are_what_their_weights_stand_for(
    kind: str, per_channel: bool, tmp_path: Path
) -> None:
    graph = plain_net()
    (tmp_path / "float.onnx").write_bytes(onnx.write(graph))
    path = tmp_path / "net.onnx"
    weight_type = getattr(QuantType, kind)
    quantize_dynamic(
        tmp_path / "float.onnx", path, per_channel=per_channel, weight_type=weight_type
    )
    samples = Samples((pixels(graph, 30).transpose(0, 3, 1, 2),))
    source = OnnxSource(path)
    (found,), (expected,) = source.predict(samples), run_file(path, None, samples)
    assert sqnr(expected, found) > 15  # rounding anew leaves so much, also where pairs saturate
    compiled = source.compile(((1, *samples.inputs[0].shape[1:]),))
    layers = [type(node.op).__name__ for node in compiled.graph.nodes]
    assert layers == [type(node.op).__name__ for node in graph.nodes]
    (answers,) = compiled.answers(run(compiled.graph, compiled.given(samples).inputs))
    np.testing.assert_allclose(answers, found, atol=1e-5)


LOOKED_UP = """<ir_version: 8, opset_import: ["" : 17]>
g (int64[1, 6] x) => (float[1, 3] y) {
    rows = Gather (e, x)
    mean = ReduceMean <axes = [1], keepdims = 0> (rows)
    y = Gemm (mean, w, b)
}"""
RECURRENT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[5, 1, 3] x) => (float[1, 4] y) {
    every, last = LSTM <hidden_size = 4> (x, w, r, b)
    axis = Constant <value_ints = [0]> ()
    y = Squeeze (last, axis)
}"""


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (LOOKED_UP, {"e": (50, 8), "w": (8, 3), "b": (3,)}),
        (RECURRENT, {"w": (1, 16, 3), "r": (1, 16, 4), "b": (1, 32)}),
    ],
)
def test_dynamically_quantized_rows_and_recurrent_layers(
    text: str, shapes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    """Not against the file's own results: products of a pair saturate on some CPUs."""
    random = np.random.default_rng(0)
    model = parser.parse_model(text)
    for name, shape in shapes.items():
        weights = random.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, name))
    (tmp_path / "float.onnx").write_bytes(model.SerializeToString())
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "net.onnx")
    source = OnnxSource(tmp_path / "net.onnx")
    info = source.inputs[0]
    found, expected = [], []
    for _ in range(20):
        given = random.normal(size=info.example_shape) if info.dtype == "float32" else None
        x = random.integers(0, 50, (1, 6)) if given is None else given.astype(np.float32)
        found += source.predict(Samples((x,)))
        expected += run_file(tmp_path / "float.onnx", None, Samples((x,)))
    assert 30 < sqnr(np.array(expected), np.array(found)) < 60
    assert source.compile((tuple(info.example_shape),)).graph.nodes


def test_dynamically_quantized_files_become_those_of_every_format(tmp_path: Path) -> None:
    graph = plain_net()
    (tmp_path / "float.onnx").write_bytes(onnx.write(graph))
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "net.onnx")
    np.savez(tmp_path / "x.npz", x=pixels(graph, 30).transpose(0, 3, 1, 2))
    made = export_model(
        tmp_path / "net.onnx", tmp_path / "out", tmp_path / "x.npz", ExportOptions(quick=True)
    )
    assert not made.failures
    wanted = {f"{dtype}.{suffix}" for dtype in ("float32", "int8") for suffix in ("tflite", "onnx")}
    assert wanted <= {file.name for file in made.files}


def test_a_zero_point_that_is_computed_otherwise_is_refused(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 4] x, uint8 z) => (int32[1, 4] y)
    <uint8[4, 4] w = {0,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6}> {
       q, s, zero = DynamicQuantizeLinear (x)
       y = MatMulInteger (q, w, zero, z)
    }"""
    (tmp_path / "net.onnx").write_bytes(parser.parse_model(text).SerializeToString())
    with pytest.raises(EdgegolfError, match="a zero point that is computed"):
        OnnxSource(tmp_path / "net.onnx")
