"""What golf owes the readers of an ONNX file: the standard's checker, OpenVINO and OpenCV."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from golf_models import is_portable, node, onnx_chain

from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.protobuf import message, read_protobuf, varint, write_protobuf
from edgegolf.golf import onnx_functions
from edgegolf.golf.golf import golf_file
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.runtimes import Array, open_session
from edgegolf.runtimes.compare import compare_files

onnx = pytest.importorskip("onnx")
MODELS = Path(__file__).parents[2] / "models"
COMMITTED = sorted(MODELS.glob("*/*/*.onnx"))
RUNTIME = "com.microsoft"


def is_standard(path: Path) -> bool:
    """Whether inlining the functions leaves only operators of the standard."""
    model = onnx.load(path)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return all(node.domain in ("", "f") for node in nodes)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_committed_files_pass_the_full_check(path: Path) -> None:
    onnx.checker.check_model(path.read_bytes(), full_check=True)


@pytest.mark.parametrize("version", [3, 8])
def test_constants_become_initializers_only_where_these_need_not_be_inputs(
    version: int, tmp_path: Path
) -> None:
    constant = onnx.helper.make_node(
        "Constant", [], ["two"], value=onnx.numpy_helper.from_array(np.array([2.0], np.float32))
    )
    add = onnx.helper.make_node("Add", ["x", "two"], ["y"], name="a_long_name_of_a_node")
    infos = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in "xy"]
    graph = onnx.helper.make_graph([constant, add], "graph", infos[:1], infos[1:])
    opsets = [onnx.helper.make_opsetid("", 8)]
    model = onnx.helper.make_model(graph, ir_version=version, opset_imports=opsets)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    result = golf_file(path, path, compare=compare_files)
    assert result.bytes_after < result.bytes_before
    assert not result.refused
    golfed = onnx.load(path)
    onnx.checker.check_model(golfed, full_check=True)
    assert len(golfed.graph.initializer) == (version >= 4)


def test_types_that_only_the_file_tells_stay(tmp_path: Path) -> None:
    """A QLinearConv behind a QLinearAdd: the standard does not know what that gives."""
    helper, uint8, floats = onnx.helper, onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    grid = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *grid], ["q"]),
        helper.make_node("QLinearAdd", ["q", *grid, "q", *grid, *grid], ["sum"], domain=RUNTIME),
        helper.make_node("QLinearConv", ["sum", *grid, "w", *grid, *grid], ["conv"]),
        helper.make_node("DequantizeLinear", ["conv", *grid], ["y"]),
    ]
    arrays = {
        "scale": np.float32(0.5),
        "zero": np.uint8(3),
        "w": np.ones((1, 1, 3, 3), np.uint8),
    }
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", floats, [1, 1, 5, 5])],
        [helper.make_tensor_value_info("y", floats, [1, 1, 3, 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
        value_info=[
            helper.make_tensor_value_info(name, uint8, [1, 1, size, size])
            for name, size in (("q", 5), ("sum", 5), ("conv", 3))
        ],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(RUNTIME, 1)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), path)
    onnx.checker.check_model(path.read_bytes(), full_check=True)
    result = golf_file(path, path, compare=compare_files)
    assert result.verified == ("onnxruntime",)
    golfed = onnx.load(path)
    onnx.checker.check_model(golfed, full_check=True)
    assert len(golfed.graph.value_info) == 1  # of the sum; the others follow


def test_a_result_that_the_checker_refuses_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = tmp_path / "a.onnx", tmp_path / "b.onnx"
    source.write_bytes(onnx_chain(["conv", "relu"]))

    def nameless(data: bytes, keep: Keep, **options: object) -> object:
        golfed = golf_onnx(data, keep)
        root = read_protobuf(golfed.data).root
        broken = root.replace(graph=root.graph.replace(name=None))
        return type(golfed)(write_protobuf(broken), golfed.stages)

    monkeypatch.setattr(import_module("edgegolf.golf.golf"), "golf_onnx", nameless)
    result = golf_file(source, destination)
    assert destination.read_bytes() == source.read_bytes()
    assert all("onnx.checker" in reason for reason in result.refused)
    assert result.refused


BLOCKS = ["relu", "conv", "add"]


def test_functions_are_used_where_they_save_more_than_a_percent() -> None:
    def functions(repetitions: int, weights: int) -> int:
        data = onnx_chain(BLOCKS * repetitions)
        root = read_protobuf(data).root
        ballast = message(
            "TensorProto", name="w", dims=[weights], data_type=3, raw_data=bytes(weights)
        )
        graph = root.graph
        use = node("Cast", ["w"], ["ballast"], to=1)
        graph = graph.replace(initializer=[*graph.initializer, ballast], node=[*graph.node, use])
        golfed = golf_onnx(write_protobuf(root.replace(graph=graph)), Keep())
        return len(read_protobuf(golfed.data).root.functions)

    assert functions(8, 1)
    assert not functions(8, 1_000_000)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_others_read_the_portable_form_of_committed_files(path: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    if path.stat().st_size > 1_000_000 or not is_standard(path):
        pytest.skip("large, or with operators that only onnxruntime has")
    if path.stem == "mixed":
        pytest.skip("OpenVINO has no integers of 2 bits")
    portable = tmp_path / "portable.onnx"
    golf_file(path, portable, portable=True)
    assert is_portable(portable)
    with open_session(path) as session:
        shape = session.inputs[0].example_shape
        image = np.random.default_rng(0).random(shape, dtype=np.float32)
        expected = session.run([image])[0]
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    (found,) = openvino.Core().compile_model(portable, "CPU", exact)(image).values()
    # OpenVINO rounds grids at other places than onnxruntime.
    integers = any(node.op_type == "DequantizeLinear" for node in onnx.load(portable).graph.node)
    np.testing.assert_allclose(found, expected, atol=0.05 if integers else 1e-4)
    if path.stem == "float32":
        np.testing.assert_allclose(in_opencv(portable, image), expected, atol=1e-4)


def in_opencv(path: Path, image: Array) -> Array:
    cv2 = pytest.importorskip("cv2")
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(image)
    outputs: Array = net.forward()
    return outputs


def test_opencv_reads_what_it_read_before(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    source, portable = tmp_path / "a.onnx", tmp_path / "b.onnx"
    chain = read_protobuf(onnx_chain(BLOCKS * 6 + ["pool"], shared=True)).root
    weights = {tensor.name: tensor.dims for tensor in chain.graph.initializer}
    nodes = []
    for each in chain.graph.node:
        if each.op_type == "Conv" and not any(a.name == "kernel_shape" for a in each.attribute):
            shape = weights[each.input[1]][2:]
            kernel = message("AttributeProto", name="kernel_shape", ints=shape, type=7)
            each = each.replace(attribute=[*each.attribute, kernel])
        nodes.append(each)
    data = write_protobuf(chain.replace(graph=chain.graph.replace(node=nodes)))
    source.write_bytes(data)
    with open_session(source) as session:
        image = np.random.default_rng(0).random(session.inputs[0].example_shape, np.float32)
    expected = in_opencv(source, image)
    golf_file(source, portable, portable=True)
    assert portable.stat().st_size < len(data)
    np.testing.assert_allclose(in_opencv(portable, image), expected, atol=1e-5)


def test_the_same_bytes_whatever_the_order_of_hashes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_chain(BLOCKS * 8, shared=True))
    code = (
        "import sys; from edgegolf.golf.golfing import Keep\n"
        "from edgegolf.golf.onnx_golf import golf_onnx\n"
        "sys.stdout.buffer.write(golf_onnx(open(sys.argv[1], 'rb').read(), Keep()).data)"
    )
    results = set()
    for seed in "123":
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-c", code, str(path)]
        results.add(subprocess.run(command, env=environment, stdout=-1, check=True).stdout)
    assert len(results) == 1


def test_the_search_for_repeated_nodes_ends_with_its_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 2))
    nodes, value = [], "input"
    for number in names:
        for half in "ab":
            operator, result = f"{half * 60}{number}", f"v{len(nodes)}"
            nodes.append(message("NodeProto", op_type=operator, input=[value], output=[result]))
            value = result
    chain = read_protobuf(onnx_chain(["relu"])).root
    graph = chain.graph.replace(node=nodes, output=[chain.graph.output[0].replace(name=value)])
    root = chain.replace(graph=graph)
    spent = []
    real = onnx_functions._Budget.spend

    def spend(self: onnx_functions._Budget, amount: int) -> bool:
        granted = real(self, amount)
        spent.append(amount * granted)
        return granted

    monkeypatch.setattr(onnx_functions._Budget, "spend", spend)
    found = []
    for budget in (0, 20_000, 10**9):
        monkeypatch.setattr(onnx_functions, "BUDGET", budget)
        spent.clear()
        found.append(len(onnx_functions.with_functions(root, lambda model: model).functions))
        assert sum(spent) <= budget
    assert found[0] == 0 < found[1] < found[2]


@pytest.mark.parametrize("part", [b"\x0a\x00", b"\x22\x02\x2a\x00", b"\x52\x01x"])
def test_memory_is_bounded_before_it_is_spent(part: bytes) -> None:
    graph = part * (1_000_000 // len(part))
    data = b"\x08\x08" + b"\x3a" + varint(len(graph)) + graph
    tracemalloc.start()
    try:
        golf_onnx(data, Keep())
    except EdgegolfError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50e6 + 20 * len(data)


def test_packed_numbers_take_a_few_times_their_bytes() -> None:
    numbers = message(
        "TensorProto", name="w", dims=[100_000], data_type=7, int64_data=[300] * 100_000
    )
    add = node("Gather", ["w", "x"], ["y"])
    root = read_protobuf(onnx_chain(["relu"])).root
    graph = root.graph.replace(initializer=[numbers], node=[*root.graph.node, add])
    data = write_protobuf(root.replace(graph=graph))
    tracemalloc.start()
    golf_onnx(data, Keep())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25 * len(data)
