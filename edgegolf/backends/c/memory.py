"""Where each tensor lies in one static array, so that the array is small.

Two tensors may lie over each other when they are never needed at the same time. A result may also
begin to overwrite what it is computed from, where that was read before: its step tells how far
below it must begin.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgegolf.backends.c.steps import Repeat, Step, Steps
from edgegolf.ir import Graph, Tensor

ALIGNMENT = 4

# Orders of placing that are tried, and comparisons of two tensors at most.
_ORDERS, _COMPARISONS = 2_000, 1_000_000

Interval = tuple[int, int]
Ranges = dict[tuple[Tensor, Tensor], Interval | None]

# Farther apart than any two tensors are.
_APART = 2**40
_NEVER = (_APART, -_APART)


@dataclass(frozen=True)
class Plan:
    """Where tensors lie."""

    offsets: dict[Tensor, int]  # of those that stand for themselves, in bytes
    size: int  # of the array


@dataclass
class _Lives:
    """When each tensor is needed, in steps."""

    steps: Steps
    position: int = 0
    uses: dict[Tensor, list[int]] = field(default_factory=lambda: defaultdict(list))
    gaps: dict[Tensor, list[Interval]] = field(default_factory=lambda: defaultdict(list))
    lags: dict[tuple[Tensor, Tensor], int] = field(default_factory=dict)
    meetings: dict[tuple[Tensor, Tensor], int] = field(default_factory=dict)

    def walk(self, steps: Sequence[Step | Repeat]) -> None:
        """Note what steps use."""
        for each in steps:
            if isinstance(each, Step):
                self.step(each)
            else:
                self.loop(each)

    def step(self, step: Step) -> None:
        output = self.steps.place(step.output)
        for tensor in step.inputs:
            source = self.steps.place(tensor)
            self.uses[source].append(self.position)
            if tensor in step.lags:
                self.lags[source, output] = step.lags[tensor]
                self.meetings[source, output] = self.position
        self.uses[output].append(self.position)
        self.position += 1

    def loop(self, loop: Repeat) -> None:
        """A state is not needed from where it was last read until it is written again.

        Where there are several, each is kept, so that no copy destroys what the next one reads.
        """
        start = self.position
        self.walk(loop.body)
        states = [self.steps.place(state) for state in loop.states]
        end = self.position - len(states)
        for state in states:
            reads = [use for use in self.uses[state] if start <= use < end]
            if len(states) == 1 and reads:
                self.gaps[state].append((max(reads), end))
            self.uses[state] += [start, self.position - 1]

    def intervals(self, tensor: Tensor) -> list[Interval]:
        """When a tensor is needed, both ends counted."""
        uses = self.uses[tensor]
        found, start = [], min(uses)
        for last, again in sorted(self.gaps[tensor]):
            found.append((start, last))
            start = again
        return [*found, (start, max(uses))]


def plan(graph: Graph, steps: Steps, calls: Sequence[Step | Repeat]) -> Plan:
    """Places for all tensors of a graph."""
    lives = _Lives(steps)
    lives.uses[steps.place(graph.inputs[0])].append(-1)
    lives.walk(calls)
    lives.uses[steps.place(graph.outputs[0])].append(lives.position)
    tensors = list(lives.uses)
    when = {tensor: lives.intervals(tensor) for tensor in tensors}
    ranges = {(a, b): _range(lives, when, a, b) for a in tensors for b in tensors if a is not b}
    best: Plan | None = None
    for order in _orders(tensors, when):
        found = _placed(order, ranges, None if best is None else best.size)
        if found is not None:
            best = found
    assert best is not None
    return best


def _range(
    lives: _Lives, when: dict[Tensor, list[Interval]], one: Tensor, other: Tensor
) -> Interval | None:
    """How far above another a tensor may lie where they overlap; None if both never meet."""
    low, high = -_APART, _APART
    meets = False
    for a in when[one]:
        for b in when[other]:
            start, end = max(a[0], b[0]), min(a[1], b[1])
            if start > end:
                continue
            meets = True
            if start < end:
                return _NEVER
            if lives.meetings.get((one, other)) == start:
                low = max(low, lives.lags[one, other])
            elif lives.meetings.get((other, one)) == start:
                high = min(high, -lives.lags[other, one])
            else:
                return _NEVER
    return (low, high) if meets else None


def _orders(tensors: list[Tensor], when: dict[Tensor, list[Interval]]) -> Iterator[list[Tensor]]:
    """The last first, for results lie below what they are computed from; the largest first; …"""
    yield sorted(tensors, key=lambda t: when[t][0][0], reverse=True)
    yield sorted(tensors, key=lambda t: t.size_bytes, reverse=True)
    chance = random.Random(0)
    for count in range(min(_ORDERS, _COMPARISONS // len(tensors) ** 2)):
        if count % 2:
            yield chance.sample(tensors, len(tensors))
        else:
            yield sorted(tensors, key=lambda t: t.size_bytes * chance.uniform(0.5, 1), reverse=True)


def _placed(order: list[Tensor], ranges: Ranges, smallest: int | None) -> Plan | None:
    """Each tensor as low as those before it allow; None if that is not smaller than `smallest`."""
    offsets: dict[Tensor, int] = {}
    top = 0
    for tensor in order:
        size = tensor.size_bytes
        near = {0}
        for other, offset in offsets.items():
            near |= {offset + other.size_bytes, offset - size}
            near |= {offset + n for n in ranges[tensor, other] or () if abs(n) < _APART}
        near |= {each + ALIGNMENT - 1 for each in near}
        aligned = {each // ALIGNMENT * ALIGNMENT for each in near}
        for place in sorted(n for n in aligned if n >= 0):
            if smallest is not None and place + size >= smallest:
                return None
            if all(_fit(tensor, place, other, at, ranges) for other, at in offsets.items()):
                break
        offsets[tensor] = place
        top = max(top, place + size)
    return Plan(offsets, top)


def _fit(one: Tensor, place: int, other: Tensor, at: int, ranges: Ranges) -> bool:
    """Whether two tensors may lie there."""
    if place + one.size_bytes <= at or at + other.size_bytes <= place:
        return True
    found = ranges[one, other]
    return found is None or found[0] <= place - at <= found[1]
