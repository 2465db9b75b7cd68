"""Folded convolutions against TensorFlow's own, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

tensorflow = pytest.importorskip("tensorflow")

from edgegolf.training.folding import folded_convolution  # noqa: E402

small = st.integers(1, 4)


@given(small, small, small, small, st.integers(0, 7), st.integers(1, 8), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_folding_changes_nothing(
    kernel_height: int, kernel_width: int, channels: int, filters: int, extra: int, columns: int,
    seed: int,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    shape = (2, kernel_height + 1, kernel_width + extra, channels)
    images = tensorflow.constant(random.normal(size=shape), "float32")
    kernel = tensorflow.constant(
        random.normal(size=(kernel_height, kernel_width, channels, filters)), "float32"
    )

    def plain(images, kernel):
        return tensorflow.nn.conv2d(images, kernel, 1, "VALID")

    def folded(images, kernel):
        return folded_convolution(images, kernel, columns)

    results = []
    for convolve in (plain, folded):
        with tensorflow.GradientTape() as tape:
            tape.watch([images, kernel])
            result = convolve(images, kernel)
            loss = tensorflow.reduce_sum(tensorflow.sin(result))
        results.append((result, *tape.gradient(loss, [images, kernel])))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
