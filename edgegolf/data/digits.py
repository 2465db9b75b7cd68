"""scikit-learn's handwritten digits: 1,797 images that need no download, for where MNIST is not.

Alpaydin, Kaynak: "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository
(1998), its test part. 8x8 pixels of 0...16, enlarged here to MNIST's 28x28 of 0...255.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegolf.data.dataset import Dataset, Source, Split, SplitName
from edgegolf.data.splitting import stratified_sample, without
from edgegolf.errors import EdgegolfError, missing

NAME = "digits"
LICENCE = "CC BY 4.0"
HOW_TO_GET = "pip install 'edgegolf[train]'"
CLASSES = 10
IMAGES = 1_797
VALIDATION_IMAGES = 180
TEST_IMAGES = 360
BRIGHTEST = 16
SIZE = 28
# SHA-256 of the bytes of the enlarged images, then of the labels as bytes.
CHECKSUM = "1756cecd7142a0f5ab5ee83a4ed11de461fc9f55d3ae50ec42dfb5a14890510f"


def find() -> Dataset | None:
    """The digits, if scikit-learn is installed."""
    return fetch() if find_spec("sklearn") else None


def fetch() -> Dataset:
    """The digits.

    Raises:
        EdgegolfError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise missing("sklearn", extra="train")
    return Dataset(
        name=NAME,
        image_shape=(SIZE, SIZE, 1),
        classes=CLASSES,
        checksum=CHECKSUM,
        location=f"scikit-learn {version('scikit-learn')}",
        licence=LICENCE,
        read=_read_split,
    )


SOURCE = Source(
    NAME,
    LICENCE,
    (IMAGES - VALIDATION_IMAGES - TEST_IMAGES, VALIDATION_IMAGES, TEST_IMAGES),
    HOW_TO_GET,
    find,
    fetch,
    "scikit-learn's handwritten digits",
    tuple("0123456789"),
)


def enlarge(images: NDArray[np.uint8], size: int = SIZE) -> NDArray[np.uint8]:
    """Enlarge square images bilinearly, pixel centres aligned, and spread 0...16 over 0...255.

    In integers throughout, so that the result is the same on every machine.

    Args:
        images: [n, side, side], values 0...16.
        size: New side in pixels.

    Returns:
        uint8 [n, size, size].
    """
    side = images.shape[-1]
    # Centre i of the new pixels lies at ((2i + 1) * side / size - 1) / 2 of the old ones; in units
    # of 1 / (2 * size) that is an integer.
    unit = 2 * size
    position = np.clip((2 * np.arange(size) + 1) * side - size, 0, (side - 1) * unit)
    lower, weight = position // unit, position % unit
    upper = np.minimum(lower + 1, side - 1)
    wide = images.astype(np.int64)
    rows = wide[:, lower] * (unit - weight)[:, None] + wide[:, upper] * weight[:, None]
    values = rows[:, :, lower] * (unit - weight) + rows[:, :, upper] * weight
    full = BRIGHTEST * unit**2
    return ((values * 255 + full // 2) // full).astype(np.uint8)


def _rows() -> NDArray[np.uint8]:
    """Pixels and label of each image, uint8 [n, 65]; importing scikit-learn takes seconds."""
    found = find_spec("sklearn")
    for folder in (found and found.submodule_search_locations) or ():
        return np.loadtxt(Path(folder) / "datasets/data/digits.csv.gz", np.uint8, delimiter=",")
    raise missing("sklearn", extra="train")


def _read_split(which: SplitName) -> Split:
    rows = _rows()
    images = enlarge(rows[:, :-1].reshape(-1, 8, 8))[..., np.newaxis]
    labels = rows[:, -1].astype(np.int64)
    content = images.tobytes() + labels.astype(np.uint8).tobytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != CHECKSUM:
        raise EdgegolfError(
            f"this scikit-learn's digits are others: SHA-256 {checksum}, not {CHECKSUM}",
            hint="install the scikit-learn of edgegolf's constraints file",
        )
    everything = np.arange(IMAGES)
    test = stratified_sample(labels, TEST_IMAGES)
    rest = without(everything, test)
    validation = rest[stratified_sample(labels[rest], VALIDATION_IMAGES)]
    chosen = {"train": without(rest, validation), "validation": validation, "test": test}[which]
    return Split(images[chosen], labels[chosen])
