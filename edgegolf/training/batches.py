"""Shuffled, shifted batches that depend on nothing but the seed and the epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Batches:
    """The training images, batch by batch.

    The order and the shifts of an epoch are drawn from `(seed, epoch)` alone, so that a resumed
    run sees exactly what an uninterrupted one would have seen. The last, incomplete batch of an
    epoch is left out: another batch shape would compile every step anew.

    Args:
        images: uint8 [n, height, width, channels].
        labels: int64 [n].
        batch_size: Images per batch; at most n are taken.
        shift: Largest movement of an image, in pixels; the border is filled with zeros.
        seed: What the random numbers are drawn from.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        batch_size: int,
        shift: int,
        seed: int,
    ) -> None:
        margin = ((0, 0), (shift, shift), (shift, shift), (0, 0))
        self._padded = np.pad(images, margin)
        self._labels = labels
        self._size = images.shape[1:3]
        self._batch_size = min(batch_size, len(images))
        self._shift = shift
        self._seed = seed

    def __len__(self) -> int:
        return len(self._labels) // self._batch_size

    def epoch(self, epoch: int) -> list[tuple[NDArray[np.intp], NDArray[np.int64]]]:
        """The indices [batch] and shifts [batch, 2] of each batch of an epoch."""
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._labels))[: len(self) * self._batch_size]
        shifts = random.integers(0, 2 * self._shift + 1, (len(order), 2))
        return list(
            zip(
                order.reshape(len(self), self._batch_size),
                shifts.reshape(len(self), self._batch_size, 2),
                strict=True,
            )
        )

    def batch(
        self, indices: NDArray[np.intp], shifts: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Images float32 in 0…1 [batch, height, width, channels] and labels int64 [batch]."""
        height, width = self._size
        rows = shifts[:, 0, None, None] + np.arange(height)[None, :, None]
        columns = shifts[:, 1, None, None] + np.arange(width)[None, None, :]
        images = self._padded[indices[:, None, None], rows, columns]
        return images.astype(np.float32) / np.float32(255), self._labels[indices]

    def whole_epoch(self, epoch: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All batches at once.

        Images uint8 [batches, batch, height, width, channels], labels int64 [batches, batch].
        """
        plan = self.epoch(epoch)
        indices = np.stack([indices for indices, _ in plan])
        shifts = np.stack([shifts for _, shifts in plan])
        height, width = self._size
        images = np.empty((*indices.shape, height, width, self._padded.shape[3]), np.uint8)
        # All images that are moved alike at once: whole rows are copied, not pixels.
        for down in range(2 * self._shift + 1):
            for right in range(2 * self._shift + 1):
                alike = (shifts == (down, right)).all(axis=2)
                window = self._padded[:, down : down + height, right : right + width]
                images[alike] = window[indices[alike]]
        return images, self._labels[indices]
