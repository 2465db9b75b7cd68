"""Statistics against closed formulas."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from golf_models import (
    INT32,
    TfliteBuilder,
    chain,
    initializer,
    loop,
    naive,
    node,
    onnx_chain,
    onnx_model,
    value_info,
)
from onnx import parser

from edgegolf.bench.graph_statistics import graph_statistics
from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.protobuf import message
from edgegolf.formats.tflite.flatbuffer import read_flatbuffer, table, write_flatbuffer
from edgegolf.formats.tflite.schema import number
from edgegolf.golf.golf import golf_file

CASES = Path(__file__).parents[1] / "golf" / "cases"
PIXELS, CHANNELS = 6 * 6, 4
CONVOLUTION = 3 * 3 * CHANNELS * CHANNELS
DEPTHWISE = 3 * 3 * CHANNELS


def statistics(folder: Path, data: bytes, suffix: str, golfed: bool = False):
    path = folder / f"model{suffix}"
    path.write_bytes(data)
    if golfed:
        golf_file(path, path)
    return graph_statistics(path)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("golfed", [False, True])
def test_shared_weights_count_once_and_their_uses_each_time(
    tmp_path: Path, suffix: str, golfed: bool
) -> None:
    names = ["conv", "relu", "depthwise", "relu", "conv", "conv"]
    data = chain(names, 1) if suffix == ".tflite" else onnx_chain(names, 1)
    found = statistics(tmp_path, data, suffix, golfed)
    # Biases are zeros, as of layers without, and do not count.
    assert found.parameters == CONVOLUTION + DEPTHWISE
    assert found.parameter_uses == 3 * CONVOLUTION + DEPTHWISE
    assert found.macs == PIXELS * (3 * CONVOLUTION + DEPTHWISE)
    assert found.activation_peak_bytes == 2 * 4 * PIXELS * CHANNELS
    convolutions = found.operators.get("CONV_2D", 0) + found.operators.get("Conv", 0)
    assert convolutions == (3 if suffix == ".tflite" else 4)


def test_weights_bytes_count_equal_data_once(tmp_path: Path) -> None:
    found = statistics(tmp_path, chain(["conv", "conv"], shared=False), ".tflite")
    # Two kernels; the two biases of zeros are equal.
    assert found.weights_bytes == 4 * (2 * CONVOLUTION + CHANNELS)


def test_int8_activations_are_a_quarter(tmp_path: Path) -> None:
    found = statistics(tmp_path, chain(["conv", "relu"], 1, int8=True), ".tflite")
    assert found.activation_peak_bytes == 2 * PIXELS * CHANNELS
    assert found.parameters == CONVOLUTION + CHANNELS


@pytest.mark.parametrize(
    ("trips", "step", "doubling"),
    [(0, 1, False), (1, 1, False), (5, 1, False), (4, 3, False), (0, 1, True), (8, 1, True)],
)
def test_work_in_a_loop_counts_each_time(
    tmp_path: Path, trips: int, step: int, doubling: bool
) -> None:
    found = statistics(tmp_path, loop(trips, step, doubling), ".tflite")
    # The body's bias is ones; the loop's counters are no parameters.
    assert found.parameters == CONVOLUTION + CHANNELS
    assert found.macs == trips * PIXELS * CONVOLUTION
    assert found.parameter_uses == trips * (CONVOLUTION + CHANNELS)
    assert found.operators == {"ADD": 1, "CONV_2D": 1, "LESS": 1, "WHILE": 1}


def test_a_loop_without_evident_end_is_unknown(tmp_path: Path) -> None:
    root = read_flatbuffer(loop(5)).root
    main, condition, body = root.subgraphs
    limit = condition.operators[0].inputs[1]
    tensors = list(condition.tensors)
    tensors[limit] = tensors[limit].replace(buffer=0)
    changed = root.replace(subgraphs=[main, condition.replace(tensors=tensors), body])
    found = statistics(tmp_path, write_flatbuffer(changed), ".tflite")
    assert found.macs is None
    assert found.parameter_uses is None
    assert found.parameters == CONVOLUTION + CHANNELS


def test_fully_connected_and_unknown_operators(tmp_path: Path) -> None:
    builder = TfliteBuilder()
    image, middle, out = (builder.tensor(shape) for shape in ((1, 7), (1, 3), (1, 3)))
    weights = builder.tensor((3, 7), data=np.ones((3, 7), np.float32))
    builder.operator(
        "FULLY_CONNECTED", [image, weights, -1], [middle], table("FullyConnectedOptions")
    )
    graph = builder.subgraph([image], [middle])
    assert statistics(tmp_path, naive(builder.model([graph])), ".tflite").macs == 21
    builder.operator("CUSTOM:Mine", [middle], [out])
    graph = builder.subgraph([image], [out])
    found = statistics(tmp_path, naive(builder.model([graph])), ".tflite")
    assert found.macs is None
    assert found.operators == {"CUSTOM:Mine": 1, "FULLY_CONNECTED": 1}


def tflite_of(
    name: str, shapes: list, out: tuple[int, ...], options=None, state: tuple[int, ...] = ()
) -> bytes:
    """One operator: an image, then constants of the other shapes; None where one is left out."""
    builder = TfliteBuilder()
    image, *constants = (
        -1
        if shape is None
        else builder.tensor(shape, data=np.full(shape, at, np.float32) if at else None)
        for at, shape in enumerate(shapes)
    )
    kept = [builder.tensor(state, is_variable=True)] if state else []
    made = builder.operator(name, [image, *constants, *kept], [builder.tensor(out)], options)
    return naive(builder.model([builder.subgraph([image], [made])]))


UNITS, INPUTS, TIMES, BATCH = 4, 3, 5, 2
GATE_IN, GATE_BACK, BIAS = (UNITS, INPUTS), (UNITS, UNITS), (UNITS,)
LSTM_CELL = UNITS * INPUTS + UNITS * UNITS
TFLITE_LAYERS = {
    "CONV_3D": ([(1, 5, 6, 7, 2), (3, 2, 4, 2, 8), (8,)], (1, 3, 5, 4, 8), None,
                3 * 5 * 4 * 8 * (3 * 2 * 4 * 2), 3 * 2 * 4 * 2 * 8 + 8),
    "BATCH_MATMUL": ([(2, 3, 5), (2, 5, 4)], (2, 3, 4), None, 2 * 3 * 5 * 4, 2 * 5 * 4),
    "RNN": ([(BATCH, INPUTS), GATE_IN, GATE_BACK, BIAS], (BATCH, UNITS), None,
            BATCH * LSTM_CELL, LSTM_CELL + UNITS),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (
        [(TIMES, BATCH, INPUTS), GATE_IN, GATE_BACK, BIAS], (TIMES, BATCH, UNITS), None,
        TIMES * BATCH * LSTM_CELL, LSTM_CELL + UNITS),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        [(TIMES, BATCH, INPUTS), *[GATE_IN] * 4, *[GATE_BACK] * 4, *[None] * 3, *[BIAS] * 4],
        (TIMES, BATCH, UNITS), None, TIMES * BATCH * 4 * LSTM_CELL, 4 * (LSTM_CELL + UNITS)),
    "LSTM": ([(BATCH, INPUTS), *[GATE_IN] * 4, *[GATE_BACK] * 4, *[None] * 3, *[BIAS] * 4],
             (BATCH, UNITS), None, BATCH * 4 * LSTM_CELL, 4 * (LSTM_CELL + UNITS)),
    "SVDF": ([(BATCH, 7), (6, 7), (6, 9), (6,)], (BATCH, 6), None,
             BATCH * 6 * (7 + 9), 6 * (7 + 9) + 6),
}  # fmt: skip


@pytest.mark.parametrize("name", TFLITE_LAYERS)
def test_work_of_one_layer(tmp_path: Path, name: str) -> None:
    shapes, out, options, macs, parameters = TFLITE_LAYERS[name]
    # What a layer remembers is a matrix, too, but no weight.
    state = (BATCH, 11) if name in ("SVDF", "RNN", "LSTM") or "SEQUENCE" in name else ()
    found = statistics(tmp_path, tflite_of(name, shapes, out, options, state), ".tflite")
    stored = sum(int(np.prod(shape)) for shape in shapes[1:] if shape)
    assert (found.macs, found.parameters) == (macs, parameters)
    assert found.weights_bytes == 4 * stored  # all differ
    assert found.state_bytes == 4 * int(np.prod(state)) * bool(state)


def test_a_matrix_that_is_multiplied_transposed(tmp_path: Path) -> None:
    options = table("BatchMatMulOptions", adj_x=True)
    data = tflite_of("BATCH_MATMUL", [(2, 5, 3), (2, 5, 4)], (2, 3, 4), options)
    assert statistics(tmp_path, data, ".tflite").macs == 2 * 3 * 5 * 4


@pytest.mark.parametrize("name", ["TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"])
def test_a_transposed_convolution_multiplies_each_input_by_its_window(
    tmp_path: Path, name: str
) -> None:
    builder = TfliteBuilder()
    depth = (2,) if "3D" in name else ()
    image = builder.tensor((1, *depth, 4, 5, 3))
    kernel = (*depth, 3, 6, 7, 3) if depth else (7, 3, 6, 3)
    size = builder.tensor((len(depth) + 4,), INT32, np.ones(len(depth) + 4, np.int32))
    weights = builder.tensor(kernel, data=np.ones(kernel, np.float32))
    out = builder.tensor((1, *depth, 8, 10, 7))
    builder.operator(name, [size, weights, image], [out])
    data = naive(builder.model([builder.subgraph([image], [out])]))
    taps = 2 if depth else 1
    found = statistics(tmp_path, data, ".tflite")
    assert found.macs == taps * 4 * 5 * 3 * (taps * 3 * 6 * 7)
    assert found.parameters == taps * 3 * 6 * 7 * 3


@pytest.mark.parametrize(("name", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize("directions", [1, 2])
def test_work_of_recurrent_layers(tmp_path: Path, name: str, gates: int, directions: int) -> None:
    shapes = {
        "w": (directions, gates * UNITS, INPUTS),
        "r": (directions, gates * UNITS, UNITS),
        "b": (directions, 2 * gates * UNITS),
    }
    constants = [initializer(key, np.ones(shape, np.float32)) for key, shape in shapes.items()]
    fields = {"direction": b"bidirectional"} if directions == 2 else {}
    made = node(name, ["x", "w", "r", "b"], ["y"], hidden_size=UNITS, **fields)
    out = (TIMES, directions, BATCH, UNITS)
    data = onnx_of([made], constants, (TIMES, BATCH, INPUTS), out)
    found = statistics(tmp_path, data, ".onnx")
    assert found.macs == TIMES * BATCH * directions * gates * LSTM_CELL
    assert found.parameters == directions * gates * (LSTM_CELL + 2 * UNITS)


def onnx_of(nodes, initializers, shape, out_shape) -> bytes:
    return onnx_model(nodes, initializers, [value_info("x", shape)], [value_info("y", out_shape)])


def test_onnx_weights_that_are_decoded_count_once(tmp_path: Path) -> None:
    weights = np.arange(48, dtype=np.int8).reshape(4, 3, 2, 2) + 1
    nodes = [
        node("Cast", ["w"], ["c"], to=1),
        node("Mul", ["c", "s"], ["d"]),
        node("Conv", ["x", "d"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("DequantizeLinear", ["v", "s"], ["e"]),
        node("Flatten", ["b"], ["f"]),
        node("MatMul", ["f", "e"], ["y"]),
    ]
    constants = [
        initializer("w", weights),
        initializer("s", np.array(0.1, np.float32)),
        initializer("v", np.ones((64, 5), np.int8)),
    ]
    found = statistics(tmp_path, onnx_of(nodes, constants, (1, 3, 5, 5), (1, 5)), ".onnx")
    assert found.parameters == found.parameter_uses == 48 + 64 * 5
    assert found.macs == 4 * 4 * 48 + 64 * 5
    assert found.weights_bytes == 48 + 4 + 64 * 5


def test_onnx_loops_multiply(tmp_path: Path) -> None:
    body = message(
        "GraphProto",
        name="body",
        node=[node("Identity", ["go"], ["going"]), node("MatMul", ["h", "w"], ["next"])],
        input=[value_info("i", (), 7), value_info("go", (), 9), value_info("h", (1, 8))],
        output=[value_info("going", (), 9), value_info("next", (1, 8))],
    )
    constants = [
        initializer("trips", np.array(6, np.int64)),
        initializer("w", np.ones((8, 8), np.float32)),
    ]
    nodes = [node("Loop", ["trips", "", "x"], ["y"], body=body)]
    found = statistics(tmp_path, onnx_of(nodes, constants, (1, 8), (1, 8)), ".onnx")
    assert found.macs == 6 * 64
    assert found.parameters == 64
    assert found.parameter_uses == 6 * 64


@pytest.mark.parametrize(
    ("first", "again", "turns"),
    [
        ("", "Identity (c)", 6),
        ("true", "Identity (true)", 6),  # of the graph around
        ("true", "Cast <to = 9> (c)", 6),
        ("", "Constant <value: tensor = bool {1}> ()", 6),
        ("", "Constant <value: tensor = bool {0}> ()", 1),
        ("false", "Identity (c)", 0),
        ("true", "Not (c)", None),
    ],
)
def test_conditions_that_are_known(
    first: str, again: str, turns: int | None, tmp_path: Path
) -> None:
    eye = ",".join(map(str, np.eye(4, dtype=int).ravel()))
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, 4] x) => (float[1, 4] y)
    <int64 n = {{6}}, bool true = {{1}}, bool false = {{0}}, float[4, 4] w = {{{eye}}}> {{
       y = Loop (n, {first or '""'}, x) <body = t (int64 i, bool c, a) => (bool d, b) {{
          b = MatMul (a, w)
          d = {again}
       }}>
    }}"""
    path = tmp_path / "loop.onnx"
    path.write_bytes(parser.parse_model(text).SerializeToString())
    assert graph_statistics(path).macs == (None if turns is None else 16 * turns)


def test_state_is_counted_apart_from_activations() -> None:
    found = graph_statistics(CASES / "svdf_state_not_counted.tflite")
    assert found.activation_peak_bytes == 288
    assert found.state_bytes == 10_240


def lstm_like(variable: bool) -> bytes:
    builder = TfliteBuilder()
    image, out = builder.tensor((1, 7)), builder.tensor((1, 7))
    state = builder.tensor((1, 5), is_variable=variable)
    builder.operator("CUSTOM:Cell", [image, state], [out])
    return naive(builder.model([builder.subgraph([image], [out])]))


def test_variable_tensors_are_state(tmp_path: Path) -> None:
    assert statistics(tmp_path, lstm_like(True), ".tflite").state_bytes == 20
    assert statistics(tmp_path, lstm_like(True), ".tflite", golfed=False).macs is None
    assert statistics(tmp_path, lstm_like(False), ".tflite").state_bytes == 0


def resource(names: list[str], options: str = "VarHandleOptions") -> bytes:
    """Each name is a variable that is opened, read, and assigned 1 x 6 floats."""
    builder = TfliteBuilder()
    image = builder.tensor((1, 6))
    last = image
    for name in names:
        handle = builder.tensor((), number("TensorType", "RESOURCE"))
        known = {"shared_name": name} if options == "VarHandleOptions" else {}
        builder.operator("VAR_HANDLE", [], [handle], table(options, **known))
        read, total = builder.tensor((1, 6)), builder.tensor((1, 6))
        builder.operator("READ_VARIABLE", [handle], [read])
        builder.operator("ADD", [last, read], [total], table("AddOptions"))
        builder.operator("ASSIGN_VARIABLE", [handle, total], [])
        last = total
    return naive(builder.model([builder.subgraph([image], [last])]))


def test_resource_variables_are_state_once(tmp_path: Path) -> None:
    assert statistics(tmp_path, resource(["a", "b", "a"]), ".tflite").state_bytes == 2 * 24
    # Other options are no internal error.
    assert statistics(tmp_path, resource(["a"], "AddOptions"), ".tflite").state_bytes == 24


def test_a_lookup_table_has_an_unknown_size(tmp_path: Path) -> None:
    builder = TfliteBuilder()
    image, out = builder.tensor((1, 6)), builder.tensor((1, 6))
    handle = builder.tensor((), number("TensorType", "RESOURCE"))
    builder.operator("HASHTABLE", [], [handle])
    builder.operator("CUSTOM:Find", [handle, image], [out])
    data = naive(builder.model([builder.subgraph([image], [out])]))
    assert statistics(tmp_path, data, ".tflite").state_bytes is None


@pytest.mark.parametrize("options", ["IfOptions", "AddOptions", "CallOptions", None])
def test_a_loop_with_other_options_is_one_clear_line(tmp_path: Path, options: str | None) -> None:
    root = read_flatbuffer(loop(5)).root
    main, *others = root.subgraphs
    (operator,) = main.operators
    other = None if options is None else table(options)
    main = main.replace(operators=[operator.replace(builtin_options=other)])
    data = write_flatbuffer(root.replace(subgraphs=[main, *others]))
    with pytest.raises(EdgegolfError, match="a WHILE does not name its two graphs"):
        statistics(tmp_path, data, ".tflite")
    with pytest.raises(EdgegolfError, match="a WHILE does not name its two graphs"):
        graph_statistics(CASES / "while_if.tflite")


def test_figures_without_the_onnx_package_are_absent(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        import_module("edgegolf.bench.graph_statistics"), "find_spec", lambda name: None
    )
    found = statistics(tmp_path, onnx_chain(["conv"], 1), ".onnx")
    assert (found.parameters, found.macs, found.weights_bytes) == (None, None, None)
    assert statistics(tmp_path, chain(["conv"], 1), ".tflite").parameters == CONVOLUTION
