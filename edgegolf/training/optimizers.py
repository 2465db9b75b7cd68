"""The schedule of a training, and optimizers of one vector of parameters, as Keras's are.

Where a step takes a millisecond, so does Keras's optimizer; with NumPy it takes a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgegolf.training.full_matrix_adam import (
    COVARIANCE_DECAY,
    MOMENTUM,
    SECOND_MOMENT_DECAY,
    STEPS_PER_BASIS,
    check_size,
)
from edgegolf.zoo.recipe import Training

Floats: TypeAlias = NDArray[np.float32]

# From a gradient, the step and its learning rate to what is added to the parameters.
Update: TypeAlias = Callable[[Floats, int, float], Floats]

EPSILON = 1e-7  # that Keras adds to roots of second moments


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step, and how fast the average of the weights forgets."""

    highest: float  # learning rate
    warm_up: int  # steps in which it rises linearly from 0
    decay: int  # steps in which it falls along half a cosine
    average_momentum: float  # share of the average that a step keeps

    @classmethod
    def of(cls, training: Training, steps_per_epoch: int) -> Schedule:
        """That of a recipe."""
        steps = training.epochs * steps_per_epoch
        warm_up = round(training.warm_up_epochs * steps_per_epoch)
        warm_up = min(warm_up, steps // 5)  # short runs warm up for a fifth of their steps
        momentum = 1 - 1 / max(2.0, training.average_share * steps)
        return cls(training.learning_rate, max(1, warm_up), max(1, steps - warm_up), momentum)

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 0."""
        if step < self.warm_up:
            return self.highest * step / self.warm_up
        done = min(1.0, (step - self.warm_up) / self.decay)
        return self.highest * 0.5 * (1 + math.cos(math.pi * done))


class Optimizer:
    """Parameters under training, with their running average.

    Args:
        training: Its optimizer, clipping, weight decay and average.
        schedule: Of the training.
        parameters: float32 [n]; `parameters` of this object is a copy.
        decays: Which of them the weight decay acts on, bool [n].

    Raises:
        EdgegolfError: There are too many parameters for the optimizer.
    """

    def __init__(
        self,
        training: Training,
        schedule: Schedule,
        parameters: Floats,
        decays: NDArray[np.bool_],
    ) -> None:
        self._schedule = schedule
        self._clip_norm = training.clip_norm
        self._decay = (training.weight_decay * decays).astype(np.float32)
        self._averages = training.average_share > 0
        self._update = OPTIMIZERS[training.optimizer](len(parameters))
        self.steps = np.zeros((), np.int64)  # that are done
        self.parameters = parameters.copy()
        self._average = parameters.copy()

    @property
    def average(self) -> Floats:
        """The running average where the recipe keeps one, else the parameters."""
        return self._average if self._averages else self.parameters

    @property
    def state(self) -> list[NDArray[Any]]:
        """All that the next step depends on; to be assigned in place."""
        own = [value for value in vars(self._update).values() if isinstance(value, np.ndarray)]
        return [self.steps, self.parameters, self._average, *own]

    def apply(self, gradient: Floats) -> None:
        """Do a step."""
        step = int(self.steps)
        learning_rate = self._schedule.learning_rate(step)
        if self._clip_norm:
            norm = float(np.linalg.norm(gradient))
            gradient = gradient * np.float32(self._clip_norm / max(norm, self._clip_norm))
        if self._decay.any():
            self.parameters -= self.parameters * self._decay * np.float32(learning_rate)
        self.parameters += self._update(gradient, step, learning_rate)
        momentum = np.float32(self._schedule.average_momentum if step else 0)
        self._average += (1 - momentum) * (self.parameters - self._average)
        self.steps += 1


class Adam:
    """Kingma and Ba 2015."""

    def __init__(self, size: int) -> None:
        self.momentum = np.zeros(size, np.float32)
        self.velocity = np.zeros(size, np.float32)

    def __call__(self, gradient: Floats, step: int, learning_rate: float) -> Floats:
        """What is added to the parameters."""
        self.momentum += np.float32(0.1) * (gradient - self.momentum)
        self.velocity += np.float32(0.001) * (gradient * gradient - self.velocity)
        rate = learning_rate * math.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        return np.float32(-rate) * self.momentum / (np.sqrt(self.velocity) + np.float32(EPSILON))


class Sgd:
    """With Nesterov's momentum of 0.9."""

    def __init__(self, size: int) -> None:
        self.momentum = np.zeros(size, np.float32)

    def __call__(self, gradient: Floats, step: int, learning_rate: float) -> Floats:
        """What is added to the parameters."""
        change = np.float32(learning_rate) * gradient
        self.momentum *= np.float32(0.9)
        self.momentum -= change
        return np.float32(0.9) * self.momentum - change


class FullMatrixAdam:
    """As `edgegolf.training.full_matrix_adam`."""

    def __init__(self, size: int) -> None:
        check_size(size)
        self.momentum = np.zeros(size, np.float32)
        self.second_moment = np.zeros(size, np.float32)
        self.covariance = np.zeros((size, size), np.float32)
        self.basis = np.eye(size, dtype=np.float32)

    def __call__(self, gradient: Floats, step: int, learning_rate: float) -> Floats:
        """What is added to the parameters."""
        _mix(self.momentum, gradient, MOMENTUM)
        _mix(self.covariance, np.outer(gradient, gradient), COVARIANCE_DECAY)
        if (step + 1) % STEPS_PER_BASIS == 0:
            _, basis = np.linalg.eigh(self.covariance)
            self.second_moment[:] = (basis.T @ self.basis) ** 2 @ self.second_moment
            self.basis[:] = basis
        _mix(self.second_moment, (gradient @ self.basis) ** 2, SECOND_MOMENT_DECAY)
        mean = (self.momentum @ self.basis) / np.float32(1 - MOMENTUM ** (step + 1))
        variance = self.second_moment / np.float32(1 - SECOND_MOMENT_DECAY ** (step + 1))
        scaled = mean / (np.sqrt(variance) + np.float32(EPSILON))
        return np.float32(-learning_rate) * (self.basis @ scaled)


def _mix(old: Floats, new: Floats, decay: float) -> None:
    old *= np.float32(decay)
    old += np.float32(1 - decay) * new


OPTIMIZERS: dict[str, Callable[[int], Update]] = {
    "adam": Adam,
    "sgd": Sgd,
    "full_matrix_adam": FullMatrixAdam,
}
