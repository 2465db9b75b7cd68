"""Muon: momentum whose every step is an orthogonal matrix, for nets of convolutions.

The gradient of a kernel is dominated by a few directions; a step of which all singular values are
one learns along the rare ones as well (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon;
the step's length as in Liu et al. 2025, https://arxiv.org/abs/2502.16982). Keras's own turns to
AdamW for all that is no matrix; here a convolution's kernel is one, with a column per filter.

Newton and Schulz's iteration multiplies a matrix by polynomials of its Gram matrix, which is square
and small where there are more rows than columns. So the polynomials are multiplied first, and the
matrix once, in the end; Keras multiplies it twice in each of the five iterations.
"""

from __future__ import annotations

from typing import Any

from edgegolf.errors import require


def muon(learning_rate: Any, **options: Any) -> Any:
    """A Keras optimizer; biases, normalizations and classifiers are left to Adam.

    Args:
        learning_rate: A number or a Keras schedule.
        options: Of every Keras optimizer, such as `weight_decay` or `use_ema`.
    """
    keras = require("keras", extra="train")
    ops = keras.ops

    class Muon(keras.optimizers.Muon):  # type: ignore[misc, name-defined]
        def _should_use_adamw(self, variable: Any) -> bool:
            return len(variable.shape) != 4

        def _muon_update_step(
            self, gradient: Any, variable: Any, learning_rate: Any, momentum: Any
        ) -> None:
            filters = gradient.shape[-1]
            self.assign(momentum, self.momentum * momentum + gradient)
            ahead = ops.reshape(gradient + self.momentum * momentum, (-1, filters))
            update = self.zeropower_via_newtonschulz5(ahead, self.ns_steps)
            step = ops.reshape(self.lr_adjust(learning_rate * update), variable.shape)
            self.assign_sub(variable, step)

        def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
            x = x / (ops.norm(x) + 1e-7)
            wide = x.shape[0] < x.shape[1]
            gram = x @ ops.transpose(x) if wide else ops.transpose(x) @ x
            factor = identity = ops.eye(gram.shape[0], dtype=gram.dtype)
            for _ in range(steps):
                square = gram @ gram
                polynomial = self.muon_a * identity + self.muon_b * gram + self.muon_c * square
                factor = factor @ polynomial
                gram = polynomial @ gram @ polynomial
            return factor @ x if wide else x @ factor

    return Muon(learning_rate=learning_rate, adam_weight_decay=0, **options)
