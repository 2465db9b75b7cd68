"""A folder of images as samples: a class per subfolder, a table of labels, or neither."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.layouts import OpenShape
from edgegolf.export.sources import ModelInput, Source
from edgegolf.files import read_bounded
from edgegolf.images import as_pixels, read_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
TABLE = "labels.csv"
MAXIMUM_IMAGES = 5_000  # more make no better scales, and tell accuracies to half a point
MAXIMUM_PIXEL_BYTES = 2**30  # of all images together, as float32
MAXIMUM_FILE_BYTES = 2**26
NAMED_CLASSES = 10

T = TypeVar("T")


def read_folder(folder: Path, wanted: ModelInput, table: Path | None = None) -> Source:
    """Images, evenly taken over the files in the order of their names, in the model's size.

    Classes are counted in the order of their names, as Keras and PyTorch do.

    Args:
        folder: Of images; else of one subfolder for each class.
        wanted: The input that they are for, which says how large they are and whether in colour.
        table: A CSV of rows `file,label`; by default `labels.csv` in the folder, if there is one.

    Raises:
        EdgegolfError: No images, one that cannot be read, or the input takes none.
    """
    if table is None and (folder / TABLE).is_file():
        table = folder / TABLE
    notes = []
    if table is not None:
        files, labels, classes = _read_table(folder, table)
    elif files := _images(folder):
        labels, classes = None, []
    else:
        folders = sorted(path for path in _visible(folder) if path.is_dir())
        classes = [path.name for path in folders]
        labelled = [(file, i) for i, path in enumerate(folders) for file in _images(path)]
        files, labels = [file for file, _ in labelled], [label for _, label in labelled]
    if not files:
        raise EdgegolfError(
            f"{folder} has no images, neither itself nor in its subfolders",
            hint=f"it can have {', '.join(SUFFIXES)}; name the folder of one folder per class",
        )
    if classes:
        shown = [f"{name} is {i}" for i, name in enumerate(classes[:NAMED_CLASSES])]
        shown += ["and so on"] * (len(classes) > NAMED_CLASSES)
        notes.append(f"classes in the order of their names: {', '.join(shown)}")
    height, width, channels = _size(wanted, files[0])
    most = min(MAXIMUM_IMAGES, max(1, MAXIMUM_PIXEL_BYTES // (height * width * channels * 4)))
    chosen = _spread(files, most)
    notes.insert(
        0,
        f"{len(chosen):,} of {len(files):,} images of {folder}, made {height}×{width} pixels "
        f"in {'colour' if channels == 3 else 'grey'}",
    )
    pixels = np.empty((len(chosen), height, width, channels), np.uint8)
    for index, file in enumerate(chosen):
        image = read_image(read_bounded(file, MAXIMUM_FILE_BYTES), str(file))
        pixels[index] = as_pixels(image, height, width, channels)
    found = None if labels is None else np.array(_spread(labels, most), np.int64)
    return Source({wanted.name: pixels}, found, tuple(notes))


def _read_table(folder: Path, table: Path) -> tuple[list[Path], list[int], list[str]]:
    """Files, labels and, where these are names, the classes."""
    try:
        text = read_bounded(table, MAXIMUM_FILE_BYTES).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (UnicodeDecodeError, csv.Error):
        raise EdgegolfError(f"{table} is not a CSV file in UTF-8") from None
    if rows and not (folder / rows[0][0]).is_file():
        rows = rows[1:]  # what the columns are called
    files = []
    root = folder.resolve()
    for row in rows:
        path = folder / row[0]
        if len(row) != 2 or not path.resolve().is_relative_to(root) or not path.is_file():
            raise EdgegolfError(
                f"{table} has the row {','.join(row)!r}",
                hint=f"a row is file,label, and the file is in {folder}",
            )
        files.append(path)
    names = [row[1].strip() for row in rows]
    try:
        return files, [int(name) for name in names], []
    except ValueError:
        classes = sorted(set(names))
        numbers = {name: number for number, name in enumerate(classes)}
        return files, [numbers[name] for name in names], classes


def _size(wanted: ModelInput, first: Path) -> tuple[int, int, int]:
    """Height, width and channels; open ones are the first image's."""
    sides = _sides(wanted.shape[1:])
    if sides is None:
        raise EdgegolfError(
            f"the model's input {wanted.name!r} takes {wanted.shape[1:]}, which is no image",
            hint="give an .npz file with one array for each input",
        )
    height, width, channels = sides
    if height is None or width is None:
        image = read_image(read_bounded(first, MAXIMUM_FILE_BYTES), str(first))
        height, width = height or image.height, width or image.width
    return height, width, channels


def _sides(shape: OpenShape) -> tuple[int | None, int | None, int] | None:
    match shape:
        case (height, width, (1 | 3) as channels) | ((1 | 3) as channels, height, width):
            return height, width, channels
        case (height, width, None):
            return height, width, 3
        case (height, width):
            return height, width, 1
        case (int() as size,) if math.isqrt(size) ** 2 == size:
            return math.isqrt(size), math.isqrt(size), 1
    return None


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _images(folder: Path) -> list[Path]:
    return sorted(
        path for path in _visible(folder) if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _spread(items: Sequence[T], most: int) -> list[T]:
    return [items[i] for i in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]
