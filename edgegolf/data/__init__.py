"""Data sets: uint8 images, integer labels, splits that never change.

>>> dataset = load_dataset("mnist")
>>> dataset.split("validation").images.shape
(5000, 28, 28, 1)
"""

from __future__ import annotations

from edgegolf.data import cifar10, digits, mnist
from edgegolf.data.dataset import (
    Dataset,
    DatasetStatus,
    DatasetUnavailableError,
    Source,
    Split,
    SplitName,
)
from edgegolf.data.own import dataset_from, own_dataset
from edgegolf.errors import EdgegolfError, unknown
from edgegolf.progress import say
from edgegolf.user_code import from_package, is_reference

# Every data set edgegolf knows, by name. A new one: its own file, and a line here.
SOURCES: dict[str, Source] = {
    mnist.NAME: mnist.SOURCE,
    digits.NAME: digits.SOURCE,
    cifar10.ORIGINAL.name: cifar10.SOURCE,
    cifar10.JPEG_COPY.name: cifar10.JPEG_SOURCE,
}

PACKAGES = "edgegolf.datasets"  # entry points of packages that have data sets

# What is taken, and said, where a data set is not to be had and was not asked for by name.
STAND_INS = {mnist.NAME: digits.NAME, cifar10.ORIGINAL.name: cifar10.JPEG_COPY.name}


def load_dataset(name: str | None = None, usual: str = mnist.NAME) -> Dataset:
    """Find a data set, downloading it if needed; no image is read yet.

    Args:
        name: One of those that `list_datasets` lists. None is the usual one where it is to be had,
            else its stand-in, which is said on standard error.
        usual: MNIST, whose stand-in are the embedded digits, or CIFAR-10, whose is its JPEG copy.

    Raises:
        DatasetUnavailableError: It is not on this machine and cannot be downloaded.
        EdgegolfError: No data set has this name, or its folder is incomplete.
    """
    if name is None:
        return _load_usual(usual)
    if name in SOURCES:
        return SOURCES[name].fetch()
    if found := from_package(PACKAGES, name):
        return dataset_from(found(), name, name, f"the package {found.__module__}")
    error = unknown(f"no data set is called {name!r}", name, SOURCES)
    raise DatasetUnavailableError(error.message, error.hint)


def named_dataset(name: str | None = None, usual: str = mnist.NAME) -> Dataset:
    """The data set that a user names: as `load_dataset`, or `my.py:data`, whose code runs then.

    Raises:
        EdgegolfError: As `load_dataset`; or there is no such function, or it returns no data set.
    """
    if name is not None and is_reference(name):
        return own_dataset(name)
    return load_dataset(name, usual)


def list_datasets() -> tuple[DatasetStatus, ...]:
    """Every data set edgegolf knows: found or not, and verified if found. Never downloads."""
    return tuple(_status(source) for source in SOURCES.values())


def _load_usual(usual: str) -> Dataset:
    try:
        return SOURCES[usual].fetch()
    except DatasetUnavailableError as unavailable:
        stand_in = SOURCES[STAND_INS[usual]]
        try:
            dataset = stand_in.fetch()
        except EdgegolfError as error:
            raise EdgegolfError(
                f"{unavailable.message}; and for {stand_in.name} instead, {error.message}",
                hint=f"{unavailable.hint}; or {error.hint}",
            ) from None
        say(
            f"{unavailable.message}. Using {stand_in.name} ({sum(stand_in.images):,} images) "
            f"instead. To get {usual}, {unavailable.hint}."
        )
        return dataset


def _status(source: Source) -> DatasetStatus:
    dataset, problem = None, ""
    try:
        dataset = source.find()
        if dataset is not None:
            dataset.split("train")
            dataset.split("test")
    except EdgegolfError as error:
        problem = error.message
    return DatasetStatus(
        name=dataset.name if dataset else source.name,
        licence=source.licence,
        images=source.images,
        how_to_get=source.how_to_get,
        location=dataset.location if dataset else "",
        checksum=dataset.checksum if dataset else "",
        verified=dataset is not None and not problem,
        problem=problem,
    )
