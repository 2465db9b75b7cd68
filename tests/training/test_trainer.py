"""The compiled steps against Keras's own training loop, and the states of a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.training import trainer as module
from edgegolf.training.trainer import Position, Trainer
from edgegolf.zoo import Recipe, find_recipe, with_epochs
from edgegolf.zoo.recipe import FLOAT32, MIXED_BFLOAT16

pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")


def trainer_of(recipe: Recipe, seed: int = 3) -> Trainer:
    return Trainer(recipe, load_dataset("digits"), seed, threads=1)


def ignore(position: Position) -> None:
    pass


def small(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """All that a trainer treats in a way of its own, in a net that compiles within a second."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(6, 5, strides=3), layers.BatchNormalization(), layers.ReLU(),
            layers.Conv2D(8, 3, strides=2), layers.BatchNormalization(), layers.ReLU(),
            layers.Flatten(), layers.Dropout(0.5), layers.Dense(classes, "softmax"),
        ]
    )  # fmt: skip


def small_recipe(net: str, epochs: int) -> Recipe:
    """How a net of the zoo is trained, but for the small one, which has no mirror pairs."""
    recipe = with_epochs(find_recipe(net), epochs)
    return replace(recipe, build=small, training=replace(recipe.training, mirror_pairs=False))


@pytest.mark.parametrize(
    ("net", "cutmix"), [("pooled_mlp:8", 0), ("random_cnn", 0), ("random_cnn", 0.5)]
)  # through XLA, and not, and with targets that are shares
def test_compiled_steps_end_where_keras_ends(
    net: str, cutmix: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = with_epochs(find_recipe(net), 3)
    recipe = replace(recipe, training=replace(recipe.training, cutmix=cutmix))
    ours = trainer_of(recipe)
    losses = [ours.train_epoch(Position(epoch), ignore).mean_loss for epoch in range(3)]
    monkeypatch.setattr(module, "_compiled_steps", module._steps_of_keras)
    reference = trainer_of(recipe)
    assert losses == pytest.approx(
        [reference.train_epoch(Position(epoch), ignore).mean_loss for epoch in range(3)], rel=1e-3
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


def test_a_second_trainer_in_a_process_is_the_same_to_the_name() -> None:
    recipe = with_epochs(find_recipe("tight_resnet"), 1)
    first, second = trainer_of(recipe).copy(), trainer_of(recipe).copy()
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("net", "dropout_share"), [("cnn:16", 0.3), ("loop_resnet:8", 1.0)])
def test_a_restored_trainer_goes_on_like_the_first(
    tmp_path: Path, net: str, dropout_share: float
) -> None:
    """From the middle of an epoch, with the dropout and the statistics that it has there."""
    recipe = small_recipe(net, 3)
    recipe = replace(recipe, training=replace(recipe.training, dropout_share=dropout_share))
    first = trainer_of(recipe)
    first.train_epoch(Position(0), ignore)
    path = tmp_path / "state.npz"

    def save_once(position: Position) -> None:
        if not path.exists():
            first.save(path, position)

    end = first.train_epoch(Position(1), save_once)
    second = trainer_of(recipe, seed=3)
    middle = second.restore(path)
    assert (middle.epoch, middle.batches > 0, middle.batches < end.batches) == (1, True, True)
    assert second.train_epoch(middle, ignore).loss == end.loss
    with first.averaged(), second.averaged():
        for one, other in zip(first.copy().get_weights(), second.copy().get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("steps", ["_compiled_steps", "_steps_of_keras"])
def test_dropout_ends_after_its_share_of_the_epochs(
    steps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From there on, a net trains as one that never had any."""
    monkeypatch.setattr(module, "_compiled_steps", getattr(module, steps))
    plain = small_recipe("cnn:16", 2)
    recipe = replace(plain, training=replace(plain.training, dropout_share=0.5))
    net, reference = trainer_of(recipe), trainer_of(replace(recipe, build=without_dropout(recipe)))
    loss = net.train_epoch(Position(0), ignore).mean_loss
    assert loss > reference.train_epoch(Position(0), ignore).mean_loss + 0.01
    for one, other in (
        (reference.model.weights, net.model.weights),
        (reference.model.optimizer.variables, net.model.optimizer.variables),
    ):
        for variable, value in zip(one, other, strict=True):
            variable.assign(value)
    loss = net.train_epoch(Position(1), ignore).mean_loss
    assert loss == pytest.approx(reference.train_epoch(Position(1), ignore).mean_loss, rel=1e-5)


@pytest.mark.parametrize("steps", ["_compiled_steps", "_steps_of_keras"])
def test_mirror_pairs_are_kept(steps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_compiled_steps", getattr(module, steps))

    def build(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input(image_shape),
                layers.Conv2D(4, 7), layers.BatchNormalization(), layers.ReLU(),
                layers.Conv2D(6, 22), layers.Flatten(), layers.Dense(classes, "softmax"),
            ]
        )  # fmt: skip

    recipe = with_epochs(find_recipe("cnn:16"), 1)
    trainer = trainer_of(
        replace(recipe, build=build, training=replace(recipe.training, mirror_pairs=True))
    )
    before = trainer.model.get_weights()[0]
    trainer.train_epoch(Position(0), ignore)
    kernel = trainer.model.get_weights()[0]
    assert np.abs(kernel - before).max() > 1e-3
    np.testing.assert_allclose(kernel[..., 2:], kernel[:, ::-1, :, :2], atol=1e-5)
    images = load_dataset("digits").split("validation").images[:50].astype("float32") / 255
    with trainer.averaged():  # with the statistics that it is used with
        scores, mirrored = (trainer.model.predict(each) for each in (images, images[:, :, ::-1]))
    assert scores.std() > 0.01
    np.testing.assert_allclose(scores, mirrored, atol=1e-4)


def without_dropout(recipe: Recipe) -> Callable[[tuple[int, int, int], int], keras.Model]:
    def build(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
        model = recipe.build(image_shape, classes)
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0
        return model

    return build


def test_sgd_decay_and_smoothing_are_those_of_their_definitions() -> None:
    """Softmax regression by hand: gradients, Nesterov's momentum, and decay of the kernel only."""
    recipe = with_epochs(find_recipe("pooled_linear"), 2)
    training = replace(
        recipe.training,
        optimizer="sgd",
        learning_rate=0.5,
        label_smoothing=0.2,
        weight_decay=0.3,
        average_share=0,
    )
    trainer = trainer_of(replace(recipe, training=training))
    kernel, bias = map(np.array, trainer.model.get_weights())
    momenta = [np.zeros_like(kernel), np.zeros_like(bias)]
    images, labels = trainer._batches.epoch(0)
    rates = [float(trainer.model.optimizer._learning_rate(step)) for step in range(len(images))]
    assert max(rates) == pytest.approx(0.5, rel=0.02)
    trainer.train_epoch(Position(0), ignore)
    for batch, classes, rate in zip(images, labels, rates, strict=True):
        pooled = batch[..., 0].reshape(-1, 7, 4, 7, 4).max((2, 4)).reshape(len(batch), 49) / 255
        scores = np.exp(pooled @ kernel + bias)
        targets = 0.8 * np.eye(10)[classes] + 0.02
        errors = (scores / scores.sum(1, keepdims=True) - targets) / len(batch)
        kernel = kernel * (1 - 0.3 * rate)
        gradients = [pooled.T @ errors, errors.sum(0)]
        momenta = [0.9 * old - rate * new for old, new in zip(momenta, gradients, strict=True)]
        steps = [0.9 * old - rate * new for old, new in zip(momenta, gradients, strict=True)]
        kernel, bias = kernel + steps[0], bias + steps[1]
    found = trainer.model.get_weights()
    np.testing.assert_allclose(found[0], kernel, atol=1e-4)
    np.testing.assert_allclose(found[1], bias, atol=1e-4)


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
    trainer.train_epoch(Position(0), ignore)
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
    trainer_of(find_recipe("pooled_linear")).save(tmp_path / "state.npz", Position(0))
    with pytest.raises(EdgegolfError, match=r"state\.npz cannot be read"):
        trainer_of(find_recipe("linear")).restore(tmp_path / "state.npz")


def test_divergence_is_an_error() -> None:
    recipe = find_recipe("pooled_linear")
    broken = replace(recipe, training=replace(recipe.training, learning_rate=float("inf")))
    with pytest.raises(EdgegolfError, match="pooled_linear with seed 3 diverged in epoch 1"):
        trainer_of(broken).train_epoch(Position(0), ignore)


def test_a_net_trained_in_bfloat16_is_a_net_of_float32() -> None:
    recipe = small_recipe("loop_resnet:8", 2)
    digits = load_dataset("digits")
    found = {}
    for precision in (FLOAT32, MIXED_BFLOAT16):
        training = replace(recipe.training, precision=precision)
        trainer = trainer_of(replace(recipe, training=training))
        found[precision] = trainer.train_epoch(Position(0), ignore).mean_loss
    assert found[MIXED_BFLOAT16] == pytest.approx(found[FLOAT32], rel=0.1)
    model = trainer.copy()
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    split = digits.split("validation")
    scores = model.predict(split.images.astype("float32") / 255, verbose=0)
    assert trainer.accuracy(split) == (scores.argmax(axis=1) == split.labels).mean()


def test_averaged_weights_have_statistics_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_recipe("loop_resnet:8", 3)
    training = replace(recipe.training, batch_size=16, average_share=0.5)
    validation = load_dataset("digits").split("validation")
    trainer = trainer_of(replace(recipe, training=training))
    for epoch in range(3):
        trainer.train_epoch(Position(epoch), ignore)
    before = [np.array(variable) for variable in trainer.model.variables]
    with trainer.averaged():
        own = trainer.accuracy(validation)
    for variable, value in zip(trainer.model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    monkeypatch.setattr(trainer, "_gather_statistics", None)
    with trainer.averaged():
        assert own > trainer.accuracy(validation) + 0.05  # those of other weights: mere chance


def test_statistics_are_those_of_images_as_the_net_has_just_seen_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed while they are mixed, and whole afterwards, also where training was interrupted."""
    recipe = small_recipe("loop_resnet:8", 2)
    plain = replace(recipe.training, shift=0, cutout=0)
    recipe = replace(recipe, training=replace(plain, cutmix=1.0, cutmix_share=0.5))
    known = {image.tobytes() for image in load_dataset("digits").split("train").images}
    seen: list[float] = []

    def gather(batches: np.ndarray) -> None:
        images = [image.tobytes() for batch in batches for image in batch]
        seen.append(sum(image in known for image in images) / len(images))

    trainer = trainer_of(recipe)
    restored = trainer_of(recipe)
    for each in (trainer, restored):
        monkeypatch.setattr(each, "_gather_statistics", gather)
    for epoch in range(2):
        trainer.train_epoch(Position(epoch), ignore)
        with trainer.averaged():
            pass
    trainer.save(tmp_path / "state.npz", Position(2))
    restored.restore(tmp_path / "state.npz")
    with restored.averaged():
        pass
    assert seen[0] < 0.3
    assert seen[1:] == [1, 1]
