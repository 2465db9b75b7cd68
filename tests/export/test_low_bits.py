from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ir_nets import Builder, outputs, pixels, shared_net

from edgegolf.backends import onnx
from edgegolf.errors import EdgegolfError
from edgegolf.export import low_bits
from edgegolf.export.export import in_file
from edgegolf.export.low_bits import low_bit_drafts, low_bit_tflite
from edgegolf.export.measuring import Draft, outputs_of
from edgegolf.export.model_source import Compiled
from edgegolf.export.samples import Samples
from edgegolf.export.variants import Tuning, one_weight_scale
from edgegolf.frontends.tflite_census import read_tflite_census
from edgegolf.golf.golfing import Keep
from edgegolf.golf.onnx_golf import golf_onnx
from edgegolf.ir import Graph, ops


def tuning_of(graph: Graph, steps: int = 1, suffix: str = ".onnx") -> Tuning:
    samples = Samples((pixels(graph, 400),))
    judge = partial(outputs_of, suffix=suffix, laid_out=in_file(Compiled.as_it_is(graph), suffix))
    return Tuning(samples, samples.take(100), judge, steps=steps)


def error(draft: Draft, graph: Graph, tuning: Tuning) -> float:
    """The relative entropy of a file's probabilities, on samples that it was not trained on."""
    found = tuning.judge(draft.data, Samples((pixels(graph, 600)[400:],)))[0]
    exact = outputs(graph, 600)[400:]
    return float((exact * np.log((exact + 1e-3) / (found + 1e-3))).sum(axis=1).mean())


@pytest.mark.parametrize("packed", [True, False])
def test_training_recovers_what_few_bits_lose(
    packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(low_bits, "STEPS", 150)
    graph = shared_net(iterations=3)
    tuning, untuned = tuning_of(graph), tuning_of(graph, steps=0)
    tuned = next(low_bit_drafts(graph, tuning, (4,), packed))
    rounded = next(low_bit_drafts(graph, untuned, (4,), packed))
    assert error(tuned, graph, tuning) < 0.7 * error(rounded, graph, tuning)


def test_fewer_bits_are_fewer_bytes() -> None:
    graph = shared_net(channels=16)
    tuning = tuning_of(graph, steps=0)
    int8 = onnx.write(one_weight_scale(graph, tuning.calibration.inputs))
    sizes = [
        len(golf_onnx(data, Keep()).data)
        for data in (int8, *(next(low_bit_drafts(graph, tuning, (b,), True)).data for b in (4, 2)))
    ]
    weights = sum(weight.elements for weight in graph.weights)
    assert sizes[0] - sizes[1] > 0.4 * weights
    assert sizes[1] - sizes[2] > 0.2 * weights


def test_more_scales_are_tried_later_as_they_are_more_bytes() -> None:
    graph = shared_net(channels=16)
    tuning = tuning_of(graph, steps=0)
    drafts = list(low_bit_drafts(graph, tuning, (4,), True))
    assert [each.name for each in drafts] == ["one scale", "scale per tensor", "scale per channel"]
    sizes = [len(golf_onnx(draft.data, Keep()).data) for draft in drafts]
    assert sizes == sorted(sizes)


def test_where_bits_are_mixed_fewer_of_them_are_fewer_bytes_and_worse() -> None:
    graph = shared_net(channels=16)
    tuning = tuning_of(graph, steps=0)
    drafts = list(low_bit_drafts(graph, tuning, (4, 2), True))
    matrices = [weight for weight in graph.weights if len(weight.shape) > 1]
    assert len(drafts) == len(matrices)
    sizes = [len(golf_onnx(draft.data, Keep()).data) for draft in drafts]
    assert min(sizes) == sizes[-1] < sizes[0] - 0.1 * sum(weight.elements for weight in matrices)
    errors = [error(draft, graph, tuning) for draft in drafts]
    assert min(errors) == errors[0] < errors[-1]


def test_cheap_layers_have_4_bits_in_tflite_files(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    graph = shared_net(iterations=12, channels=16)
    tuning = tuning_of(graph, 0, ".tflite")
    found = []
    for fast in (False, True):
        path = tmp_path / "int4.tflite"
        path.write_bytes(low_bit_tflite(graph, tuning, fast).data)
        nodes = read_tflite_census(path).nodes
        dtypes = [t.dtype for node in nodes for t in node.inputs if t and t.data is not None]
        found.append((dtypes.count("int4"), dtypes.count("int8")))
    # Stem and head; the stem takes 9 % of the work. The loop's body is a graph of its own.
    assert found == [(2, 0), (1, 1)]


def test_training_recovers_what_4_bits_lose_in_tflite_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(low_bits, "STEPS", 150)
    graph = shared_net(iterations=8, channels=16)
    tuning, untuned = (tuning_of(graph, steps, ".tflite") for steps in (1, 0))
    tuned, rounded = (low_bit_tflite(graph, each) for each in (tuning, untuned))
    assert error(tuned, graph, tuning) < error(rounded, graph, tuning)


def test_what_cannot_be_trained_is_refused() -> None:
    build = Builder(4, 4, 1)
    graph = build.classify(build.apply(ops.Exp(), build.source))
    with pytest.raises(EdgegolfError, match="cannot be trained to 4 bits"):
        next(low_bit_drafts(graph, tuning_of(graph), (4,), True))
    with pytest.raises(EdgegolfError, match="cannot be trained to 4 bits"):
        low_bit_tflite(graph, tuning_of(graph, suffix=".tflite"))


@pytest.mark.parametrize("bits", [(4,), (4, 2)])
def test_what_has_no_weights_is_refused(bits: tuple[int, ...]) -> None:
    build = Builder(4, 4, 1)
    result = build.apply(ops.Exp(), build.source)
    graph = Graph((build.source,), (result,), tuple(build.nodes))
    with pytest.raises(EdgegolfError, match="no layer of it has weights"):
        next(low_bit_drafts(graph, tuning_of(graph), bits, True))
    with pytest.raises(EdgegolfError, match="no layer of it has weights"):
        low_bit_tflite(graph, tuning_of(graph, suffix=".tflite"))
