"""From a graph to the steps of a machine: passes over an image, each with all that it applies.

Reshapes, crops and paddings cost nothing: they are ways to read (`View`). Activations and
additions join the step before them, where nothing else reads its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from edgegolf.backends.verilog.rounding import (
    IDENTITY,
    Addition,
    Scaling,
    addition,
    requantization,
    scaling,
    table,
)
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph, Node, Tensor, ops
from edgegolf.ir.fixed_point import Requant
from edgegolf.ir.lowering import lower
from edgegolf.ir.tensor import Array

LOW, HIGH = -128, 127
#: What is larger is refused: elements of an image, of a layer's weights as the machine holds them,
#: channels of a layer, passes over an image.
MAXIMUM_ELEMENTS = 2**20
MAXIMUM_WEIGHTS = 2**22
MAXIMUM_CHANNELS = 4096
MAXIMUM_STEPS = 512
#: As the label is a byte.
MAXIMUM_LOGITS = 256

_UNARY = (ops.ReLU, ops.LeakyReLU, ops.Quantize, ops.Logistic, ops.Tanh, ops.HardSwish)
_PRODUCTS = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)
_BINARY = (ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum)
_SUPPORTED = (
    *_UNARY, *_PRODUCTS, *_BINARY, ops.MaxPool2D, ops.AveragePool2D, ops.Mean, ops.Reshape,
    ops.Pad, ops.Slice, ops.Concatenate, ops.Loop,
)  # fmt: skip


class Size(NamedTuple):
    """Of an image."""

    height: int
    width: int
    channels: int

    @property
    def pixels(self) -> int:
        """How many."""
        return self.height * self.width


@dataclass(eq=False)
class Buffer:
    """A place for an image, told from others by identity."""

    pixels: int  # how many it holds
    channels: int  # of each, stored from a word's first byte on


@dataclass(frozen=True)
class View:
    """An image as a step reads it."""

    buffer: Buffer  # where it is
    size: Size  # what is seen
    start: int  # the pixel of the buffer that is seen first, negative where it lies before all
    pitch: int  # pixels from a row to the next
    inside: ops.Padding  # ((first row, row after the last), (column, column)) of what is there
    fill: int | None = None  # what is seen elsewhere
    # What the smallest integer is seen as, and the others at least.
    leak: tuple[int, int] = (LOW, LOW)

    @classmethod
    def of(cls, buffer: Buffer, size: Size) -> View:
        """All of a buffer."""
        return cls(buffer, size, 0, size.width, ((0, size.height), (0, size.width)))

    @property
    def is_whole(self) -> bool:
        """Whether it is the buffer as it is."""
        return self.leak == (LOW, LOW) and self == View.of(self.buffer, self.size)

    @property
    def is_plain(self) -> bool:
        """Whether all that is seen is there as it is."""
        height, width, _ = self.size
        return self.leak == (LOW, LOW) and self.inside == ((0, height), (0, width))

    def moved(self, top: int, left: int, size: Size, fill: int | None) -> View:
        """Another part of the plane; what lies outside of this one is seen as `fill`."""
        (first, end), (begin, stop) = self.inside
        inside = (
            (max(0, first - top), min(size.height, end - top)),
            (max(0, begin - left), min(size.width, stop - left)),
        )
        start = self.start + top * self.pitch + left
        return replace(self, size=size, start=start, inside=inside, fill=fill)


@dataclass(frozen=True)
class Step:
    """A pass: for every pixel of the result, a sum or maximum over a window, then what follows."""

    name: str  # for people
    source: View | None  # what it reads; None for the images that come from outside
    size: Size  # of the result
    target: Buffer  # where the result goes
    window: ops.Pair = (1, 1)  # rows and columns that a pixel of the result sees
    strides: ops.Pair = (1, 1)  # of the window
    dilation: ops.Pair = (1, 1)  # between the rows and columns of the window
    corner: ops.Pair = (0, 0)  # of the first window, in the source
    fill: int | None = None  # what lies outside of the source
    # `[rows, columns, inputs, outputs]`, or `[rows, columns, outputs]` where each channel sees only
    # itself; None for ones.
    weights: Array | None = None
    largest: bool = False  # whether it is the maximum of the window, not a sum
    bias: tuple[int, ...] = ()  # for each channel of the result
    scalings: tuple[Scaling, ...] = (IDENTITY,)  # one, or one for each channel
    low: int = LOW  # the smallest integer before what follows
    high: int = HIGH  # the largest one
    residual: View | None = None  # added then
    adding: Addition | None = None  # how; the residual is the first summand
    limits: ops.Pair = (LOW, HIGH)  # of what was added
    table: tuple[int, ...] = ()  # what each integer from -128 on becomes at last
    # (row, column, channel) of the target where the result begins.
    origin: tuple[int, int, int] = (0, 0, 0)
    within: Size | None = None  # size of the target, where the result is a part of it

    @property
    def is_full(self) -> bool:
        """Whether every output sees all inputs."""
        return self.weights is not None and self.weights.ndim == 4

    @property
    def reads(self) -> tuple[Buffer, ...]:
        """The buffers that it reads."""
        return tuple(view.buffer for view in (self.source, self.residual) if view is not None)


@dataclass(frozen=True)
class Plan:
    """What the machine does for an image."""

    steps: tuple[Step, ...]  # in order; the first takes the image in, the last gives the logits
    loops: tuple[tuple[int, int, int], ...]  # (first step, last step, iterations)
    macs: int  # multiply-accumulates of an image


def unsupported(graph: Graph) -> tuple[str, ...]:
    """What a graph has that the machine lacks, by name; empty if it has all."""
    reasons = []
    nodes = list(_body(graph))
    for node in [inner for outer in nodes for inner in (outer, *_inner(outer))]:
        op = node.op
        name = op.name if isinstance(op, ops.Unsupported) else type(op).__name__
        if not isinstance(op, _SUPPORTED):
            reasons.append(name)
        elif any(t.dtype != "int8" for t in (*node.computed, *node.outputs)):
            reasons.append(f"{name} of other integers than int8")
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        reasons.append("several inputs or outputs")
    return tuple(dict.fromkeys(reasons))


def _inner(node: Node) -> tuple[Node, ...]:
    return tuple(inner for graph in node.graphs for inner in graph.walk())


def _body(graph: Graph) -> tuple[Node, ...]:
    """The nodes but for a softmax at the end, which keeps the order of the logits."""
    last = graph.nodes[-1] if graph.nodes else None
    if last and isinstance(last.op, ops.Softmax) and last.outputs == graph.outputs:
        return graph.nodes[:-1]
    return graph.nodes


def logits_of(graph: Graph) -> Tensor:
    """The tensor that the circuit gives: the output, or what a softmax at the end reads."""
    nodes = _body(graph)
    return graph.outputs[0] if len(nodes) == len(graph.nodes) else graph.nodes[-1].source


def plan(graph: Graph) -> Plan:
    """The steps for a graph of int8 tensors.

    Raises:
        EdgegolfError: The machine lacks something, which is named.
    """
    lacking = unsupported(graph)
    if lacking:
        raise EdgegolfError(f"circuits have no {', '.join(lacking)} here")
    planner = _Planner()
    source, logits = graph.inputs[0], logits_of(graph)
    planner.count(_body(graph), (logits,))
    size = _size(source)
    target = Buffer(size.pixels, size.channels)
    planner.views[source] = View.of(target, size)
    planner.emit(Step("image", None, size, target))
    planner.nodes(_body(graph))
    result = planner.view(logits)
    last = planner.steps[-1]
    repeats = bool(planner.loops) and planner.loops[-1][1] == len(planner.steps) - 1
    if len(planner.steps) < 2 or repeats or last.target is not result.buffer or not result.is_whole:
        planner.copy(result)
    if prod(result.size) > MAXIMUM_LOGITS:
        raise EdgegolfError(
            f"circuits give at most {MAXIMUM_LOGITS} logits, not {prod(result.size):,}",
            hint="end the net in a mean over the image, or in a dense layer",
        )
    return Plan(tuple(planner.steps), tuple(planner.loops), graph.macs or 0)


@dataclass
class _Planner:
    steps: list[Step] = field(default_factory=list)
    loops: list[tuple[int, int, int]] = field(default_factory=list)
    views: dict[Tensor, View] = field(default_factory=dict)
    readers: Counter[Tensor] = field(default_factory=Counter)
    #: The step whose result a tensor is, where it can still be changed.
    makers: dict[Tensor, int] = field(default_factory=dict)

    def count(self, nodes: tuple[Node, ...], outputs: tuple[Tensor, ...]) -> None:
        """Count who reads each tensor."""
        for node in nodes:
            self.readers.update(node.computed)
        self.readers.update(outputs)

    def nodes(self, nodes: tuple[Node, ...]) -> None:
        """Plan them in order."""
        for node in nodes:
            name = type(node.op).__name__
            if len(self.steps) > MAXIMUM_STEPS:
                raise EdgegolfError(f"it takes more than {MAXIMUM_STEPS} passes over an image")
            try:
                shape = None if node.graphs else node.op.shape(node.inputs)
                if shape not in (None, node.output.shape):
                    raise EdgegolfError(f"it gives {shape}, not {node.output.shape}")
                self.node(node)
            except EdgegolfError as error:
                raise EdgegolfError(f"{name}: {error.message}") from None
            except (ArithmeticError, ValueError) as error:  # scales that are no numbers, for one
                raise EdgegolfError(f"{name} cannot be computed: {error}") from None

    def node(self, node: Node) -> None:
        op = node.op
        if isinstance(op, ops.Loop):
            self.loop(node, op)
        elif isinstance(op, _PRODUCTS):
            self.make(node, self.product(node))
        elif isinstance(op, ops.MaxPool2D | ops.AveragePool2D | ops.Mean):
            self.pool(node)
        elif isinstance(op, _UNARY) or (isinstance(op, _BINARY) and len(set(node.computed)) == 1):
            self.unary(node)
        elif isinstance(op, ops.Add | ops.Sub):
            self.add(node)
        elif isinstance(op, ops.Concatenate):
            self.concatenate(node, op)
        elif isinstance(op, ops.Reshape):
            self.reshape(node)
        elif isinstance(op, ops.Slice):
            margins = op.margins(node.source.shape)
            if margins is None or node.source.shape[0] != 1:
                raise EdgegolfError("only of rows and columns")
            self.move(node, -margins[0][0], -margins[1][0])
        elif isinstance(op, ops.Pad) and len(op.margins) == 4:
            if op.margins[0] != (0, 0) or op.margins[3] != (0, 0):
                raise EdgegolfError("only of rows and columns")
            self.move(node, op.margins[1][0], op.margins[2][0], _pad_value(node, op))
        else:
            raise EdgegolfError("not of two computed tensors, or not of such shapes")

    def view(self, tensor: Tensor) -> View:
        if tensor not in self.views:
            raise EdgegolfError("it reads what is not written before")
        return self.views[tensor]

    def emit(self, step: Step) -> View:
        self.steps.append(step)
        return View.of(step.target, step.size)

    def make(self, node: Node, step: Step) -> None:
        """The step that computes a node."""
        self.views[node.output] = self.emit(step)
        self.makers[node.output] = len(self.steps) - 1

    def maker(self, tensor: Tensor) -> int | None:
        """The step that computes a tensor that only one node reads."""
        found = self.makers.get(tensor)
        return found if found is not None and self.readers[tensor] == 1 else None

    def copying(self, view: View, name: str = "copy") -> Step:
        """A step that makes what a view sees."""
        return Step(name, view, view.size, Buffer(view.size.pixels, view.size.channels))

    def copy(self, view: View) -> View:
        return self.emit(self.copying(view))

    def product(self, node: Node) -> Step:
        """A convolution, or a matrix as a convolution with a window as large as the image."""
        op, data, weights = node.op, node.source, node.filter
        if weights.data is None or weights.dtype != "int8" or data.dtype != "int8":
            raise EdgegolfError("its weights are no int8 constants")
        if weights.quant is not None and any(weights.quant.zero_point):
            raise EdgegolfError("its weights have a zero point")
        if len(node.inputs) > 2 and node.inputs[2] is not None and node.bias is None:
            raise EdgegolfError("its biases are no constants")
        view, size = self.view(data), _size(node.output)
        rows, columns = weights.shape[1:3] if len(weights.shape) == 4 else view.size[:2]
        if rows * columns * view.size.channels * size.channels > MAXIMUM_WEIGHTS:
            raise EdgegolfError("it has too many weights")
        placed = _placed(op, weights.data.astype(np.int64), view)
        outputs = placed.shape[-1]
        zero = data.zero_point
        reach = np.abs(placed).reshape(-1, outputs).sum(0) * 255
        bias = -zero * placed.reshape(-1, outputs).sum(0)
        if node.bias is not None:
            bias = bias + node.bias.values.reshape(-1).astype(np.int64)
            reach = reach + np.abs(node.bias.values.reshape(-1).astype(np.int64))
        if reach.max(initial=0) >= 2**31:
            raise EdgegolfError("its sums may overflow")
        common = Step(
            type(op).__name__, view, size, Buffer(size.pixels, size.channels),
            window=placed.shape[:2], weights=placed, bias=tuple(bias.tolist()), fill=zero,
            **_arithmetic(node, int(reach.max(initial=1))),
        )  # fmt: skip
        if isinstance(op, ops.Conv2D | ops.DepthwiseConv2D):
            (top, _), (left, _) = op.padding
            common = replace(common, strides=op.strides, dilation=op.dilation, corner=(-top, -left))
        return self.filled(common)

    def filled(self, step: Step) -> Step:
        """A step whose source has one number outside: that of its padding, or of a Pad before."""
        view = step.source
        assert view is not None
        if view.fill in (None, step.fill) or (view.is_plain and step.fill is not None):
            return step
        pads = step.corner != (0, 0) or any(
            (count - 1) * stride + dilation * (window - 1) + 1 > size
            for count, stride, dilation, window, size in zip(
                step.size, step.strides, step.dilation, step.window, view.size, strict=False
            )
        )
        return replace(step, source=self.copy(view)) if pads else replace(step, fill=view.fill)

    def pool(self, node: Node) -> None:
        op, view, size = node.op, self.view(node.source), _size(node.output)
        largest = isinstance(op, ops.MaxPool2D)
        step = Step(
            type(op).__name__, view, size, Buffer(size.pixels, size.channels), view.size[:2],
            largest=largest, fill=LOW,
        )  # fmt: skip
        if isinstance(op, ops.Mean):
            if len(node.source.shape) != 4 or op.axes != (1, 2):
                raise EdgegolfError("only over rows and columns")
            count = view.size.pixels
            bias = (-count * node.source.zero_point,) * size.channels
            self.make(node, replace(step, bias=bias, **_arithmetic(node, 255 * count)))
            return
        assert isinstance(op, ops.MaxPool2D | ops.AveragePool2D)
        (top, _), (left, _) = op.padding
        limits = lower(node)
        step = replace(
            step, window=op.size, strides=op.strides, corner=(-top, -left), low=limits.low,
            high=limits.high,
        )  # fmt: skip
        if largest:
            self.make(node, self.filled(step))
            return
        # Padding does not count: where a window is cut, it is a smaller one.
        whole = View.of(step.target, size)
        for row, rows, height, y in _cut(view.size.height, op.size[0], op.strides[0], top, size[0]):
            for column, columns, width, x in _cut(
                view.size.width, op.size[1], op.strides[1], left, size[1]
            ):
                count = height * width
                part = replace(
                    step, size=Size(rows, columns, size.channels), window=(height, width),
                    corner=(y, x), fill=None, scalings=(_mean(count, limits.low, limits.high),),
                )  # fmt: skip
                if part.size != size:
                    part = replace(part, origin=(row, column, 0), within=size)
                self.emit(self.filled(part))
        self.views[node.output] = whole
        if self.steps[-1].within is None:
            self.makers[node.output] = len(self.steps) - 1

    def unary(self, node: Node) -> None:
        """A function of an integer: joins its maker, or its readers, or is a step."""
        (tensor,) = set(node.computed)
        constants = (t for t in node.inputs if t is not None and t.data is not None)
        if node.output.shape != tensor.shape or any(t.elements > 1 for t in constants):
            raise EdgegolfError("only with a constant of one element")
        function = table(node)
        found = self.maker(tensor) if len(node.computed) == 1 else None
        if found is not None:
            self.steps[found] = _followed(self.steps[found], function)
            self.makers[node.output] = found
            self.views[node.output] = self.view(tensor)
            return
        view = self.view(tensor)
        leak = function[0], function[1] if function[:2] != (LOW, LOW + 1) else LOW
        if view.leak == (LOW, LOW) and function == _leaking(leak):
            fill = None if view.fill is None else function[view.fill - LOW]
            self.views[node.output] = replace(view, leak=leak, fill=fill)
            return
        self.make(node, _followed(self.copying(view, type(node.op).__name__), function))

    def add(self, node: Node) -> None:
        """A sum: joins the later of the steps that make its inputs, or is a step."""
        first, second = node.computed
        if not first.shape == second.shape == node.output.shape:
            raise EdgegolfError("only of tensors of one shape")
        adding, limits = addition(node), lower(node)
        makers = {t: found for t in (first, second) if (found := self.maker(t)) is not None}
        free = {t: i for t, i in makers.items() if not self.steps[i].table
                and self.steps[i].adding is None}  # fmt: skip
        main = max(free, key=lambda t: free[t], default=second)
        other = first if main is second else second
        residual = self.plain(self.view(other))
        if main is first:
            adding = replace(adding, first=adding.second, second=adding.first)
        joined: dict[str, Any] = {
            "residual": residual,
            "adding": adding,
            "limits": (limits.low, limits.high),
        }
        position = free.get(main)
        if position is None or not self.ready(position, joined):
            copying = self.copying(self.view(main), type(node.op).__name__)
            if not two_sides((*self.steps, replace(copying, **joined))):
                joined["residual"] = self.copy(residual)
            self.steps.append(copying)
            position = len(self.steps) - 1
        self.steps[position] = step = replace(self.steps[position], **joined)
        self.views[node.output] = View.of(step.target, step.size)
        self.makers[node.output] = position

    def ready(self, position: int, joined: dict[str, Any]) -> bool:
        """Whether a step can add what is complete before it, from the other memory."""
        buffer = joined["residual"].buffer
        written = all(i < position for i, step in enumerate(self.steps) if step.target is buffer)
        changed = (*self.steps, replace(self.steps[position], **joined))
        return written and two_sides(changed) is not None

    def plain(self, view: View) -> View:
        """The same image, there as it is seen."""
        return view if view.is_plain else self.copy(view)

    def concatenate(self, node: Node, op: ops.Concatenate) -> None:
        whole = _size(node.output)
        axis = op.axis - (len(node.output.shape) - 3)
        if axis < 0:
            raise EdgegolfError("only of rows, columns and channels")
        target, origin = Buffer(whole.pixels, whole.channels), [0, 0, 0]
        for tensor in node.computed:
            step = self.copying(self.view(tensor), "Concatenate")
            self.steps.append(
                replace(step, target=target, origin=tuple(origin), within=whole)  # type: ignore[arg-type]
            )
            origin[axis] += step.size[axis]
        if origin[axis] != whole[axis]:
            raise EdgegolfError("not with constants")
        self.views[node.output] = View.of(target, whole)

    def reshape(self, node: Node) -> None:
        """Another size: where the channels differ, another layout of what is written."""
        tensor, size = node.source, _size(node.output)
        view = self.view(tensor)
        if prod(size) != prod(view.size):
            raise EdgegolfError("of another number of elements")
        if not view.is_whole or (
            view.buffer.channels != size.channels
            and (self.readers[tensor] > 1 or any(view.buffer in s.reads for s in self.steps)
                 or sum(s.target is view.buffer for s in self.steps) > 1
                 or (self.makers.get(tensor) is None and view.buffer is not self.steps[0].target))
        ):  # fmt: skip
            view = self.copy(view)
            self.makers[tensor] = len(self.steps) - 1
        view.buffer.pixels, view.buffer.channels = size.pixels, size.channels
        self.views[node.output] = View.of(view.buffer, size)

    def move(self, node: Node, top: int, left: int, fill: int | None = None) -> None:
        view, size = self.view(node.source), _size(node.output)
        if view.fill is not None and view.fill != (view.fill if fill is None else fill):
            view = self.copy(view)
        self.views[node.output] = view.moved(-top, -left, size, view.fill if fill is None else fill)

    def loop(self, node: Node, op: ops.Loop) -> None:
        """The body once; what it gives comes to lie where it began."""
        if any(isinstance(inner.op, ops.Loop) for inner in op.body.nodes):
            raise EdgegolfError("not in another loop")
        if not op.iterations:
            raise EdgegolfError("not without an iteration")
        states = []
        for tensor, inside in zip(node.computed, op.body.inputs, strict=True):
            view = self.view(tensor)
            fresh = view.is_whole and self.readers[tensor] == 1 and tensor in self.makers
            states.append(view if fresh else self.copy(view))
            self.views[inside] = states[-1]
        first = len(self.steps)
        for tensor in (t for inner in op.body.nodes for t in inner.outputs):
            self.readers[tensor] = 0
            self.makers.pop(tensor, None)
        self.count(op.body.nodes, op.body.outputs)
        self.nodes(op.body.nodes)
        for state, tensor in zip(states, op.body.outputs, strict=True):
            view = self.view(tensor)
            if view == state:
                continue
            if any(view.buffer is other.buffer for other in states):
                raise EdgegolfError("not with states that change places")
            made = self.maker(tensor)
            if made is None or not view.is_whole or not self.settles(made, first, state):
                self.emit(replace(self.copying(view), target=state.buffer))
            else:
                self.steps[made] = replace(self.steps[made], target=state.buffer)
        if len(self.steps) > first:
            self.loops.append((first, len(self.steps) - 1, op.iterations))
        for state, tensor in zip(states, node.outputs, strict=True):
            self.views[tensor] = state

    def settles(self, made: int, first: int, state: View) -> bool:
        """Whether a step of a loop may write over a state: it is read before, or byte by byte."""
        step = self.steps[made]
        later = any(state.buffer in other.reads for other in self.steps[made + 1 :])
        reads = step.source is not None and step.source.buffer is state.buffer
        aligned = step.residual is None or step.residual.buffer is not state.buffer or (
            step.residual == state
        )  # fmt: skip
        return made >= first and not later and not reads and aligned


def two_sides(steps: Iterable[Step]) -> dict[Buffer, int] | None:
    """A memory for each buffer, 0 or 1, so that no step reads both its inputs from one.

    Buffers that nothing ties to others are left out. None if there is no such choice.
    """
    ties: dict[Buffer, set[Buffer]] = {}
    for step in steps:
        if step.source is not None and step.residual is not None:
            ties.setdefault(step.source.buffer, set()).add(step.residual.buffer)
            ties.setdefault(step.residual.buffer, set()).add(step.source.buffer)
    sides: dict[Buffer, int] = {}
    for begin in ties:
        waiting = [(begin, 0)] if begin not in sides else []
        while waiting:
            buffer, side = waiting.pop()
            if sides.setdefault(buffer, side) != side:
                return None
            waiting += [(t, 1 - side) for t in ties[buffer] if sides.get(t) != 1 - side]
    return sides


def _pad_value(node: Node, op: ops.Pad) -> int:
    return node.output.zero_point if op.value is None else int(op.value)


def _followed(step: Step, function: tuple[int, ...]) -> Step:
    """A step with a function of its result: as limits where it is no more than that."""
    low, high = min(function), max(function)
    if function == tuple(np.clip(np.arange(LOW, HIGH + 1), low, high).tolist()) and not step.table:
        if step.adding is not None:
            within = step.limits
            return replace(step, limits=tuple(np.clip(within, low, high).tolist()))
        return replace(step, low=max(step.low, low), high=max(low, min(step.high, high)))
    if step.table:
        function = tuple(function[each - LOW] for each in step.table)
    return replace(step, table=function)


def _leaking(leak: tuple[int, int]) -> tuple[int, ...]:
    return (leak[0], *(max(leak[1], each) for each in range(LOW + 1, HIGH + 1)))


def _arithmetic(node: Node, reach: int) -> dict[str, Any]:
    """How a sum of at most ±`reach` becomes an integer of the result."""
    found, zero = lower(node), node.output.zero_point
    (requant,) = found.requants
    scalings = tuple(
        requantization(Requant((m,), (s,), requant.rounding), zero, found.low, found.high, reach)
        for m, s in zip(requant.multiplier, requant.shift, strict=True)
    )
    return {"scalings": scalings, "low": found.low, "high": found.high}


def _mean(count: int, low: int, high: int) -> Scaling:
    """Of `count` integers, ties away from zero."""
    half = count // 2
    return scaling(
        lambda sums: np.sign(sums) * ((np.abs(sums) + half) // count), 0, low, high, 128 * count
    )


def _placed(op: ops.Op, values: Array, view: View) -> Array:
    """Weights as [rows, columns, inputs, outputs], or without inputs where each sees itself."""
    height, width, channels = view.size
    if isinstance(op, ops.FullyConnected):
        if values.shape[1] != prod(view.size):
            raise EdgegolfError("not of several vectors")
        return values.reshape(-1, height, width, channels).transpose(1, 2, 3, 0)
    if isinstance(op, ops.DepthwiseConv2D):
        if values.shape[3] == channels:
            return values[0]
        each = values.shape[3] // channels
        sees = np.arange(channels)[:, None] == np.arange(values.shape[3]) // each
        return values[0][:, :, None] * sees
    groups = channels // values.shape[3]
    if groups == 1:
        return values.transpose(1, 2, 3, 0)
    outputs = len(values)
    placed = np.zeros((*values.shape[1:3], channels, outputs), np.int64)
    for group in range(groups):
        own = slice(group * outputs // groups, (group + 1) * outputs // groups)
        seen = slice(group * values.shape[3], (group + 1) * values.shape[3])
        placed[:, :, seen, own] = values[own].transpose(1, 2, 3, 0)
    return placed


def _cut(
    size: int, window: int, stride: int, before: int, count: int
) -> list[tuple[int, int, int, int]]:
    """Runs of windows that lie inside by the same length: (first, how many, length, begin)."""
    spans = []
    for index in range(count):
        begin = index * stride - before
        spans.append((max(0, begin), min(size, begin + window)))
    runs: list[list[int]] = []
    for index, (begin, end) in enumerate(spans):
        if runs and runs[-1][2] == end - begin and begin - spans[index - 1][0] == stride:
            runs[-1][1] += 1
        else:
            runs.append([index, 1, end - begin, begin])
    return [(run[0], run[1], run[2], run[3]) for run in runs]


def _size(tensor: Tensor) -> Size:
    """Height, width and channels; those that are missing are 1."""
    shape = (1,) * (4 - len(tensor.shape)) + tensor.shape
    if len(shape) != 4 or shape[0] != 1:
        raise EdgegolfError("a tensor of several images or more than four axes")
    if not 0 < prod(shape) <= MAXIMUM_ELEMENTS or shape[3] > MAXIMUM_CHANNELS:
        raise EdgegolfError(f"a tensor of {prod(shape):,} elements, {shape[3]:,} channels")
    return Size(*shape[1:])
