"""Shuffled, moved, mirrored, cut batches that depend on nothing but the seed and the epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgegolf.zoo.recipe import BLACK, PHOTO

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING: dict[str, Literal["constant", "reflect"]] = {BLACK: "constant", PHOTO: "reflect"}


class Batches:
    """The training images, an epoch of batches at a time.

    All that is random in an epoch is drawn from `(seed, epoch)` alone, so that a resumed run sees
    exactly what an uninterrupted one would have seen. The last, incomplete batch of an epoch is
    left out: another batch shape would compile every step anew.

    Args:
        images: uint8 [n, height, width, channels].
        labels: int64 [n].
        batch_size: Images per batch; at most n are taken.
        shift: Largest movement of an image, in pixels.
        flip: Probability that an image is mirrored, left to right.
        cutout: Side of a square that is cut out, in pixels; its centre is anywhere.
        seed: What the random numbers are drawn from.
        background: What a moved image uncovers and a cut square shows: zeros, or (`photo`) the
            image's reflection in its border and the mean colour of all images.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        batch_size: int,
        shift: int,
        flip: float,
        cutout: int,
        seed: int,
        background: str = BLACK,
    ) -> None:
        margin = ((0, 0), (shift, shift), (shift, shift), (0, 0))
        padded = np.pad(images, margin, mode=PADDING[background])
        windows = sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
        # [n, down, right, height, width, channels]: an image in every place that it may move to.
        self._windows = windows.transpose(0, 1, 2, 4, 5, 3)
        self._labels = labels
        self._shape = images.shape[1:]
        self._batch_size = min(batch_size, len(images))
        self._shift = shift
        self._flip = flip
        self._cutout = cutout
        self._filling = _mean_colour(images) if background == PHOTO else 0
        self._seed = seed

    def __len__(self) -> int:
        return len(self._labels) // self._batch_size

    def epoch(self, epoch: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images uint8 [batches, batch, height, width, channels], labels int64 [batches, batch]."""
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._labels))[: len(self) * self._batch_size]
        shifts = random.integers(0, 2 * self._shift + 1, (len(order), 2))
        down, right = shifts.T
        images = self._windows[order, down, right]
        mirrored = random.random(len(order)) < self._flip
        images[mirrored] = images[mirrored, :, ::-1]
        if self._cutout:
            rows, columns = (
                _near(random.integers(0, size, (len(order), 1)), size, self._cutout)
                for size in self._shape[:2]
            )
            images[rows[:, :, None] & columns[:, None, :]] = self._filling
        batched = (len(self), self._batch_size)
        return images.reshape(*batched, *self._shape), self._labels[order].reshape(batched)


def _mean_colour(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.mean(axis=(0, 1, 2)).round().astype(np.uint8)


def _near(centres: NDArray[np.int64], size: int, width: int) -> NDArray[np.bool_]:
    """Which of `size` pixels are among the `width` around each centre, bool [n, size]."""
    distances = np.arange(size) - centres + width // 2
    return (distances >= 0) & (distances < width)
