"""Samples from a Python function of the user's own, named as `my.py:samples`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.export.layouts import find_layout
from edgegolf.export.sources import LABELS, ModelInput, Source, in_order
from edgegolf.files import MAXIMUM_BYTES
from edgegolf.ir.tensor import Array
from edgegolf.user_code import told, user_function

HINT = (
    "name a function as my.py:samples; it returns an array, a dict of arrays by input, "
    "(inputs, labels), or an iterable of samples or batches of these"
)


def call_function(source: str, inputs: Sequence[ModelInput], count: int) -> Source:
    """What a function returns: its code runs here.

    Args:
        source: A Python file, a colon, and a function of it that takes no arguments.
        inputs: The model's, which tell samples from batches.
        count: How many samples are taken of an iterable.

    Raises:
        EdgegolfError: No such function, it fails, or returns something else.
    """
    with user_function(source, HINT) as function:
        with told(source, HINT):
            result = function()
        if isinstance(result, tuple | Mapping) or hasattr(result, "__array__"):
            parts, labels = _parts(result, inputs, source)
            arrays = {key: _array(value, source) for key, value in parts.items()}
            return Source(arrays, None if labels is None else _array(labels, source))
        return _collect(_each(result, source), inputs, count, source)


def _each(result: object, source: str) -> Iterator[object]:
    if not isinstance(result, Iterable) and not hasattr(result, "__getitem__"):
        raise EdgegolfError(f"{source} returns a {type(result).__name__}", hint=HINT)
    with told(source, HINT):
        items = iter(result)  # type: ignore[call-overload]
    while True:
        with told(source, HINT):
            item = next(items, None)
        if item is None:
            return
        yield item


def _collect(
    items: Iterable[object], inputs: Sequence[ModelInput], count: int, source: str
) -> Source:
    """Samples and batches, up to a count."""
    found: list[list[Array]] = [[] for _ in inputs]
    labels: list[Array] = []
    total = size = 0
    for item in items:
        parts, label = _parts(item, inputs, source)
        for position, value in enumerate(in_order(parts, inputs, source)):
            batch = _batch(_array(value, source), inputs[position], source)
            found[position].append(batch)
            size += batch.nbytes
        if size > MAXIMUM_BYTES:
            raise EdgegolfError(f"{source} gives more than {MAXIMUM_BYTES:,} bytes of samples")
        total += len(found[0][-1])
        if label is not None:
            labels.append(np.atleast_1d(_array(label, source)))
        if total >= count:
            break
    if not total:
        raise EdgegolfError(f"{source} gives no samples", hint=HINT)
    arrays = {
        each.name: _joined(batches, source)[:count]
        for each, batches in zip(inputs, found, strict=True)
    }
    return Source(arrays, _joined(labels, source)[:count] if labels else None)


def _parts(
    value: Any, inputs: Sequence[ModelInput], source: str
) -> tuple[dict[str, Any], Any | None]:
    """What belongs to the inputs, and the labels."""
    names = [each.name for each in inputs]
    match value:
        case Mapping():
            parts = dict(value)
            return parts, parts.pop(LABELS, None)
        case list() if len(names) == 1 and all(isinstance(each, int | float) for each in value):
            return {names[0]: value}, None
        case (Mapping() as features, labels):
            return _parts(features, inputs, source)[0], labels
        case (tuple() | list() as features, labels) if len(names) > 1:
            return _parts(features, inputs, source)[0], labels
        case tuple() | list() if len(value) == len(names) + 1:
            return dict(zip(names, value, strict=False)), value[-1]
        case tuple() | list() if len(value) == len(names):
            return dict(zip(names, value, strict=True)), None
        case tuple() | list():
            raise EdgegolfError(
                f"{source} gives {len(value)} parts for the inputs {', '.join(names)}", hint=HINT
            )
    return {names[0]: value}, None


def _array(value: object, source: str) -> Array:
    try:
        return np.asarray(value)
    except Exception as error:  # tensors of any framework raise what they want
        reason = str(error).partition("\n")[0]
        raise EdgegolfError(
            f"{source} gives a {type(value).__name__} that is no array: {reason}", hint=HINT
        ) from None


def _batch(values: Array, wanted: ModelInput, source: str) -> Array:
    """Samples in the first axis."""
    shape = wanted.shape[1:]
    as_sample = find_layout(values.shape, shape)
    as_batch = find_layout(values.shape[1:], shape) if values.ndim else None
    if as_sample is None and as_batch is None:
        raise EdgegolfError(
            f"{source} gives an array of shape {values.shape}, the model's input {wanted.name!r} "
            f"takes {shape}",
            hint=HINT,
        )
    is_batch = as_sample is None or (as_batch is not None and not as_batch.told)
    return values if is_batch else values[None]


def _joined(batches: Sequence[Array], source: str) -> Array:
    try:
        return np.concatenate(batches)
    except ValueError:
        shapes = sorted({str(batch.shape[1:]) for batch in batches})
        raise EdgegolfError(f"{source} gives samples of the shapes {', '.join(shapes)}") from None
