"""How samples of one shape become those that a model takes: channels first or last, axes of 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from edgegolf.ir.tensor import Array

OpenShape: TypeAlias = tuple[int | None, ...]


@dataclass(frozen=True)
class Layout:
    """A way from one shape to another."""

    apply: Callable[[Array], Array]  # takes [samples, *found], gives [samples, *wanted]
    told: str = ""  # what it does, for people; empty if nothing


def find_layout(found: Sequence[int], wanted: OpenShape) -> Layout | None:
    """How samples become those of another shape, None where they do not fit.

    Args:
        found: The shape of a sample.
        wanted: What is taken, without the batch; None for an open size.
    """
    found = tuple(found)
    if _fits(found, wanted):
        return Layout(lambda values: values)
    if len(found) > 1 and _fits((found[-1], *found[:-1]), wanted):
        return Layout(lambda values: np.moveaxis(values, -1, 1), "its channels were moved first")
    if len(found) > 1 and _fits((*found[1:], found[0]), wanted):
        return Layout(lambda values: np.moveaxis(values, 1, -1), "its channels were moved last")
    if _fits((*found, 1), wanted):
        return Layout(lambda values: values[..., None], "an axis of 1 was added")
    sizes = tuple(size or 0 for size in wanted)
    same = [size for size in found if size != 1] == [size for size in sizes if size != 1]
    if same or (1 in (len(found), len(sizes)) and math.prod(found) == math.prod(sizes)):
        return Layout(lambda values: values.reshape(-1, *sizes), f"it was reshaped to {sizes}")
    return None


def _fits(found: Sequence[int], wanted: OpenShape) -> bool:
    return len(found) == len(wanted) and all(
        size in (None, length) for size, length in zip(wanted, found, strict=True)
    )
