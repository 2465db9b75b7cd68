from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgegolf.data import digits

pytest.importorskip("sklearn")


@settings(max_examples=30)
@given(
    arrays.arrays(np.uint8, (2, 8, 8), elements=st.integers(0, 16)),
    st.integers(8, 32),
)
def test_enlarging_agrees_with_scipy(images, size):
    zoom = pytest.importorskip("scipy.ndimage").zoom
    expected = zoom(
        images * (255 / 16), (1, size / 8, size / 8), order=1, mode="nearest", grid_mode=True
    )
    enlarged = digits.enlarge(images, size)
    assert enlarged.dtype == np.uint8
    assert np.abs(enlarged - expected).max() <= 0.5 + 1e-9


def test_the_splits_part_all_images():
    from sklearn.datasets import load_digits

    dataset = digits.fetch()
    splits = [dataset.split(which) for which in ("train", "validation", "test")]
    assert tuple(len(split.labels) for split in splits) == digits.SOURCE.images
    for split in splits:
        assert split.images.shape == (len(split.labels), 28, 28, 1)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
    images = np.concatenate([split.images for split in splits])[..., 0]
    original = digits.enlarge(load_digits().images.astype(np.uint8))
    assert sorted(map(bytes, images)) == sorted(map(bytes, original))


def test_every_class_keeps_its_share_in_every_split():
    dataset = digits.fetch()
    for which in ("train", "validation", "test"):
        labels = dataset.split(which).labels
        shares = np.bincount(labels, minlength=10) / len(labels)
        assert np.abs(shares - 0.1).max() < 0.01
