"""A plan as the numbers of a machine: a table of steps, and what its memories hold at first.

The machine walks over the result of a step in six nested counts (columns and rows of pixels,
groups of channels, rows and columns of the window, channels of the source) and adds to one address
at each count what leads to the next word. Fields of the table that never differ are constants, so
that a network pays only for what it uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from edgegolf.backends.verilog.memory import Layout, arrange
from edgegolf.backends.verilog.plan import LOW, Plan, Size, Step, View
from edgegolf.backends.verilog.rounding import Scaling
from edgegolf.errors import EdgegolfError

_BYTES = {"low", "high", "sum_low", "sum_high", "fill", "lowest", "least"}

#: Stages behind the walk.
PIPELINE = 24
#: Words of a memory beyond which a circuit is refused.
MAXIMUM_WORDS = 2**20
#: Of a UP5K, and words of each.
SPRAMS, SPRAM_WORDS = 4, 2**14


@dataclass(frozen=True)
class Column:
    """A field of the table."""

    bits: int  # of each entry, with its sign
    signed: bool  # whether there is one
    entries: tuple[int, ...]  # one for each step

    @property
    def varies(self) -> bool:
        """Whether steps differ in it."""
        return len(set(self.entries)) > 1


@dataclass(frozen=True)
class Machine:
    """All numbers of a circuit."""

    lanes: int  # channels that are computed at a time; bytes of a word
    columns: dict[str, Column]  # the table of steps
    names: tuple[str, ...]  # of the steps, for people
    depths: tuple[int, int]  # words of the two memories for images; the second may have none
    address_bits: int  # of a word in them
    weights: np.ndarray  # words, `[words, lanes]`
    # Rows of what each channel takes: its bias, and its scaling if they differ.
    parameters: dict[str, Column]
    tables: tuple[tuple[int, ...], ...]  # functions of an integer, 256 entries each
    shifts: tuple[int, ...]  # by how much a scaled sum may be shifted
    sum_bits: int  # of a sum of products
    total_bits: int  # of such a sum with its bias
    scaled_bits: int  # of what is then shifted
    add_shift: int  # the shift after an addition
    add_bits: int  # of what is then shifted
    macs: int  # multiply-accumulates of an image
    input_bytes: int  # of an image
    logits: int  # how many
    loops: tuple[tuple[int, int, int], ...]  # (first step, last step, iterations)
    sprams: bool  # whether images lie in memories that read or write a word in a cycle

    @property
    def spacing(self) -> int:
        """Cycles from a group to the next at least: its channels are scaled one by one.

        Where the memory that is written is also what is added to, as many are left to read.
        """
        return self.lanes * (2 if self.sprams and 1 in self.columns["adds"].entries else 1)

    @property
    def stalls(self) -> bool:
        """Whether a step sums a group faster than its channels are scaled."""
        channels, times = self.columns["last_channel"].entries, self.spacing // self.lanes
        return any(
            self.taps(number) < min(self.spacing, times * (channels[number] + 1))
            for number in range(1, len(self.names))
        )

    def taps(self, number: int) -> int:
        """Cycles that a step takes for a group, if it need not wait."""
        return prod(
            self.columns[f"last_{n}"].entries[number] + 1 for n in ("input", "tap_x", "tap_y")
        )

    def reads_where_it_writes(self, number: int) -> bool:
        """Whether a step's source and target are in one memory."""
        return bool(
            self.columns["from_second"].entries[number] == self.columns["to_second"].entries[number]
        )

    @property
    def block_rams(self) -> int:
        """About how many of 4 kbit images, weights and tables take."""
        memories = [(8, depth) for depth in self.depths if depth] * self.lanes
        memories += [(8 * self.lanes, len(self.weights)), (8, 256 * len(self.tables))]
        shapes = ((16, 256), (8, 512), (4, 1024), (2, 2048))
        return sum(
            min(ceil(width / wide) * ceil(deep / words) for wide, words in shapes)
            for width, deep in memories
        )

    @property
    def cycles(self) -> int:
        """From the first byte of an image to the first of the next one, which come at once."""
        total = 0
        for number in range(len(self.names)):
            groups = prod(
                self.columns[f"last_{n}"].entries[number] + 1 for n in ("group", "x", "y")
            )
            taps = self.taps(number)
            if number == 0:
                taps, groups = 1, self.input_bytes
            elif self.sprams and self.reads_where_it_writes(number):
                taps += min(self.lanes, self.columns["last_channel"].entries[number] + 1)
            rest = max(taps, self.spacing) if self.stalls and number else taps
            turns = prod(n for first, last, n in self.loops if first <= number <= last)
            total += turns * (taps + (groups - 1) * rest + self.drain + 3)
        return total

    @property
    def drain(self) -> int:
        """Cycles from the last word that a step reads to the last byte that it writes, and some."""
        return self.lanes + PIPELINE


def bits(number: int) -> int:
    """Of an unsigned number, at least one."""
    return max(1, int(number).bit_length())


def signed_bits(numbers: list[int]) -> int:
    """Of the widest of some numbers in two's complement."""
    return 1 + max(bits(n if n >= 0 else ~n) for n in numbers)


def column(name: str, entries: list[int], address_bits: int = 0) -> Column:
    """A field of the table. Addresses are modulo the size of a memory."""
    if name.startswith(("at_", "by_")):
        return Column(address_bits, False, tuple(n % (1 << address_bits) for n in entries))
    if name in _BYTES:
        return Column(8, True, tuple(entries))
    if min(entries) < 0:
        return Column(signed_bits(entries), True, tuple(entries))
    return Column(bits(max(entries)), False, tuple(entries))


def assemble(plan: Plan, lanes: int, sprams: bool = False) -> Machine:
    """The machine that does what a plan says.

    Args:
        plan: What to do for an image.
        lanes: Multiply-accumulates in a cycle.
        sprams: Whether images lie in the SPRAMs of a UP5K.

    Raises:
        EdgegolfError: It is too large.
    """
    layout = arrange(plan, lanes)
    if max(layout.depths) > (SPRAM_WORDS if sprams else MAXIMUM_WORDS):
        raise EdgegolfError("its images are too large for a circuit")
    if sprams and ceil(lanes / 2) * sum(map(bool, layout.depths)) > SPRAMS:
        raise EdgegolfError(f"{lanes} lanes take more than {SPRAMS} SPRAMs", "--parallel 4")
    address = bits(max(*layout.depths) - 1)
    scalings, shifts = _common_shifts(plan.steps)
    differ = any(len(set(each)) > 1 for each in scalings)
    weights, weight_starts = _weights(plan.steps, lanes)
    parameters, parameter_starts = _parameters(plan.steps, scalings if differ else None, shifts)
    tables = tuple(dict.fromkeys(step.table for step in plan.steps if step.table))
    add_shift = max((s.adding.shift for s in plan.steps if s.adding), default=0)
    rows = []
    for step, each, start, first in zip(
        plan.steps, scalings, weight_starts, parameter_starts, strict=True
    ):
        row = _walk(step, layout, lanes) | _writing(step, layout, lanes)
        row |= _residual(step, layout, lanes, add_shift)
        row |= {"weights": start, "parameters": first, "low": step.low, "high": step.high}
        row |= {"lookup": tables.index(step.table) if step.table else 0}
        row |= {"looks_up": int(bool(step.table))}
        row |= {"alike": int(not step.bias and (not differ or len(each) == 1))}
        row |= {} if differ else _scaling_fields(each[0], shifts)
        rows.append(row)
    for number, row in enumerate(rows):
        turns = [(first, n) for first, last, n in plan.loops if last == number]
        row |= {"is_last": int(number == len(rows) - 1), "repeats": int(bool(turns))}
        row |= {"again": turns[0][0] if turns else 0, "turns": turns[0][1] - 1 if turns else 0}
    columns = {name: column(name, [row[name] for row in rows], address) for name in rows[0]}
    reach = [_reach(step) for step in plan.steps]
    totals = [r + max(map(abs, s.bias), default=0) for r, s in zip(reach, plan.steps, strict=True)]
    scaled = [
        total * scaling.multiplier + max(abs(scaling.positive), abs(scaling.negative))
        for total, several in zip(totals, scalings, strict=True)
        for scaling in several
    ]
    return Machine(
        lanes=lanes, columns=columns, names=tuple(step.name for step in plan.steps),
        depths=layout.depths, address_bits=address, weights=weights, parameters=parameters,
        tables=tables, shifts=shifts, sum_bits=1 + bits(max(reach)),
        total_bits=1 + bits(max(totals)), scaled_bits=1 + bits(max(scaled)), add_shift=add_shift,
        add_bits=1 + bits(max(_sum_reach(row) for row in rows)), macs=plan.macs,
        input_bytes=plan.steps[0].size.pixels * plan.steps[0].size.channels,
        logits=prod(plan.steps[-1].size), loops=plan.loops, sprams=sprams,
    )  # fmt: skip


def _walk(step: Step, layout: Layout, lanes: int) -> dict[str, int]:
    """Where the source is read, word by word."""
    height, width, channels = step.size
    groups = ceil(channels / lanes)
    row = {
        "last_channel": channels - 1,
        "last_group": (groups if step.source else channels) - 1, "last_x": width - 1,
        "last_y": height - 1, "is_input": int(step.source is None),
        "is_maximum": int(step.largest), "is_full": int(step.is_full),
        "has_ones": int(step.weights is None),
    }  # fmt: skip
    view = step.source or View.of(step.target, step.size)
    rows, columns = step.window if step.source else (1, 1)
    inputs = view.size.channels if step.is_full else 1
    pixel = ceil(view.buffer.channels / lanes)
    line = view.pitch * pixel
    right, down = step.dilation[1] * pixel, step.dilation[0] * line
    memory, place = layout.places[view.buffer]
    y, x = step.corner
    inside = (inputs - 1) // lanes
    turn = -inside - (columns - 1) * right
    back = turn - (rows - 1) * down
    here = back - (0 if step.is_full else groups - 1)
    move, drop = step.strides[1] * pixel, step.strides[0] * line
    (top, bottom), (left, side) = view.inside
    across, along = step.dilation[1] * (columns - 1), step.dilation[0] * (rows - 1)
    fill = step.fill if step.fill is not None else view.fill
    first, end = (y - top, x - left), (bottom - top, side - left)
    outside = any(
        begin < 0 or begin + reach + (count - 1) * stride >= stop
        for begin, reach, count, stride, stop in zip(
            first, (along, across), step.size, step.strides, end, strict=False
        )
    )
    return row | {
        "is_padded": int(outside and step.source is not None),
        "last_input": inputs - 1, "last_tap_x": columns - 1, "last_tap_y": rows - 1,
        "from_second": memory if step.source else 0,
        "at_source": place + view.start * pixel + y * line + x * pixel,
        "by_tap_x": right - inside, "by_tap_y": down + turn,
        "by_group": back + (0 if step.is_full else 1), "by_x": here + move,
        "by_y": here - (width - 1) * move + drop,
        "first_y": y - top, "first_x": x - left,
        "rows_inside": max(0, bottom - top), "columns_inside": max(0, side - left),
        "x_tap": step.dilation[1], "x_back": -across, "x_pixel": step.strides[1] - across,
        "x_line": -across - (width - 1) * step.strides[1], "y_tap": step.dilation[0],
        "y_back": -along, "y_line": step.strides[0] - along,
        "fill": LOW if fill is None else fill, "lowest": view.leak[0], "least": view.leak[1],
    }  # fmt: skip


def _writing(step: Step, layout: Layout, lanes: int) -> dict[str, int]:
    """Where the result goes, byte by byte."""
    memory, place = layout.places[step.target]
    whole = step.within or Size(1, step.target.pixels, step.target.channels)
    top, left, channel = step.origin
    channels = step.size.channels if step.within else whole.channels
    pixel = ceil(whole.channels / lanes)
    step_on = pixel - (channel % lanes + channels - 1) // lanes
    width = step.size.width if step.within else 1
    skipped = (whole.width - width) * pixel if step.within else 0
    return {
        "to_second": memory,
        "at_target": place + (top * whole.width + left) * pixel + channel // lanes,
        "write_lane": channel % lanes, "write_channels": channels - 1, "write_columns": width - 1,
        "by_pixel_written": step_on, "by_line_written": step_on + skipped,
    }  # fmt: skip


def _residual(step: Step, layout: Layout, lanes: int, shift: int) -> dict[str, int]:
    """Where what is added lies, and how it is added."""
    view, adding = step.residual, step.adding
    start = on = first = second = constant = positive = negative = 0
    if view is not None and adding is not None:
        pixel = ceil(view.buffer.channels / lanes)
        start = layout.places[view.buffer][1] + view.start * pixel
        on = 1 + (view.pitch - view.size.width) * pixel
        more = shift - adding.shift
        first, second, constant = (
            adding.first << more,
            adding.second << more,
            adding.constant << more,
        )
        positive, negative = adding.positive << more, adding.negative << more
    return {
        "adds": int(view is not None), "at_residual": start, "by_line_added": on or 1,
        "add_first": first, "add_second": second, "add_constant": constant,
        "add_positive": positive, "add_negative": negative, "sum_low": step.limits[0],
        "sum_high": step.limits[1],
    }  # fmt: skip


def _sum_reach(row: dict[str, int]) -> int:
    rounding = max(abs(row["add_positive"]), abs(row["add_negative"]))
    factors = abs(row["add_first"]) + abs(row["add_second"])
    return 128 * factors + abs(row["add_constant"]) + rounding


def _reach(step: Step) -> int:
    """The largest absolute sum of products."""
    if step.weights is None:
        return 128 * (1 if step.largest else step.window[0] * step.window[1])
    return 128 * int(np.abs(step.weights).reshape(-1, step.weights.shape[-1]).sum(0).max())


def _weights(steps: tuple[Step, ...], lanes: int) -> tuple[np.ndarray, list[int]]:
    """Words in the order in which they are read; equal layers are stored once."""
    words: list[np.ndarray] = []
    starts: dict[tuple[bytes, tuple[int, ...]], int] = {}
    found, length = [], 0
    for step in steps:
        values = step.weights if step.weights is not None else np.ones((1, 1, lanes), np.int64)
        key = values.tobytes(), values.shape
        if key not in starts:
            groups = ceil(values.shape[-1] / lanes)
            padded = np.zeros((*values.shape[:-1], groups * lanes), np.int64)
            padded[..., : values.shape[-1]] = values
            each = padded.reshape(-1, groups, lanes).transpose(1, 0, 2).reshape(-1, lanes)
            starts[key] = length
            words.append(each)
            length += len(each)
        found.append(starts[key])
    return np.concatenate(words), found


def _parameters(
    steps: tuple[Step, ...], scalings: list[tuple[Scaling, ...]] | None, shifts: tuple[int, ...]
) -> tuple[dict[str, Column], list[int]]:
    """What each channel of each step takes; equal ones are stored once."""
    rows: list[dict[str, int]] = []
    starts: dict[tuple[tuple[int, ...], tuple[Scaling, ...]], int] = {}
    found = []
    for number, step in enumerate(steps):
        biases = step.bias or (0,)
        several = scalings[number] if scalings is not None else ()
        key = biases, several
        if key not in starts:
            starts[key] = len(rows)
            for channel in range(max(len(biases), len(several))):
                row = {"bias": biases[channel if step.bias else 0]}
                if several:
                    row |= _scaling_fields(several[channel if len(several) > 1 else 0], shifts)
                rows.append(row)
        found.append(starts[key])
    return {name: column(name, [row[name] for row in rows]) for name in rows[0]}, found


def _scaling_fields(scaling: Scaling, shifts: tuple[int, ...]) -> dict[str, int]:
    return {
        "multiplier": scaling.multiplier, "positive": scaling.positive,
        "negative": scaling.negative, "shift": shifts.index(scaling.shift),
    }  # fmt: skip


def _common_shifts(steps: tuple[Step, ...]) -> tuple[list[tuple[Scaling, ...]], tuple[int, ...]]:
    """The same scalings with the fewest different shifts that need no longer multiplier."""
    everyone = {scaling for step in steps for scaling in step.scalings}
    longest = max(bits(each.multiplier) for each in everyone)

    def most(each: Scaling) -> int:
        return each.shift + longest - (bits(each.multiplier) if each.multiplier else 0)

    shifts: list[int] = []
    for each in sorted(everyone, key=most):
        if not shifts or shifts[-1] < each.shift:
            shifts.append(most(each))
    found = [
        tuple(each.shifted(next(n for n in shifts if each.shift <= n <= most(each)))
              for each in step.scalings)
        for step in steps
    ]  # fmt: skip
    return found, tuple(shifts)
