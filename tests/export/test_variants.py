from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from golf_models import is_portable
from ir_nets import (
    difference_net,
    images,
    mirror_pairs_net,
    outputs,
    pixels,
    plain_net,
    shared_net,
    three_loops,
)

from edgegolf.backends import onnx, tflite
from edgegolf.data import Dataset
from edgegolf.export import variants
from edgegolf.export.export import in_file, simplified
from edgegolf.export.measuring import Task, measure, outputs_of
from edgegolf.export.model import load_model
from edgegolf.export.model_source import Compiled
from edgegolf.export.portable import golfed_drafts
from edgegolf.export.samples import Samples
from edgegolf.export.variants import Tuning, tflite_drafts, write_int8, write_int8_weights
from edgegolf.formats.tflite.model import parse_tflite
from edgegolf.frontends.keras import read_model
from edgegolf.frontends.tflite import read_graph
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.ir import Graph, Node, Tensor, ops
from edgegolf.ir.interpreter import run as interpret
from edgegolf.passes.bias_sharing import share_biases
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.mirror_pairs import fold_mirror_pairs
from edgegolf.passes.normalization import fold_normalizations
from edgegolf.passes.pixel_packing import pack_pixels
from edgegolf.passes.rerolling import reroll, unroll
from edgegolf.quantize.calibration import Scheme, calibrate, ranges
from edgegolf.quantize.quantization import Quantization, quantized, weight_integers
from edgegolf.quantize.scale_search import search_scales
from edgegolf.runtimes import installed_runtimes, open_session
from edgegolf.runtimes.classify import accuracy, scores

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("hasty")]

RUNTIMES = installed_runtimes(Path("any.tflite"))
GRAPHS = {
    "shared": shared_net,
    "three loops": three_loops,
    "plain": plain_net,
    "difference": difference_net,
    "mirror pairs": lambda: fold_mirror_pairs(mirror_pairs_net()),
}

ONE_SCALE = Scheme("leaky", "one", "one")
SHARED = Scheme("leaky", "shared", "channel")
OWN = Scheme("requantize", "own", "channel")


def calibrated(graph: Graph, scheme: Scheme) -> Quantization:
    return calibrate(graph, ranges(graph, [pixels(graph)]), scheme)


def run(data: bytes, graph: Graph, folder: Path, runtime: str | None = None) -> np.ndarray:
    path = folder / "graph.tflite"
    path.write_bytes(data)
    with open_session(path, runtime) as session:
        assert session.inputs[0].shape == graph.inputs[0].shape
        return scores(session, images(graph))


def exact(graph: Graph) -> np.ndarray:
    return outputs(graph, 200)


def agreement(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())


# ---------------------------------------------------------------------------------------- TFLite


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("rolled", [True, False])
def test_float_arithmetic_gives_the_result_of_the_rounded_weights(
    make, runtime, rolled, tmp_path
) -> None:
    graph = fuse_activations(reroll(make()) if rolled else make())
    data = write_int8_weights(graph, calibrated(graph, Scheme("leaky", "own", "channel")))
    found = run(data, graph, tmp_path, runtime)
    assert np.abs(found - exact(graph)).max() < 0.1
    assert agreement(found, exact(graph)) > 0.95


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("scheme", [SHARED, OWN], ids=["leaky", "requantize"])
def test_int8_arithmetic_gives_nearly_the_same_classes(make, runtime, scheme, tmp_path) -> None:
    graph = fuse_activations(reroll(make()))
    data = write_int8(graph, calibrated(graph, scheme))
    assert agreement(run(data, graph, tmp_path, runtime), exact(graph)) > 0.9


@pytest.mark.parametrize("make", [shared_net, three_loops], ids=["shared", "three loops"])
@pytest.mark.parametrize("scheme", [ONE_SCALE, SHARED, OWN], ids=["one", "shared", "own"])
@pytest.mark.parametrize("factor", [None, 2])
def test_the_loop_and_the_unrolled_graph_give_equal_bits(make, scheme, factor, tmp_path) -> None:
    graph = fuse_activations(share_biases(reroll(make())))
    quantization = calibrated(graph, scheme)
    straight = unroll(graph, factor)
    copied = quantization.with_copies(straight.origins)
    for runtime in RUNTIMES:
        np.testing.assert_array_equal(
            run(write_int8(straight.graph, copied), graph, tmp_path, runtime),
            run(write_int8(graph, quantization), graph, tmp_path, runtime),
        )


@pytest.mark.parametrize("make", [shared_net, plain_net], ids=["shared", "plain"])
@pytest.mark.parametrize("scheme", [ONE_SCALE, OWN], ids=["one", "own"])
@pytest.mark.parametrize("factor", [2, 4])
def test_packed_pixels_give_equal_bits(make, scheme, factor, tmp_path) -> None:
    graph = fuse_activations(reroll(make()))
    whole = quantized(graph, calibrated(graph, scheme))
    packed = pack_pixels(whole, factor)
    if packed is None:
        assert (make, factor) == (plain_net, 4)  # 18 columns are not 4 · n
        return
    integers = (images(graph).astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_array_equal(interpret(packed, [integers])[0], interpret(whole, [integers])[0])
    np.testing.assert_array_equal(
        run(tflite.write(packed), graph, tmp_path, "litert-reference"),
        run(tflite.write(whole), graph, tmp_path, "litert-reference"),
    )


def test_a_graph_without_such_a_first_layer_is_not_packed() -> None:
    graph = three_loops()
    (first, *_) = graph.nodes
    assert pack_pixels(Graph(first.outputs, graph.outputs, graph.nodes[1:]), 2) is None


@pytest.mark.parametrize("make", [shared_net, three_loops], ids=["shared", "three loops"])
@pytest.mark.parametrize("write", [write_int8, write_int8_weights])
def test_every_weight_and_bias_exists_once(make, write) -> None:
    graph = fuse_activations(share_biases(reroll(make())))
    quantization = calibrated(graph, ONE_SCALE)
    model = parse_tflite(write(graph, quantization))
    counters_and_crops = (4, 16)  # bytes
    buffers = [bytes(buffer.data) for buffer in model.root.buffers if buffer.data]
    buffers = [buffer for buffer in buffers if len(buffer) not in counters_and_crops]
    assert len(buffers) == len(set(buffers)) <= len(graph.weights)
    for weight, params in quantization.weights.items():
        assert buffers.count(weight_integers(weight, params).tobytes()) == 1


def test_the_loop_makes_the_file_smaller() -> None:
    graph = fuse_activations(share_biases(reroll(shared_net(iterations=8))))
    quantization = calibrated(graph, ONE_SCALE)
    straight = unroll(graph)
    unrolled = write_int8(straight.graph, quantization.with_copies(straight.origins))
    assert len(write_int8(graph, quantization)) < len(unrolled) - 500


def test_the_file_grows_with_depth_neither_rolled_nor_in_its_weights() -> None:
    sizes = []
    for iterations in (4, 8, 16):
        graph = fuse_activations(share_biases(reroll(shared_net(iterations))))
        sizes.append(len(write_int8(graph, calibrated(graph, ONE_SCALE))))
    assert max(sizes) - min(sizes) <= 32  # alignment, and scales that happen to be equal


@pytest.mark.parametrize("iterations", [30, 31])
def test_long_loops_count_right(iterations, tmp_path) -> None:
    graph = fuse_activations(reroll(shared_net(iterations)))
    quantization = calibrated(graph, ONE_SCALE)
    straight = unroll(graph)
    copied = quantization.with_copies(straight.origins)
    for runtime in RUNTIMES:
        np.testing.assert_array_equal(
            run(write_int8(graph, quantization), graph, tmp_path, runtime),
            run(write_int8(straight.graph, copied), graph, tmp_path, runtime),
        )


def test_the_search_finds_scales_at_least_as_good_as_the_first(tmp_path) -> None:
    graph = fuse_activations(reroll(shared_net()))

    def judge(graph: Graph, scales: Quantization) -> list[np.ndarray]:
        return [run(write_int8(graph, scales), graph, tmp_path)]

    found, quantization = search_scales(
        graph, [exact(graph)], lambda each: calibrated(each, ONE_SCALE), judge, (1.0, 2.0)
    )
    np.testing.assert_allclose(exact(found), exact(graph), atol=1e-5)

    def distance(probabilities: np.ndarray) -> float:
        return float(-(exact(graph) * np.log(probabilities + 1 / 512)).sum(axis=1).mean())

    first = judge(graph, calibrated(graph, ONE_SCALE))
    assert distance(*judge(found, quantization)) <= distance(*first)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_folded_graph_is_among_what_may_be_deployed(padding: int) -> None:
    graph = mirror_pairs_net((3, 5, 3), filters=64, padding=padding)
    drafts = tflite_drafts(graph, tuning(graph, pixels(graph), ".tflite"))
    task = Task(("image",), Samples((pixels(graph),), exact(graph).argmax(axis=1)), (exact(graph),))
    found = {(each.name, each.compute): each for each in measure(drafts, ".tflite", task)}
    folded = [each for name, each in found.items() if name[0].startswith("mirror pairs, ")]
    assert {each.compute for each in folded} == {"int8", "int8-weights"}
    for each in folded:
        plain = found[each.name.removeprefix("mirror pairs, "), each.compute]
        assert each.size_bytes < 0.6 * plain.size_bytes
        assert each.accuracy > 0.9


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_every_draft_computes_nearly_the_same(make, tmp_path) -> None:
    graph = make()
    drafts = tflite_drafts(graph, tuning(graph, pixels(graph), ".tflite"))
    assert {draft.compute for draft in drafts} == {"int8", "int8-weights"}
    for draft in drafts:
        assert agreement(run(draft.data, graph, tmp_path), exact(graph)) > 0.9, draft.name


def test_scales_are_searched_for_nets_that_take_numbers_of_words() -> None:
    random = np.random.default_rng(0)
    words = Tensor((1, 6), "int64", name="words")
    table, matrix = (
        Tensor.constant(random.normal(size=shape).astype(np.float32)) for shape in ((9, 4), (3, 24))
    )
    rows, scores = Tensor((1, 6, 4)), Tensor((1, 3))
    nodes = (
        Node(ops.Gather(), (table, words), (rows,)),
        Node(ops.FullyConnected(), (rows, matrix), (scores,)),
    )
    graph = Graph((words,), (scores,), nodes)
    shown = random.integers(0, 9, (20, 6))
    computes = {draft.compute for draft in tflite_drafts(graph, tuning(graph, shown, ".tflite"))}
    assert computes == {"int8", "int8-weights"}


# ------------------------------------------------------------------------------------------ ONNX

FORMS = tuple(variants._ONNX)
INTEGER_FORMS = ("int8 per-tensor", "int8 per-channel")


def tuning(graph: Graph, shown: np.ndarray, suffix: str) -> Tuning:
    samples = Samples((shown,))
    file = in_file(Compiled.as_it_is(graph), suffix)
    judge = partial(outputs_of, suffix=suffix, laid_out=file)
    return Tuning(samples, samples, judge, steps=0)


def onnx_file(
    graph: Graph, shown: np.ndarray, form: str, path: Path, portable: bool = False
) -> None:
    variant = variants._ONNX[form](graph, tuning(graph, shown, ".onnx"))
    if variant is None:
        pytest.skip("no filter serves several layers")
    data = onnx.write(variant)
    path.write_bytes(golf_onnx(data, Keep(portable=portable)).data)


def run_onnx(path: Path, shown: np.ndarray) -> np.ndarray:
    with open_session(path) as session:
        return np.concatenate([session.run([image.transpose(2, 0, 1)[None]])[0] for image in shown])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["shared", "difference", "mirror pairs"])
def test_golfed_onnx_files_compute_what_the_graph_does(
    name: str, form: str, tmp_path: Path
) -> None:
    checker = pytest.importorskip("onnx")
    graph, path = GRAPHS[name](), tmp_path / "int8.onnx"
    onnx_file(graph, pixels(graph), form, path)
    checker.checker.check_model(checker.load(path), full_check=True)
    difference = np.abs(run_onnx(path, pixels(graph, 100)) - outputs(graph, 100))
    limits = {"weight-only, one scale": (0.06, 0.01), "weight-only, scale per tensor": (0.2, 0.02)}
    largest, mean = limits.get(form, (0.4, 0.05))
    assert difference.max() < largest
    assert difference.mean() < mean


@pytest.mark.parametrize("form", [form for form in FORMS if form not in INTEGER_FORMS])
@pytest.mark.parametrize("name", ["shared", "difference", "mirror pairs"])
def test_others_read_the_portable_form(name: str, form: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    graph, path = GRAPHS[name](), tmp_path / "int8.onnx"
    onnx_file(graph, pixels(graph), form, path, portable=True)
    assert is_portable(path)
    options = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    for image in pixels(graph, 5):
        (found,) = compiled(image.transpose(2, 0, 1)[None]).values()
        np.testing.assert_allclose(found, run_onnx(path, image[None]), atol=1e-4)


def test_blocks_become_functions_once_golfed(tmp_path: Path) -> None:
    reader = pytest.importorskip("onnx")
    graph, path = shared_net(), tmp_path / "int8.onnx"
    onnx_file(graph, pixels(graph), "weight-only, one scale", path)
    model = reader.load(path)
    int8 = [t for t in model.graph.initializer if t.data_type == reader.TensorProto.INT8]
    stored = sum(reader.numpy_helper.to_array(tensor).size for tensor in int8)
    assert stored == sum(weight.elements for weight in graph.weights)
    operators = [node.op_type for function in model.functions for node in function.node]
    assert operators.count("Add") == 1
    assert sum(node.op_type == "Add" for node in model.graph.node) <= 1


@pytest.mark.parametrize("net", ["", "fewest_parameters", "tight_resnet_unshared"])
def test_the_portable_form_takes_at_most_a_tenth_more(net: str) -> None:
    """Of a small shared net, and of the committed nets that repeat the most."""
    if net:
        model = load_model(Path(__file__).parents[2] / "models" / "mnist" / net / "model.keras")
        graph = simplified(read_model(model))
        shown = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    else:
        graph = shared_net()
        shown = pixels(graph)

    drafts = variants.onnx_drafts(graph, tuning(graph, shown, ".onnx"))
    files = [draft.data for draft in drafts if draft.compute == "int8-weights"]

    def smallest(portable: bool) -> int:
        return min(len(golf_onnx(data, Keep(portable=portable)).data) for data in files)

    assert smallest(portable=True) <= 1.1 * smallest(portable=False)


def test_a_portable_form_is_never_much_larger_than_what_is_written() -> None:
    graph = shared_net()
    drafts = variants.onnx_drafts(graph, tuning(graph, pixels(graph), ".onnx"))
    weights = next(draft for draft in drafts if draft.compute == "int8-weights")
    integers = next(draft for draft in drafts if draft.compute == "int8")
    assert {draft.compute for draft in golfed_drafts(drafts, portable=False)} == {
        "int8", "int8-weights"
    }  # fmt: skip
    assert golfed_drafts([weights, integers], portable=True) == [
        replace(weights, data=golf_onnx(weights.data, Keep(portable=True)).data)
    ]
    # A larger file as the only one that others read.
    larger = replace(weights, data=onnx.write(shared_net(channels=24)))
    (kept,) = golfed_drafts([larger, integers], portable=False)
    assert (kept.compute, kept.name) == ("int8-weights", larger.name)
    assert 1.1 * len(golf_onnx(integers.data, Keep()).data) < len(kept.data)


def test_a_trained_keras_model_keeps_its_accuracy(
    trained: Path, digits: Dataset, tmp_path: Path
) -> None:
    graph = fold_normalizations(read_model(load_model(trained)))
    train, validation = digits.split("train"), digits.split("validation")
    (found,) = interpret(graph, [validation.images / np.float32(255)])
    expected = np.mean(found.argmax(axis=1) == validation.labels)
    for form in FORMS:
        path = tmp_path / f"{form}.onnx"
        onnx_file(graph, train.images[:200] / np.float32(255), form, path)
        with open_session(path) as session:
            lost = expected - accuracy(session, validation)
        assert lost <= (0.02 if form in INTEGER_FORMS else 0.01), form


def test_powers_of_two_are_all_scales_that_are_asked_for(tmp_path: Path) -> None:
    graph = shared_net()
    asked = replace(tuning(graph, images(graph), ".tflite"), powers_of_two=True)
    for draft in tflite_drafts(graph, asked):
        if draft.compute == "int8":
            (tmp_path / "draft.tflite").write_bytes(draft.data)
            tensors = {t for n in read_graph(tmp_path / "draft.tflite").walk() for t in n.inputs}
            scales = [
                scale
                for tensor in tensors
                if tensor and tensor.quant
                for scale in tensor.quant.scale
            ]
            assert scales
            assert all(np.log2(scale).is_integer() for scale in scales)
