"""MNIST, 70,000 handwritten digits of 28x28 pixels.

LeCun, Bottou, Bengio, Haffner: "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86 (1998).
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegolf.data.dataset import Dataset, DatasetUnavailableError, Source, Split, SplitName
from edgegolf.data.download import download
from edgegolf.data.idx import REPLACE_HINT, parse_idx, read_content, sizes
from edgegolf.data.places import ENVIRONMENT_VARIABLE, cache_folder, find_folders
from edgegolf.data.splitting import stratified_sample, without
from edgegolf.errors import EdgegolfError

NAME = "mnist"
LICENCE = "CC BY-SA 3.0"
CLASSES = 10
VALIDATION_IMAGES = 5_000  # of the 60,000 training images
HOW_TO_GET = (
    f"put the four files *-ubyte.gz into a folder {NAME}/ and let {ENVIRONMENT_VARIABLE} name the "
    "folder above it, or go online once"
)

# Copies of the original files, kept by PyTorch, the Common Visual Data Foundation and Azure.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://azureopendatastorage.blob.core.windows.net/mnist/",
)


@dataclass(frozen=True)
class IdxFile:
    """One of the four files."""

    name: str  # file name without `.gz`
    shape: tuple[int, ...]  # what it holds
    sha256: str  # of the uncompressed content, so that it does not depend on who compressed it

    @property
    def size(self) -> int:
        """Bytes of the uncompressed file."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


TRAINING_IMAGES = IdxFile(
    "train-images-idx3-ubyte",
    (60_000, 28, 28),
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
)
TRAINING_LABELS = IdxFile(
    "train-labels-idx1-ubyte",
    (60_000,),
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
TEST_IMAGES = IdxFile(
    "t10k-images-idx3-ubyte",
    (10_000, 28, 28),
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
TEST_LABELS = IdxFile(
    "t10k-labels-idx1-ubyte",
    (10_000,),
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
FILES = (TRAINING_IMAGES, TRAINING_LABELS, TEST_IMAGES, TEST_LABELS)

# The same as `sha256sum` of what `sha256sum` prints for the four uncompressed files, in the order
# above.
CHECKSUM = hashlib.sha256(
    "".join(f"{file.sha256}  {file.name}\n" for file in FILES).encode()
).hexdigest()


def find() -> Dataset | None:
    """MNIST from $EDGEGOLF_DATA/mnist or the user's cache, if its four files are there.

    Raises:
        EdgegolfError: $EDGEGOLF_DATA/mnist holds some of the files, not all.
    """
    names = [file.name for file in FILES]
    folders = find_folders(
        NAME, names, lambda folder: [file.name for file in FILES if _path(folder, file) is None]
    )
    return _open(folders[0]) if folders else None


def fetch(mirrors: tuple[str, ...] = MIRRORS) -> Dataset:
    """MNIST from where `find` looks, else downloaded into the user's cache.

    Raises:
        DatasetUnavailableError: It is not here, and no mirror delivered it.
        EdgegolfError: As `find`.
    """
    if dataset := find():
        return dataset
    problem = _download_once(cache_folder(NAME), mirrors)
    if dataset := find():
        return dataset
    raise DatasetUnavailableError(f"MNIST is not on this machine: {problem}", hint=HOW_TO_GET)


SOURCE = Source(
    NAME,
    LICENCE,
    (60_000 - VALIDATION_IMAGES, VALIDATION_IMAGES, 10_000),
    HOW_TO_GET,
    find,
    fetch,
    "MNIST's handwritten digits",
    tuple("0123456789"),
)


@cache  # a machine that is offline is asked once per process, not once per call
def _download_once(folder: Path, mirrors: tuple[str, ...]) -> str:
    """Download the files that are missing; returns what went wrong, or an empty text."""
    for file in FILES:
        if _path(folder, file):
            continue
        name = file.name + ".gz"
        try:
            download(
                [mirror + name for mirror in mirrors],
                folder / name,
                check=partial(_read, file=file),
                maximum=file.size,
            )
        except EdgegolfError as error:
            return error.message
    return ""


def _open(folder: Path) -> Dataset:
    return Dataset(
        name=NAME,
        image_shape=(28, 28, 1),
        classes=CLASSES,
        checksum=CHECKSUM,
        location=str(folder),
        licence=LICENCE,
        read=cache(partial(_read_split, folder)),  # 0.2 s each
        files=tuple(path for file in FILES if (path := _path(folder, file))),
    )


def _read_split(folder: Path, which: SplitName) -> Split:
    if which == "test":
        return _read_pair(folder, TEST_IMAGES, TEST_LABELS)
    training = _read_pair(folder, TRAINING_IMAGES, TRAINING_LABELS)
    chosen = stratified_sample(training.labels, VALIDATION_IMAGES)
    if which == "train":
        chosen = without(np.arange(len(training.labels)), chosen)
    return Split(training.images[chosen], training.labels[chosen])


def _read_pair(folder: Path, images: IdxFile, labels: IdxFile) -> Split:
    return Split(
        _read(_path(folder, images) or folder / images.name, images)[..., np.newaxis],
        _read(_path(folder, labels) or folder / labels.name, labels).astype(np.int64),
    )


def _read(path: Path, file: IdxFile) -> NDArray[np.uint8]:
    """The array in a file that must be the one described."""
    content = read_content(path, maximum=file.size)
    array = parse_idx(content, str(path))
    if array.shape != file.shape:
        raise EdgegolfError(
            f"{path} holds {sizes(array.shape)} bytes, MNIST's has {sizes(file.shape)}",
            hint=REPLACE_HINT,
        )
    if array.ndim == 1 and array.max() >= CLASSES:
        raise EdgegolfError(
            f"{path} holds the label {array.max()}, MNIST's end at {CLASSES - 1}", hint=REPLACE_HINT
        )
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != file.sha256:
        raise EdgegolfError(
            f"{path} is not MNIST's: its content has SHA-256 {checksum}, not {file.sha256}",
            hint=REPLACE_HINT,
        )
    return array


def _path(folder: Path, file: IdxFile) -> Path | None:
    """The file as it is there: plain or compressed."""
    candidates = (folder / file.name, folder / f"{file.name}.gz")
    return next((path for path in candidates if os.path.isfile(path)), None)
