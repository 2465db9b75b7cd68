"""The numbers of the tensors of a TFLite model, and an order in which its lists of them repeat.

The inputs and outputs of operators are lists of tensor numbers, and equal lists, also those of
different subgraphs, exist once in a file.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from edgegolf.formats.tflite.flatbuffer import Table, transform, walk
from edgegolf.formats.tflite.model import references
from edgegolf.formats.tflite.schema import TABLES

Numbers = tuple[int, ...]
#: The tensors of a subgraph, and the new number of each old one; -1 stands for none.
Layout = tuple[Sequence[Table], Mapping[int, int]]

IDLE_ROUNDS = 6  # without a gain, before the search ends
MAXIMUM_EXCHANGES = 200_000  # tried; a bound of time would give other files on other machines


def renumber_tensors(model: Table) -> Table:
    """The same model with its tensors in an order that makes the file small.

    Coordinate descent over exchanges of two numbers. A model of one subgraph stays as it is, as
    its lists are as different as its operators; so does one with too many tensors to try.

    Args:
        model: The table ``Model``; nothing but fields known as such refers to a tensor's number.
    """
    distinct = {id(subgraph): subgraph for subgraph in model.subgraphs}
    sizes = tuple(len(subgraph.tensors) for subgraph in distinct.values())
    exchanges = sum(size * (size - 1) // 2 for size in sizes)
    if len(distinct) == 1 or not 0 < exchanges <= MAXIMUM_EXCHANGES:
        return model
    orders = _orders(sizes, tuple(map(_lists, distinct.values())), MAXIMUM_EXCHANGES // exchanges)
    layouts: dict[int, Layout] = {}
    for (key, subgraph), order in zip(distinct.items(), orders, strict=True):
        old = sorted(range(len(order)), key=order.__getitem__)
        moved = {-1: -1} | dict(enumerate(order))
        layouts[key] = [subgraph.tensors[number] for number in old], moved
    return with_layouts(model, [layouts[id(subgraph)] for subgraph in model.subgraphs])


def with_layouts(model: Table, layouts: Sequence[Layout]) -> Table:
    """The model with other lists of tensors, their numbers changed wherever they stand.

    Args:
        model: The table ``Model``.
        layouts: One for each subgraph.
    """
    done: dict[object, Table] = {}
    for subgraph, (tensors, moved) in zip(model.subgraphs, layouts, strict=True):
        if (id(subgraph), id(moved)) not in done:
            done[id(subgraph), id(moved)] = _with_layout(subgraph, tensors, moved)
    subgraphs = [
        done[id(subgraph), id(moved)]
        for subgraph, (_, moved) in zip(model.subgraphs, layouts, strict=True)
    ]
    signatures = [
        signature.replace(
            **{
                field: [
                    entry.replace(
                        tensor_index=layouts[signature.subgraph_index][1][entry.tensor_index]
                    )
                    for entry in getattr(signature, field)
                ]
                for field in ("inputs", "outputs")
                if field in signature.fields
            }
        )
        for signature in model.signature_defs
    ]
    return model.replace(
        subgraphs=subgraphs if "subgraphs" in model.fields else None,
        signature_defs=signatures or None,
    )


def _with_layout(subgraph: Table, tensors: Sequence[Table], moved: Mapping[int, int]) -> Table:
    def renumber(node: Table) -> Table:
        changes: dict[str, object] = {}
        for field in references(node, "tensor"):
            value = getattr(node, field.name)
            new = tuple(moved[index] for index in value) if field.is_vector else moved[value]
            # A field that is absent reads as 0 and is to say so.
            if field.name in node.fields or new != value:
                changes[field.name] = new
        return node.replace(**changes) if changes else node

    changed = subgraph.replace(tensors=tensors if "tensors" in subgraph.fields else None)
    return transform(changed, dict.fromkeys(TABLES, renumber))


def _lists(subgraph: Table) -> tuple[Numbers, ...]:
    """The different lists of tensors in a subgraph."""
    found = (
        tuple(getattr(node, field.name))
        for node in walk(subgraph)
        for field in references(node, "tensor")
        if field.is_vector
    )
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=16)  # a search writes the same graph with many scales
def _orders(
    sizes: tuple[int, ...], lists: tuple[tuple[Numbers, ...], ...], rounds: int
) -> tuple[Sequence[int], ...]:
    """New numbers for the tensors of each subgraph, from the lists of old ones."""
    orders = tuple(list(range(size)) for size in sizes)
    search = _Search(Counter(numbers for each in lists for numbers in each), random.Random(0))
    idle = 0
    for _ in range(rounds):
        gains = [search.improve(*each) for each in zip(lists, orders, strict=True)]
        idle = 0 if any(gains) else idle + 1
        if idle == IDLE_ROUNDS:
            break
    return orders


@dataclass(frozen=True)
class _Search:
    """How often each list is there in the numbers of the moment, and what orders the exchanges."""

    stored: Counter[Numbers]
    generator: random.Random

    def improve(self, lists: Sequence[Numbers], order: list[int]) -> int:
        """Exchange numbers wherever that does not cost bytes; the bytes that it saves."""
        using: list[set[Numbers]] = [set() for _ in order]
        for numbers in lists:
            for number in numbers:
                if number >= 0:
                    using[number].add(numbers)
        pairs = [(a, b) for a in range(len(order)) for b in range(a) if using[a] or using[b]]
        self.generator.shuffle(pairs)
        gain = 0
        for first, second in pairs:
            changed = using[first] | using[second]
            before = _renumbered(changed, order)
            order[first], order[second] = order[second], order[first]
            after = _renumbered(changed, order)
            saved = self._count(before, -1) - self._count(after, 1)
            if saved < 0:
                self._count(after, -1)
                self._count(before, 1)
                order[first], order[second] = order[second], order[first]
            gain += max(saved, 0)
        return gain

    def _count(self, lists: Iterable[Numbers], change: int) -> int:
        """Count lists in or out; the bytes of those that were not there, or are gone."""
        size = 0
        for numbers in lists:
            alone = self.stored[numbers] + min(change, 0) == 0
            self.stored[numbers] += change
            size += 4 + 4 * len(numbers) if alone else 0
        return size


def _renumbered(lists: Iterable[Numbers], order: Sequence[int]) -> list[Numbers]:
    return [tuple(order[n] if n >= 0 else n for n in numbers) for numbers in lists]
