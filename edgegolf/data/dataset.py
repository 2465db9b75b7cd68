"""What a data set is to the rest of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np

from edgegolf.data.splitting import stratified_sample, without
from edgegolf.errors import EdgegolfError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SplitName = Literal["train", "validation", "test"]


class DatasetUnavailableError(EdgegolfError):
    """A data set is neither on this machine nor to be had from the network."""


@dataclass(frozen=True)
class Split:
    """Images with their labels."""

    images: NDArray[np.uint8]  # uint8 [n, height, width, channels]
    labels: NDArray[np.int64]  # int64 [n]


@dataclass(frozen=True)
class Dataset:
    """A data set that was found; nothing is read before a split is asked for."""

    name: str  # what its results are filed under
    image_shape: tuple[int, int, int]  # height, width, channels
    classes: int  # how many labels there are, counted from 0
    checksum: str  # SHA-256 that identifies the content; every reading is verified against it
    location: str  # where it was found, for people
    licence: str  # under which terms it may be used
    # Reads one split from its files.
    read: Callable[[SplitName], Split] = field(repr=False, compare=False)
    # Its files, where they can be copied to another machine; empty if it comes in a package.
    files: tuple[Path, ...] = field(default=(), repr=False, compare=False)
    # What `named_dataset` finds it by in another process; empty where that is its name.
    reference: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """What `named_dataset` finds it by."""
        return self.reference or self.name

    def split(self, which: SplitName) -> Split:
        """Read one split; of the files, only those that hold it are opened.

        Raises:
            EdgegolfError: No such split, or a file is missing, damaged or not this data set's.
        """
        names = get_args(SplitName)
        if which not in names:
            raise EdgegolfError(
                f"data set {self.name} has no split {which!r}", hint=f"one of {', '.join(names)}"
            )
        return self.read(which)

    def with_validation_images(self, count: int) -> Dataset:
        """The data set with only so many validation images, of each class its share.

        The others become training images, behind those that are.

        Args:
            count: How many to keep, if there are more; 0 for all.
        """
        return replace(self, read=lambda which: self._read(which, count)) if count else self

    def _read(self, which: SplitName, validation_images: int) -> Split:
        if which == "test":
            return self.read(which)
        validation = self.read("validation")
        kept = stratified_sample(validation.labels, min(validation_images, len(validation.labels)))
        if which == "validation":
            return Split(validation.images[kept], validation.labels[kept])
        train = self.read("train")
        freed = without(np.arange(len(validation.labels)), kept)
        return Split(
            np.concatenate([train.images, validation.images[freed]]),
            np.concatenate([train.labels, validation.labels[freed]]),
        )


@dataclass(frozen=True)
class Source:
    """A data set that edgegolf knows: one of these per file of this package."""

    name: str  # what a user calls it
    licence: str  # under which terms it may be used
    images: tuple[int, int, int]  # how many images the train, validation and test splits have
    how_to_get: str  # one line for people who do not have it
    # The data set if it is on this machine; never touches the network.
    find: Callable[[], Dataset | None]
    # The same, downloading it where needed; raises DatasetUnavailableError.
    fetch: Callable[[], Dataset]
    title: str  # what its images are, for people
    class_names: tuple[str, ...]  # what each label means


@dataclass(frozen=True)
class DatasetStatus:
    """What `edgegolf data` tells of one data set."""

    SCHEMA: ClassVar[str] = "edgegolf.dataset/1"

    name: str  # what a user calls it
    licence: str  # under which terms it may be used
    images: tuple[int, int, int]  # how many images the train, validation and test splits have
    how_to_get: str  # one line for people who do not have it
    location: str  # where it was found; empty where it was not
    checksum: str  # SHA-256 that identifies the content found; empty where nothing was
    verified: bool  # all its files were read and are what the checksum says
    problem: str  # what is wrong with the files found; empty where nothing is

    @property
    def found(self) -> bool:
        """It is on this machine, whole or damaged."""
        return bool(self.location)
