"""Tensors in another order: what names them follows, and their lists repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegolf.backends import tflite
from edgegolf.formats.tflite.flatbuffer import Table, table, walk
from edgegolf.formats.tflite.model import read_tflite, references
from edgegolf.frontends.tflite import read_graph
from edgegolf.golf import tflite_numbers
from edgegolf.golf.golf import golf_file
from edgegolf.golf.tflite_numbers import renumber_tensors
from edgegolf.runtimes import open_session

TIGHT = Path(__file__).parents[2] / "models" / "mnist" / "tight_resnet" / "int8.tflite"


@pytest.fixture
def named() -> Table:
    """A net with a loop, its tensors named apart, with a signature and one in blocks."""
    root = read_tflite(TIGHT).root
    # Quantization names tensors, too: those of its scales.
    subgraphs = []
    for g, each in enumerate(root.subgraphs):
        last = len(each.tensors) - 1
        details = table("BlockwiseQuantization", scales=last, zero_points=1)
        blockwise = table("QuantizationParameters", details=details)
        first, *others = (t.replace(name=f"{n} of {g}") for n, t in enumerate(each.tensors))
        subgraphs.append(each.replace(tensors=[first.replace(quantization=blockwise), *others]))
    entries = [table("TensorMap", name="a", tensor_index=3)]
    signature = table("SignatureDef", inputs=entries, outputs=entries, subgraph_index=1)
    return root.replace(subgraphs=subgraphs, signature_defs=[signature])


def wiring(root: Table) -> list[list[str]]:
    """The names of the tensors that each field of each table refers to."""
    found = []
    for graph in root.subgraphs:
        names = [tensor.name for tensor in graph.tensors] + ["none"]
        for each in (graph.replace(tensors=None), *sorted(graph.tensors, key=lambda t: t.name)):
            for node in walk(each):
                for field in references(node, "tensor"):
                    value = getattr(node, field.name)
                    found.append([names[n] for n in (value if field.is_vector else (value,))])
    for signature in root.signature_defs:
        tensors = root.subgraphs[signature.subgraph_index].tensors
        found.append(
            [tensors[e.tensor_index].name for e in (*signature.inputs, *signature.outputs)]
        )
    return found


def test_everything_that_names_a_tensor_follows_it(named: Table) -> None:
    renumbered = renumber_tensors(named)
    assert wiring(renumbered) == wiring(named)
    shuffled = [[t.name for t in graph.tensors] for graph in renumbered.subgraphs]
    assert shuffled != [[t.name for t in graph.tensors] for graph in named.subgraphs]


def test_the_gain_is_a_cause_and_the_bits_stay(tmp_path: Path) -> None:
    plain, golfed = tmp_path / "plain.tflite", tmp_path / "golfed.tflite"
    plain.write_bytes(tflite.write(read_graph(TIGHT)))
    result = golf_file(plain, golfed)
    savings = {saving.cause: saving.bytes for saving in result.savings}
    assert savings["tensor numbers"] >= 60
    assert golfed.stat().st_size <= TIGHT.stat().st_size
    found = []
    for path in (plain, golfed):
        with open_session(path, "litert") as session:
            (info,) = session.inputs
            pixels = np.random.default_rng(0).integers(-128, 128, info.example_shape)
            found.append(session.run([pixels.astype(info.dtype)])[0].tobytes())
    assert found[0] == found[1]


def test_too_many_tensors_stay_in_order(named: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite_numbers, "MAXIMUM_EXCHANGES", 100)
    assert renumber_tensors(named) is named
