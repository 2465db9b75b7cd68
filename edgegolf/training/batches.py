"""Batches of moved, mirrored, cut and mixed images that depend on seed and epoch alone."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgegolf.zoo.recipe import BLACK, PHOTO

Targets: TypeAlias = NDArray[np.int64] | NDArray[np.float32]

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
        cutmix: Probability that a rectangle of an image shows another's of the epoch. It has the
            image's proportions, an area that is uniformly distributed, and its centre anywhere.
        cutmix_epochs: Images are mixed in the epochs below this one.
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
        cutmix: float = 0.0,
        cutmix_epochs: float = math.inf,
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
        self._cutmix = cutmix
        self._cutmix_epochs = cutmix_epochs
        self._seed = seed

    def __len__(self) -> int:
        return len(self._labels) // self._batch_size

    def mixes(self, epoch: int) -> bool:
        """Whether images are mixed in an epoch, if they ever are."""
        return epoch < self._cutmix_epochs

    def epoch(self, epoch: int) -> tuple[NDArray[np.uint8], Targets]:
        """Images uint8 [batches, batch, height, width, channels] and what they show.

        That is labels, int64 [batches, batch], or where images are mixed the share that each class
        has of an image, float32 [batches, batch, classes].
        """
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._labels))[: len(self) * self._batch_size]
        shifts = random.integers(0, 2 * self._shift + 1, (len(order), 2))
        down, right = shifts.T
        images = self._windows[order, down, right]
        mirrored = random.random(len(order)) < self._flip
        images[mirrored] = images[mirrored, :, ::-1]
        targets: Targets = self._labels[order]
        if self._cutmix:
            targets = self._mix(random, images, targets, self._cutmix * self.mixes(epoch))
        if self._cutout:
            rows, columns = (
                _near(random.integers(0, size, (len(order), 1)), size, self._cutout)
                for size in self._shape[:2]
            )
            images[rows[:, :, None] & columns[:, None, :]] = self._filling
        batched = (len(self), self._batch_size)
        return (
            images.reshape(*batched, *self._shape),
            targets.reshape(*batched, *targets.shape[1:]),
        )

    def _mix(
        self,
        random: np.random.Generator,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        probability: float,
    ) -> NDArray[np.float32]:
        """Show a rectangle of its neighbour in some images, and return the classes' shares."""
        count = len(labels)
        sides = np.sqrt(random.random((count, 1))) * (random.random((count, 1)) < probability)
        rows, columns = (
            _near(random.integers(0, size, (count, 1)), size, (sides * size).round().astype(int))
            for size in self._shape[:2]
        )
        pasted = rows[:, :, None] & columns[:, None, :]
        images[pasted] = np.roll(images, 1, axis=0)[pasted]
        share = pasted.mean(axis=(1, 2), dtype=np.float32)[:, None]
        one_hot = np.eye(self._labels.max() + 1, dtype=np.float32)
        return (1 - share) * one_hot[labels] + share * one_hot[np.roll(labels, 1)]


def _mean_colour(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.mean(axis=(0, 1, 2)).round().astype(np.uint8)


def _near(
    centres: NDArray[np.int64], size: int, width: int | NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of `size` pixels are among the `width` around each centre, bool [n, size]."""
    distances = np.arange(size) - centres + width // 2
    return (distances >= 0) & (distances < width)
