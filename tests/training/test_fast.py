"""The compiled epoch loop against the trainer of `edgegolf train`, through Keras's own fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.training import Job
from edgegolf.training.batches import Batches
from edgegolf.training.fast import train_fast
from edgegolf.training.worker import train
from edgegolf.zoo import find_recipe, with_epochs

pytest.importorskip("tensorflow")


@pytest.mark.parametrize("net", ["pooled_mlp:8", "random_cnn"])  # through XLA, and not
def test_fast_training_ends_where_training_ends(
    tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Keras looks at the first batch before it trains, which uses up the order of epoch 0.
    whole_epoch = Batches.whole_epoch
    monkeypatch.setattr(Batches, "whole_epoch", lambda self, epoch: whole_epoch(self, epoch + 1))
    run = train(Job(net, "digits", 3, 4, tmp_path / "run"), 1, lambda progress: None)
    recipe = with_epochs(find_recipe(net), 4)
    outcome = train_fast(recipe, load_dataset("digits"), 3, 1)
    assert outcome.losses == pytest.approx([epoch.loss for epoch in run.epochs], rel=1e-3)
    # One image in 180: rounding may turn a tie.
    assert outcome.validation_accuracy == pytest.approx(run.validation_accuracy, abs=0.012)
    assert outcome.test_accuracy == pytest.approx(run.test_accuracy, abs=0.012)
    assert outcome.parameters == recipe.parameters
    assert outcome.losses[-1] < outcome.losses[0]


def test_divergence_is_an_error() -> None:
    recipe = with_epochs(find_recipe("pooled_linear"), 2)
    broken = replace(recipe, training=replace(recipe.training, learning_rate=float("inf")))
    with pytest.raises(EdgegolfError, match="pooled_linear diverged with seed 0"):
        train_fast(broken, load_dataset("digits"), 0, 1)
