"""What teachers see in images, against the reference kernels, and who learns from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgegolf.data import Split, load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.runtimes import open_session
from edgegolf.runtimes.classify import scores
from edgegolf.training.teachers import teachers_of
from edgegolf.training.trainer import Position, Trainer
from edgegolf.zoo import find_recipe, with_epochs

NETS = ("linear", "mlp:32")
MODELS = Path("models/mnist")
FILES = [MODELS / net.replace(":", "-") for net in NETS]


def batches() -> np.ndarray:
    pytest.importorskip("sklearn")
    return load_dataset("digits").split("validation").images[:150].reshape(3, 50, 28, 28, 1)


@pytest.mark.parametrize("threads", [1, 4])
def test_targets_are_the_mean_of_what_the_reference_kernels_give(threads: int) -> None:
    pytest.importorskip("ai_edge_litert")
    teach = teachers_of("+".join(NETS), "mnist", 10, threads)
    assert teach is not None
    found = teach(batches())
    reference = []
    for folder in FILES:
        with open_session(folder / "int8.tflite", "litert-reference") as session:
            reference.append(scores(session, batches().reshape(150, 28, 28, 1)))
    assert (found.shape, found.dtype) == ((3, 50, 10), np.float32)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    error = np.abs(found.reshape(150, 10) - np.mean(reference, axis=0))
    assert error.mean() < 0.002
    assert np.median(np.abs(reference[0] - reference[1]).max(1)) > 0.02  # they do not say the same


def test_a_data_set_without_the_teacher_takes_another_ones() -> None:
    pytest.importorskip("ai_edge_litert")
    ours, others = (teachers_of("tight_resnet", name, 10, 1) for name in ("mnist", "digits"))
    assert ours is not None
    assert others is not None
    np.testing.assert_array_equal(ours(batches()), others(batches()))


def test_no_teacher_is_no_teacher_and_one_without_file_is_named() -> None:
    assert teachers_of("", "mnist", 10, 1) is None
    with pytest.raises(EdgegolfError, match=r"the teacher cnn:7 has no file .*cnn-7") as caught:
        teachers_of("tight_resnet+cnn:7", "mnist", 10, 1)
    assert "edgegolf train cnn:7" in caught.value.hint


def test_a_teacher_of_other_classes_is_refused() -> None:
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(
        EdgegolfError, match=r"teacher .*linear.int8.tflite gives .* has 100 classes"
    ):
        teachers_of("linear+tight_resnet", "cifar100", 100, 1)


def test_a_learner_learns_from_its_teacher_and_not_from_labels() -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("ai_edge_litert")
    digits = load_dataset("digits")
    recipe = with_epochs(find_recipe("pooled_mlp:32"), 20)
    recipe = replace(recipe, training=replace(recipe.training, teachers="tight_resnet"))

    def read_wrongly_labelled(which: str) -> Split:
        split = digits.split(which)
        return replace(split, labels=(split.labels + 1) % 10)

    wrong = replace(digits, read=read_wrongly_labelled)
    learner = Trainer(recipe, wrong, 3, threads=1)
    for epoch in range(20):
        learner.train_epoch(Position(epoch), lambda _: None)
    with learner.averaged():
        found = learner.accuracy(digits.split("test"))
    with open_session(MODELS / "tight_resnet" / "int8.tflite") as session:
        seen = scores(session, digits.split("test").images).argmax(1)
    taught = float((seen == digits.split("test").labels).mean())
    assert found > taught - 0.1 > 0.5
