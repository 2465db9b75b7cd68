"""Fixed splits: the same images on every machine and with every numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 0


def stratified_sample(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices of a random sample in which each class keeps its share, to within one image.

    The images are shuffled, sorted by class, and picked at even distances.

    Args:
        labels: [n], the class of each image.
        count: How many to take.

    Returns:
        [count], ascending.
    """
    # numpy guarantees RandomState's stream for ever, that of its newer generators not.
    shuffled = np.random.RandomState(SEED).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return np.sort(by_class[np.arange(count) * len(labels) // count])


def without(indices: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sorted indices that were not taken."""
    return np.setdiff1d(indices, taken, assume_unique=True)
