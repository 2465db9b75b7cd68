"""From a graph to the calls of C functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod

from edgegolf.backends.c import elementwise, movement, pooling, products, softmax
from edgegolf.backends.c.chains import POOLS, PRODUCTS, Chain, chains
from edgegolf.backends.c.layer import Layer, Map, NotInCError, ctype, is_map
from edgegolf.backends.c.source import Source
from edgegolf.backends.c.windows import Geometry, Seen, close, slide
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


# How far apart tensors are that must not overlap.
_APART = 2**40


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        function: What is called; empty for a copy of the only input.
        constants: Its last arguments.
        inputs: Tensors that it reads.
        output: The one that it writes.
        lags: As in `Layer`.
    """

    function: str
    constants: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    output: Tensor
    lags: dict[Tensor, int]


@dataclass(frozen=True)
class Repeat:
    """A loop.

    Attributes:
        times: How often.
        states: What the body reads that it computed in the turn before.
        body: What is repeated; at its end are copies to the states.
    """

    times: int
    states: tuple[Tensor, ...]
    body: tuple[Step | Repeat, ...]


@dataclass
class Steps:
    """Makes the calls that compute a graph.

    Attributes:
        source: Where functions and constants go.
        same: Tensors that lie where another one does.
        limits: What tensors are between, where that is less than their type.
    """

    source: Source = field(default_factory=Source)
    same: dict[Tensor, Tensor] = field(default_factory=dict)
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
        for tensor in (*node.computed, node.output):
            ctype(tensor)
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
            for tensor in (*node.computed, node.output):
                ctype(tensor)
        layer = Layer(self.source)
        head, pixels = chain.stages[0].node, chain.pixels
        before = Map.of(chain.before)
        geometry, fill = _geometry(head, chain.source, pixels), _fill(head)
        limits = self.between(chain.source) if before is None else before.ends
        if pixels > 1:
            layer.add("unsigned n = 0;")
        grouped = isinstance(head.op, Conv2D) and head.filter.shape[3] != geometry.image[2]
        seen = slide(layer, chain.source, geometry, before, fill, limits, grouped)
        current = chain.source if before is None else before.output
        copies = seen.is_copy
        for position, stage in enumerate(chain.stages):
            is_last = position == len(chain.stages) - 1
            width = stage.output.elements // pixels
            target = "y" if pixels == 1 else f"(y + n * {width})"
            if not is_last:
                target = f"s{position}"
                layer.add(f"{ctype(stage.output)} {target}[{width}];")
                copies = True
            after = Map.of(stage.after)
            bounds = self.stage(layer, stage.node, geometry, seen, current, width, target, after)
            self.limits[stage.output] = bounds
            seen = Seen(target, stage.output.dtype, bounds, (1, 1), width, width)
            current = stage.output
        if pixels > 1:
            layer.add("n++;")
        close(layer, geometry)
        self.lags(layer, chain, geometry, copies)
        return _called(layer, chain.output, head)

    def stage(
        self, layer: Layer, node: Node, geometry: Geometry, seen: Seen, current: Tensor,
        width: int, target: str, after: Map | None,
    ) -> tuple[int, int]:  # fmt: skip
        """Add one stage; returns between what its results are."""
        if isinstance(node.op, PRODUCTS):
            return products.product(layer, node, seen, target, after)
        if isinstance(node.op, POOLS):
            return pooling.summary(layer, node, geometry, seen, target, after)
        if is_map(node):
            whole = Map.of((node,))
            assert whole is not None
            whole = whole if after is None else whole.then(after)
            elementwise.mapped(layer, whole, width, seen.pointer, target)
            return whole.ends
        return elementwise.binary(layer, node, width, (current, seen.pointer), target, after)

    def lags(self, layer: Layer, chain: Chain, geometry: Geometry, copies: bool) -> None:
        """Tell how the result may overlap what is read."""
        width = chain.output.elements // chain.pixels
        for tensor in layer.inputs:
            found = []
            if tensor is chain.source and chain.slides:
                found.append(geometry.lag(width, copies))
            for stage in chain.stages[chain.slides :]:
                if tensor in stage.node.inputs:
                    same = tensor.elements == stage.node.output.elements
                    mine = tensor.elements // chain.pixels
                    found.append(max(0, (chain.pixels - 1) * (width - mine)) if same else _APART)
            layer.lags[tensor] = max(found)


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
