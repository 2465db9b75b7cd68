"""Every pass computes what Keras does, on every committed model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from edgegolf.export.model import load_model
from edgegolf.frontends.keras import read_model
from edgegolf.ir import Graph
from edgegolf.ir.interpreter import run
from edgegolf.passes.bias_sharing import share_biases
from edgegolf.passes.dead_pixels import eliminate_dead_pixels
from edgegolf.passes.fusion import fuse_activations
from edgegolf.passes.mirror_pairs import fold_mirror_pairs
from edgegolf.passes.normalization import fold_normalizations
from edgegolf.passes.rerolling import reroll, unroll

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*/*/model.keras"))
PASSES: dict[str, Callable[[Graph], Graph]] = {
    "normalization": fold_normalizations,
    "fusion": fuse_activations,
    "rerolling": reroll,
    "unrolling": lambda graph: unroll(reroll(graph)).graph,
    "dead pixels": lambda graph: eliminate_dead_pixels(graph).graph,
    "bias sharing": lambda graph: share_biases(reroll(graph)),
    "mirror pairs": lambda graph: fold_mirror_pairs(fold_normalizations(graph)),
}


@cache
def known(path: Path) -> tuple[Graph, np.ndarray, np.ndarray]:
    """The graph, an image and what Keras gives for it."""
    model = load_model(path)
    graph = read_model(model)
    shape = (1, *graph.inputs[0].shape[1:])
    images = np.random.default_rng(0).random(shape).astype(np.float32)
    return graph, images, np.asarray(model(images, training=False))


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_keeps_the_function(name: str) -> None:
    assert len(MODELS) > 10
    for path in MODELS:
        graph, images, expected = known(path)
        (found,) = run(PASSES[name](graph), [images])
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=str(path))
