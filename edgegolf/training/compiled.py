"""A trainer whose gradients compiled C computes: for nets too small for a framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgegolf.backends.gradient.source import NotCompiledError
from edgegolf.data import Dataset, Split
from edgegolf.errors import require
from edgegolf.quiet import import_keras
from edgegolf.training.batches import Targets
from edgegolf.training.gradients import CompiledNet
from edgegolf.training.mirror import twin_places
from edgegolf.training.optimizers import OPTIMIZERS, Floats, Optimizer, Schedule
from edgegolf.training.trainer import Steps, Trainer
from edgegolf.zoo import Recipe
from edgegolf.zoo.recipe import FLOAT32

if TYPE_CHECKING:
    import keras


class CompiledTrainer(Trainer):
    """As `Trainer`, on one core, with compiled gradients.

    Raises:
        NotCompiledError: The net or its recipe has something that is not compiled.
    """

    kind = "compiled"

    def _prepared(self, recipe: Recipe) -> Steps:
        training = recipe.training
        if training.optimizer not in OPTIMIZERS or training.precision != FLOAT32:
            raise NotCompiledError(f"no {training.optimizer} in {training.precision} is compiled")
        self.model = self._build()
        if not any("Conv" in type(layer).__name__ for layer in self.model.layers):
            raise NotCompiledError("XLA trains nets without convolutions as fast")
        places = twin_places(self.model) if training.mirror_pairs else None
        self._net = CompiledNet(self.model)
        self._twins = None if places is None else self._net.positions(places)
        self._smoothing = np.float32(training.label_smoothing)
        kernels = [np.full(w.shape, "kernel" in w.name) for w in self.model.weights]
        decays = self._net.arranged(kernels) & self._net.is_trained
        schedule = Schedule.of(training, len(self._batches))
        self._optimizer = Optimizer(training, schedule, self._net.read(), decays)
        self._judged_by: Floats | None = None
        return self._train

    def _train(self, images: NDArray[np.uint8], targets: Targets) -> float:
        """The steps of some batches, and the sum of their losses."""
        classes = self._net.classes
        if targets.ndim == 2:
            targets = np.eye(classes, dtype=np.float32)[targets]
        shares = (1 - self._smoothing) * targets + self._smoothing / np.float32(classes)
        total = 0.0
        # Threads of small products wait for each other where nets train side by side.
        with require("threadpoolctl", extra="train").threadpool_limits(1):
            for batch, wanted in zip(images, shares, strict=True):
                loss, gradient = self._net.gradients(self._optimizer.parameters, batch, wanted)
                if self._twins is not None:
                    gradient = (gradient + gradient[self._twins]) / 2
                self._optimizer.apply(gradient)
                total += loss
        return total

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The running average in place of the weights, where the recipe keeps one."""
        self._judged_by = self._optimizer.average
        try:
            yield
        finally:
            self._judged_by = None

    @property
    def _weights(self) -> Floats:
        return self._optimizer.parameters if self._judged_by is None else self._judged_by

    def accuracy(self, split: Split) -> float:
        """The share of a split's images that the net gets right."""
        scores = self._net.predict(self._weights, split.images)
        return float((scores.argmax(axis=1) == split.labels).mean())

    def copy(self) -> keras.Model:
        """The net without an optimizer."""
        model = self._build()
        model.set_weights(self.model.get_weights())  # those that nothing depends on, too
        self._net.assign(self._weights, model)
        return model

    def _state(self) -> Sequence[Any]:
        return self._optimizer.state

    def _take(self, values: Sequence[NDArray[Any]]) -> None:
        for array, value in zip(self._state(), values, strict=True):
            if array.shape != value.shape:
                raise ValueError("it is of another net")
            array[...] = value


def trainer_for(recipe: Recipe, dataset: Dataset, seed: int, threads: int) -> Trainer:
    """A compiled trainer, or where the net or this machine has something against it, Keras's.

    Keras trains, too, where another of its backends was chosen, for a GPU.

    Raises:
        EdgegolfError: As `Trainer`.
    """
    if import_keras().backend.backend() != "tensorflow":
        return Trainer(recipe, dataset, seed, threads)
    try:
        return CompiledTrainer(recipe, dataset, seed, threads)
    except NotCompiledError:
        return Trainer(recipe, dataset, seed, threads)
