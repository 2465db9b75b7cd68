"""Adam in the eigenbasis of the whole gradient covariance: affordable for nets this small.

Adam divides each gradient by its own running size, which helps only as far as the parameters'
gradients vary independently. Where one set of weights serves many layers they do not. This
optimizer keeps the running covariance of the whole gradient vector, rotates into its eigenvectors,
and lets Adam work there. That is SOAP (Vyas et al. 2024, https://arxiv.org/abs/2409.11321) with the
full matrix of Adagrad (Duchi et al. 2011) in place of its Kronecker factors; for n parameters it
stores 2n² numbers, which is nothing for 200.
"""

from __future__ import annotations

import math
from typing import Any

from edgegolf.errors import EdgegolfError, require

MAXIMUM_PARAMETERS = 2_000  # the covariance of 2,000 has 16 MB; its eigenvectors take a second

MOMENTUM = 0.9
SECOND_MOMENT_DECAY = 0.99
COVARIANCE_DECAY = 0.998
STEPS_PER_BASIS = 20  # steps between two decompositions; the basis turns slowly


def full_matrix_adam(learning_rate: Any, **options: Any) -> Any:
    """A Keras optimizer, for any backend.

    Args:
        learning_rate: A number or a Keras schedule.
        options: Of every Keras optimizer, such as `global_clipnorm` or `use_ema`.

    Raises:
        EdgegolfError: When it meets a net of more than `MAXIMUM_PARAMETERS`.
    """
    keras = require("keras", extra="train")
    ops = keras.ops

    class FullMatrixAdam(keras.optimizers.Optimizer):  # type: ignore[misc, name-defined]
        def build(self, variables: list[Any]) -> None:
            if self.built:
                return
            super().build(variables)
            size = sum(math.prod(variable.shape) for variable in variables)
            check_size(size)
            self._momentum = self.add_variable((size,), name="momentum")
            self._second_moment = self.add_variable((size,), name="second_moment")
            self._covariance = self.add_variable((size, size), name="covariance")
            self._basis = self.add_variable((size, size), "identity", name="basis")

        def _backend_update_step(
            self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any
        ) -> None:
            gradient = ops.concatenate([ops.reshape(grad, (-1,)) for grad in grads])
            step = ops.cast(self.iterations + 1, gradient.dtype)
            self._momentum.assign(_mix(self._momentum, gradient, MOMENTUM))
            outer = gradient[:, None] * gradient[None, :]
            self._covariance.assign(_mix(self._covariance, outer, COVARIANCE_DECAY))
            basis, second_moment = ops.cond(
                ops.equal((self.iterations + 1) % STEPS_PER_BASIS, 0),
                self._turned,
                lambda: (ops.convert_to_tensor(self._basis), self._second_moment + 0.0),
            )
            rotated = ops.matmul(gradient, basis)
            self._basis.assign(basis)
            self._second_moment.assign(_mix(second_moment, rotated**2, SECOND_MOMENT_DECAY))
            mean = ops.matmul(self._momentum, basis) / (1 - ops.power(MOMENTUM, step))
            variance = self._second_moment / (1 - ops.power(SECOND_MOMENT_DECAY, step))
            scaled = mean / (ops.sqrt(variance) + keras.config.epsilon())
            update = learning_rate * ops.matmul(basis, scaled)
            start = 0
            for variable in trainable_variables:
                size = math.prod(variable.shape)
                part = ops.reshape(update[start : start + size], variable.shape)
                variable.assign_sub(part)
                start += size

        def _turned(self) -> tuple[Any, Any]:
            """The eigenvectors of the covariance, and the second moments along them."""
            _, basis = ops.linalg.eigh(self._covariance)
            turn = ops.matmul(ops.transpose(basis), self._basis)
            return basis, ops.matmul(turn**2, self._second_moment)

    def _mix(old: Any, new: Any, decay: float) -> Any:
        return decay * old + (1 - decay) * new

    return FullMatrixAdam(learning_rate=learning_rate, **options)


def check_size(size: int) -> None:
    """Refuse a net of too many parameters. Raises EdgegolfError."""
    if size > MAXIMUM_PARAMETERS:
        raise EdgegolfError(
            f"full-matrix Adam is for nets of at most {MAXIMUM_PARAMETERS:,} parameters; "
            f"this one has {size:,}"
        )
