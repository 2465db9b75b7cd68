"""Where the images of a plan lie: in one memory, or in two where a step reads two images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from edgegolf.backends.verilog.plan import Buffer, Plan, Step, View, two_sides
from edgegolf.errors import EdgegolfError


@dataclass(frozen=True)
class Layout:
    """Places in words of as many bytes as there are lanes."""

    places: dict[Buffer, tuple[int, int]]  # (memory, first word) of each buffer
    depths: tuple[int, int]  # words of each memory


def arrange(plan: Plan, lanes: int) -> Layout:
    """Places for all buffers: those that are needed at a time do not overlap.

    Where a step adds to an image that nothing needs later, the sum takes its place.

    Raises:
        EdgegolfError: A step reads both its inputs from one memory.
    """
    spans = _spans(plan)
    kept = {buffer: buffer for buffer in spans}  # what lies in whose place
    for number, step in enumerate(plan.steps):
        if _replaces(step, number, spans):
            assert step.residual is not None
            place = kept[step.residual.buffer]
            kept[step.target] = place
            spans[place] = (spans[place][0], spans[step.target][1])
    merged = [_moved(step, kept) for step in plan.steps]
    sides = two_sides(merged)
    if sides is None:
        raise EdgegolfError("circuits have two memories, and it needs three")
    owners = [buffer for buffer in spans if kept[buffer] is buffer]
    if any(step.residual is not None for step in plan.steps):
        for buffer in owners:
            if buffer not in sides:
                tries = [{**sides, buffer: side} for side in (0, 1)]
                sides = min(tries, key=lambda each: sum(_pack(each, spans, lanes)[1]))
    else:
        sides = dict.fromkeys(owners, 0)
    words, depths = _pack(sides, spans, lanes)
    places = {buffer: (sides[kept[buffer]], words[kept[buffer]]) for buffer in spans}
    return Layout(places, depths)


def words(buffer: Buffer, lanes: int) -> int:
    """How many words a buffer takes."""
    return buffer.pixels * ceil(buffer.channels / lanes)


def _spans(plan: Plan) -> dict[Buffer, tuple[int, int]]:
    """The first and the last step that need each buffer."""
    spans: dict[Buffer, tuple[int, int]] = {}
    for number, step in enumerate(plan.steps):
        for buffer in (step.target, *step.reads):
            spans[buffer] = (spans.get(buffer, (number, 0))[0], number)
    for first, last, _ in plan.loops:
        for buffer, (begin, end) in spans.items():
            if begin < first <= end < last:
                spans[buffer] = (begin, last)
    return spans


def _replaces(step: Step, number: int, spans: dict[Buffer, tuple[int, int]]) -> bool:
    if step.residual is None or step.within is not None:
        return False
    old, new = step.residual.buffer, step.target
    same = (old.pixels, old.channels) == (new.pixels, new.channels)
    starts = spans[new][0] == number
    return same and starts and step.residual.is_whole and spans[old][1] == number


def _moved(step: Step, kept: dict[Buffer, Buffer]) -> Step:
    def view(each: View | None) -> View | None:
        return None if each is None else replace(each, buffer=kept[each.buffer])

    return replace(step, source=view(step.source), residual=view(step.residual))


def _pack(
    sides: dict[Buffer, int], spans: dict[Buffer, tuple[int, int]], lanes: int
) -> tuple[dict[Buffer, int], tuple[int, int]]:
    """First words, each as low as it can be, and the words of both memories."""
    placed: dict[Buffer, int] = {}
    depths = [0, 0]
    for buffer in sorted(sides, key=lambda each: spans[each]):
        begin, end = spans[buffer]
        taken = sorted(
            (word, word + words(other, lanes))
            for other, word in placed.items()
            if sides[other] == sides[buffer] and spans[other][0] <= end and begin <= spans[other][1]
        )
        place = 0
        for low, high in taken:
            if place + words(buffer, lanes) <= low:
                break
            place = max(place, high)
        placed[buffer] = place
        side = sides[buffer]
        depths[side] = max(depths[side], place + words(buffer, lanes))
    return placed, (depths[0], depths[1])
