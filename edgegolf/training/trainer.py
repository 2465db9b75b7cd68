"""A net under training, as fast as a tiny net can be trained: Python is hardly ever asked.

Keras's own `fit` returns to Python for every few batches, which takes a tiny net several times as
long as the arithmetic. Here a stretch of an epoch is one compiled loop over images that are already
there, shuffled and moved.
"""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegolf.data import Dataset, Split
from edgegolf.errors import EdgegolfError, require
from edgegolf.files import write_atomically
from edgegolf.quiet import import_keras, import_tensorflow
from edgegolf.training.allocator import keep_freed_memory
from edgegolf.training.batches import Batches, Targets
from edgegolf.training.faster import faster
from edgegolf.training.full_matrix_adam import full_matrix_adam
from edgegolf.training.mirror import keep_mirror_pairs
from edgegolf.training.muon import muon
from edgegolf.training.optimizers import Schedule
from edgegolf.training.start import started
from edgegolf.training.statistics import statistics_gatherer
from edgegolf.zoo import Recipe
from edgegolf.zoo.recipe import FLOAT32, Training

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

STRETCHES = 10  # of an epoch, after each of which progress is reported
IMAGES_PER_PREDICTION = 500
IMAGES_OF_STATISTICS = 5000  # that those of batch normalizations are gathered from

# From batches, images [batches, batch, height, width, channels] and targets, to the sum of losses.
Steps = Callable[["NDArray[np.uint8]", Targets], float]


@dataclass(frozen=True)
class Position:
    """How far a training is."""

    epoch: int  # which one
    batches: int = 0  # how many of its batches are done
    loss: float = 0.0  # the sum of their losses
    seconds: float = 0.0  # what they took

    @property
    def mean_loss(self) -> float:
        """Of the batches that are done."""
        return self.loss / self.batches


class Trainer:
    """A net of the zoo with its training images, its optimizer and its running average.

    Same recipe, data, seed, threads and machine: same weights.

    Args:
        recipe: The net and its hyper-parameters.
        dataset: What it is trained on.
        seed: What weights, order and shifts are drawn from.
        threads: Threads of every operation; the first trainer of a process decides.

    Raises:
        EdgegolfError: A package is missing, or the data set does not fit the net.
    """

    kind = "keras"  # what computes the gradients

    def __init__(self, recipe: Recipe, dataset: Dataset, seed: int, threads: int) -> None:
        keras = _prepare(threads)
        keras.utils.clear_session()  # layers get the same names as in a process of their own
        keras.utils.set_random_seed(seed)
        training = recipe.training
        split = dataset.split("train")
        self._build = lambda: started(
            recipe.build(dataset.image_shape, dataset.classes), recipe, dataset.name
        )
        self._epochs = training.epochs
        self._epoch = 0
        self._name = f"{recipe.name} with seed {seed}"
        self._batches = Batches(
            split.images,
            split.labels,
            training.batch_size,
            training.shift,
            training.flip,
            training.cutout,
            seed,
            training.background,
            training.cutmix,
            training.cutmix_share * training.epochs,
        )
        self._steps: Steps = self._prepared(recipe)

    def _prepared(self, recipe: Recipe) -> Steps:
        """Build the net and its optimizer, and return what trains it."""
        keras = require("keras", extra="train")
        training = recipe.training
        on_tensorflow = keras.backend.backend() == "tensorflow"
        self._compile_steps = _compiled_steps if on_tensorflow else _steps_of_keras
        plain = self._build()
        self.model = faster(plain, training.precision) if on_tensorflow else plain
        self._judged = self.model if training.precision == FLOAT32 else plain
        _compile(self.model, recipe, len(self._batches))
        self._mirror_pairs = training.mirror_pairs
        if self._mirror_pairs:
            keep_mirror_pairs(self.model)
        self.model.optimizer.build(self.model.trainable_variables)
        dropouts = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dropout)]
        self._dropouts = [(layer, layer.rate) for layer in dropouts]
        self._dropout_epochs = training.dropout_share * training.epochs
        self._sample = cache(self._sample_of)
        self._gather_statistics = statistics_gatherer(self.model)
        return self._compile_steps(self.model)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return len(self._batches)

    def _begin(self, epoch: int) -> None:
        """Remember the epoch, and let dropout act as it is to in it."""
        self._epoch = epoch
        acts = epoch < self._dropout_epochs
        wanted = [(layer, rate if acts else 0) for layer, rate in self._dropouts]
        if any(layer.rate != rate for layer, rate in wanted):
            for layer, rate in wanted:
                layer.rate = rate
            self._steps = self._compile_steps(self.model)  # they are compiled with the rates

    def train_epoch(self, start: Position, report: Callable[[Position], None]) -> Position:
        """Train to the end of an epoch.

        Args:
            start: In which epoch, on which the order of the images depends, and where in it.
            report: Called now and then with how far it is.

        Raises:
            EdgegolfError: The loss is no number any more.
        """
        self._begin(start.epoch)
        images, targets = self._batches.epoch(start.epoch)
        steps = self.steps_per_epoch
        bounds = np.linspace(0, steps, min(steps, STRETCHES) + 1).astype(int).tolist()
        position = start
        for first, stop in pairwise(bound for bound in bounds if bound >= start.batches):
            began = time.monotonic()
            loss = position.loss + self._steps(images[first:stop], targets[first:stop])
            seconds = position.seconds + time.monotonic() - began
            position = Position(start.epoch, stop, loss, seconds)
            report(position)
        if not math.isfinite(position.loss):
            raise EdgegolfError(
                f"{self._name} diverged in epoch {start.epoch + 1}: its loss is {position.loss}",
                hint="a lower learning rate, or a clipped gradient, may help",
            )
        return position

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The running average in place of the weights, where the recipe keeps one, and statistics.

        Those of batch normalizations are gathered anew, whichever weights these are.
        """
        variables = self.model.variables
        values = [np.array(variable) for variable in variables]
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        for variable in self.model.trainable_variables:  # JAX frees what the average still is
            variable.assign(np.array(variable))
        if self._gather_statistics is not None:
            self._gather_statistics(self._sample(self._batches.mixes(self._epoch)))
        try:
            yield
        finally:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _sample_of(self, mixed: bool) -> NDArray[np.uint8]:
        """Some batches as they are trained on, in the first epochs or in the last one."""
        images, _ = self._batches.epoch(0 if mixed else self._epochs - 1)
        sample = images[: math.ceil(IMAGES_OF_STATISTICS / images.shape[1])].copy()
        if self._mirror_pairs:  # twins have the same statistics only where images have theirs
            sample = np.concatenate([sample, sample[..., ::-1, :]])
        return sample

    def accuracy(self, split: Split) -> float:
        """The share of a split's images that the net gets right, as it is and in float32."""
        if self._judged is not self.model:
            self._judged.set_weights(self.model.get_weights())
        scores = self._judged.predict(
            split.images.astype("float32") / 255, batch_size=IMAGES_PER_PREDICTION, verbose=0
        )
        return float((scores.argmax(axis=1) == split.labels).mean())

    def copy(self) -> keras.Model:
        """The net without its optimizer, whose state is as large as the weights or larger."""
        model = self._build()
        model.set_weights(self.model.get_weights())
        return model

    def save(self, path: Path, position: Position) -> None:
        """Write all that the next batch depends on, and which it is, into an `.npz` file."""
        values = [np.array(value) for value in self._state()]
        buffer = io.BytesIO()  # an archive that a full disk cuts off complains when it is forgotten
        np.savez(buffer, np.array(astuple(position)), *values)
        write_atomically(path, buffer.getvalue())

    def restore(self, path: Path) -> Position:
        """Take up a saved state and return how far it is.

        Raises:
            EdgegolfError: The file is damaged or of another net.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                position, *values = [saved[f"arr_{index}"] for index in range(len(saved.files))]
            self._take(values)
            epoch, batches, loss, seconds = position.tolist()
            self._begin(min(int(epoch), self._epochs - 1))
            return Position(int(epoch), int(batches), loss, seconds)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise EdgegolfError(
                f"the checkpoint {path} cannot be read: {error}",
                hint="begin anew with --fresh",
            ) from None

    def _state(self) -> Sequence[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _take(self, values: Sequence[NDArray[Any]]) -> None:
        """Make a saved state that of the training."""
        for variable, value in zip(self._state(), values, strict=True):
            variable.assign(value)


def _prepare(threads: int) -> Any:
    """Set up memory, threads and Keras before the first tensor exists."""
    keep_freed_memory()
    keras = import_keras()
    if keras.backend.backend() == "tensorflow":
        tensorflow = import_tensorflow()
        with suppress(RuntimeError):  # already running, in the tests' own process
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return keras


def _compile(model: keras.Model, recipe: Recipe, steps_per_epoch: int) -> None:
    """Give the model the recipe's loss, optimizer and schedule."""
    keras = require("keras", extra="train")
    training = recipe.training
    schedule = Schedule.of(training, steps_per_epoch)
    learning_rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=schedule.decay,
        warmup_target=training.learning_rate,
        warmup_steps=schedule.warm_up,
    )
    optimizers = {
        "adam": keras.optimizers.Adam,
        "full_matrix_adam": full_matrix_adam,
        "muon": muon,
        "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    }
    optimizer = optimizers[training.optimizer](
        learning_rate=learning_rate,
        weight_decay=training.weight_decay or None,
        global_clipnorm=training.clip_norm or None,
        use_ema=training.average_share > 0,
        ema_momentum=schedule.average_momentum,
    )
    if training.weight_decay:
        optimizer.exclude_from_weight_decay(
            [variable for variable in model.trainable_variables if "kernel" not in variable.name]
        )
    model.compile(
        optimizer=optimizer,
        loss=_loss(keras, training),
        jit_compile=keras.backend.backend() == "jax",
    )


def _loss(keras: Any, training: Training) -> Any:
    """Cross-entropy of class probabilities and targets, which may be smoothed."""
    label_smoothing = training.label_smoothing
    if training.cutmix:
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy()

    def smoothed_crossentropy(labels: Any, scores: Any) -> Any:
        targets = keras.ops.one_hot(labels, scores.shape[-1])
        return keras.losses.categorical_crossentropy(
            targets, scores, label_smoothing=label_smoothing
        )

    return smoothed_crossentropy


def _compiled_steps(model: keras.Model) -> Steps:
    """The steps as one TensorFlow function, compiled once."""
    tensorflow = import_tensorflow()

    def step(images: Any, targets: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            scores = model(tensorflow.cast(images, "float32") / 255, training=True)
            loss = model.compute_loss(y=targets, y_pred=scores)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss

    def loop(images: Any, targets: Any) -> Any:
        def body(index: Any, total: Any) -> tuple[Any, Any]:
            return index + 1, total + step(images[index], targets[index])

        count = tensorflow.shape(targets)[0]
        _, total = tensorflow.while_loop(
            lambda index, _: index < count, body, (0, 0.0), parallel_iterations=1
        )
        return total

    # XLA fuses what surrounds dense layers; its convolutions on CPUs are slower than oneDNN's.
    convolutions = any("Conv" in type(layer).__name__ for layer in model.layers)
    batches = tensorflow.TensorSpec((None, None, *model.input_shape[1:]), "uint8")
    targets_of_batches = {
        "int64": tensorflow.TensorSpec((None, None), "int64"),
        "float32": tensorflow.TensorSpec((None, None, *model.output_shape[1:]), "float32"),
    }
    function = tensorflow.function(loop, jit_compile=not convolutions)
    compiled = cache(
        lambda dtype: function.get_concrete_function(batches, targets_of_batches[dtype])
    )
    return lambda images, targets: float(
        compiled(targets.dtype.name)(tensorflow.constant(images), tensorflow.constant(targets))
    )


def _steps_of_keras(model: keras.Model) -> Steps:
    """The steps one by one through Keras, on any backend."""

    model.make_train_function(force=True)

    def steps(images: NDArray[np.uint8], targets: Targets) -> float:
        total = 0.0
        for batch, wanted in zip(images, targets, strict=True):
            model.reset_metrics()  # else the loss is the mean of all batches so far
            total += float(model.train_on_batch(batch.astype("float32") / 255, wanted))
        return total

    return steps
