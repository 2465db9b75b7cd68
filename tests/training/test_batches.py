"""Batches against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegolf.training.batches import Batches
from edgegolf.zoo.recipe import BLACK, PHOTO


def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(1, 256, (count, 6, 5, 1), np.uint8), np.arange(count, dtype=np.int64)


def moved(image: np.ndarray, down: int, right: int, background: str) -> np.ndarray:
    """The image so many pixels further down and right."""
    result = np.zeros_like(image)
    for row in range(6):
        for column in range(5):
            from_row, from_column = row - down, column - right
            if background == PHOTO:  # a mirror in the middle of the outermost pixels
                from_row = 5 - abs(5 - abs(from_row))
                from_column = 4 - abs(4 - abs(from_column))
            if 0 <= from_row < 6 and 0 <= from_column < 5:
                result[row, column] = image[from_row, from_column]
    return result


@given(
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(0, 3),
    st.integers(0, 2**32),
    st.sampled_from([BLACK, PHOTO]),
)
@settings(max_examples=50, deadline=None)
def test_batches_are_moved_images(
    count: int, batch_size: int, shift: int, seed: int, background: str
) -> None:
    images, labels = images_and_labels(count)
    batches = Batches(images, labels, batch_size, shift, 0.0, 0, seed, background)
    pixels, indices = batches.epoch(epoch=3)
    size = min(batch_size, count)
    assert len(batches) == count // size
    assert pixels.shape == (count // size, size, 6, 5, 1)
    assert indices.shape == (count // size, size)
    seen = indices.ravel().tolist()
    assert len(set(seen)) == len(seen)
    steps = range(-shift, shift + 1)
    moves = [(down, right, background) for down in steps for right in steps]
    for index, found in zip(seen, pixels.reshape(-1, 6, 5, 1), strict=True):
        assert any(np.array_equal(found, moved(images[index], *move)) for move in moves)


def test_order_depends_on_seed_and_epoch_only() -> None:
    images, labels = images_and_labels(20)

    def order(seed: int, epoch: int) -> list[int]:
        return Batches(images, labels, 10, 0, 0.5, 2, seed).epoch(epoch)[1].ravel().tolist()

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_every_move_occurs() -> None:
    images = np.full((400, 6, 5, 1), 7, np.uint8)
    images[:, 3, 2] = 9  # where this pixel goes tells the move
    pixels, _ = Batches(images, np.arange(400), 100, 2, 0.0, 0, seed=0).epoch(0)
    places = np.argwhere(pixels.reshape(400, 6, 5) == 9)[:, 1:]
    assert {tuple(place) for place in places.tolist()} == {
        (row, column) for row in range(1, 6) for column in range(5)
    }


def test_images_are_mirrored_left_to_right_as_often_as_asked() -> None:
    images, labels = images_and_labels(1000)
    pixels, indices = Batches(images, labels, 100, 0, 0.25, 0, seed=0).epoch(0)
    originals = images[indices.ravel()]
    found = pixels.reshape(originals.shape)
    same = (found == originals).all((1, 2, 3))
    mirrored = (found == originals[:, :, ::-1]).all((1, 2, 3))
    assert (same | mirrored).all()
    assert mirrored.mean() == pytest.approx(0.25, abs=0.06)  # four standard deviations


@pytest.mark.parametrize(("background", "filling"), [(BLACK, 0), (PHOTO, 8)])
def test_a_square_around_every_pixel_is_cut(background: str, filling: int) -> None:
    images = np.full((1200, 6, 5, 1), 7, np.uint8)
    images[600:] = 9  # so that their mean is none of them
    pixels, _ = Batches(images, np.arange(1200), 100, 0, 0.0, 3, 0, background).epoch(0)
    found = {image.tobytes() for image in pixels.reshape(1200, 6, 5)}
    expected = set()
    for value in (7, 9):
        for row in range(6):
            for column in range(5):
                image = np.full((6, 5), value, np.uint8)
                image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = filling
                expected.add(image.tobytes())
    assert found == expected


def test_cut_squares_of_photos_have_the_mean_colour() -> None:
    images = np.zeros((10, 4, 4, 3), np.uint8)
    images[:5] = (10, 20, 31)
    pixels, _ = Batches(images, np.arange(10), 10, 0, 0.0, 9, 0, PHOTO).epoch(0)
    assert set(map(tuple, pixels.reshape(-1, 3).tolist())) == {(5, 10, 16)}


def test_targets_are_what_mixed_images_show() -> None:
    labels = np.arange(1200, dtype=np.int64) % 7
    images = np.broadcast_to(labels[:, None, None, None], (1200, 20, 10, 1)).astype(np.uint8)
    pixels, shares = Batches(images, labels, 100, 0, 0.0, 0, 0, cutmix=0.5).epoch(0)
    shown = np.stack([(pixels == label).mean(axis=(2, 3, 4)) for label in range(7)], axis=-1)
    np.testing.assert_allclose(shares, shown, atol=1e-6)
    whole = (shares.max(axis=-1) == 1).mean()
    # Neighbours are of one class a seventh of the time; few rectangles are too small to be seen.
    assert whole == pytest.approx(1 - 0.5 * 6 / 7, abs=0.06)


def test_mixed_images_show_rectangles() -> None:
    images = np.stack([np.full((8, 8, 1), value, np.uint8) for value in (3, 5)] * 300)
    labels = np.arange(600, dtype=np.int64) % 2
    pixels, _ = Batches(images, labels, 600, 0, 0.0, 0, 0, cutmix=1.0).epoch(0)
    for image in pixels.reshape(600, 8, 8):
        rows, columns = (image == 3).any(axis=1), (image == 3).any(axis=0)
        pasted = [np.outer(rows, columns), ~np.outer((image == 5).any(1), (image == 5).any(0))]
        assert any(np.array_equal(image == 3, each) for each in pasted)


def test_mixing_ends_before_its_last_epoch_and_is_the_same_until_then() -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    labels = np.arange(60, dtype=np.int64) % 3
    always, never = (Batches(images, labels, 20, 1, 0.0, 2, 0, cutmix=p) for p in (1.0, 1e-9))
    ending = Batches(images, labels, 20, 1, 0.0, 2, 0, cutmix=1.0, cutmix_epochs=1.5)
    assert [ending.mixes(epoch) for epoch in range(4)] == [True, True, False, False]
    for epoch, reference in enumerate((always, always, never, never)):
        for found, expected in zip(ending.epoch(epoch), reference.epoch(epoch), strict=True):
            np.testing.assert_array_equal(found, expected)
