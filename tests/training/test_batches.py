"""Batches against a plain loop."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegolf.training.batches import Batches


def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 6, 5, 1), np.uint8), np.arange(count, dtype=np.int64)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 3), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_batches_are_moved_images(count: int, batch_size: int, shift: int, seed: int) -> None:
    images, labels = images_and_labels(count)
    batches = Batches(images, labels, batch_size, shift, seed)
    seen = []
    for indices, shifts in batches.epoch(epoch=3):
        pixels, batch_labels = batches.batch(indices, shifts)
        assert pixels.dtype == np.float32
        for index, (down, right), moved in zip(batch_labels, shifts, pixels, strict=True):
            padded = np.pad(images[index], ((shift, shift), (shift, shift), (0, 0)))
            expected = padded[down : down + 6, right : right + 5] / np.float32(255)
            np.testing.assert_array_equal(moved, expected)
        seen.extend(batch_labels)
    assert len(set(seen)) == len(seen) == count - count % min(batch_size, count)


def test_order_depends_on_seed_and_epoch_only() -> None:
    images, labels = images_and_labels(20)

    def order(seed: int, epoch: int) -> list[int]:
        plan = Batches(images, labels, 10, 0, seed).epoch(epoch)
        return [int(index) for indices, _ in plan for index in indices]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_shifts_reach_both_ends() -> None:
    images, labels = images_and_labels(400)
    plan = Batches(images, labels, 100, 2, seed=0).epoch(0)
    assert {int(value) for _, shifts in plan for value in shifts.ravel()} == {0, 1, 2, 3, 4}


def test_last_incomplete_batch_is_left_out() -> None:
    images, labels = images_and_labels(25)
    assert len(Batches(images, labels, 10, 0, seed=0)) == 2
    assert len(Batches(images, labels, 100, 0, seed=0)) == 1


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_whole_epoch_is_its_batches(count: int, batch_size: int, shift: int, seed: int) -> None:
    images, labels = images_and_labels(count)
    batches = Batches(images, labels, batch_size, shift, seed)
    whole, whole_labels = batches.whole_epoch(epoch=2)
    for index, (indices, shifts) in enumerate(batches.epoch(epoch=2)):
        pixels, batch_labels = batches.batch(indices, shifts)
        np.testing.assert_array_equal(whole[index] / np.float32(255), pixels)
        np.testing.assert_array_equal(whole_labels[index], batch_labels)
    assert len(whole) == len(batches)
