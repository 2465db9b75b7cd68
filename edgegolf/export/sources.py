"""What users have samples in: arrays in files. Nothing here knows what they mean yet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.bounds import check_array, check_arrays
from edgegolf.export.layouts import OpenShape
from edgegolf.ir.tensor import Array

LABELS = "labels"
TARGETS = "y"  # what many call labels

T = TypeVar("T")


@dataclass(frozen=True)
class ModelInput:
    """What a model takes."""

    name: str  # what the model calls it
    shape: OpenShape  # its dimensions, the batch first; None for an open one
    dtype: str  # name of the type of its numbers; of a quantized input, that of what they stand for
    scales_itself: bool = False  # the model brings pixels of 0…255 to small numbers itself


@dataclass(frozen=True)
class Source:
    """Samples as they were found."""

    arrays: Mapping[str, Array]  # by name, [samples, …] each
    labels: Array | None = None  # whatever was given as such
    notes: tuple[str, ...] = ()  # what was done with them, sentences for people


def inputs_of(tensors: Iterable[Any]) -> tuple[ModelInput, ...]:
    """The inputs that tensors with a name, a shape and a dtype are, such as those of Keras."""
    return tuple(ModelInput(each.name, tuple(each.shape), str(each.dtype)) for each in tensors)


def with_shapes(
    inputs: Sequence[ModelInput], given: Mapping[str, tuple[int, ...]]
) -> tuple[ModelInput, ...]:
    """The inputs with the shapes that were given for them.

    Raises:
        EdgegolfError: There is no such input, or it has another shape.
    """
    names = [each.name for each in inputs]
    if unknown := [name for name in given if name and name not in names]:
        raise EdgegolfError(
            f"the model has no input {unknown[0]!r}", hint=f"its inputs: {', '.join(names)}"
        )
    found = []
    for each in inputs:
        shape = given.get(each.name, given.get("", each.shape[1:]))
        if len(shape) != len(each.shape[1:]) or any(
            size not in (None, wanted) for size, wanted in zip(each.shape[1:], shape, strict=True)
        ):
            raise EdgegolfError(f"input {each.name!r} takes {each.shape[1:]}, not {shape}")
        found.append(replace(each, shape=(*each.shape[:1], *shape)))
    return tuple(found)


def read_arrays(path: Path, inputs: Sequence[ModelInput]) -> Source:
    """The arrays of an `.npz` file, or the only one of an `.npy` file.

    Labels are the array `labels`, or a `y` that is not an input's and can be nothing else.

    Raises:
        EdgegolfError: It is missing, damaged, takes more than it is worth, or would run code.
    """
    try:
        if path.suffix == ".npy":
            check_array(path)
            return Source({path.stem: np.load(path, allow_pickle=False)})
        check_arrays(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except EdgegolfError:
        raise
    except Exception:  # numpy's reader of a damaged header raises errors of any type
        raise EdgegolfError(
            f"{path} is damaged or not an {path.suffix or '.npz'} file of plain arrays",
            hint="write it with numpy.savez(path, INPUT=array, labels=integers)",
        ) from None
    labels = arrays.pop(LABELS, None)
    if labels is not None or TARGETS not in arrays or len(arrays) <= len(inputs):
        return Source(arrays, labels)
    targets = arrays.pop(TARGETS)
    row = class_row(targets)
    if row is not None and (targets.dtype.kind != "f" or targets.max(initial=0) <= 1):
        return Source(arrays, row)
    return Source(arrays, None, (f"{path}: {TARGETS} is no row of classes and judges nothing",))


def class_row(labels: Array) -> Array | None:
    """Labels as int64 [samples], None if they are no classes.

    They may be a column, integers in another type, or rows with a 1 in the place of the class.
    """
    if labels.ndim == 2 and labels.shape[1] > 1:
        is_one_hot = labels.dtype.kind in "biuf" and np.isin(labels, (0, 1)).all()
        return labels.argmax(1) if is_one_hot and (labels.sum(1) == 1).all() else None
    row = labels[:, 0] if labels.ndim == 2 else labels
    if row.ndim != 1 or row.dtype.kind not in "biuf":
        return None
    with np.errstate(invalid="ignore"):
        whole = row.astype(np.int64)
    return whole if np.array_equal(whole, row) else None


def in_order(arrays: Mapping[str, T], inputs: Sequence[ModelInput], where: str) -> list[T]:
    """What belongs to each input: of its name, or of its position where names say nothing.

    Raises:
        EdgegolfError: An input has none.
    """
    names = list(arrays)
    if len(inputs) == len(names) == 1 or names == [f"arr_{i}" for i in range(len(inputs))]:
        return list(arrays.values())
    plain = {plain_name(name): value for name, value in arrays.items()}
    found: list[T] = []
    for each in inputs:
        if each.name in arrays:
            found.append(arrays[each.name])
        elif plain_name(each.name) in plain:
            found.append(plain[plain_name(each.name)])
        else:
            raise EdgegolfError(
                f"{where} has no array {each.name!r}, but {', '.join(names) or 'none'}",
                hint="name the arrays like the model's inputs: "
                + ", ".join(each.name for each in inputs),
            )
    return found


def plain_name(name: str) -> str:
    """A tensor's name without what TensorFlow adds to it, and without special characters."""
    return re.sub(r"\W", "_", name.removeprefix("serving_default_").removesuffix(":0"))
