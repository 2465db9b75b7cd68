"""Muon: momentum whose every step is an orthogonal matrix, for nets of convolutions.

The gradient of a kernel is dominated by a few directions; a step of which all singular values are
one learns along the rare ones as well (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon;
the step's length as in Liu et al. 2025, https://arxiv.org/abs/2502.16982). Keras's own turns to
AdamW for all that is no matrix; here a convolution's kernel is one, with a column per filter.
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

    return Muon(learning_rate=learning_rate, adam_weight_decay=0, **options)
