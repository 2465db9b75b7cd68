"""Rewritten files compute the same, are smaller, and are as small as golf can make them."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from golf_models import (
    FLOAT32,
    INT8,
    INT32,
    OPERATORS,
    TfliteBuilder,
    chain,
    initializer,
    loop,
    naive,
    node,
    onnx_chain,
    onnx_model,
    quantization,
    value_info,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.protobuf import message, read_protobuf
from edgegolf.formats.tflite.flatbuffer import Table, read_flatbuffer, table
from edgegolf.formats.tflite.model import write_tflite
from edgegolf.formats.tflite.schema import ENUMERATIONS, FIELDS, TABLES, number
from edgegolf.golf.golf import Comparison, GolfResult, Saving, golf_file
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.golf.tflite_golf import golf_tflite
from edgegolf.records import from_json, to_json
from edgegolf.report.file_tables import golf_table
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.compare import compare_files

CASES = Path(__file__).parent / "cases"

CASES = Path(__file__).parent / "cases"
PROPERTY = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def outputs(path: Path, runtime: str) -> list[list[bytes]]:
    found = []
    with open_session(path, runtime) as session:
        for seed in range(3):
            generator = np.random.default_rng(seed)
            arrays = []
            for info in session.inputs:
                values = generator.normal(0, 40, info.example_shape)
                arrays.append(values.astype(info.dtype))
            found.append([output.tobytes() for output in session.run(arrays)])
    return found


def assert_golfs(data: bytes, suffix: str, folder: Path, **keep: bool) -> bytes:
    """Golf a file; check that it shrinks, computes the same and does not shrink again."""
    source, golfed, again = (folder / f"{name}{suffix}" for name in ("a", "b", "c"))
    source.write_bytes(data)
    result = golf_file(source, golfed, **keep)
    assert result.bytes_before == len(data)
    assert result.bytes_after == golfed.stat().st_size < len(data)
    assert sum(saving.bytes for saving in result.savings) == len(data) - result.bytes_after
    runtimes = installed_runtimes(source)
    assert runtimes
    for runtime in runtimes:
        assert outputs(golfed, runtime) == outputs(source, runtime)
    assert golf_file(golfed, again, **keep).bytes_after == golfed.stat().st_size
    assert again.read_bytes() == golfed.read_bytes()
    return golfed.read_bytes()


@PROPERTY
@given(
    st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=10),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_any_tflite_chain(
    tmp_path: Path, names: list[str], seed: int, int8: bool, shared: bool
) -> None:
    assert_golfs(chain(names, seed, int8, shared), ".tflite", tmp_path)


@PROPERTY
@given(
    st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=12),
    st.integers(0, 3),
    st.booleans(),
)
def test_any_onnx_chain(tmp_path: Path, names: list[str], seed: int, shared: bool) -> None:
    onnx = pytest.importorskip("onnx")
    golfed = assert_golfs(onnx_chain(names, seed, shared), ".onnx", tmp_path)
    onnx.checker.check_model(golfed)


def test_a_shared_weight_net_shrinks_to_a_fraction() -> None:
    blocks = ["relu", "depthwise", "conv", "add"] * 8
    tflite, onnx = chain(blocks, 1, int8=True), onnx_chain(blocks)
    assert len(golf_tflite(tflite, Keep()).data) < 0.4 * len(tflite)
    assert len(golf_onnx(onnx, Keep()).data) < 0.25 * len(onnx)


def test_several_subgraphs(tmp_path: Path) -> None:
    golfed = assert_golfs(loop(), ".tflite", tmp_path)
    assert len(read_flatbuffer(golfed).root.subgraphs) == 3


def test_what_to_keep_is_kept(tmp_path: Path) -> None:
    data = chain(["conv", "relu"])
    bare = read_flatbuffer(assert_golfs(data, ".tflite", tmp_path)).root
    kept = read_flatbuffer(
        assert_golfs(
            data, ".tflite", tmp_path, keep_names=True, keep_metadata=True, keep_signatures=True
        )
    ).root
    assert not bare.signature_defs
    assert not bare.metadata
    assert all(not tensor.name for tensor in bare.subgraphs[0].tensors)
    assert kept.signature_defs[0].inputs[0].name == "image"
    assert kept.buffers[kept.metadata[0].buffer].data.startswith(b"1.14.0")
    assert all(tensor.name for tensor in kept.subgraphs[0].tensors)
    onnx_names = read_protobuf(
        assert_golfs(
            onnx_chain(["conv", "relu"]), ".onnx", tmp_path, keep_names=True, keep_metadata=True
        )
    ).root
    assert onnx_names.producer_name == "a test"
    assert onnx_names.graph.node[0].name.startswith("node/Conv")


def test_names_of_onnx_inputs_and_outputs_always_stay() -> None:
    graph = read_protobuf(golf_onnx(onnx_chain(["conv"]), Keep()).data).root.graph
    assert [info.name for info in graph.input] == ["a/long/name/of/the/input"]
    assert [info.name for info in graph.output] == ["scores"]


def test_signatures_that_reach_other_graphs_stay() -> None:
    root = read_flatbuffer(chain(["relu"])).root
    entry = root.signature_defs[0]
    two = root.replace(
        subgraphs=root.subgraphs * 2,
        signature_defs=[entry, entry.replace(subgraph_index=1, signature_key="other")],
    )
    golfed = read_flatbuffer(golf_tflite(naive(two), Keep()).data).root
    assert [item.signature_key for item in golfed.signature_defs] == ["serving_default", "other"]
    assert [item.subgraph_index for item in golfed.signature_defs] == [0, 1]


def test_metadata_that_changes_execution_stays() -> None:
    root = read_flatbuffer(chain(["relu"])).root
    marked = root.replace(
        buffers=[*root.buffers, table("Buffer", data=b"fp16accfp32")],
        metadata=[
            *root.metadata,
            table("Metadata", name="reduced_precision_support", buffer=len(root.buffers)),
        ],
    )
    golfed = read_flatbuffer(golf_tflite(naive(marked), Keep()).data).root
    (entry,) = golfed.metadata
    assert entry.name == "reduced_precision_support"
    assert golfed.buffers[entry.buffer].data == b"fp16accfp32"


def test_buffers_behind_the_flatbuffer_move_into_it(tmp_path: Path) -> None:
    # Converters store models above 2 GB so; small ones may be stored so too.
    root = read_flatbuffer(chain(["conv", "relu"])).root
    size = len(
        naive(
            root.replace(
                buffers=[
                    table("Buffer", offset=1 << 40, size=len(item.data)) if item.data else item
                    for item in root.buffers
                ]
            )
        )
    )
    tail = b""
    buffers = []
    for item in root.buffers:
        if item.data:
            buffers.append(table("Buffer", offset=size + len(tail), size=len(item.data)))
            tail += item.data + bytes(-len(item.data) % 16)
        else:
            buffers.append(item)
    data = naive(root.replace(buffers=buffers)) + tail
    inline = golf_tflite(naive(root), Keep()).data
    assert golf_tflite(data, Keep()).data == inline
    far = root.replace(buffers=[table("Buffer"), table("Buffer", offset=1 << 31, size=1 << 31)])
    with pytest.raises(EdgegolfError):
        golf_tflite(naive(far), Keep())


def packed(data: bytes) -> bytes:
    """A file with a label list behind it, as TFLite Metadata packs it."""
    archive = io.BytesIO(data)
    with zipfile.ZipFile(archive, "a") as files:
        files.writestr("labels.txt", "cat\ndog\n")
    return archive.getvalue()


def described(data: bytes) -> bytes:
    root = read_flatbuffer(data).root
    buffers = [*root.buffers, table("Buffer", data=b"described here")]
    entry = table("Metadata", name="TFLITE_METADATA", buffer=len(root.buffers))
    return write_tflite(root.replace(buffers=buffers, metadata=[entry]))


def labels(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        assert files.testzip() is None
        return files.read("labels.txt")


def test_files_packed_behind_the_model_are_metadata() -> None:
    data = packed(described(chain(["conv"])))
    assert b"labels.txt" not in golf_tflite(data, Keep()).data
    kept = golf_tflite(data, Keep(metadata=True)).data
    assert len(kept) < len(data)
    assert labels(kept) == b"cat\ndog\n"
    assert golf_tflite(kept, Keep(metadata=True)).data == kept


def test_an_archive_that_no_metadata_describes_is_kept() -> None:
    assert labels(golf_tflite(packed(chain(["conv"])), Keep()).data) == b"cat\ndog\n"


@pytest.mark.parametrize("tail", [b"PK\3\4" + bytes(40) + b"labels.txt", b"\1" * 1000, bytes(64)])
def test_other_bytes_behind_the_model_are_kept(tail: bytes) -> None:
    golfed = golf_tflite(described(chain(["conv"])) + tail, Keep()).data
    assert golfed.endswith(tail)
    assert golf_tflite(golfed, Keep()).data == golfed


def test_bytes_that_a_custom_operator_may_refer_to_are_refused() -> None:
    builder = TfliteBuilder()
    image, out = builder.tensor((1, 4)), builder.tensor((1, 4))
    builder.operator("CUSTOM:Mystery", [image], [out])
    root = builder.model([builder.subgraph([image], [out])])
    operator = root.subgraphs[0].operators[0].replace(custom_options=b"\1\2\3\4")
    data = naive(root.replace(subgraphs=[root.subgraphs[0].replace(operators=[operator])]))
    golf_tflite(data, Keep())
    with pytest.raises(EdgegolfError, match="Mystery"):
        golf_tflite(data + b"\1" * 100, Keep())


def test_programs_for_accelerators_are_kept_and_referred_to() -> None:
    data = (CASES / "npu_precompiled_qualcomm.tflite").read_bytes()
    golfed = golf_tflite(data, Keep()).data
    assert programs_of(golfed) == programs_of(data) != []
    assert golf_tflite(golfed, Keep()).data == golfed


def programs_of(data: bytes) -> list[bytes]:
    """What each DISPATCH_OP points to, by the reader of FlexBuffers that its makers ship."""
    flexbuffers = pytest.importorskip("flatbuffers.flexbuffers")
    found = []
    for subgraph in read_flatbuffer(data).root.subgraphs:
        for operator in subgraph.operators:
            options = flexbuffers.Loads(operator.custom_options)
            start, size = options["bytecode_offset"], options["bytecode_size"]
            found.append(data[start : start + size])
    return found


def test_tensors_that_quantization_names_are_kept_and_renumbered() -> None:
    data = (CASES / "blockwise_quantized.tflite").read_bytes()
    golfed = golf_tflite(data, Keep()).data
    assert len(golfed) < len(data)
    assert blockwise(golfed) == blockwise(data) != []


def blockwise(data: bytes) -> list[object]:
    """The scales' shape, type and content of each tensor that is quantized blockwise."""
    root = read_flatbuffer(data).root
    found: list[object] = []
    for subgraph in root.subgraphs:
        for tensor in subgraph.tensors:
            details = tensor.quantization and tensor.quantization.details
            if details and details.table_name == "BlockwiseQuantization":
                scale = subgraph.tensors[details.scales]
                found.append((scale.shape, scale.type, root.buffers[scale.buffer].data))
    return found


def test_the_slot_that_old_signatures_fill_is_read(tmp_path: Path) -> None:
    data = (CASES / "esp32_hello_world_tf24.tflite").read_bytes()
    assert_golfs(data, ".tflite", tmp_path)


def test_what_no_runtime_compared_is_written_only_on_request(tmp_path: Path) -> None:
    source, target = CASES / "blockwise_quantized.tflite", tmp_path / "out.tflite"

    def nowhere(original: Path, rewritten: Path) -> Comparison:
        return Comparison((), failures=("a runtime: it has no such operator",))

    with pytest.raises(EdgegolfError, match="a runtime: it has no such operator"):
        golf_file(source, target, compare=nowhere)
    assert not target.exists()
    result = golf_file(source, target, compare=nowhere, unverified=True)
    assert target.stat().st_size == result.bytes_after < result.bytes_before
    assert result.unverified == ("a runtime: it has no such operator",)
    assert "it has no such operator" in to_json(result)
    assert "Not verified: a runtime" in golf_table(result).caption


def test_variable_tensors(tmp_path: Path) -> None:
    builder = TfliteBuilder()
    image = builder.tensor((1, 4))
    state = builder.tensor((1, 3), is_variable=True)
    generator = np.random.default_rng(0)
    weights = builder.tensor((3, 4), FLOAT32, generator.normal(size=(3, 4)).astype(np.float32))
    recurrent = builder.tensor((3, 3), FLOAT32, generator.normal(size=(3, 3)).astype(np.float32))
    bias = builder.tensor((3,), FLOAT32, np.ones(3, np.float32))
    out = builder.tensor((1, 3))
    options = table("RNNOptions", fused_activation_function=1)
    builder.operator("RNN", [image, weights, recurrent, bias, state], [out], options)
    data = naive(builder.model([builder.subgraph([image], [out])]))
    golfed = read_flatbuffer(assert_golfs(data, ".tflite", tmp_path)).root
    assert [tensor.is_variable for tensor in golfed.subgraphs[0].tensors].count(True) == 1


def test_sparse_tensors(tmp_path: Path) -> None:
    builder = TfliteBuilder()
    image = builder.tensor((1, 4))
    dense = table("DimensionMetadata", format=0, dense_size=2)
    segments = table("Int32Vector", values=[0, 1, 3])
    sparse = table(
        "DimensionMetadata",
        format=1,
        array_segments=segments,
        array_indices=table("Uint8Vector", values=bytes([2, 0, 3])),
    )
    weights = builder.tensor(
        (2, 4),
        FLOAT32,
        np.array([1, 2, 3], np.float32),
        sparsity=table("SparsityParameters", traversal_order=[0, 1], dim_metadata=[dense, sparse]),
    )
    decoded, out = builder.tensor((2, 4)), builder.tensor((1, 2))
    builder.operator("DENSIFY", [weights], [decoded], table("DensifyOptions"))
    builder.operator("FULLY_CONNECTED", [image, decoded, -1], [out], table("FullyConnectedOptions"))
    data = naive(builder.model([builder.subgraph([image], [out])]))
    golfed = read_flatbuffer(assert_golfs(data, ".tflite", tmp_path)).root
    (tensor,) = [item for item in golfed.subgraphs[0].tensors if item.sparsity]
    assert tensor.sparsity.dim_metadata[1].array_indices.values == b"\x02\x00\x03"


def test_custom_operators_and_strings_keep_their_content() -> None:
    builder = TfliteBuilder()
    text = np.frombuffer(b"\x01\x00\x00\x00\x0c\x00\x00\x00\x0f\x00\x00\x00abc", np.uint8)
    words = builder.tensor((1,), number("TensorType", "STRING"), text)
    out = builder.tensor((1, 1))
    builder.operator("CUSTOM:Mine", [words], [out], custom_options=b"\x01\x02", intermediates=[])
    golfed = read_flatbuffer(
        golf_tflite(naive(builder.model([builder.subgraph([], [out])])), Keep()).data
    ).root
    (operator,) = golfed.subgraphs[0].operators
    assert operator.custom_options == b"\x01\x02"
    assert golfed.operator_codes[operator.opcode_index].custom_code == "Mine"
    constant = golfed.subgraphs[0].tensors[operator.inputs[0]]
    assert golfed.buffers[constant.buffer].data == text.tobytes()


def test_custom_options_behind_the_flatbuffer_move_into_it() -> None:
    builder = TfliteBuilder()
    image, out = builder.tensor((1,)), builder.tensor((1,))
    builder.operator(
        "CUSTOM:Mine",
        [image],
        [out],
        large_custom_options_offset=1 << 20,
        large_custom_options_size=3,
    )
    root = builder.model([builder.subgraph([image], [out])])
    size = len(naive(root))
    builder.operators[0] = builder.operators[0].replace(large_custom_options_offset=size)
    data = naive(builder.model([builder.subgraph([image], [out])])) + b"xyz"
    golfed = read_flatbuffer(golf_tflite(data, Keep()).data).root
    (operator,) = golfed.subgraphs[0].operators
    assert operator.custom_options == b"xyz"
    assert not operator.large_custom_options_offset


def test_zero_biases_of_different_scales_become_one(tmp_path: Path) -> None:
    golfed = assert_golfs(
        chain(["conv", "depthwise"] * 3, 0, int8=True, shared=False), ".tflite", tmp_path
    )
    root = read_flatbuffer(golfed).root
    assert [tensor.type for tensor in root.subgraphs[0].tensors].count(INT32) == 1


def test_options_with_defaults_that_are_not_zero_stay() -> None:
    builder = TfliteBuilder()
    kind = number("TensorType", "INT16")
    image, out = (builder.tensor((1, 4), kind, None, quantization([1 / 32768])) for _ in "ab")
    builder.operator("ADD", [image, image], [out], table("AddOptions", pot_scale_int16=True))
    data = naive(builder.model([builder.subgraph([image], [out])]))
    (operator,) = read_flatbuffer(golf_tflite(data, Keep()).data).root.subgraphs[0].operators
    assert operator.builtin_options is not None


def test_only_the_scale_that_matters_is_shared() -> None:
    """Weights with equal bytes but unequal scales stay two tensors."""
    builder = TfliteBuilder()
    data = np.ones((4, 3, 3, 4), np.int8)
    image, out = (builder.tensor((1, 6, 6, 4), INT8, None, quantization([0.1])) for _ in "ab")
    middle = builder.tensor((1, 6, 6, 4), INT8, None, quantization([0.1]))
    one, two = (
        builder.tensor((4, 3, 3, 4), INT8, data, quantization([scale] * 4))
        for scale in (0.01, 0.02)
    )
    options = table("Conv2DOptions", stride_w=1, stride_h=1)
    builder.operator("CONV_2D", [image, one, -1], [middle], options)
    builder.operator("CONV_2D", [middle, two, -1], [out], options)
    root = read_flatbuffer(
        golf_tflite(naive(builder.model([builder.subgraph([image], [out])])), Keep()).data
    ).root
    graph = root.subgraphs[0]
    first, second = (graph.tensors[operator.inputs[1]] for operator in graph.operators)
    assert first.buffer == second.buffer
    assert first.quantization.scale != second.quantization.scale


def test_onnx_loops_keep_what_their_bodies_use(tmp_path: Path) -> None:
    body = message(
        "GraphProto",
        name="body",
        node=[
            node("Identity", ["keep_going"], ["still_going"]),
            node("Mul", ["carried", "outer_constant"], ["next"]),
        ],
        input=[
            value_info("iteration", (), 7),
            value_info("keep_going", (), 9),
            value_info("carried", (1, 4, 6, 6)),
        ],
        output=[value_info("still_going", (), 9), value_info("next", (1, 4, 6, 6))],
    )
    data = onnx_model(
        [node("Loop", ["trips", "", "image"], ["result"], body=body)],
        [
            initializer("trips", np.array(3, np.int64)),
            initializer("outer_constant", np.full((4, 1, 1), 1.5, np.float32)),
            initializer("never_used", np.ones(100, np.float32)),
        ],
        [value_info("image", (1, 4, 6, 6))],
        [value_info("result", (1, 4, 6, 6))],
    )
    graph = read_protobuf(assert_golfs(data, ".onnx", tmp_path)).root.graph
    assert len(graph.initializer) == 2


def test_weights_in_other_files_are_refused() -> None:
    location = message("StringStringEntryProto", key="location", value="../../weights.bin")
    tensor = initializer("w", np.ones((4, 1, 1), np.float32)).replace(
        raw_data=None, external_data=[location], data_location=1
    )
    image = [value_info("x", (1, 4, 6, 6))]
    data = onnx_model(
        [node("Mul", ["x", "w"], ["y"])], [tensor], image, [value_info("y", (1, 4, 6, 6))]
    )
    with pytest.raises(EdgegolfError, match="another file"):
        golf_onnx(data, Keep())
    root = read_flatbuffer(chain(["conv"])).root
    outside = root.replace(external_buffers=[table("ExternalBuffer", id=1, length=4)])
    with pytest.raises(EdgegolfError, match="another file"):
        golf_tflite(naive(outside), Keep())


def test_a_rewrite_that_differs_is_not_used(tmp_path: Path) -> None:
    source, destination = tmp_path / "a.onnx", tmp_path / "b.onnx"
    source.write_bytes(onnx_chain(["conv", "relu"]))
    result = golf_file(source, destination, compare=lambda *_: Comparison((), "they differ"))
    assert result.bytes_after == result.bytes_before
    assert set(result.refused) == {"they differ"}
    assert destination.read_bytes() == source.read_bytes()


def test_a_damaged_file_leaves_the_destination_alone(tmp_path: Path) -> None:
    source, destination = tmp_path / "a.tflite", tmp_path / "b.tflite"
    source.write_bytes(chain(["conv"])[:500])
    destination.write_bytes(b"precious")
    with pytest.raises(EdgegolfError):
        golf_file(source, destination)
    assert destination.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tflite", "b.tflite"]


def test_a_file_may_replace_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(chain(["conv", "relu"]))
    result = golf_file(path, path)
    assert path.stat().st_size == result.bytes_after < result.bytes_before


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_comparison_in_every_runtime(tmp_path: Path, suffix: str) -> None:
    names = ["conv", "relu", "add"]
    path, other, golfed = (tmp_path / f"{name}{suffix}" for name in "abc")
    path.write_bytes(chain(names, 1) if suffix == ".tflite" else onnx_chain(names, 1))
    other.write_bytes(chain(names, 2) if suffix == ".tflite" else onnx_chain(names, 2))
    result = golf_file(path, golfed, compare=compare_files)
    assert from_json(to_json(result), GolfResult) == result
    assert result.verified == installed_runtimes(path)
    assert not result.refused
    assert compare_files(path, other).difference
    other.write_bytes(path.read_bytes()[:200])
    assert compare_files(path, other).difference


def test_what_no_installed_runtime_runs_is_refused_with_what_each_said(tmp_path: Path) -> None:
    source, target = CASES / "npu_precompiled_qualcomm.tflite", tmp_path / "out.tflite"
    with pytest.raises(EdgegolfError, match=r"litert: .*DISPATCH_OP.*litert-reference: "):
        golf_file(source, target, compare=compare_files)
    assert not target.exists()
    result = golf_file(source, target, compare=compare_files, unverified=True)
    assert result.unverified
    assert not result.verified
    assert programs_of(target.read_bytes()) == programs_of(source.read_bytes())


@pytest.mark.long
@pytest.mark.parametrize("name", ["endless.tflite", "endless_loop.onnx"])
def test_a_loop_without_end_is_ended_and_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("edgegolf.runtimes.child"), "SECONDS", 1.5)
    source, target = tmp_path / name, tmp_path / f"out{Path(name).suffix}"
    endless = CASES / name
    source.write_bytes(endless.read_bytes() if endless.exists() else loop(trips=2**30))
    with pytest.raises(EdgegolfError, match=r"not finished after 3\S* seconds of processor"):
        golf_file(source, target, compare=compare_files)
    assert not target.exists()


@pytest.mark.long
def test_inferring_shapes_without_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("edgegolf.golf.onnx_checks"), "SECONDS", 1.0)
    target = tmp_path / "out.onnx"
    golf_file(CASES / "endless_inference.onnx", target)
    assert target.stat().st_size < 143


def result_of(**changes: object) -> GolfResult:
    result = GolfResult("a", "b", 100, 90, (Saving("names", 10),), ("litert",), ())
    return dataclasses.replace(result, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Bit-identical in litert."),
        ({"verified": (), "unverified": ("x: no",)}, "Not verified: x: no."),
        ({"verified": ()}, "Not compared with the original."),
        ({"verified": (), "bytes_after": 100}, "Nothing to gain: the original, unchanged."),
        ({"refused": ("they differ",)}, "A smaller file was refused: they differ."),
    ],
)
def test_the_table_says_what_is_known(changes: dict[str, object], sentence: str) -> None:
    assert sentence in (golf_table(result_of(**changes)).caption or "").splitlines()


def test_a_cause_that_grows_the_file_has_a_plus() -> None:
    rows = dict(golf_table(result_of(savings=(Saving("buffers", -56), Saving("x", 66)))).rows)
    assert rows["buffers"] == "+56"
    assert rows["x"] == "-66"


def test_metadata_that_is_not_known_keeps_the_numbers() -> None:
    """TFLM's plan of memory has an offset for each tensor, in their order."""
    root = read_flatbuffer(chain(["conv", "relu"], shared=False)).root
    unused = [*root.subgraphs[0].tensors, table("Tensor", name="unused", shape=[7])]
    planned = root.replace(
        subgraphs=[root.subgraphs[0].replace(tensors=unused)],
        metadata=[table("Metadata", name="OfflineMemoryAllocation", buffer=1)],
    )
    golfed = read_flatbuffer(golf_tflite(naive(planned), Keep()).data).root
    assert [item.shape for item in golfed.subgraphs[0].tensors] == [item.shape for item in unused]
    assert [item.buffer for item in golfed.subgraphs[0].tensors] == [item.buffer for item in unused]


def test_deprecated_fields_stay_with_their_record() -> None:
    builder = TfliteBuilder()
    image, out = builder.tensor((1, 2, 2, 1)), builder.tensor((1, 4, 4, 1))
    options = table("ResizeBilinearOptions", new_height=4, new_width=4)
    builder.operator("RESIZE_BILINEAR", [image, -1], [out], options)
    signature = table("SignatureDef", signature_key="method", key="key", outputs=[])
    root = builder.model([builder.subgraph([image], [out])], signature_defs=[signature])
    golfed = read_flatbuffer(golf_tflite(naive(root), Keep(signatures=True)).data).root
    assert golfed.signature_defs[0].key == "key"
    assert golfed.subgraphs[0].operators[0].builtin_options.new_height == 4


@pytest.mark.parametrize(
    ("owner", "field"),
    [
        (name, field.name)
        for name, fields in TABLES.items()
        for field in fields
        if field.refers_to in ("tensor", "subgraph", "operator_code", "buffer") and name != "Model"
    ],
)
def test_an_index_that_leads_nowhere_is_refused(owner: str, field: str) -> None:
    value = [99] if FIELDS[owner][field].is_vector else 99
    bad = table(owner, **{field: value})
    root = read_flatbuffer(chain(["relu"])).root
    graph = root.subgraphs[0]
    (operator,) = graph.operators[:1]
    places = {
        "SubGraph": lambda: root.replace(subgraphs=[graph.replace(**{field: value})]),
        "Operator": lambda: with_operator(operator.replace(**{field: value})),
        "Tensor": lambda: root.replace(subgraphs=[graph.replace(tensors=[*graph.tensors, bad])]),
        "Metadata": lambda: root.replace(metadata=[bad]),
        "SignatureDef": lambda: root.replace(signature_defs=[bad]),
        "TensorMap": lambda: root.replace(signature_defs=[table("SignatureDef", inputs=[bad])]),
    }

    def with_operator(changed: Table) -> Table:
        return root.replace(subgraphs=[graph.replace(operators=[changed])])

    def elsewhere() -> Table:
        if owner in ENUMERATIONS["QuantizationDetails"]:
            quantized = table("Tensor", quantization=table("QuantizationParameters", details=bad))
            return root.replace(subgraphs=[graph.replace(tensors=[*graph.tensors, quantized])])
        second = "_2" if owner in ENUMERATIONS["BuiltinOptions2"] else ""
        return with_operator(operator.replace(**{f"builtin_options{second}": bad}))

    with pytest.raises(EdgegolfError, match="does not exist"):
        golf_tflite(naive(places.get(owner, elsewhere)()), Keep())
