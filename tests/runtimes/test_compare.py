"""Inputs of every type that a runtime takes are made and compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import onnx_model

from edgegolf.formats.tflite.flatbuffer import read_flatbuffer, table, write_flatbuffer
from edgegolf.formats.tflite.schema import number
from edgegolf.runtimes.compare import compare_files, run_digests

ONNX_TYPES = ("STRING", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT16", "BOOL", "INT64")


def onnx_identity(path: Path, kind: object, node: str = "Identity", out: object = None) -> Path:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    inputs = ["x", "scale"] if node == "DequantizeLinear" else ["x"]
    graph = helper.make_graph(
        [helper.make_node(node, inputs, ["y"])],
        "g",
        [helper.make_value_info("x", kind)],
        [helper.make_value_info("y", out or kind)],
        [helper.make_tensor("scale", 1, [], [0.5])] if len(inputs) > 1 else [],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("name", ONNX_TYPES)
def test_onnx_tensors_of_any_type(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx")
    kind = onnx.helper.make_tensor_type_proto(getattr(onnx.TensorProto, name), [None, 4])
    found = run_digests(onnx_identity(tmp_path / "a.onnx", kind), "onnxruntime")
    # Zeros, ones, the lowest, the highest and random ones give outputs of their own.
    assert len(set(found)) >= len(found) // 4
    assert not any("failed" in digest for item in found for digest in item)


def test_onnx_outputs_whose_shape_depends_on_the_values(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    kinds = (onnx.helper.make_tensor_type_proto(kind, None) for kind in (1, 7))
    kind, out = kinds
    kind.tensor_type.shape.dim.add().dim_value = 4
    found = run_digests(onnx_identity(tmp_path / "a.onnx", kind, "NonZero", out), "onnxruntime")
    assert len(set(found)) > 1
    assert not any("failed" in digest for item in found for digest in item)


def test_sizes_stay_small(tmp_path: Path) -> None:
    """An output of as many elements as the highest number would take all memory."""
    onnx = pytest.importorskip("onnx")
    kinds = (onnx.helper.make_tensor_type_proto(kind, []) for kind in (7, 1))
    size, out = kinds
    found = run_digests(onnx_identity(tmp_path / "a.onnx", size, "HannWindow", out), "onnxruntime")
    assert len(set(found)) > 1


def test_sizes_stay_small_together(tmp_path: Path) -> None:
    """Each of four axes wider by its two numbers: their product is what takes memory."""
    pytest.importorskip("onnxruntime")
    path = onnx_model(
        tmp_path / "a.onnx",
        [("Pad", ["x", "pads"], ["y"])],
        {"x": ("FLOAT", (1, 3, 4, 5)), "pads": ("INT64", (8,))},
        {"y": ("FLOAT", (None, None, None, None))},
    )
    found = run_digests(path, "onnxruntime")
    assert len(set(found)) > 1


@pytest.mark.parametrize("name", ["INT4", "UINT4"])
def test_onnx_tensors_of_four_bits(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx")
    kind = onnx.helper.make_tensor_type_proto(getattr(onnx.TensorProto, name), [1, 4])
    out = onnx.helper.make_tensor_type_proto(1, [1, 4])
    path = onnx_identity(tmp_path / "a.onnx", kind, "DequantizeLinear", out)
    assert len(set(run_digests(path, "onnxruntime"))) > 6


@pytest.mark.parametrize("element", ["FLOAT", "STRING"])
@pytest.mark.parametrize("kind", ["sequence", "optional", "optional sequence"])
def test_onnx_sequences_and_optional_values(tmp_path: Path, element: str, kind: str) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    found = helper.make_tensor_type_proto(getattr(onnx.TensorProto, element), [None, 2])
    if "sequence" in kind:
        found = helper.make_sequence_type_proto(found)
    if "optional" in kind:
        found = helper.make_optional_type_proto(found)
    digests = run_digests(onnx_identity(tmp_path / "a.onnx", found), "onnxruntime")
    assert len(set(digests)) > len(digests) // 2


TFLITE_TYPES = (
    "STRING COMPLEX64 COMPLEX128 INT4 UINT4 FLOAT8_E4M3FN FLOAT8_E5M2 FLOAT16 UINT64 BOOL"
)


@pytest.mark.parametrize("name", TFLITE_TYPES.split())
def test_tflite_tensors_of_any_type(tmp_path: Path, name: str) -> None:
    pytest.importorskip("ai_edge_litert")
    tensor = table("Tensor", shape=[1, 4], type=number("TensorType", name), name="x")
    graph = table("SubGraph", tensors=[tensor], inputs=[0], outputs=[0], operators=[])
    path = tmp_path / "a.tflite"
    path.write_bytes(
        write_flatbuffer(table("Model", version=3, subgraphs=[graph], buffers=[table("Buffer")]))
    )
    assert len(set(run_digests(path, "litert"))) > 2


def test_functions_of_all_signatures_are_compared(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    paths = [tmp_path / "a.tflite", tmp_path / "b.tflite"]
    for path, operator in zip(paths, ("ADD", "MUL"), strict=True):
        path.write_bytes(two_functions(operator))
    assert "differ" in compare_files(*paths).difference
    assert compare_files(paths[0], paths[0]).runtimes


def two_functions(second: str) -> bytes:
    """A model whose main graph adds and whose second one does what is asked."""
    tensors = [table("Tensor", shape=[3], name=name) for name in "xy"]
    graphs, codes, signatures = [], [], []
    for index, name in enumerate(("ADD", second)):
        code = number("BuiltinOperator", name)
        codes.append(table("OperatorCode", deprecated_builtin_code=code, builtin_code=code))
        options = table(f"{name.capitalize()}Options")
        operator = table(
            "Operator", opcode_index=index, inputs=[0, 0], outputs=[1], builtin_options=options
        )
        graphs.append(
            table("SubGraph", tensors=tensors, inputs=[0], outputs=[1], operators=[operator])
        )
        signatures.append(
            table(
                "SignatureDef",
                signature_key=f"function_{index}",
                subgraph_index=index,
                inputs=[table("TensorMap", name="x", tensor_index=0)],
                outputs=[table("TensorMap", name="y", tensor_index=1)],
            )
        )
    root = table(
        "Model",
        version=3,
        operator_codes=codes,
        subgraphs=graphs,
        buffers=[table("Buffer")],
        signature_defs=signatures,
    )
    data = write_flatbuffer(root, share=False)
    assert len(read_flatbuffer(data).root.signature_defs) == 2
    return data


def test_inputs_for_which_there_is_no_output_are_one_failure_of_many(tmp_path: Path) -> None:
    """LiteRT has no outputs of TOPK_V2 for the highest number of elements."""
    pytest.importorskip("ai_edge_litert")
    int32, code = number("TensorType", "INT32"), number("BuiltinOperator", "TOPK_V2")
    tensors = [
        table("Tensor", shape=[5], name="x"),
        table("Tensor", type=int32, name="k"),
        table("Tensor", shape=[1], name="values"),
        table("Tensor", shape=[1], type=int32, name="indices"),
    ]
    operator = table("Operator", inputs=[0, 1], outputs=[2, 3])
    graph = table("SubGraph", tensors=tensors, inputs=[0, 1], outputs=[2, 3], operators=[operator])
    codes = [table("OperatorCode", deprecated_builtin_code=code, builtin_code=code)]
    root = table(
        "Model", version=3, subgraphs=[graph], operator_codes=codes, buffers=[table("Buffer")]
    )
    path = tmp_path / "a.tflite"
    path.write_bytes(write_flatbuffer(root))
    found = run_digests(path, "litert")
    assert ("failed: ",) in found
    assert len(set(found)) > 3
