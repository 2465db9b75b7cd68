"""The optimizer against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from edgegolf.errors import EdgegolfError
from edgegolf.training.full_matrix_adam import STEPS_PER_BASIS, full_matrix_adam

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")


def follow(optimizer, gradients: np.ndarray) -> np.ndarray:
    """Where an optimizer ends that starts at zero and meets these gradients [steps, n]."""
    variable = keras.Variable(np.zeros(gradients.shape[1], np.float32))
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


def correlated_gradients(steps: int, size: int) -> np.ndarray:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(size, size))
    return (random.normal(size=(steps, size)) @ mixing + 0.3).astype(np.float32)


def test_before_the_first_basis_it_is_adam() -> None:
    gradients = correlated_gradients(STEPS_PER_BASIS - 1, 6)
    adam = keras.optimizers.Adam(0.01, beta_1=0.9, beta_2=0.99)
    np.testing.assert_allclose(
        follow(full_matrix_adam(0.01), gradients), follow(adam, gradients), rtol=1e-3, atol=1e-6
    )


def test_it_follows_its_formula() -> None:
    """Against the same in plain NumPy and float64, over several bases."""
    gradients = correlated_gradients(3 * STEPS_PER_BASIS + 5, 6)
    position, mean, second = np.zeros(6), np.zeros(6), np.zeros(6)
    covariance, basis = np.zeros((6, 6)), np.eye(6)
    for step, gradient in enumerate(gradients.astype(np.float64), start=1):
        mean = 0.9 * mean + 0.1 * gradient
        covariance = 0.998 * covariance + 0.002 * np.outer(gradient, gradient)
        if step % STEPS_PER_BASIS == 0:
            turned = np.linalg.eigh(covariance)[1]
            second = (turned.T @ basis) ** 2 @ second
            basis = turned
        second = 0.99 * second + 0.01 * (basis.T @ gradient) ** 2
        scaled = (basis.T @ mean / (1 - 0.9**step)) / np.sqrt(second / (1 - 0.99**step))
        position -= 0.01 * basis @ scaled
    found = follow(full_matrix_adam(0.01), gradients)
    np.testing.assert_allclose(found, position, rtol=1e-2, atol=1e-4)
    adam = keras.optimizers.Adam(0.01, beta_1=0.9, beta_2=0.99)
    assert not np.allclose(found, follow(adam, gradients), rtol=1e-1)


def test_several_variables_are_one_vector() -> None:
    variables = [
        keras.Variable(np.ones((2, 3), np.float32)),
        keras.Variable(np.ones(4, np.float32)),
    ]
    gradients = [np.full((2, 3), 2.0, np.float32), np.full(4, -3.0, np.float32)]
    optimizer = full_matrix_adam(0.5)
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    np.testing.assert_allclose(variables[0], 0.5, rtol=1e-4)  # the first step has size lr
    np.testing.assert_allclose(variables[1], 1.5, rtol=1e-4)


def test_a_net_that_is_too_large_is_refused() -> None:
    with pytest.raises(EdgegolfError, match="2,500"):
        full_matrix_adam(0.1).build([keras.Variable(np.zeros((50, 50), np.float32))])
