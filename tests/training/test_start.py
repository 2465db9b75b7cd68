"""Nets that begin with the weights of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegolf.cards import read_card
from edgegolf.errors import EdgegolfError
from edgegolf.training import train_nets
from edgegolf.training.start import started
from edgegolf.workspace import model_folder
from edgegolf.zoo import find_recipe, with_start

pytest.importorskip("tensorflow")

IMAGES = (28, 28, 1)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_half_as_many_steps_are_twice_as_long() -> None:
    net = find_recipe("tight_resnet:iterations=4,channels=3")
    other = find_recipe("tight_resnet:channels=3").build(IMAGES, 10)
    other.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in other.weights])
    folder = model_folder("mnist", "tight_resnet:channels=3")
    folder.mkdir(parents=True)
    other.save(folder / "model.keras")
    model = started(net.build(IMAGES, 10), with_start(net, "tight_resnet:channels=3"), "mnist")
    for before, after in zip(other.weights, model.weights, strict=True):
        step = before.path.split("/")[-2:]
        factor = 2 if step in (["separable", "pointwise_kernel"], ["separable", "bias"]) else 1
        np.testing.assert_array_equal(after, factor * before.numpy(), err_msg=before.path)
    wide = find_recipe("tight_resnet:channels=4")
    with pytest.raises(EdgegolfError, match="other weights"):
        started(wide.build(IMAGES, 10), with_start(wide, "tight_resnet:channels=3"), "mnist")


@pytest.mark.long
def test_a_net_that_starts_from_another_knows_what_that_knew() -> None:
    def train(epochs: int, start: str | None = None) -> Path:
        (found,) = train_nets(
            ["double_cnn:2"], "digits", [0], epochs, None, 1, False, False, lambda *_: None, start
        )
        return found.folder

    with pytest.raises(EdgegolfError, match="is not trained"):
        train(1, "double_cnn:2")
    first = train(12)
    again = train(1, "double_cnn:2")
    assert again != first  # the net that is there stays
    cards = read_card(first), read_card(again)
    assert cards[0] is not None
    assert cards[1] is not None
    assert cards[1].recipe["start"] == "double_cnn:2"
    assert cards[1].seeds[0].validation_accuracy > 0.8 * cards[0].seeds[0].validation_accuracy
