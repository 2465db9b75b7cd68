"""Turns what a list of ONNX nodes repeats into functions, wherever that makes the file smaller."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from edgegolf.export.sharing.onnx_calls import (
    DOMAIN_VERSION,
    FUNCTION_DOMAIN,
    Call,
    Function,
    encoded_bytes,
    import_messages,
    short_names,
)

_LONGEST_BLOCK = 16  # nodes; longer ones are found as functions that call functions


def outline(
    calls: Sequence[Call], results: Collection[str], imports: dict[str, int]
) -> tuple[tuple[Call, ...], tuple[Function, ...]]:
    """Replace repeated blocks of nodes by calls of functions, the largest saving first.

    A block is a sequence of nodes; it repeats where the same operators with the same attributes
    are wired alike, on whatever tensors. Functions may call functions.

    Args:
        calls: The nodes of a graph in execution order.
        results: Names of the graph's outputs.
        imports: The version of each domain that the nodes use.

    Returns:
        The remaining nodes and the functions.
    """
    lists = {"": _Body(tuple(calls), frozenset(results))}
    functions: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    names = short_names()
    while repeat := _best_repeat(lists, imports, is_first=not functions):
        name = next(names)
        block = repeat.block
        functions[name] = block.inputs, block.outputs
        lists = {
            owner: _replaced(body, name, repeat.places.get(owner, ()), len(block.calls))
            for owner, body in lists.items()
        }
        lists[name] = _Body(block.calls, frozenset(block.outputs))
    return lists[""].calls, tuple(
        Function(name, *functions[name], lists[name].calls).shortened() for name in functions
    )


@dataclass(frozen=True)
class _Body:
    calls: tuple[Call, ...]
    results: frozenset[str]


@dataclass(frozen=True)
class _Block:
    """Nodes with the names that they have at one place."""

    calls: tuple[Call, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def shape(self) -> tuple[object, ...]:
        """Equal for two blocks exactly if one function can stand for both."""
        inner = [name for call in self.calls for name in call.outputs]
        numbers = {name: index for index, name in enumerate((*self.inputs, *inner, ""))}
        return (
            len(self.inputs),
            *(_kind(call) for call in self.calls),
            *(tuple(numbers[name] for name in call.inputs) for call in self.calls),
            *(numbers[name] for name in self.outputs),
        )


@dataclass(frozen=True)
class _Repeat:
    """A block, and the positions at which it occurs in each list."""

    block: _Block
    places: dict[str, tuple[int, ...]]


def _best_repeat(
    lists: dict[str, _Body], imports: dict[str, int], is_first: bool
) -> _Repeat | None:
    best, best_saving = None, 0
    for repeat in _repeats(lists):
        saving = _saving(repeat, imports, is_first)
        if saving > best_saving:
            best, best_saving = repeat, saving
    return best


def _repeats(lists: dict[str, _Body]) -> Iterator[_Repeat]:
    """Every block that occurs at least twice, with places that do not overlap."""
    starts = [(owner, at) for owner, body in lists.items() for at in range(len(body.calls))]
    for length in range(1, _LONGEST_BLOCK + 1):
        by_kinds = defaultdict(list)
        for owner, at in starts:
            calls = lists[owner].calls[at : at + length]
            if len(calls) == length:
                by_kinds[tuple(map(_kind, calls))].append((owner, at))
        alike = [places for places in by_kinds.values() if len(places) > 1]
        starts = [place for places in alike for place in places]
        for places in alike:
            yield from _wired_alike(lists, places, length)


def _wired_alike(
    lists: dict[str, _Body], places: Sequence[tuple[str, int]], length: int
) -> Iterator[_Repeat]:
    by_shape: dict[tuple[object, ...], dict[str, list[int]]] = {}
    blocks: dict[tuple[object, ...], _Block] = {}
    for owner, at in places:
        block = _block(lists[owner], at, length)
        shape = block.shape()
        blocks.setdefault(shape, block)
        found = by_shape.setdefault(shape, {}).setdefault(owner, [])
        if not found or found[-1] + length <= at:
            found.append(at)
    for shape, by_owner in by_shape.items():
        if sum(map(len, by_owner.values())) > 1:
            yield _Repeat(blocks[shape], {owner: tuple(at) for owner, at in by_owner.items()})


def _block(body: _Body, at: int, length: int) -> _Block:
    calls = body.calls[at : at + length]
    produced = [name for call in calls for name in call.outputs]
    consumed = dict.fromkeys(name for call in calls for name in call.inputs if name)
    outside = {name for c in (*body.calls[:at], *body.calls[at + length :]) for name in c.inputs}
    return _Block(
        calls,
        tuple(name for name in consumed if name not in produced),
        tuple(name for name in produced if name in outside or name in body.results),
    )


def _saving(repeat: _Repeat, imports: dict[str, int], is_first: bool) -> int:
    """Bytes, with names of one letter."""
    inputs, outputs = (("a",) * len(names) for names in (repeat.block.inputs, repeat.block.outputs))
    calls = tuple(_with_short_names(call) for call in repeat.block.calls)
    domain = {FUNCTION_DOMAIN: DOMAIN_VERSION}
    function = Function("a", inputs, outputs, calls).to_message(imports | domain)
    call = Call("a", inputs, outputs, domain=FUNCTION_DOMAIN)
    places = sum(map(len, repeat.places.values()))
    saving = places * sum(_call_bytes(call) for call in calls)
    saving -= places * _call_bytes(call) + 1 + encoded_bytes(function)
    if is_first:
        saving -= sum(encoded_bytes(entry) for entry in import_messages(domain))
    return saving


def _with_short_names(call: Call) -> Call:
    inputs = tuple(name and "a" for name in call.inputs)
    return replace(call, inputs=inputs, outputs=("a",) * len(call.outputs))


@cache
def _call_bytes(call: Call) -> int:
    return encoded_bytes(call.to_message())


def _replaced(body: _Body, name: str, places: Collection[int], length: int) -> _Body:
    result: list[Call] = []
    position = 0
    while position < len(body.calls):
        if position in places:
            block = _block(body, position, length)
            result.append(Call(name, block.inputs, block.outputs, domain=FUNCTION_DOMAIN))
            position += length
        else:
            result.append(body.calls[position])
            position += 1
    return _Body(tuple(result), body.results)


def _kind(call: Call) -> tuple[object, ...]:
    return call.operator, call.domain, call.attributes, len(call.inputs), len(call.outputs)
