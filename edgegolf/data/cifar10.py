"""CIFAR-10, 60,000 photos of 32x32 pixels in ten classes, from its binary version.

Krizhevsky: "Learning multiple layers of features from tiny images", technical report, University
of Toronto (2009). A record of the binary version is one byte with the label and 3,072 with the
pixels: all red ones row by row, then the green, then the blue.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from edgegolf.data.dataset import Dataset, DatasetUnavailableError, Source, Split, SplitName
from edgegolf.data.download import download
from edgegolf.data.idx import REPLACE_HINT
from edgegolf.data.places import ENVIRONMENT_VARIABLE, cache_folder, find_folders
from edgegolf.data.splitting import stratified_sample, without
from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded, write_atomically

FOLDER = "cifar-10-batches-bin"
CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CLASSES = len(CLASS_NAMES)
SIDE = 32
CHANNELS = 3
RECORD = 1 + CHANNELS * SIDE * SIDE  # bytes
RECORDS = 10_000  # per file
FILE_BYTES = RECORDS * RECORD
TRAINING_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
FILES = (*TRAINING_FILES, TEST_FILE)
VALIDATION_IMAGES = 5_000  # of the 50,000 training images
IMAGES = (50_000 - VALIDATION_IMAGES, VALIDATION_IMAGES, 10_000)

ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_BYTES = 170_052_171
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as the data set's page gives it
# The author's page, its new host, and MindSpore's copy.
MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://cave.cs.toronto.edu/kriz/",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/",
)


@dataclass(frozen=True)
class Version:
    """The six files with one content or another."""

    name: str  # what its results are filed under
    md5: tuple[str, ...]  # of each of `FILES`

    @property
    def checksum(self) -> str:
        """The same as `sha256sum` of what `md5sum` prints for the six files, in this order."""
        lines = (f"{md5}  {file}\n" for md5, file in zip(self.md5, FILES, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


LICENCE = "not stated"

ORIGINAL = Version(
    "cifar10",
    (
        "5dd7e06a14cb22eb9f671a540d1b7c25",
        "5ea93a67294ea407fff1d09f752e9692",
        "942cd6a4bcdd0dd3c604fbe906cb4421",
        "ae636b3ba5c66a11e91e8cb52e771fcb",
        "53f37980c15c3d472c316c40844f3f0d",
        "803d5f7f4d78ea53de84dbe85f74fb6d",
    ),
)
# The same images in another order, after JPEG compression at quality 75 with halved colour.
JPEG_COPY = Version(
    "cifar10-jpeg",
    (
        "865b7f0146252a5357c5323c876c4d93",
        "89f4e1e5c2820c62adc3de61c3fdfa6a",
        "1c4c53568ec72a845453975fcc81dc9f",
        "7af0778436651273fefec003734dc2d8",
        "90f1d657eb916094a5c07ef00b4bec7d",
        "6490acf0668b9a4ec7882ae018b2136d",
    ),
)
HOW_TO_GET = (
    f"unpack {ARCHIVE} into a folder and let {ENVIRONMENT_VARIABLE} name it, so that it holds "
    f"{FOLDER}/, or go online once (170 MB)"
)
HOW_TO_GET_JPEG_COPY = (
    f"write its six files into a folder {FOLDER}/ and let {ENVIRONMENT_VARIABLE} name the folder "
    "above it; it is nowhere to be downloaded"
)


def find(version: Version) -> Dataset | None:
    """The data set from $EDGEGOLF_DATA or the user's cache, if its six files are there.

    Raises:
        EdgegolfError: The folder in $EDGEGOLF_DATA holds some of the files, not all.
    """
    folders = find_folders(FOLDER, FILES, _missing)
    folder = next((folder for folder in folders if _version_in(folder) == version), None)
    if folder is None:
        return None
    return Dataset(
        name=version.name,
        image_shape=(SIDE, SIDE, CHANNELS),
        classes=CLASSES,
        checksum=version.checksum,
        location=str(folder),
        licence=LICENCE,
        read=lambda which: _read_split(folder, version, which),
        files=tuple(folder / name for name in FILES),
    )


def fetch(mirrors: tuple[str, ...] = MIRRORS) -> Dataset:
    """The original from where `find` looks, else downloaded into the user's cache.

    Raises:
        DatasetUnavailableError: It is not here, and no mirror delivered it.
        EdgegolfError: As `find`.
    """
    if dataset := find(ORIGINAL):
        return dataset
    problem = _download_once(cache_folder(FOLDER), mirrors)
    if dataset := find(ORIGINAL):
        return dataset
    hint = HOW_TO_GET
    if find(JPEG_COPY):
        hint = f"there is its lossy copy {JPEG_COPY.name}; else {HOW_TO_GET}"
    raise DatasetUnavailableError(f"CIFAR-10 is not on this machine: {problem}", hint=hint)


def fetch_jpeg_copy() -> Dataset:
    """The JPEG copy from where `find` looks.

    Raises:
        DatasetUnavailableError: It is not here.
        EdgegolfError: As `find`.
    """
    if dataset := find(JPEG_COPY):
        return dataset
    raise DatasetUnavailableError(
        f"{JPEG_COPY.name} is not on this machine", hint=HOW_TO_GET_JPEG_COPY
    )


SOURCE = Source(
    ORIGINAL.name,
    LICENCE,
    IMAGES,
    HOW_TO_GET,
    partial(find, ORIGINAL),
    fetch,
    "CIFAR-10's photos",
    CLASS_NAMES,
)
JPEG_SOURCE = Source(
    JPEG_COPY.name,
    LICENCE,
    IMAGES,
    HOW_TO_GET_JPEG_COPY,
    partial(find, JPEG_COPY),
    fetch_jpeg_copy,
    "CIFAR-10's photos, JPEG copy",
    CLASS_NAMES,
)


def unpack(archive: Path, folder: Path) -> None:
    """Write the six files of the archive into a folder; nothing else of it is read or kept.

    Raises:
        EdgegolfError: It is damaged, or does not hold the original's six files.
    """
    found = set()
    try:
        with (
            gzip.open(archive) as unpacked,
            tarfile.open(fileobj=cast("BinaryIO", _Bounded(unpacked)), mode="r|") as members,
        ):
            for member in members:
                name = member.name.removeprefix(f"{FOLDER}/")
                if name not in FILES or not member.isreg() or member.size != FILE_BYTES:
                    continue
                file = members.extractfile(member)
                data = b"" if file is None else file.read()
                _check(data, f"{name} in {archive}", ORIGINAL.md5[FILES.index(name)])
                write_atomically(folder / name, data)
                found.add(name)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise EdgegolfError(f"{archive} is damaged: {error}") from None
    if missing := [name for name in FILES if name not in found]:
        raise EdgegolfError(f"{archive} lacks {', '.join(missing)}")


class _Bounded(io.RawIOBase):
    """A stream that ends with an error where CIFAR-10's archive has long ended."""

    MAXIMUM = len(FILES) * FILE_BYTES + (1 << 20)  # with the archive's headers and small files

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = self.MAXIMUM

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"it unpacks to more than {self.MAXIMUM:,} bytes")
        return data


@cache  # a machine that is offline is asked once per process, not once per call
def _download_once(folder: Path, mirrors: tuple[str, ...]) -> str:
    """Download and unpack; returns what went wrong, or an empty text."""
    archive = folder.with_name(ARCHIVE)
    try:
        download(
            [mirror + ARCHIVE for mirror in mirrors],
            archive,
            check=_check_archive,
            maximum=ARCHIVE_BYTES,
        )
        unpack(archive, folder)
    except EdgegolfError as error:
        return error.message
    archive.unlink()
    return ""


def _check_archive(path: Path) -> None:
    digest = _md5(read_bounded(path, ARCHIVE_BYTES))
    if digest != ARCHIVE_MD5:
        raise EdgegolfError(f"{path.name} has MD5 {digest}, not {ARCHIVE_MD5}")


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not os.path.isfile(folder / name)]


def _version_in(folder: Path) -> Version:
    """The version that the test file is of; the original if it is of none."""
    data = read_bounded(folder / TEST_FILE, FILE_BYTES)
    return JPEG_COPY if _md5(data) == JPEG_COPY.md5[-1] else ORIGINAL


def _read_split(folder: Path, version: Version, which: SplitName) -> Split:
    names = (TEST_FILE,) if which == "test" else TRAINING_FILES
    records = np.concatenate([_read(folder / name, version) for name in names])
    labels = records[:, 0].astype(np.int64)
    chosen = np.arange(len(labels))
    if which != "test":
        validation = stratified_sample(labels, VALIDATION_IMAGES)
        chosen = validation if which == "validation" else without(chosen, validation)
    planes = records[chosen, 1:].reshape(-1, CHANNELS, SIDE, SIDE)
    return Split(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels[chosen])


def _read(path: Path, version: Version) -> NDArray[np.uint8]:
    """The records [10000, 3073] of a file that must be this version's."""
    data = read_bounded(path, FILE_BYTES)
    _check(data, str(path), version.md5[FILES.index(path.name)])
    return np.frombuffer(data, np.uint8).reshape(RECORDS, RECORD)


def _check(data: bytes, source: str, md5: str) -> None:
    if len(data) != FILE_BYTES:
        raise EdgegolfError(
            f"{source} has {len(data):,} bytes, CIFAR-10's has {FILE_BYTES:,}", hint=REPLACE_HINT
        )
    if max(data[::RECORD]) >= CLASSES:
        raise EdgegolfError(
            f"{source} holds the label {max(data[::RECORD])}, CIFAR-10's end at {CLASSES - 1}",
            hint=REPLACE_HINT,
        )
    if _md5(data) != md5:
        raise EdgegolfError(
            f"{source} is not CIFAR-10's: it has MD5 {_md5(data)}, not {md5}", hint=REPLACE_HINT
        )


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
