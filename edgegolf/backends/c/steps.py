"""From a graph to the calls of C functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod

from edgegolf.backends.c import elementwise, movement, pooling, products, softmax, vectors
from edgegolf.backends.c.chains import BINARY, POOLS, PRODUCTS, Chain, Stage, chains
from edgegolf.backends.c.layer import Layer, Map, NotInCError, ctype, is_map
from edgegolf.backends.c.source import Source
from edgegolf.backends.c.windows import Geometry, Row, Seen, close, slide, strip
from edgegolf.ir import Graph, Node, Op, Tensor
from edgegolf.ir.ops import (
    AveragePool2D,
    Concatenate,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Loop,
    MaxPool2D,
    Mean,
    Pad,
    Reshape,
    Slice,
    Softmax,
    Stack,
    Transpose,
    Unsupported,
    While,
)

#: How nodes that run alone are written; those of `chains` have a renderer in `Steps.stage`.
RENDERERS: dict[type[Op], Callable[[Layer, Node], None]] = {
    Softmax: softmax.softmax,
    **dict.fromkeys((Concatenate, Pad, Slice, Stack, Transpose), movement.move),
}


# Windows of more are not unrolled.
_MOST_TAPS = 25

# How far apart tensors are that must not overlap.
_APART = 2**40


@dataclass(frozen=True)
class Step:
    """One call."""

    function: str  # what is called; empty for a copy of the only input
    constants: tuple[str, ...]  # its last arguments
    inputs: tuple[Tensor, ...]  # tensors that it reads
    output: Tensor  # the one that it writes
    lags: dict[Tensor, int]  # as in `Layer`


@dataclass(frozen=True)
class Repeat:
    """A loop."""

    times: int  # how often
    states: tuple[Tensor, ...]  # what the body reads that it computed in the turn before
    body: tuple[Step | Repeat, ...]  # what is repeated; at its end are copies to the states


@dataclass
class Steps:
    """Makes the calls that compute a graph."""

    source: Source = field(default_factory=Source)  # where functions and constants go
    fast: bool = False  # whether the C shall be fast rather than small
    strips: bool = True  # whether all rows that a window sees may be copied for that
    vectors: str = ""  # the target that it is for, if that has vectors
    # Tensors that lie where another one does.
    same: dict[Tensor, Tensor] = field(default_factory=dict)
    # What tensors are between, where that is less than their type.
    limits: dict[Tensor, tuple[int, int]] = field(default_factory=dict)

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor that stands for the memory of one."""
        while tensor in self.same:
            tensor = self.same[tensor]
        return tensor

    def of(self, graph: Graph) -> tuple[Step | Repeat, ...]:
        """The calls of a graph.

        Raises:
            NotInCError: There is no C for one of its operators.
        """
        found: list[Step | Repeat] = []
        for each in chains(graph):
            if isinstance(each, Chain):
                found.append(self.chain(each))
            elif isinstance(each.op, Loop):
                found += self.loop(each)
            elif isinstance(each.op, Reshape) and each.computed:
                self.same[each.output] = each.source
                self.limits[each.output] = self.between(each.source)
            elif type(each.op) in RENDERERS:
                found.append(self.alone(each))
            else:
                raise NotInCError(_why_not(each))
        return tuple(found)

    def between(self, tensor: Tensor) -> tuple[int, int]:
        """The smallest and the largest number that a tensor may hold."""
        return self.limits.get(tensor, tensor.limits)

    def alone(self, node: Node) -> Step:
        """The call of a function for a whole node."""
        _check(node)
        layer = Layer(self.source)
        RENDERERS[type(node.op)](layer, node)
        return _called(layer, node.output, node)

    def loop(self, node: Node) -> list[Step | Repeat]:
        """A loop; copies to where something already lies vanish in the end."""
        assert isinstance(node.op, Loop)
        body, times = node.op.body, node.op.iterations
        found: list[Step | Repeat] = []
        for tensor, state in zip(node.inputs, body.inputs, strict=True):
            assert tensor is not None
            found.append(self.copy(tensor, state))
        for output, state in zip(node.outputs, body.inputs, strict=True):
            self.same[output] = state
        if not times:
            return found
        inside = self.of(body)
        changed = [
            (state, result)
            for state, result in zip(body.inputs, body.outputs, strict=True)
            if result is not state
        ]
        if any(t.data is not None or self.place(t) in map(self.place, body.inputs)
               for _, t in changed):  # fmt: skip
            raise NotInCError("a loop that passes on what it is given")
        copies = tuple(self.copy(result, state) for state, result in changed)
        states = tuple(state for state, _ in changed)
        return [*found, Repeat(times, states, (*inside, *copies))]

    def copy(self, tensor: Tensor, to: Tensor) -> Step:
        """The call that copies a tensor to the place of another."""
        if tensor.data is None:
            return Step("", (), (tensor,), to, {tensor: -(2**30)})
        layer = Layer(self.source)
        value = layer.element(tensor.data.astype(int), "k", "o")
        layer.add(f"for (unsigned o = 0; o < {to.elements}; o++) y[o] = ({ctype(to)}){value};")
        name, constants = layer.call(to, "constant")
        return Step(name, tuple(constants), (), to, {})

    def chain(self, chain: Chain) -> Step:
        """The call of a function that runs nodes pixel by pixel."""
        for node in chain.nodes:
            _check(node)
        layer = Layer(self.source, fast=self.fast, vectors=self.vectors)
        head, pixels = chain.stages[0].node, chain.pixels
        before = Map.of(chain.before)
        geometry, fill = _geometry(head, chain.source, pixels), _fill(head)
        limits = self.between(chain.source) if before is None else before.ends
        form = self.form(head, geometry)
        counted = pixels > 1 and not (form == "planes" and len(chain.stages) == 1)
        if counted and not self.vectors:
            layer.add("unsigned n = 0;")
        given = layer, chain.source, geometry, before, fill, limits
        if form == "cells":
            seen = vectors.cells(*given)
        elif form:
            seen = strip(*given, form == "planes")
        else:
            in_one_piece = self.fast and isinstance(head.op, Conv2D) and geometry.size != (1, 1)
            seen = slide(*given, in_one_piece or _is_grouped(head))
        current = chain.source if before is None else before.output
        copies = seen.is_copy
        if self.vectors:
            copies |= self.in_rows(layer, chain, geometry, seen, current, bool(form))
            self.lags(layer, chain, geometry, copies, bool(form))
            return _called(layer, chain.output, head)
        stages = list(chain.stages)
        while stages:
            stage, *stages = stages
            planes = geometry if form == "planes" and stage.node is head else None
            fused = stages[0] if stages and isinstance(stages[0].node.op, BINARY) else None
            if planes or not products.in_blocks(layer, stage.node, seen):
                fused = None
            last = stage if fused is None else stages.pop(0)
            width = last.output.elements // pixels
            row = geometry.outputs[1] * width
            target = "y" if pixels == 1 else f"(y + n * {width})" if counted else f"(y + v * {row})"
            if stages:
                target = f"s{len(stages)}"
                layer.array(ctype(last.output), target, row if planes else width)
                copies = True
            bounds = self.stage(layer, stage, geometry, seen, current, width, target, planes, fused)
            self.limits[last.output] = bounds
            if planes and stages:
                layer.add(f"for (int u = 0; u < {geometry.outputs[1]}; u++) {{")
                target = f"({target} + u * {width})"
            seen = Seen(target, last.output.dtype, bounds, (1, 1), width, width)
            current = last.output
        if counted:
            layer.add("n++;")
        if form == "planes":
            layer.add(*["}"] * (1 + counted))
        else:
            close(layer, geometry)
        self.lags(layer, chain, geometry, copies, bool(form))
        return _called(layer, chain.output, head)

    def in_rows(
        self, layer: Layer, chain: Chain, geometry: Geometry, seen: Seen, current: Tensor,
        has_strip: bool,
    ) -> bool:  # fmt: skip
        """Add all stages for a processor with vectors; returns whether one keeps its result."""
        (lines, columns), pixels = geometry.outputs, chain.pixels
        row = Row(columns, f"v * {columns}" if lines > 1 else "0", has_strip or columns > 1)
        row.enter(layer)
        stages, is_open, keeps = list(chain.stages), not seen.step, False
        while stages:
            stage, *stages = stages
            in_blocks = products.in_blocks(layer, stage.node, seen)
            if not is_open:
                seen = replace(seen, step=seen.step or seen.channels)
                if not in_blocks:
                    row.open(layer)
                    if row.is_loop:
                        seen = replace(seen, pointer=f"({seen.pointer} + u * {seen.step})")
            is_open = not in_blocks
            fused = None
            if not is_open and stages and _is_alike(stages[0].node):
                fused = stages.pop(0)
            last = fused or stage
            width = last.output.elements // pixels
            place = layer.pixel if is_open else row.first
            target = "y" if pixels == 1 else f"(y + ({place}) * {width})"
            kept = target
            more = not is_open and columns * width % vectors.BYTES
            if stages or fused or (more and last.output.dtype != "int32"):
                kept = f"s{len(layer.arrays)}"
                layer.array(ctype(last.output), kept, width if is_open else columns * width)
                keeps = True
            bounds = self.stage(
                layer, stage, geometry, seen, current, width, kept, None, fused,
                row if stages or kept == target else replace(row, final=target),
            )  # fmt: skip
            self.limits[last.output] = bounds
            seen = Seen(kept, last.output.dtype, bounds, (1, 1), width, width)
            current = last.output
        layer.add(*["}"] * (is_open and row.is_loop), *["}"] * (lines > 1))
        return keeps

    def form(self, node: Node, geometry: Geometry) -> str:
        """How a copy of the rows is laid that the first stage sees, empty if there is none."""
        op = node.op
        if not (self.fast and self.strips and isinstance(op, Conv2D | DepthwiseConv2D)):
            return ""
        if _is_grouped(node):
            return ""
        if geometry.size == (1, 1) or geometry.dilation != (1, 1) or 1 in geometry.outputs:
            return ""
        if isinstance(op, Conv2D):
            return "columns"
        if self.vectors:
            return "cells" if vectors.fits_cells(node) else ""
        return "planes" if prod(geometry.size) <= _MOST_TAPS else ""

    def stage(
        self, layer: Layer, stage: Stage, geometry: Geometry, seen: Seen, current: Tensor,
        width: int, target: str, planes: Geometry | None, fused: Stage | None,
        row: Row | None = None,
    ) -> tuple[int, int]:  # fmt: skip
        """Add one stage, and one that is computed with it; returns between what results are."""
        node, after = stage.node, Map.of(stage.after)
        if isinstance(node.op, PRODUCTS):
            if fused is None:
                return products.product(layer, node, seen, target, after, planes, row=row)
            bounds = []

            def store(value: str, target: str) -> None:
                assert fused is not None
                layer.add(f"const int32_t r = {value};")
                operand, then = (stage.output, "r"), Map.of(fused.after)
                bounds.append(elementwise.binary(layer, fused.node, width, operand, target, then))

            joined = (fused.node, Map.of(fused.after), stage.output)
            products.product(
                layer, node, seen, target, after, store=store, row=row, fused=joined
            )  # fmt: skip
            return bounds[0]
        if isinstance(node.op, POOLS):
            return pooling.summary(layer, node, geometry, seen, target, after)
        if is_map(node):
            whole = Map.of((node,))
            assert whole is not None
            whole = whole if after is None else whole.then(after)
            elementwise.mapped(layer, whole, width, seen.pointer, target)
            return whole.ends
        layer.add(f"for (unsigned o = 0; o < {width}; o++) {{")
        operand = current, f"{seen.pointer}[o]"
        found = elementwise.binary(layer, node, width, operand, target, after)
        layer.add("}")
        return found

    def lags(
        self, layer: Layer, chain: Chain, geometry: Geometry, copies: bool, in_rows: bool
    ) -> None:
        """Tell how the result may overlap what is read."""
        if chain.output.dtype == "int32":
            return
        width = chain.output.elements // chain.pixels
        for tensor in layer.inputs:
            found = []
            if tensor is chain.source and chain.slides:
                found.append(geometry.lag(width, copies, in_rows))
            for stage in chain.stages[chain.slides :]:
                if tensor in stage.node.inputs:
                    same = tensor.elements == stage.node.output.elements
                    mine = tensor.elements // chain.pixels
                    found.append(max(0, (chain.pixels - 1) * (width - mine)) if same else _APART)
            layer.lags[tensor] = max(found)


def _check(node: Node) -> None:
    """Raises NotInCError for others than 8-bit numbers, but for the sums of a dense layer."""
    for tensor in (*node.computed, node.output):
        ctype(tensor)
        sums = tensor is node.output and isinstance(node.op, FullyConnected)
        if tensor.dtype == "int32" and not sums:
            raise NotInCError(f"{type(node.op).__name__} of int32")


def _is_alike(node: Node) -> bool:
    """Whether a node computes all elements from those at the same place, or from one number."""
    whole = (t.elements == node.output.elements for t in node.computed)
    single = (t.elements == 1 for t in node.inputs if t is not None and t.data is not None)
    return isinstance(node.op, BINARY) and all(whole) and all(single)


def _is_grouped(node: Node) -> bool:
    return isinstance(node.op, Conv2D) and node.filter.shape[3] != node.source.shape[3]


def _called(layer: Layer, output: Tensor, node: Node) -> Step:
    name, constants = layer.call(output, type(node.op).__name__.lower())
    return Step(name, tuple(constants), tuple(layer.inputs), output, layer.lags)


def _geometry(node: Node, source: Tensor, pixels: int) -> Geometry:
    """How the first stage of a chain moves over what it sees."""
    op = node.op
    if isinstance(op, Mean):
        axes = sorted(op.axes)
        if axes != list(range(axes[0], axes[-1] + 1)) or len(source.shape) < 2:
            raise NotInCError(f"Mean over the axes {axes}")
        count = prod(source.shape[axis] for axis in axes)
        inner = prod(source.shape[axes[-1] + 1 :])
        outer = source.elements // (count * inner)
        return Geometry((1, outer * count, inner), (1, count), (1, outer), (1, count))
    if isinstance(op, FullyConnected):
        width = node.filter.shape[1]
        return Geometry((1, source.elements // width, width), (1, 1), (1, pixels))
    if not isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D):
        return Geometry((1, pixels, source.elements // pixels), (1, 1), (1, pixels))
    if source.shape[0] != 1:
        raise NotInCError(f"a batch of {source.shape[0]}")
    _, rows, columns, _ = node.output.shape
    window = Geometry(source.shape[1:], (1, 1), (rows, columns), op.strides, op.padding)
    if isinstance(op, Conv2D | DepthwiseConv2D):
        _, height, width, _ = node.filter.shape
        return replace(window, size=(height, width), dilation=op.dilation)
    return replace(window, size=op.size)


def _fill(node: Node) -> int:
    """What pads the window of a node."""
    if isinstance(node.op, MaxPool2D):
        return node.source.limits[0]
    return node.source.zero_point if isinstance(node.op, PRODUCTS) else 0


def _why_not(node: Node) -> str:
    match node.op:
        case Unsupported(name, why):
            return f"{why} in {name}" if why else f"the operator {name}"
        case While():
            return "a WHILE whose number of turns is not known"
    return f"the operator {type(node.op).__name__}"
