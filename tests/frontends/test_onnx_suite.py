"""Shapes and graphs of every model that the ``onnx`` package ships for tests."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from golf_models import initializer, node, value_info

from edgegolf.bench.graph_statistics import GraphStatistics, graph_statistics
from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.protobuf import Message, message, write_protobuf
from edgegolf.formats.onnx.schema import DATA_TYPES
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx

onnx = pytest.importorskip("onnx")

from onnx import numpy_helper  # noqa: E402
from onnx_suite import Case, in_interpreter, measured_types, suite  # noqa: E402

from edgegolf.formats.onnx.inlining import inlined  # noqa: E402
from edgegolf.frontends.onnx import read_graph  # noqa: E402
from edgegolf.frontends.onnx_shapes import infer_types  # noqa: E402

pytestmark = pytest.mark.long

CASES = Path(__file__).parents[1] / "golf" / "cases"


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    found = list(suite())
    assert len(found) > 1800
    return found


def types_of(data: bytes) -> dict[str, tuple[tuple[int, ...] | None, int]]:
    return next(iter(infer_types(inlined(data, "the file"))))


def without_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that states the types of its inputs only, as golfed files do."""
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    del stripped.graph.value_info[:]
    for info in stripped.graph.output:
        info.ClearField("type")
    return stripped


def test_no_shape_is_wrong(cases: list[Case]) -> None:
    pytest.importorskip("onnxruntime")
    wrong, known, values = [], 0, 0
    for case in cases:
        open_inputs = any(
            not size.HasField("dim_value")
            for info in case.model.graph.input
            for size in info.type.tensor_type.shape.dim
        )
        measured = measured_types(case)
        for model in (case.model, without_types(case.model)):
            found = types_of(model.SerializeToString())
            for name, (shape, dtype) in measured.items():
                got, element = found.get(name, (None, 0))
                values += 1
                known += got is not None
                if got is not None and got != shape and not open_inputs:
                    wrong.append((case.name, name, got, shape))
                if element and DATA_TYPES[element][0] not in (dtype, "string"):
                    wrong.append((case.name, name, DATA_TYPES[element][0], dtype))
    assert wrong == []
    # What is unknown depends on numbers that are inputs, as where to reshape to.
    assert known > 0.85 * values > 20_000


def figures(found: GraphStatistics) -> tuple[int | None, ...]:
    return (
        found.parameters,
        found.parameter_uses,
        found.macs,
        found.weights_bytes,
        found.activation_peak_bytes,
        found.state_bytes,
    )


def test_golfing_changes_no_figure(cases: list[Case], tmp_path: Path) -> None:
    different = []
    for case in cases[::4]:
        before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
        data = case.model.SerializeToString()
        before.write_bytes(data)
        after.write_bytes(golf_onnx(data, Keep()).data)
        pair = figures(graph_statistics(before)), figures(graph_statistics(after))
        if pair[0] != pair[1]:
            different.append((case.name, *pair))
    assert different == []


def variants(case: Case) -> list[bytes]:
    """The model as it is, and with all inputs but the first as constants."""
    changed = onnx.ModelProto()
    changed.CopyFrom(case.model)
    for info, array in list(zip(case.model.graph.input, case.inputs, strict=True))[1:]:
        changed.graph.initializer.append(numpy_helper.from_array(array, info.name))
        changed.graph.input.remove(info)
    return list(dict.fromkeys(each.SerializeToString() for each in (case.model, changed)))


def test_no_model_of_the_suite_is_read_wrong(cases: list[Case]) -> None:
    right, wrong = 0, []
    for case in cases:
        if not all(isinstance(array, np.ndarray) for array in [*case.inputs, *case.outputs]):
            continue
        for data in variants(case):
            try:
                found = read_graph(data)
                arrays = case.inputs[: len(found.inputs)]
                floats = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]  # type: ignore[attr-defined]
                results = in_interpreter(found, floats)  # type: ignore[arg-type]
            except EdgegolfError:
                continue
            right += 1
            for result, expected in zip(results, case.outputs, strict=True):
                if result.shape != expected.shape or not np.allclose(  # type: ignore[attr-defined]
                    result, expected, rtol=2e-3, atol=2e-4, equal_nan=True
                ):
                    wrong.append(case.name)
    assert wrong == []
    assert right > 300


def model_of(
    nodes: list[Message],
    constants: list[Message],
    shape: tuple[int, ...],
    opset: int = 17,
    kind: int = 1,
    **fields: object,
) -> bytes:
    graph = message(
        "GraphProto",
        name="g",
        node=nodes,
        initializer=constants,
        input=[value_info("x", shape, kind)],
        output=[message("ValueInfoProto", name="y")],
    )
    imports = [message("OperatorSetIdProto", version=opset)]
    imports += [message("OperatorSetIdProto", domain="com.microsoft", version=1)]
    return write_protobuf(
        message("ModelProto", ir_version=8, graph=graph, opset_import=imports, **fields)
    )


def statistics_of(tmp_path: Path, data: bytes) -> GraphStatistics:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    return graph_statistics(path)


def test_strangers_files_have_figures() -> None:
    # 3 x 2 x 2 floats become 3 x 1 x 2, and 2 integers say over which axes.
    reduced = graph_statistics(CASES / "reduce_axes_as_input.onnx")
    assert reduced.activation_peak_bytes == 4 * (3 * 2 * 2 + 3 * 1 * 2) + 8
    assert reduced.macs == 0
    squeezenet = graph_statistics(CASES / "light_squeezenet_dropout.onnx")
    # The first ReLU holds twice 64 x 111 x 111 floats; most weights are computed, and alive, too.
    assert squeezenet.activation_peak_bytes is not None
    assert squeezenet.activation_peak_bytes > 2 * 4 * 64 * 111 * 111


ODD = {
    "ceil_mode": ([node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2],
                        ceil_mode=1)], [], (1, 2, 8, 8), (1, 2, 4, 4), 0),
    "ceil_mode, no window in the padding": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1)],
        [], (1, 2, 6, 6), (1, 2, 3, 3), 0),
    "layout=1": ([node("GRU", ["x", "w", "r"], ["y"], hidden_size=5, layout=1)],
                 [initializer("w", np.ones((1, 15, 4), np.float32)),
                  initializer("r", np.ones((1, 15, 5), np.float32))],
                 (3, 7, 4), (3, 7, 1, 5), 3 * 7 * (15 * 4 + 15 * 5)),
    "scales": ([node("Resize", ["x", "", "s"], ["y"])],
               [initializer("s", np.array([1, 1, 2, 1.5], np.float32))],
               (1, 2, 5, 6), (1, 2, 10, 9), 0),
    "ReduceSum with axes as an input": (
        [node("ReduceSum", ["x", "a"], ["y"], keepdims=0)],
        [initializer("a", np.array([-1, 1], np.int64))], (2, 3, 4), (2,), 0),
    "ReduceSum of nothing": (
        [node("ReduceSum", ["x", "a"], ["y"], noop_with_empty_axes=1)],
        [initializer("a", np.zeros(0, np.int64))], (2, 3, 4), (2, 3, 4), 0),
    "ConvTranspose": ([node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 0, 0, 1],
                            output_padding=[1, 0])],
                      [initializer("w", np.ones((3, 4, 3, 2), np.float32))],
                      (1, 3, 5, 6), (1, 4, 11, 11), 5 * 6 * 3 * 4 * 3 * 2),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_operators_against_closed_formulas(odd: str, tmp_path: Path) -> None:
    nodes, constants, shape, expected, macs = ODD[odd]
    data = model_of(nodes, constants, shape)
    assert types_of(data)["y"] == (expected, 1)
    found = statistics_of(tmp_path, data)
    assert found.macs == macs
    assert found.activation_peak_bytes == 4 * (np.prod(shape) + np.prod(expected))


@pytest.mark.parametrize("opset", [11, 17, 22])
def test_pooling_that_rounds_up_leaves_out_what_runtimes_leave_out(opset: int) -> None:
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    odd = itertools.product((3, 6, 8), (2, 3), (1, 2, 3), (0, 1), (0, 1))
    for size, kernel, stride, before, after in odd:
        pooling = {"kernel_shape": [kernel], "strides": [stride], "pads": [before, after]}
        data = model_of(
            [node("AveragePool", ["x"], ["y"], ceil_mode=1, **pooling)], [], (1, 2, size), opset
        )
        model = onnx.load_from_string(data)
        model.graph.output[0].type.tensor_type.elem_type = 1
        session = ort.InferenceSession(model.SerializeToString(), options)
        (measured,) = session.run(None, {"x": np.ones((1, 2, size), np.float32)})
        assert types_of(data)["y"] == (measured.shape, 1)


def test_quantizing_to_a_type_that_an_attribute_names() -> None:
    nodes = [node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=5)]
    data = model_of(nodes, [initializer("s", np.array(0.1, np.float32))], (2, 3), opset=21)
    assert types_of(data)["y"] == ((2, 3), 5)


def test_operators_of_onnxruntime() -> None:
    """Against a run: what stands in for them has their shapes, types and work."""
    ort = pytest.importorskip("onnxruntime")
    one, zero = ["s", "z"], initializer("z", np.array(0, np.uint8))
    nodes = [
        node("QuantizeLinear", ["x", *one], ["q"]),
        node("QLinearAdd", ["q", *one, "row", *one, *one], ["a"]),
        node("QLinearLeakyRelu", ["a", *one, *one], ["b"], alpha=0.1),
        node("QLinearConcat", [*one, "b", *one, "a", *one], ["c"], axis=1),
        node("QLinearAveragePool", ["c", *one, *one], ["d"], kernel_shape=[2, 2], ceil_mode=1),
        node("QLinearGlobalAveragePool", ["d", *one, *one], ["e"]),
        node("Flatten", ["e"], ["f"]),
        node("QGemm", ["f", *one, "w", *one, "", *one], ["g"]),
        node("QGemm", ["f", *one, "w", *one], ["y"]),
    ]
    ours = {"QuantizeLinear", "Flatten"}
    nodes = [
        each if each.op_type in ours else each.replace(domain="com.microsoft") for each in nodes
    ]
    constants = [
        initializer("s", np.array(0.1, np.float32)),
        zero,
        initializer("row", np.ones((1, 1, 1, 5), np.uint8)),
        initializer("w", np.ones((6, 4), np.uint8)),
    ]
    data = model_of(nodes, constants, (1, 3, 5, 5))
    model = onnx.load_from_string(data)
    names = [name for each in model.graph.node for name in each.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(model.SerializeToString())
    measured = session.run(None, {"x": np.ones((1, 3, 5, 5), np.float32)})
    found = types_of(data)
    for name, value in zip(names, measured, strict=True):
        assert found[name][0] == value.shape
        assert DATA_TYPES[found[name][1]][0] == str(value.dtype)


def growing(body_nodes: list[Message], trips: int = 3) -> bytes:
    body = message(
        "GraphProto",
        name="body",
        node=[node("Identity", ["go"], ["going"]), *body_nodes],
        input=[value_info("i", (), 7), value_info("go", (), 9), value_info("h", (1, 4))],
        output=[value_info("going", (), 9), value_info("next", (1, 4))],
    )
    limit = initializer("trips", np.array(trips, np.int64))
    nodes = [node("Loop", ["trips", "", "x"], ["l"], body=body), node("Relu", ["l"], ["y"])]
    return model_of(nodes, [limit], (1, 4))


def test_what_a_loop_keeps_is_known_and_what_it_changes_is_not() -> None:
    kept = types_of(growing([node("Relu", ["h"], ["next"])]))
    assert kept["l"][0] == kept["y"][0] == (1, 4)
    # It doubles in each turn, whatever the file says.
    doubled = types_of(growing([node("Concat", ["h", "h"], ["next"], axis=1)]))
    assert doubled["l"][0] is None
    assert doubled["y"][0] is None


def function(name: str, calls: list[Message]) -> Message:
    return message(
        "FunctionProto", name=name, domain="f", input=["a"], output=["b"], node=calls,
        opset_import=[message("OperatorSetIdProto", version=17),
                      message("OperatorSetIdProto", domain="f", version=1)],
    )  # fmt: skip


def call(name: str, given: str, taken: str) -> Message:
    return node(name, [given], [taken]).replace(domain="f")


def with_functions(functions: list[Message], main: list[Message]) -> bytes:
    data = onnx.load_from_string(model_of(main, [], (1, 4), functions=functions))
    data.opset_import.add(domain="f", version=1)
    return data.SerializeToString()


def test_functions_are_inlined_and_what_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    small = with_functions(
        [function("F", [node("Relu", ["a"], ["b"])])],
        [call("F", "x", "m"), call("F", "m", "y")],
    )
    assert statistics_of(tmp_path, small).operators == {"Relu": 2}
    doubling = [function("F0", [node("Relu", ["a"], ["b"])])]
    for level in range(1, 30):
        inner = f"F{level - 1}"
        doubling.append(function(f"F{level}", [call(inner, "a", "c"), call(inner, "c", "b")]))
    with pytest.raises(EdgegolfError, match="absurd number of nodes"):
        statistics_of(tmp_path, with_functions(doubling, [call("F29", "x", "y")]))
    circle = with_functions([function("F", [call("F", "a", "b")])], [call("F", "x", "y")])
    with pytest.raises(EdgegolfError, match="nested too deeply"):
        statistics_of(tmp_path, circle)


def test_a_name_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    constants = [initializer("weights", np.ones((1, 4), np.float32))]
    nodes = [node("Add", ["x", "weights"], ["sum"]), node("Relu", ["sum"], ["y"])]
    data = model_of(nodes, constants, (1, 4), opset=6).replace(b"sum", b"\xbe\xbe\xbe")
    with pytest.raises(EdgegolfError, match="no UTF-8"):
        statistics_of(tmp_path, data)
