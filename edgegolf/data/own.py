"""A user's own data set: a function that returns images and labels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.data.dataset import Dataset, Split, SplitName
from edgegolf.data.splitting import stratified_sample, without
from edgegolf.errors import EdgegolfError
from edgegolf.user_code import told, user_function

HINT = (
    "a data set is a function that returns (images, labels), uint8 [n, height, width, channels] "
    "and integers from 0, or an edgegolf.data.Dataset, as in my.py:data"
)
TEST_SHARE, VALIDATION_SHARE = 6, 10  # one image of so many; of the rest one of so many


def own_dataset(reference: str) -> Dataset:
    """What a function of a Python file returns; its code runs here.

    Raises:
        EdgegolfError: There is no such function, it fails, or returns something else.
    """
    with user_function(reference, HINT) as function, told(reference, HINT):
        found = function()
    file, _, name = reference.rpartition(":")
    return dataset_from(found, name, reference, str(Path(file).resolve()))


def dataset_from(found: Any, name: str, reference: str, location: str) -> Dataset:
    """A data set of what a function returned, with splits that depend on the labels only."""
    if isinstance(found, Dataset):
        return Dataset(**{**vars(found), "reference": reference})
    try:
        images, labels = (np.asarray(each) for each in found)
    except (TypeError, ValueError):
        raise EdgegolfError(f"{reference} returns a {type(found).__name__}", HINT) from None
    if images.dtype != np.uint8 or images.ndim != 4 or not np.issubdtype(labels.dtype, np.integer):
        kinds = f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        raise EdgegolfError(f"{reference} returns {kinds}", HINT)
    if labels.shape != images.shape[:1] or len(labels) < 30 or labels.min() < 0:
        raise EdgegolfError(
            f"{reference} returns {len(images)} images, {labels.shape} labels", HINT
        )
    labels = labels.astype(np.int64)
    test = stratified_sample(labels, len(labels) // TEST_SHARE)
    rest = without(np.arange(len(labels)), test)
    validation = rest[stratified_sample(labels[rest], len(rest) // VALIDATION_SHARE)]
    chosen = {"train": without(rest, validation), "validation": validation, "test": test}

    def read(which: SplitName) -> Split:
        return Split(images[chosen[which]], labels[chosen[which]])

    return Dataset(
        name=name,
        image_shape=images.shape[1:],
        classes=int(labels.max()) + 1,
        checksum=hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(),
        location=location,
        licence="the user's",
        read=read,
        reference=reference,
    )
