"""The compiled steps against Keras's own training loop, and the states of a trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.training import trainer as module
from edgegolf.training.trainer import Trainer
from edgegolf.zoo import Recipe, find_recipe, with_epochs

pytest.importorskip("tensorflow")


def trainer_of(recipe: Recipe, seed: int = 3) -> Trainer:
    return Trainer(recipe, load_dataset("digits"), seed, threads=1)


def ignore(steps: int) -> None:
    pass


@pytest.mark.parametrize("net", ["pooled_mlp:8", "random_cnn"])  # through XLA, and not
def test_compiled_steps_end_where_keras_ends(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = with_epochs(find_recipe(net), 3)
    ours = trainer_of(recipe)
    losses = [ours.train_epoch(epoch, ignore) for epoch in range(3)]
    monkeypatch.setattr(module, "_compiled_steps", module._steps_of_keras)
    reference = trainer_of(recipe)
    assert losses == pytest.approx(
        [reference.train_epoch(epoch, ignore) for epoch in range(3)], rel=1e-3
    )
    assert losses[-1] < losses[0]
    for found, expected in zip(
        ours.model.get_weights(), reference.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=2e-3)
    split = load_dataset("digits").split("validation")
    with ours.averaged(), reference.averaged():
        # One image in 180: rounding may turn a tie.
        assert ours.accuracy(split) == pytest.approx(reference.accuracy(split), abs=0.012)


def test_a_restored_trainer_goes_on_like_the_first(tmp_path: Path) -> None:
    recipe = with_epochs(find_recipe("double_cnn:1"), 4)
    first = trainer_of(recipe)
    first.train_epoch(0, ignore)
    first.save(tmp_path / "state.npz", 1)
    first.train_epoch(1, ignore)
    second = trainer_of(recipe, seed=3)
    assert second.restore(tmp_path / "state.npz") == 1
    second.train_epoch(1, ignore)
    with first.averaged(), second.averaged():
        for one, other in zip(first.copy().get_weights(), second.copy().get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_average_replaces_the_weights_and_gives_them_back() -> None:
    """The running average from its definition, by hand."""
    recipe = with_epochs(find_recipe("pooled_linear"), 2)
    recipe = replace(recipe, training=replace(recipe.training, average_share=0.5))
    trainer = trainer_of(recipe)
    weights = []
    steps = trainer._steps

    def one_by_one(images: np.ndarray, labels: np.ndarray) -> float:
        total = 0.0
        for index in range(len(images)):
            total += steps(images[index : index + 1], labels[index : index + 1])
            weights.append(trainer.model.get_weights())
        return total

    trainer._steps = one_by_one
    trainer.train_epoch(0, ignore)
    momentum = 1 - 1 / max(2.0, 0.5 * 2 * trainer.steps_per_epoch)
    average = weights[0]
    for later in weights[1:]:
        pairs = zip(average, later, strict=True)
        average = [momentum * old + (1 - momentum) * new for old, new in pairs]
    with trainer.averaged():
        for found, expected in zip(trainer.model.get_weights(), average, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)
    for found, expected in zip(trainer.model.get_weights(), weights[-1], strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04 and nothing"])
def test_a_damaged_state_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(EdgegolfError, match=r"state\.npz cannot be read"):
        trainer_of(find_recipe("pooled_linear")).restore(path)


def test_a_state_of_another_net_is_refused(tmp_path: Path) -> None:
    trainer_of(find_recipe("pooled_linear")).save(tmp_path / "state.npz", 0)
    with pytest.raises(EdgegolfError, match=r"state\.npz cannot be read"):
        trainer_of(find_recipe("linear")).restore(tmp_path / "state.npz")


def test_divergence_is_an_error() -> None:
    recipe = find_recipe("pooled_linear")
    broken = replace(recipe, training=replace(recipe.training, learning_rate=float("inf")))
    with pytest.raises(EdgegolfError, match="pooled_linear with seed 3 diverged in epoch 1"):
        trainer_of(broken).train_epoch(0, ignore)
