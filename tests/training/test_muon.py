"""The optimizer against singular values and against Adam."""

from __future__ import annotations

import numpy as np
import pytest

from edgegolf.training.muon import muon

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")


def follow(optimizer, gradients: np.ndarray) -> np.ndarray:
    """Where an optimizer ends that starts at zero and meets these gradients [steps, ...]."""
    variable = keras.Variable(np.zeros(gradients.shape[1:], np.float32))
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


def test_a_step_of_a_kernel_is_nearly_orthogonal() -> None:
    """Its singular values lie where Newton and Schulz's five iterations are known to leave them."""
    gradient = np.random.default_rng(0).normal(size=(1, 3, 3, 4, 8)).astype(np.float32)
    step = follow(muon(0.01), gradient).reshape(36, 8)
    singular = np.linalg.svd(step, compute_uv=False) / (0.01 * 0.2 * np.sqrt(36))
    assert (singular > 0.65).all()
    assert (singular < 1.25).all()
    left, _, right = np.linalg.svd(gradient.reshape(36, 8), full_matrices=False)
    cosine = np.vdot(left @ right, -step) / np.linalg.norm(left @ right) / np.linalg.norm(step)
    assert cosine > 0.96


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (16, 16), (1, 9)])
@pytest.mark.parametrize("rank", [1, 5, 40])
def test_the_orthogonal_matrix_is_that_of_keras(shape: tuple[int, int], rank: int) -> None:
    random = np.random.default_rng(3)
    rank = min(rank, *shape)
    strengths = 10 ** random.uniform(-4, 0, (rank, 1))
    factors = random.normal(size=(shape[0], rank)), random.normal(size=(rank, shape[1]))
    matrix = keras.ops.convert_to_tensor((factors[0] @ (strengths * factors[1])).astype("float32"))
    found = muon(0.01).zeropower_via_newtonschulz5(matrix, 5)
    wanted = keras.optimizers.Muon().zeropower_via_newtonschulz5(matrix, 5)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_momentum_looks_ahead() -> None:
    """Against the formula in NumPy, with an exact orthogonalization for the approximate one."""
    gradients = np.random.default_rng(1).normal(size=(6, 1, 1, 12, 5)).astype(np.float32)
    position, momentum = np.zeros((12, 5)), np.zeros((12, 5))
    for gradient in gradients.reshape(6, 12, 5).astype(np.float64):
        momentum = 0.95 * momentum + gradient
        left, _, right = np.linalg.svd(gradient + 0.95 * momentum, full_matrices=False)
        position -= 0.01 * 0.2 * np.sqrt(12) * left @ right
    found = follow(muon(0.01), gradients).reshape(12, 5)
    cosine = np.vdot(found, position) / np.linalg.norm(found) / np.linalg.norm(position)
    assert cosine > 0.98


@pytest.mark.parametrize("shape", [(7,), (6, 5)])
def test_biases_and_classifiers_are_left_to_adam(shape: tuple[int, ...]) -> None:
    gradients = np.random.default_rng(2).normal(size=(5, *shape)).astype(np.float32)
    np.testing.assert_allclose(
        follow(muon(0.01), gradients), follow(keras.optimizers.Adam(0.01), gradients), rtol=1e-4
    )


def test_kernels_shrink_by_weight_decay() -> None:
    variable = keras.Variable(np.ones((1, 1, 4, 4), np.float32))
    optimizer = muon(0.1, weight_decay=0.5)
    optimizer.apply([keras.ops.zeros((1, 1, 4, 4))], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), 0.95, rtol=1e-6)
