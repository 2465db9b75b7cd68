"""The compiled trainer beside Keras's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgegolf.backends.c.compiling import find_compiler
from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.training import compiled, gradients
from edgegolf.training.compiled import CompiledTrainer, trainer_for
from edgegolf.training.mirror import keep_mirror_pairs
from edgegolf.training.optimizers import Optimizer, Schedule
from edgegolf.training.trainer import Position, Trainer, _compile
from edgegolf.zoo import Recipe, find_recipe, with_epochs
from edgegolf.zoo.recipe import Article, Training

pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.skipif(find_compiler(None) is None, reason="no C compiler here")

TRAINING = Training(epochs=2, learning_rate=0.01, batch_size=32, shift=1)


def small(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(image_shape), layers.Conv2D(4, 4, strides=2, activation="relu"),
            layers.SeparableConv2D(6, 3), layers.ReLU(), layers.GlobalAveragePooling2D(),
            layers.Dense(classes, "softmax"),
        ]
    )  # fmt: skip


def recipe_of(training: Training) -> Recipe:
    return Recipe("small", "", small, training, Article(""), 0)


def ignore(position: Position) -> None:
    pass


@pytest.mark.parametrize(
    "training",
    [
        replace(TRAINING, clip_norm=0.1, label_smoothing=0.1),
        replace(TRAINING, optimizer="sgd", weight_decay=0.1, learning_rate=0.1),
        replace(TRAINING, optimizer="full_matrix_adam", average_share=0),
        replace(TRAINING, mirror_pairs=True, cutmix=0.5, optimizer="sgd"),
    ],
    ids=["adam", "sgd", "full matrix", "mirror"],
)
def test_some_steps_end_where_keras_ends(training: Training) -> None:
    dataset = load_dataset("digits")
    trainers = [kind(recipe_of(training), dataset, 3, 1) for kind in (Trainer, CompiledTrainer)]
    ends = []
    for trainer in trainers:
        losses = trainer._steps(*(part[:6] for part in trainer._batches.epoch(0)))
        with trainer.averaged():
            ends.append((losses, trainer.copy().get_weights()))
    (expected_loss, expected), (loss, found) = ends
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "full_matrix_adam"])
def test_optimizers_are_those_of_keras(optimizer: str) -> None:
    """Through warm-up and decay, with every option, on the same gradients."""
    training = replace(TRAINING, optimizer=optimizer, clip_norm=2.0, weight_decay=0.05, epochs=5)
    steps = 50
    variables = [keras.Variable(np.ones((2, 3)), name="kernel"), keras.Variable([2.0, 3.0])]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    _compile(model, recipe_of(training), steps // training.epochs)
    reference = model.optimizer
    reference.build(variables)
    reference.exclude_from_weight_decay([variables[1]])

    def flat() -> np.ndarray:
        return np.concatenate([np.ravel(np.array(variable)) for variable in variables])

    marks = np.arange(8) < 6
    own = Optimizer(training, Schedule.of(training, steps // training.epochs), flat(), marks)
    random = np.random.default_rng(0)
    mixing = random.normal(size=(8, 8))
    for _ in range(steps):
        gradient = (random.normal(size=8) @ mixing + 0.3).astype(np.float32)
        parts = gradient[:6].reshape(2, 3), gradient[6:]
        reference.apply([keras.ops.convert_to_tensor(part) for part in parts], variables)
        own.apply(gradient)
    np.testing.assert_allclose(own.parameters, flat(), atol=1e-4)
    reference.finalize_variable_values(variables)
    np.testing.assert_allclose(own.average, flat(), atol=1e-4)


def test_it_learns_as_keras_does() -> None:
    def build(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input(image_shape), layers.Conv2D(6, 5, strides=3, activation="relu"),
                layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(classes, "softmax"),
            ]
        )  # fmt: skip

    dataset = load_dataset("digits")
    test = dataset.split("test")
    recipe = replace(recipe_of(replace(TRAINING, epochs=12, learning_rate=0.02)), build=build)
    accuracies = []
    for kind in (Trainer, CompiledTrainer):
        trainer = kind(recipe, dataset, 0, 1)
        for epoch in range(recipe.training.epochs):
            trainer.train_epoch(Position(epoch), ignore)
        with trainer.averaged():
            accuracies.append(trainer.accuracy(test))
            scores = trainer.copy().predict(test.images / 255, verbose=0)
        correct = (scores.argmax(axis=1) == test.labels).mean()
        assert accuracies[-1] == pytest.approx(correct, abs=0.005)
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.04)
    assert accuracies[1] > 0.85


def test_a_restored_trainer_goes_on_like_the_first(tmp_path: Path) -> None:
    recipe = recipe_of(replace(TRAINING, optimizer="full_matrix_adam"))
    first, second = (CompiledTrainer(recipe, load_dataset("digits"), 1, 1) for _ in range(2))
    end = first.train_epoch(Position(0), ignore)
    first.save(tmp_path / "state.npz", Position(end.epoch + 1))
    assert second.restore(tmp_path / "state.npz") == Position(1)
    for trainer in (first, second):
        trainer.train_epoch(Position(1), ignore)
    for one, two in zip(first._state(), second._state(), strict=True):
        np.testing.assert_array_equal(one, two)
    other = replace(recipe, training=TRAINING)
    with pytest.raises(EdgegolfError, match="cannot be read"):
        CompiledTrainer(other, load_dataset("digits"), 1, 1).restore(tmp_path / "state.npz")


def test_twins_stay_twins() -> None:
    recipe = recipe_of(replace(TRAINING, mirror_pairs=True))
    trainer = CompiledTrainer(recipe, load_dataset("digits"), 1, 1)
    trainer.train_epoch(Position(0), ignore)
    model = trainer.copy()
    before = model.get_weights()
    model.compile("sgd")
    keep_mirror_pairs(model)
    for own, mean in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(own, mean, atol=1e-6)


def test_keras_trains_what_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset("digits")
    assert trainer_for(recipe_of(TRAINING), dataset, 0, 1).kind == "compiled"
    assert trainer_for(with_epochs(find_recipe("cnn:32"), 1), dataset, 0, 1).kind == "keras"
    assert (
        trainer_for(recipe_of(replace(TRAINING, optimizer="muon")), dataset, 0, 1).kind == "keras"
    )
    assert trainer_for(find_recipe("pooled_linear"), dataset, 0, 1).kind == "keras"
    monkeypatch.setattr("edgegolf.training.gradients.find_compiler", lambda _: None)
    gradients._compiled.cache_clear()
    assert compiled.trainer_for(recipe_of(TRAINING), dataset, 0, 1).kind == "keras"


def test_small_numbers_stay_what_they_are() -> None:
    """A library linked with -ffast-math would make zeros of them, everywhere in the process."""
    CompiledTrainer(recipe_of(TRAINING), load_dataset("digits"), 0, 1)
    assert np.float64(2.0**-1074) * np.ones(1) > 0
