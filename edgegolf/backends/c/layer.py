"""One C function in the making: pixel after pixel of a result, through one or several stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgegolf.backends.c.requant import Staircase, Stored, staircase
from edgegolf.backends.c.source import TYPES, Source
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Node, Tensor
from edgegolf.ir.fixed_point import Requant, Rounding
from edgegolf.ir.interpreter import constant_results
from edgegolf.ir.ops import Add, HardSwish, LeakyReLU, Logistic, Mul, Quantize, ReLU, Sub, Tanh
from edgegolf.ir.tensor import Array

#: How far below its input an output may lie; what is not listed must not overlap.
Lags = dict[Tensor, int]

# How many bytes after the last number a processor with vectors may read.
SLACK = 15


# By which a product of a line is shifted.
_LINE_BITS = 16


class NotInCError(EdgegolfError):
    """C source for this cannot be written."""


@dataclass
class Layer:
    """A function that computes one tensor."""

    source: Source  # where its constants go
    # The tensors that it reads, its parameters `x0`, `x1`, ….
    inputs: list[Tensor] = field(default_factory=list)
    # The arrays that it reads, its parameters `c0`, `c1`, …: (name, type).
    constants: list[tuple[str, str]] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)  # declarations at its begin
    lines: list[str] = field(default_factory=list)  # the rest of it, without the indentation
    # For inputs that the output may overlap, how many bytes later than it they must lie.
    lags: Lags = field(default_factory=dict)
    fast: bool = False  # whether it shall be fast rather than small
    vectors: str = ""  # the target that it is for, if that has vectors
    scratch: int = 0  # bytes of its arrays
    pixel: str = "n"  # C for the number of the pixel that is computed
    is_branched: bool = False  # whether some constants and arrays are for vectors alone, or not

    def read(self, tensor: Tensor) -> str:
        """The parameter that points to an input."""
        if tensor not in self.inputs:
            self.inputs.append(tensor)
        return f"x{self.inputs.index(tensor)}"

    def element(self, array: Array, hint: str, index: str) -> str:
        """The expression that reads an element of a constant."""
        name, macro = self.constant(array, hint)
        return f"{macro}({name} + {index})"

    def padded(self, numbers: Sequence[Any]) -> Array:
        """Numbers of each channel, up to a multiple of four where there are vectors."""
        more = -len(numbers) % 4 if self.vectors else 0
        return np.array([*numbers, *[0] * more], np.int64)

    def constant(self, array: Array, hint: str) -> tuple[str, str]:
        """The parameter that points to a constant, and the macro that reads through it."""
        return self.parameter(self.source.constant(array, hint))

    def parameter(self, entry: tuple[str, str]) -> tuple[str, str]:
        """The same for a constant that the source has: its name and type."""
        if entry not in self.constants:
            self.constants.append(entry)
        return f"c{self.constants.index(entry)}", TYPES[entry[1]][1]

    def add(self, *lines: str) -> None:
        """Append lines."""
        self.lines += lines

    def array(self, kind: str, name: str, size: int) -> None:
        """Add an array, for the whole function where it is for a processor with vectors."""
        size += SLACK * bool(self.vectors)
        self.scratch += size * (4 if "32" in kind else 1)
        (self.arrays if self.vectors else self.lines).append(f"{kind} {name}[{size}] ALIGNED;")

    def call(self, output: Tensor, hint: str) -> tuple[str, list[str]]:
        """The name of the function, and the constants that it is called with."""
        parameters = [f"const {ctype(t)} *x{i}" for i, t in enumerate(self.inputs)]
        parameters.append(f"{ctype(output)} *y")
        parameters += [f"const {TYPES[t][0]} *c{i}" for i, (_, t) in enumerate(self.constants)]
        apart = "APART " if self.scratch else ""
        head = f"static {apart}void {{name}}({', '.join(parameters)}) {{"
        names = [f"c{i}" for i in range(len(self.constants))]
        names += [name for line in self.arrays for name in re.findall(r" (\w+)\[", line)]
        some = [f"(void){name};" for name in names] * self.is_branched
        text = "\n".join([head, *_indented([*self.arrays, *some, *self.lines]), "}"]) + "\n"
        self.source.scratch = max(self.source.scratch, self.scratch)
        return self.source.function(text, hint), [name for name, _ in self.constants]


def _indented(lines: Sequence[str]) -> list[str]:
    depth, result = 1, []
    for line in lines:
        depth -= line.startswith("}")
        result.append(line if line.startswith("#") else "  " * depth + line)
        depth += line.endswith("{")
    return result


def ctype(tensor: Tensor) -> str:
    """C's name of the type of a tensor in memory. Raises NotInCError if it cannot be there."""
    if tensor.dtype not in ("int8", "uint8", "int32"):
        raise NotInCError(f"a tensor of {tensor.dtype}", "quantize it to int8 first")
    return TYPES[tensor.dtype][0]


# ----------------------------------------------------------------------------------------- maps


@dataclass(frozen=True)
class Map:
    """What becomes of each of the 256 values of a tensor, on its own."""

    low: int  # the smallest value of the input
    table: Array  # the results from that one on, int64
    output: Tensor  # the tensor whose type the results have

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> Map | None:
        """That of nodes one after the other, None for none."""
        if not nodes:
            return None
        low, high = nodes[0].computed[0].limits
        table = np.arange(low, high + 1)
        for node in nodes:
            table = evaluate(node, {node.computed[0]: table})
        return cls(low, table, nodes[-1].output)

    def then(self, after: Map) -> Map:
        """One after the other."""
        return Map(self.low, after(self.table), after.output)

    def __call__(self, values: Array) -> Array:
        """The results for values."""
        return self.table[values - self.low]

    @property
    def ends(self) -> tuple[int, int]:
        """The smallest and the largest result."""
        return int(self.table.min()), int(self.table.max())

    def within(self, limits: tuple[int, int]) -> tuple[int, int]:
        """The smallest and the largest result of values between two."""
        results = self(np.arange(limits[0], limits[1] + 1))
        return int(results.min()), int(results.max())

    @property
    def rises(self) -> bool:
        """Whether it never decreases."""
        return bool((np.diff(self.table) >= 0).all())

    def clip(self, limits: tuple[int, int]) -> tuple[int, int] | None:
        """Between which values are kept, if that is all that becomes of them between limits."""
        values = np.arange(limits[0], limits[1] + 1)
        ends = int(self(values[:1])[0]), int(self(values[-1:])[0])
        return ends if (np.clip(values, *ends) == self(values)).all() else None

    def expression(self, layer: Layer, value: str) -> str:
        """C for the result of a value."""
        values = np.arange(self.low, self.low + 256)
        low, high = int(self.table[0]), int(self.table[-1])
        if (np.clip(values, low, high) == self.table).all():
            return clamped(value, low, high, self.low, self.low + 255)
        if layer.vectors and (found := self.lines(value)):
            return found
        index = value if self.low == 0 else f"({value} + {-self.low})"
        return layer.element(self.table, "map", index)

    def lines(self, value: str) -> str | None:
        """C for two lines side by side, where they are all: vectors cannot look up tables."""
        bend, right = 1, 256
        while right - bend > 1:  # the first one goes as far as it can
            middle = (bend + right) // 2
            bend, right = (bend, middle) if self.line(0, middle) is None else (middle, right)
        rest = self.table[1:]
        if (np.clip(np.arange(1, 256) + self.low, rest[0], rest[-1]) == rest).all():
            kept = clamped(value, int(rest[0]), int(rest[-1]), self.low, self.low + 255)
            return f"({value} == {self.low} ? {self.table[0]} : {kept})"
        first, second = self.line(0, bend), self.line(bend, 256)
        if first is None or second is None:
            return None
        factor, offset = (f"({value} < {self.low + bend} ? {a} : {b})"
                          for a, b in zip(first, second, strict=True))  # fmt: skip
        low, high = self.ends
        return f"clamp(({value} * {factor} + {offset}) >> {_LINE_BITS}, {low}, {high})"

    def line(self, start: int, stop: int) -> tuple[int, int] | None:
        """Factor and offset that give a part of the results, if there are such."""
        numbers, results = np.arange(start, stop) + self.low, self.table[start:stop]
        low, high = self.ends
        inside = np.flatnonzero((results > low) & (results < high))
        slope = 0.0
        if len(inside) > 1:
            first, last = inside[[0, -1]]
            slope = float(results[last] - results[first]) / float(last - first)
        near = round(slope * 2**_LINE_BITS)
        step = 2**_LINE_BITS // (16 * max(len(inside), 1))
        for factor in (near + n * step for n in range(-32, 33)):
            least = (results << _LINE_BITS) - numbers * factor
            most = least + (1 << _LINE_BITS) - 1
            floor, ceiling = least[results > low], most[results < high]
            offset = int(floor.max(initial=-(2**30)))
            if abs(factor) < 2**22 and offset <= ceiling.min(initial=2**30):
                return factor, offset if offset > -(2**30) else int(ceiling.min(initial=0))
        return None


def is_map(node: Node) -> bool:
    """Whether the result is, element by element, a function of one tensor of the same size."""
    if isinstance(node.op, ReLU | LeakyReLU | Logistic | Tanh | HardSwish):
        return True
    if isinstance(node.op, Quantize):
        return node.source.dtype in ("int8", "uint8")
    if not isinstance(node.op, Add | Sub | Mul) or len(set(node.computed)) != 1:
        return False
    constants = [t for t in node.inputs if t is not None and t.data is not None]
    return node.computed[0].shape == node.output.shape and all(t.elements == 1 for t in constants)


def evaluate(node: Node, values: dict[Tensor, Array]) -> Array:
    """What the interpreter says of arrays in the place of tensors, int64."""
    inputs = tuple(_holding(t, values.get(t)) for t in node.inputs if t is not None)
    shape = np.broadcast_shapes(*(t.shape for t in inputs))
    output = replace(node.output, shape=shape)
    (result,) = constant_results(Node(node.op, inputs, (output,)))
    return result.astype(np.int64)


def _holding(tensor: Tensor, values: Array | None) -> Tensor:
    data = tensor.values.reshape(()) if values is None else values.astype(tensor.dtype)
    return replace(tensor, shape=data.shape, data=data)


# ------------------------------------------------------------------------------------ arithmetic


def clamped(value: str, low: int, high: int, least: int, most: int) -> str:
    """C for a value between `least` and `most`, kept between two numbers."""
    if low > least and high < most:
        if (low, high) == (-128, 127):
            return f"byte({value})"
        return f"clamp({value}, {low}, {high})"
    if low > least:
        return f"({value} < {low} ? {low} : {value})"
    return f"({value} > {high} ? {high} : {value})" if high < most else value


def stored(
    requant: Requant, channel: int, zero_point: int, limits: tuple[int, int],
    reach: tuple[int, int], after: Map | None,
) -> Stored:  # fmt: skip
    """What a kernel stores for the sums of a channel, and what becomes of it."""
    at = channel if len(requant.multiplier) > 1 else 0
    one = Requant((requant.multiplier[at],), (requant.shift[at],), requant.rounding)
    slope = float(one.multiplier[0])
    if one.rounding is Rounding.TWICE:
        slope *= 2.0 ** (one.shift[0] - 31)

    def function(sums: Array) -> Array:
        result = np.clip(one(sums) + zero_point, *limits)
        return result if after is None else after(result)

    return Stored(function, reach, slope)


#: What `finish` is told of a layer, from `requant` on.
Finish = tuple[Requant, int, tuple[int, int], list[tuple[int, int]], Map | None, str]


def finish(
    layer: Layer, requant: Requant, zero_point: int, limits: tuple[int, int],
    reaches: list[tuple[int, int]], after: Map | None, what: str,
) -> str:  # fmt: skip
    """Add what makes the sum `a` of channel `o` a result; returns the expression of it.

    Args:
        layer: Where to add it.
        requant: What the kernel does, for all channels or each.
        zero_point: Of the kernel's result.
        limits: Between which the kernel keeps it.
        reaches: The smallest and the largest sum of each channel.
        after: What becomes of the kernel's result.
        what: The operator, for messages.
    """
    each = len(requant.multiplier) > 1
    spans = reaches if each else [(min(r[0] for r in reaches), max(r[1] for r in reaches))]

    def search(folded: Map | None) -> Staircase | None:
        ends = limits if folded is None else tuple(folded(np.array(limits)).tolist())
        channels = [
            stored(requant, channel, zero_point, limits, reach, folded)
            for channel, reach in enumerate(spans)
        ]
        return staircase(channels, (ends[0], ends[1]))

    folds = after is not None and after.rises
    found = search(after) if folds else None
    if found is None:
        folds, found = False, search(None)
    if found is not None:
        result = render_staircase(layer, found, spans)
    elif requant.rounding is Rounding.TWICE:
        result = _reference(layer, requant, zero_point, limits)
    else:
        raise NotInCError(f"{what} with scales that no integer arithmetic equals")
    if after is None or folds:
        return result
    layer.add(f"a = {result};")
    return after.expression(layer, "a")


def called(
    layer: Layer, requant: Requant, zero_point: int, limits: tuple[int, int],
    reaches: list[tuple[int, int]], after: Map | None, what: str,
) -> Callable[[str, str], str]:  # fmt: skip
    """The same as a function of its own: from the sum and its channel to the call."""
    inner = Layer(layer.source, vectors=layer.vectors)
    result = finish(inner, requant, zero_point, limits, reaches, after, what)
    channels = bool(re.search(r"\bo\b", " ".join([*inner.lines, result])))
    parameters = ["int32_t a"] + ["unsigned o"] * channels
    parameters += [f"const {TYPES[t][0]} *c{i}" for i, (_, t) in enumerate(inner.constants)]
    lines = [*inner.lines, f"return {result};"]
    clip = limits if after is None else after.clip(limits)
    if requant.rounding is Rounding.TWICE and len(requant.multiplier) == 1 and clip:
        shift = -requant.shift[0]
        if 0 < shift < 31 and max(abs(end) for reach in reaches for end in reach) < 2**30:
            quick = [f"a = rescaled(a, {int(requant.multiplier[0])}) + "
                     f"{(1 << (shift - 1)) + (zero_point << shift)};"]  # fmt: skip
            if clip == (-128, 127):
                quick += [f'__asm__("ssat %0, #8, %0, asr #{shift}" : "+r"(a));', "return a;"]
            else:
                quick += [f"return {clamped(f'a >> {shift}', *clip, -(2**31), 2**31)};"]
            lines = ["#if defined(__ARM_FEATURE_DSP)", *quick, "#else", *lines, "#endif"]
    head = f"static HELPER int32_t {{name}}({', '.join(parameters)}) {{"
    name = layer.source.function("\n".join([head, *_indented(lines), "}"]) + "\n", "requant")
    constants = "".join(f", {layer.parameter(entry)[0]}" for entry in inner.constants)

    def call(value: str, channel: str) -> str:
        return f"{name}({value}{f', {channel}' * channels}{constants})"

    return call


def _reference(layer: Layer, requant: Requant, zero_point: int, limits: tuple[int, int]) -> str:
    """TensorFlow Lite's own way, with products of 64 bits."""
    if len(requant.multiplier) > 1:
        factor = layer.element(layer.padded(requant.multiplier), "factor", "o")
        shift = layer.element(layer.padded(requant.shift), "shift", "o")
    else:
        factor, shift = str(int(requant.multiplier[0])), str(requant.shift[0])
    layer.add(f"a = rescale(a, {factor}, {shift}){plus(zero_point)};")
    return f"clamp(a, {limits[0]}, {limits[1]})"


def render_staircase(layer: Layer, found: Staircase, spans: list[tuple[int, int]]) -> str:
    """Add what makes the sum `a` of channel `o` a result; returns the expression of it."""
    low, high = min(s[0] for s in spans), max(s[1] for s in spans)
    if found.multiplier == (0,):
        layer.add("(void)a;")
        return str(found.offset)
    large = max(found.multiplier)
    factor = str(large)
    if len(set(found.multiplier)) > 1:
        factor = layer.element(layer.padded(found.multiplier), "factor", "o")
    offset = str(found.offset)
    if found.negative:
        offset = f"({found.offset} + (a < 0 ? {found.negative} : 0))"
    reach = max(-low, high)
    roundings = abs(found.offset) + abs(found.negative)
    forms = [("defined(__AVR__)", _bytewise(found))]
    if reach * large + roundings < 2**31:
        forms.append(("", [f"a = (a * {factor} + {offset}) >> {found.shift};"]))
    else:
        wide = f"a = (int32_t)(((int64_t)a * {factor} + {_wide(found.offset)}"
        if found.negative:
            wide += f" + (a < 0 ? {_wide(found.negative)} : 0)"
        forms += [("NARROW", _narrow(found, reach, factor)), ("", [f"{wide}) >> {found.shift});"])]
    ends = [
        int(m) * s + found.offset + (found.negative if s < 0 else 0) >> found.shift
        for m in set(found.multiplier)
        for s in (low, high)
    ]
    kept = clamped("a", found.low, found.high, min(ends), max(ends))
    forms = [each for each in forms if each[1]]
    if len(forms) == 1:
        layer.add(*forms[0][1])
        return kept
    for position, (condition, lines) in enumerate(forms):
        layer.add("#else" if not condition else f"#{'el' * (position > 0)}if {condition}", *lines)
        if condition != "defined(__AVR__)" and kept != "a":
            layer.add(f"a = {kept};")
    layer.add("#endif")
    return "a"


def _bytewise(found: Staircase) -> list[str]:
    """The same with a factor of 32 bits, and of the product the fifth byte."""
    if len(set(found.multiplier)) > 1 or not 0 <= found.shift <= 32:
        return []
    more = 32 - found.shift
    factor = found.multiplier[0] << more
    offsets = [found.offset << more, (found.offset + found.negative) << more]
    # The ends of the sums whose results need not be kept between the smallest and the largest one.
    first, last = (
        next((end for end, negative in ((-((offset - (bound << 32)) // factor), negative)
              for negative, offset in enumerate(offsets)) if (end < 0) == negative), None)
        for bound in (found.low, found.high + 1)
    )  # fmt: skip
    if (
        first is None
        or last is None
        or factor >= 2**32
        or not 0 < (last := last - 1) - first < 2**16
    ):
        return []
    above, below = (offset + first * factor - (found.low << 32) for offset in offsets)
    if not all(0 <= each < 2**32 for each in ((above,) if first >= 0 else (above, below))):
        return []
    offset = f"{above}u"
    if found.negative and first < 0:
        offset = f"(a < {-first} ? {below}u : {above}u)"
    return [
        f"a -= {first};",
        f"a = a < 0 ? 0 : a > {last - first} ? {last - first} : a;",
        f"a = scaled((uint16_t)a, {factor}u, {offset}){plus(found.low)};",
    ]


def _narrow(found: Staircase, reach: int, factor: str) -> list[str]:
    """The same with two products of 32 bits: the upper and the lower part of the factor.

    Sums that change nothing any more are cut off first where the products would not fit else.
    """
    large = max(found.multiplier)
    edge = max(abs(found.first), abs(found.last))
    for cuts, most in ((False, reach), (True, edge)):
        for bits in range(found.shift - 1, 0, -1):
            mask = (1 << bits) - 1
            for high_offset in (0, found.offset >> bits):
                low_offset = found.offset - (high_offset << bits)
                lower = most * min(mask, large) + abs(low_offset) + abs(found.negative)
                upper = most * (large >> bits) + (lower >> bits) + abs(high_offset)
                if max(lower, upper) < 2**31 - 1:
                    break
            else:
                continue
            lines = [f"a = clamp(a, {found.first}, {found.last});"] if cuts else []
            if not factor.isdigit():
                lines += [f"const int32_t m = {factor};"]
                parts = f"(m >> {bits})", f"(m & {mask})"
            else:
                parts = str(large >> bits), str(large & mask)
            extra = f" + (a >> 31) * {-found.negative}" if found.negative else ""
            return [
                *lines,
                f"a = (a * {parts[0]} + ((a * {parts[1]}{plus(low_offset)}{extra}) >> {bits})"
                f"{plus(high_offset)}) >> {found.shift - bits};",
            ]
    return []


def _wide(number: int) -> str:
    return str(number) if abs(number) < 2**31 else f"(int64_t){number}LL"


def plus(number: int) -> str:
    """C that adds a constant, nothing for 0."""
    return "" if not number else f" + {number}" if number > 0 else f" - {-number}"
