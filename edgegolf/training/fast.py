"""One training run in memory, as fast as a tiny net can be trained: nothing returns to Python.

The same net, batches, optimizer and schedule as `worker.train`, but a whole epoch is one compiled
loop over images that are already there, shuffled and moved; there are no callbacks and no
checkpoints. What is left is the arithmetic.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.data import Dataset, Split
from edgegolf.errors import EdgegolfError
from edgegolf.quiet import import_tensorflow
from edgegolf.training.batches import Batches
from edgegolf.training.worker import compile_model, prepare
from edgegolf.zoo import Recipe
from edgegolf.zoo.summary import summarize

if TYPE_CHECKING:
    import keras

IMAGES_PER_PREDICTION = 500


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        parameters: How many the net has, shared ones counted once.
        trained_parameters: How many of them were trained.
        macs: Multiply-accumulates of one inference.
        losses: Mean training loss of every epoch.
        validation_accuracy: Of the averaged weights, a fraction.
        test_accuracy: The same on the test split, read once, after training.
        seconds: Wall-clock time of the training.
    """

    parameters: int
    trained_parameters: int
    macs: int
    losses: tuple[float, ...]
    validation_accuracy: float
    test_accuracy: float
    seconds: float


def train_fast(
    recipe: Recipe,
    dataset: Dataset,
    seed: int,
    threads: int,
) -> Outcome:
    """Train a net and judge it, without writing anything.

    Args:
        recipe: The net and its hyper-parameters.
        dataset: What it is trained on.
        seed: What weights, order and shifts are drawn from.
        threads: Threads of every operation; the first run of a process decides.

    Raises:
        EdgegolfError: A package is missing, the data set does not fit the net, or the loss is no
            number any more.
    """
    keras = prepare(threads)
    tensorflow = import_tensorflow()
    keras.utils.set_random_seed(seed)
    model = recipe.build(dataset.image_shape, dataset.classes)
    training = recipe.training
    split = dataset.split("train")
    batches = Batches(split.images, split.labels, training.batch_size, training.shift, seed)
    compile_model(model, recipe, len(batches))
    epoch_loop = compile_epoch(model, len(batches))
    losses = []
    started = time.monotonic()
    for epoch in range(training.epochs):
        images, labels = batches.whole_epoch(epoch)
        losses.append(float(epoch_loop(images, labels)))
        if not math.isfinite(losses[-1]):
            raise EdgegolfError(f"{recipe.name} diverged with seed {seed} in epoch {epoch + 1}")
    model.optimizer.finalize_variable_values(model.trainable_variables)  # the running average
    seconds = time.monotonic() - started
    layers = summarize(model)
    accuracy = _accuracy(tensorflow, model)
    return Outcome(
        parameters=model.count_params(),
        trained_parameters=sum(layer.parameters for layer in layers if layer.trained),
        macs=sum(layer.macs for layer in layers),
        losses=tuple(losses),
        validation_accuracy=accuracy(dataset.split("validation")),
        test_accuracy=accuracy(dataset.split("test")),
        seconds=seconds,
    )


def compile_epoch(model: keras.Model, steps: int) -> Callable[..., Any]:
    """A compiled function from an epoch's images and labels to its mean loss.

    Args:
        model: Compiled, with its optimizer; the function trains it.
        steps: Batches of an epoch.
    """
    tensorflow = import_tensorflow()
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)

    def step(images: Any, labels: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            scores = model(tensorflow.cast(images, "float32") / 255, training=True)
            loss = model.compute_loss(y=labels, y_pred=scores)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    def loop(images: Any, labels: Any) -> Any:
        def body(index: Any, total: Any) -> tuple[Any, Any]:
            return index + 1, total + step(images[index], labels[index])

        _, total = tensorflow.while_loop(
            lambda index, _: index < steps, body, (0, 0.0), parallel_iterations=1
        )
        return total / steps

    return tensorflow.function(loop, jit_compile=_gains_from_xla(model))


def _gains_from_xla(model: keras.Model) -> bool:
    """XLA fuses what surrounds dense layers; its convolutions on CPUs are slower than oneDNN's."""
    return not any("Conv" in type(layer).__name__ for layer in model.layers)


def _accuracy(tensorflow: Any, model: keras.Model) -> Callable[[Split], float]:
    @tensorflow.function(reduce_retracing=True)
    def predict(images: Any) -> Any:
        scores = model(tensorflow.cast(images, "float32") / 255, training=False)
        return tensorflow.argmax(scores, axis=1)

    def accuracy(split: Split) -> float:
        found = [
            predict(split.images[start : start + IMAGES_PER_PREDICTION]).numpy()
            for start in range(0, len(split.images), IMAGES_PER_PREDICTION)
        ]
        return float(np.mean(np.concatenate(found) == split.labels))

    return accuracy
