"""Numbers the tensors of a TFLite model so that equal lists of tensors are stored once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from edgegolf.formats.tflite.flatbuffer import Table

Numbers = tuple[int, ...]

ROUNDS = 6


def renumber_tensors(model: Table) -> Table:
    """The same model with its tensors in an order that makes the file small.

    The inputs and outputs of operators are lists of tensor numbers, and equal lists, also those of
    different subgraphs, exist once in a file. Coordinate descent over exchanges of two numbers.

    Args:
        model: The table ``Model``, without signatures.
    """
    if len(model.subgraphs) == 1:
        return model  # its lists are as different as its operators
    orders = _orders(
        tuple(len(subgraph.tensors) for subgraph in model.subgraphs),
        tuple(_lists(subgraph) for subgraph in model.subgraphs),
    )
    subgraphs = [
        _reordered(subgraph, order) for subgraph, order in zip(model.subgraphs, orders, strict=True)
    ]
    return model.replace(subgraphs=subgraphs)


@lru_cache(maxsize=16)  # a search writes the same graph with many scales
def _orders(
    sizes: tuple[int, ...], lists: tuple[tuple[Numbers, ...], ...]
) -> tuple[list[int], ...]:
    """New numbers for the tensors of each subgraph, from the lists of old ones."""
    # Behind the numbers stands that of an input that is left out, -1, where it finds itself.
    orders = tuple([*range(size), -1] for size in sizes)
    stored: Counter[Numbers] = Counter()
    for numbers, order in zip(lists, orders, strict=True):
        stored.update(_renumbered(numbers, order))
    generator = random.Random(0)
    for _ in range(ROUNDS):
        for numbers, order in zip(lists, orders, strict=True):
            _improve(numbers, order, stored, generator)
    return orders


def _improve(
    lists: Sequence[Numbers], order: list[int], stored: Counter[Numbers], generator: random.Random
) -> None:
    """Exchange numbers wherever that does not cost bytes."""
    pairs = [(a, b) for a in range(len(order) - 1) for b in range(a)]
    generator.shuffle(pairs)
    for first, second in pairs:
        changed = [numbers for numbers in lists if first in numbers or second in numbers]
        before = _renumbered(changed, order)
        order[first], order[second] = order[second], order[first]
        after = _renumbered(changed, order)
        if _remove(stored, before) < _add(stored, after):
            _remove(stored, after)
            _add(stored, before)
            order[first], order[second] = order[second], order[first]


def _add(stored: Counter[Numbers], lists: list[Numbers]) -> int:
    """Count lists in; the bytes of those that were not there."""
    added = 0
    for numbers in lists:
        stored[numbers] += 1
        added += _size(numbers) if stored[numbers] == 1 else 0
    return added


def _remove(stored: Counter[Numbers], lists: list[Numbers]) -> int:
    """Count lists out; the bytes of those that are gone."""
    removed = 0
    for numbers in lists:
        stored[numbers] -= 1
        removed += _size(numbers) if stored[numbers] == 0 else 0
    return removed


def _size(numbers: Numbers) -> int:
    """Bytes of a list: its length and the numbers."""
    return 4 + 4 * len(numbers)


def _renumbered(lists: Sequence[Numbers], order: list[int]) -> list[Numbers]:
    return [tuple(order[number] for number in numbers) for numbers in lists]


def _lists(subgraph: Table) -> tuple[Numbers, ...]:
    lists = [subgraph.inputs, subgraph.outputs]
    for operator in subgraph.operators:
        lists += [operator.inputs, operator.outputs]
    return tuple(tuple(numbers) for numbers in lists)


def _reordered(subgraph: Table, order: list[int]) -> Table:
    """The subgraph whose tensor `n` has the number `order[n]`."""
    tensors = [None] * (len(order) - 1)
    for old, new in enumerate(order[:-1]):
        tensors[new] = subgraph.tensors[old]

    def move(numbers: Numbers) -> Numbers:
        return tuple(order[number] for number in numbers)

    operators = [
        operator.replace(inputs=move(operator.inputs), outputs=move(operator.outputs))
        for operator in subgraph.operators
    ]
    return subgraph.replace(
        tensors=tensors,
        inputs=move(subgraph.inputs),
        outputs=move(subgraph.outputs),
        operators=operators,
    )
