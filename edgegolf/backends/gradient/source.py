"""From a float `Graph` to C that computes its gradients: reverse-mode differentiation of the graph.

Forward and backward are one list of steps, each a call of a kernel. Values that the backward half
needs stay until then; all others, and the gradients, share memory as soon as they can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import inf

from edgegolf.backends.gradient import kernels
from edgegolf.backends.gradient.kernels import Box, Image, Window
from edgegolf.errors import EdgegolfError
from edgegolf.ir import Graph, Node, Op, Tensor, ops

_Product = ops.Conv2D | ops.DepthwiseConv2D | ops.FullyConnected


class NotCompiledError(EdgegolfError):
    """The graph has something that no gradient is written for."""


@dataclass(eq=False)
class Buffer:
    """Memory of a tensor or of a gradient."""

    image: Image
    first: int = -1  # the step that writes it
    last: int = -1  # the last one that uses it
    place: int = -1  # where it lies in the arena, in vectors


@dataclass(frozen=True)
class Step:
    """A call of a kernel."""

    kernel: str  # its name
    arguments: tuple[Buffer | str, ...]
    # Read and written element by element, so that both may be the same memory.
    in_place: tuple[Buffer, Buffer] | None = None


@dataclass(frozen=True)
class Source:
    """C, and what it is called with."""

    text: str  # the C
    weights: tuple[Tensor, ...]  # whose elements, one after the other, are its parameters
    numbers: int  # of an image
    classes: int  # how many scores it gives


def write(graph: Graph, frozen: frozenset[Tensor] = frozenset()) -> Source:
    """The C of a classifier: a graph of one image to the probabilities of classes.

    Args:
        graph: In float32, with a batch of 1 and a softmax at its end.
        frozen: Weights that need no gradient.

    Raises:
        NotCompiledError: It is no such graph, or has an operator that no gradient is written for.
    """
    return _Writer(graph, frozen).source()


class _Writer:
    def __init__(self, graph: Graph, frozen: frozenset[Tensor]) -> None:
        if len(graph.inputs) != 1 or len(graph.outputs) != 1 or not graph.nodes:
            raise NotCompiledError("the net has not one input and one output")
        *nodes, last = graph.nodes
        if last.op != ops.Softmax() or graph.outputs[0] is not last.output:
            raise NotCompiledError("the net does not end in a softmax")
        for node in nodes:
            _check(node)
        self.input, self.scores = graph.inputs[0], last.source
        self.frozen = frozen
        self.weights = graph.weights
        starts = [0, *accumulate(tensor.elements for tensor in self.weights)]
        self.offsets = dict(zip(self.weights, starts, strict=False))
        self.count = starts[-1]
        self.readers, self.producers = graph.readers, graph.producers
        self.boxes: dict[Tensor, Box] = {self.scores: _whole(self.scores)}
        self.nodes = self._boxed(nodes)
        self.position = {node: index for index, node in enumerate(self.nodes)}
        self.readers = {
            tensor: [node for node in found if node in self.position]
            for tensor, found in graph.readers.items()
        }
        self.needing = self._needing()
        self.kernels: dict[str, str] = {}  # names by text
        self.steps: list[Step] = []
        self.values: dict[Tensor, Buffer] = {}
        self.gradients: dict[Tensor, Buffer] = {}
        self.sharing: dict[Buffer, list[Tensor]] = defaultdict(list)
        self.rectified = self._rectified()

    # ------------------------------------------------------------------------------- analysis

    def _boxed(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes that the scores depend on; finds the box of each tensor."""
        kept = []
        for node in reversed(nodes):
            if node.output not in self.boxes:
                continue
            kept.append(node)
            if isinstance(node.op, ops.Reshape):
                self.boxes[node.output] = _whole(node.output)
            for index, tensor in enumerate(node.inputs):
                if tensor is not None and tensor.data is None:
                    box = _seen(node, index, self.boxes[node.output])
                    self.boxes[tensor] = _union(self.boxes.get(tensor, box), box)
        if self.input not in self.boxes:
            raise NotCompiledError("the scores do not depend on the image")
        return kept[::-1]

    def _needing(self) -> set[Tensor]:
        """The tensors that need a gradient."""
        found: set[Tensor] = set()
        for node in self.nodes:
            if self._trains(node) or not found.isdisjoint(node.computed):
                found.add(node.output)
        if self.scores not in found:
            raise NotCompiledError("the net has no weights that are trained")
        return found

    def _trains(self, node: Node) -> bool:
        return any(weight not in self.frozen for weight in node.parameters)

    def _rectified(self) -> dict[Node, Node]:
        """The activations that a depthwise convolution differentiates, too, by the latter."""
        found = {}
        for node in self.nodes:
            before = self.producers.get(node.source)
            if (
                before is not None
                and _gathers(node)
                and isinstance(before.op, ops.ReLU | ops.LeakyReLU)
                and len(self.readers[node.source]) == 1
                and before.output in self.needing
            ):
                found[node] = before
        return found

    def _residuals(self) -> dict[Node, Node]:
        """The additions that the convolution before them does, by the convolution."""
        found: dict[Node, Node] = {}
        for node in self.nodes:
            if not isinstance(node.op, ops.Add) or node.inputs[0] is node.inputs[1]:
                continue
            for tensor, other in zip(node.computed, node.computed[::-1], strict=True):
                before, earlier = self.producers[tensor], self.producers.get(other)
                if (
                    before is not None
                    and isinstance(before.op, ops.Conv2D)
                    and len(self.readers[tensor]) == 1
                    and node not in found.values()
                    and (earlier is None or self.position[earlier] < self.position[before])
                ):
                    found[before] = node
        return found

    # --------------------------------------------------------------------------------- memory

    def value(self, tensor: Tensor) -> Buffer:
        """The memory of a tensor, with the margin that windows slide over."""
        if tensor not in self.values:
            slid = [n.op.padding for n in self.readers[tensor] if isinstance(n.op, _Slider)]
            image = Image(*_size(tensor), self.boxes[tensor], _widest(slid))
            self.values[tensor] = Buffer(image)
        return self.values[tensor]

    def gradient(self, tensor: Tensor) -> Buffer:
        """The memory of a tensor's gradient."""
        if tensor not in self.gradients:
            self.gradients[tensor] = Buffer(self._gradient_image(tensor))
            self.sharing[self.gradients[tensor]].append(tensor)
        return self.gradients[tensor]

    def _gradient_image(self, tensor: Tensor) -> Image:
        written = [
            n.op.padding
            for n in self.readers[tensor]
            if isinstance(n.op, _Slider) and not _gathers(n)
        ]
        node = self.producers.get(tensor)
        read = [_flipped(node).padding] if node is not None and _gathers(node) else []
        is_dirty = any(sum(map(sum, padding)) for padding in written)
        margin = _widest([*written, *read])
        return Image(*_size(tensor), self.boxes[tensor], margin, is_dirty)

    def into(self, node: Node, tensor: Tensor, covers: bool) -> tuple[Buffer, bool]:
        """The gradient of an input, and whether a node adds to it or is the first to assign it.

        Args:
            node: What gives a part of it.
            tensor: The input.
            covers: Whether the node can give every element of the gradient's box a value.
        """
        adds = tensor in self.gradients
        g = self.gradient(tensor)
        if not adds and not covers:
            self.call({"y": g}, f"for (int i = 0; i < {g.image.size}; i++) y[i] = (V){{}};\n")
            adds = True
        return g, adds

    def _shares(self, node: Node, tensor: Tensor, d: Buffer) -> bool:
        """Whether the gradient of a sum may be the memory of that of an addend."""
        if tensor in self.gradients or self._gradient_image(tensor) != d.image:
            return False
        now = self.position[node]

        def made(which: Tensor) -> int:
            producer = self.producers[which]
            assert producer is not None
            return self.position[producer]

        def added_to(which: Tensor) -> int:
            return max(
                (p for n in self.readers[which] if (p := self.position[n]) < now), default=-1
            )

        others = [other for other in self.sharing[d] if made(other) < now]
        return all(
            made(one) > added_to(two)
            for other in others
            for one, two in ((tensor, other), (other, tensor))
        )

    # ---------------------------------------------------------------------------------- steps

    def call(
        self,
        buffers: dict[str, Buffer],
        body: str,
        arrays: dict[str, str] | None = None,
        in_place: tuple[Buffer, Buffer] | None = None,
    ) -> None:
        """Add a step: a function of pointers to vectors and of arrays of weights."""
        arrays = arrays or {}
        parameters = [f"V *{name}" for name in buffers]
        parameters += [f"{'const float' if a[0] == 'w' else 'V'} *{n}" for n, a in arrays.items()]
        text = f"({', '.join(parameters)}) {{\n{body}}}\n"
        name = self.kernels.setdefault(text, f"kernel_{len(self.kernels)}")
        self.steps.append(Step(name, (*buffers.values(), *arrays.values()), in_place))

    def _arrays(self, node: Node, array: str) -> dict[str, str]:
        """The places of the weights and the bias of a node in an array."""
        found = {"w": node.filter, "b": node.bias}
        return {n: f"{array} + {self.offsets[t]}" for n, t in found.items() if t is not None}

    def forward(self) -> None:
        """Add the steps that compute the scores."""
        residuals = self._residuals()
        for node in self.nodes:
            if node not in residuals.values():
                self._forward(node, residuals.get(node))

    def _forward(self, node: Node, added: Node | None) -> None:
        op, y = node.op, self.value(added.output if added else node.output)
        if isinstance(op, _Product):
            self._product(node, added, y)
        elif isinstance(op, ops.ReLU | ops.LeakyReLU):
            self._each(node, f"y[Y] = {_activated(op)}", x=self.value(node.source), y=y)
        elif isinstance(op, ops.Add | ops.Sub | ops.Mul):
            a, b = map(self.value, node.computed)
            self._each(node, f"y[Y] = a[A] {_SIGNS[type(op)]} b[B]", a=a, b=b, y=y)
        elif isinstance(op, ops.MaxPool2D | ops.AveragePool2D):
            statements = kernels.LARGEST if isinstance(op, ops.MaxPool2D) else kernels.MEAN
            buffers = {"x": self.value(node.source), "y": y}
            images = {name: buffer.image for name, buffer in buffers.items()}
            self.call(buffers, kernels.pool(_window(node), images, *statements))
        else:
            if isinstance(op, ops.Pad):
                self.call({"y": y}, f"for (int i = 0; i < {y.image.size}; i++) y[i] = (V){{}};\n")
            for tensor, moved in _moves(node):
                x = self.value(tensor)
                views = _views(node, x.image, y.image)
                self.call({"x": x, "y": y}, kernels.copy(*views, moved))

    def _product(self, node: Node, added: Node | None, y: Buffer) -> None:
        x, window, arrays = self.value(node.source), _window(node), self._arrays(node, "w")
        bias = "b" in arrays
        starts = f"x += {window.first(x.image, y.image)}; y += {y.image.start};\n"
        if isinstance(node.op, ops.DepthwiseConv2D):
            body = kernels.depthwise(x.image, y.image, window, bias)
            self.call({"x": x, "y": y}, starts + body, arrays)
        elif added is None:
            body = kernels.convolve(x.image, y.image, window, bias, None)
            self.call({"x": x, "y": y}, starts + body, arrays)
        else:
            (r,) = (self.value(t) for t in added.computed if t is not node.output)
            starts += f"r += {r.image.at(y.image.box[0], y.image.box[2])};\n"
            body = kernels.convolve(x.image, y.image, window, bias, r.image)
            self.call({"x": x, "y": y, "r": r}, starts + body, arrays, (r, y))

    def _each(self, node: Node, statement: str, **buffers: Buffer) -> None:
        """Add a step of a statement for each element of a node's result."""
        images = {name: buffer.image for name, buffer in buffers.items()}
        self.call(buffers, kernels.elementwise(self.boxes[node.output], images, statement))

    def backward(self) -> None:
        """Add the steps that compute the gradients from that of the scores."""
        for node in reversed(self.nodes):
            if node.output in self.needing and node not in self.rectified.values():
                self._backward(node, self.gradient(node.output))

    def _backward(self, node: Node, d: Buffer) -> None:
        op = node.op
        if isinstance(op, _Product):
            self._product_back(node, d)
            return
        if isinstance(op, ops.Add | ops.Sub) and node.inputs[0] is not node.inputs[1]:
            self._sum_back(node, d)
            return
        for tensor in dict.fromkeys(t for t in node.computed if t in self.needing):
            is_elementwise = isinstance(op, ops.ReLU | ops.LeakyReLU | ops.Add | ops.Sub | ops.Mul)
            covers = is_elementwise and self.boxes[tensor] == self.boxes[node.output]
            g, adds = self.into(node, tensor, covers)
            how = "+=" if adds else "="
            if isinstance(op, ops.ReLU | ops.LeakyReLU):
                y = self.value(node.output)
                passed = _passed(op, "y[Y]", "d[D]")
                self._each(node, f"g[G] {how} {passed}", y=y, d=d, g=g)
            elif isinstance(op, ops.Add | ops.Sub):  # of one tensor twice
                factor = 2 if isinstance(op, ops.Add) else 0
                self._each(node, f"g[G] {how} {factor} * d[D]", d=d, g=g)
            elif isinstance(op, ops.Mul):
                first, second = node.computed
                other = self.value(second if tensor is first else first)
                factor = 2 if first is second else 1
                self._each(node, f"g[G] {how} {factor} * d[D] * a[A]", d=d, a=other, g=g)
            elif isinstance(op, ops.MaxPool2D):
                buffers = {"x": self.value(tensor), "y": self.value(node.output), "d": d, "g": g}
                images = {name: buffer.image for name, buffer in buffers.items()}
                self.call(buffers, kernels.pool(_window(node), images, *kernels.LARGEST_BACK))
            elif isinstance(op, ops.AveragePool2D):
                body = kernels.mean_back(_window(node), {"x": g.image, "y": d.image})
                self.call({"x": g, "y": d}, body)
            else:
                for moving, moved in _moves(node):
                    if moving is tensor:
                        views = _views(node, g.image, d.image)
                        self.call({"x": g, "y": d}, kernels.copy(*views, moved, "+="))

    def _sum_back(self, node: Node, d: Buffer) -> None:
        for index, tensor in enumerate(node.computed):
            if tensor not in self.needing:
                continue
            sign = "-" if index and isinstance(node.op, ops.Sub) else ""
            if not sign and self._shares(node, tensor, d):
                self.gradients[tensor] = d
                self.sharing[d].append(tensor)
                continue
            g, adds = self.into(node, tensor, self.boxes[tensor] == self.boxes[node.output])
            self._each(node, f"g[G] {'+=' if adds else '='} {sign}d[D]", d=d, g=g)

    def _product_back(self, node: Node, d: Buffer) -> None:
        op, x, window = node.op, self.value(node.source), _window(node)
        is_depthwise = isinstance(op, ops.DepthwiseConv2D)
        starts = f"x += {window.first(x.image, d.image)}; y += {d.image.start};\n"
        if self._trains(node):
            weights = kernels.depthwise_weights if is_depthwise else kernels.convolve_weights
            arrays = self._arrays(node, "g")
            body = weights(x.image, d.image, window, "b" in arrays)
            self.call({"x": x, "y": d}, starts + body, arrays)
        if node.source not in self.needing:
            return
        arrays = {"w": self._arrays(node, "w")["w"]}
        if _gathers(node):
            if d.image.is_dirty:
                self.call({"y": d}, kernels.clear_margin(d.image))
            before = self.rectified.get(node)
            target = before.source if before else node.source
            covers = self.boxes[target] == self.boxes[node.source]
            g, adds = self.into(node, target, covers)
            flipped, box = _flipped(node), self.boxes[node.source]
            into = replace(g.image, box=box)
            buffers = {"x": d, "y": g}
            starts = f"x += {flipped.first(d.image, into)}; y += {into.start};\n"
            passed = "s"
            if before is not None:
                r = self.value(node.source)
                buffers["r"] = r
                starts += f"r += {r.image.start};\n"
                place = f"r[i * {r.image.row} + c * {r.image.column} + o"
                place += f" + D / {g.image.column} * {r.image.column}]"
                passed = _passed(before.op, place, "s")
            stored = f"d[D] = {passed}" + (" + d[D]" if adds else "")
            body = kernels.depthwise(d.image, into, flipped, False, flips=True, stored=stored)
            self.call(buffers, starts + body, arrays)
            return
        is_same_box = self.boxes[node.source] == self.boxes[node.output]
        plain = not is_depthwise and window.size == window.strides == (1, 1) and is_same_box
        g, adds = self.into(node, node.source, covers=plain)
        starts = f"x += {window.first(g.image, d.image)}; y += {d.image.start};\n"
        if is_depthwise:
            body = kernels.depthwise_back(g.image, d.image, window)
        else:
            body = kernels.convolve_back(g.image, d.image, window, adds)
        self.call({"x": g, "y": d}, starts + body, arrays)

    # ----------------------------------------------------------------------------------- text

    def source(self) -> Source:
        """Everything."""
        self.forward()
        forward, self.steps = self.steps, []
        scores, gradient = self.value(self.scores), self.gradient(self.scores)
        self.backward()
        backward = self.steps
        loss = Step("loss", (scores, gradient, "t", "many"))
        size = _allocate(self.value(self.input), [*forward, loss, *backward])

        def called(steps: Sequence[Step]) -> str:
            return "".join(
                f"  {step.kernel}({', '.join(map(_argument, step.arguments))});\n" for step in steps
            )

        inline = "__attribute__((noinline))"
        functions = "".join(
            f"static {inline} void {name}{text}\n" for text, name in self.kernels.items()
        )
        image = self.value(self.input).image
        return Source(
            _FRAME.format(
                functions=functions,
                classes=scores.image.channels,
                size=size,
                count=self.count,
                numbers=self.input.elements,
                rows=image.height,
                row_numbers=image.width * image.channels,
                input=f"{self.value(self.input).place + image.at(0, 0)}",
                row=image.row,
                scores=scores.place,
                forward=called(forward),
                step=called([loss, *backward]),
            ),
            self.weights,
            self.input.elements,
            scores.image.channels,
        )


def _argument(argument: Buffer | str) -> str:
    return argument if isinstance(argument, str) else f"arena + {argument.place}"


def _allocate(given: Buffer, steps: Sequence[Step]) -> int:
    """Give each buffer its place, and return how many vectors there are.

    Only images of the same size, margin and box share memory, one after the other: what is zero
    around the box stays zero.
    """
    given.first = 0
    used = [(given, 0)] + [
        (argument, index)
        for index, step in enumerate(steps, start=1)
        for argument in step.arguments
        if isinstance(argument, Buffer)
    ]
    for buffer, index in used:
        buffer.first = index if buffer.first < 0 else buffer.first
        buffer.last = index
    free: dict[Image, list[tuple[int, int]]] = defaultdict(list)  # with the last step, and places
    end = 0
    for buffer in sorted(dict.fromkeys(b for b, _ in used), key=lambda buffer: buffer.first):
        step = steps[buffer.first - 1] if buffer.first else None
        pair = step.in_place if step is not None else None
        slots = free[buffer.image]
        for slot in slots:
            last, place = slot
            ends_here = pair is not None and pair[1] is buffer and pair[0].place == place
            if last < buffer.first or (ends_here and last == buffer.first):
                slots.remove(slot)
                buffer.place = place
                break
        else:
            buffer.place, end = end, end + buffer.image.size
        slots.append((buffer.last, buffer.place))
    return end


_SIGNS: dict[type[Op], str] = {ops.Add: "+", ops.Sub: "-", ops.Mul: "*"}
_Slider = ops.Conv2D | ops.DepthwiseConv2D


def _check(node: Node) -> None:
    """Refuse what no gradient is written for. Raises NotCompiledError."""
    op, name = node.op, type(node.op).__name__
    known = (
        ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected, ops.ReLU, ops.LeakyReLU, ops.Add,
        ops.Sub, ops.Mul, ops.MaxPool2D, ops.AveragePool2D, ops.Reshape, ops.Pad, ops.Slice,
        ops.Concatenate,
    )  # fmt: skip
    if type(op) not in known or len(node.outputs) != 1:
        raise NotCompiledError(f"no gradient is written for {name}")
    if getattr(op, "activation", None) is not None:
        raise NotCompiledError(f"no gradient is written for {name} with an activation")
    image = node.source.shape
    if isinstance(op, ops.Conv2D) and node.filter.shape[3] != image[3]:
        raise NotCompiledError("no gradient is written for convolutions in groups")
    if isinstance(op, ops.FullyConnected) and len(image) != 2 and not op.keep_dims:
        raise NotCompiledError("no gradient is written for a matrix of several axes")
    if isinstance(op, ops.Slice) and (
        set(op.steps) != {1} or len(op.sizes) != len(node.output.shape)
    ):
        raise NotCompiledError("no gradient is written for a slice with steps")
    if isinstance(op, ops.Pad) and op.value:
        raise NotCompiledError("no gradient is written for padding with other numbers than 0")
    if isinstance(op, ops.Add | ops.Sub | ops.Mul) and (
        len(node.computed) != 2 or node.computed[0].shape != node.computed[1].shape
    ):
        raise NotCompiledError(f"no gradient is written for {name} of unequal shapes")
    for tensor in (*node.computed, node.output):
        if len(tensor.shape) > 4 or tensor.shape[0] != 1:
            raise NotCompiledError(f"no gradient is written for tensors of shape {tensor.shape}")


def _size(tensor: Tensor) -> tuple[int, int, int]:
    """Rows, columns and channels, which a tensor of fewer axes has fewer of."""
    height, width, channels = (1, 1, 1, *tensor.shape[1:])[-3:]
    return height, width, channels


def _whole(tensor: Tensor) -> Box:
    height, width, _ = _size(tensor)
    return 0, height, 0, width


def _union(one: Box, two: Box) -> Box:
    return min(one[0], two[0]), max(one[1], two[1]), min(one[2], two[2]), max(one[3], two[3])


def _window(node: Node) -> Window:
    op = node.op
    if isinstance(op, ops.MaxPool2D | ops.AveragePool2D):
        return Window(op.size, op.strides, (1, 1), op.padding)
    if isinstance(op, _Slider):
        _, height, width, _ = node.filter.shape
        return Window((height, width), op.strides, op.dilation, op.padding)
    return Window((1, 1), (1, 1), (1, 1), ops.NO_PADDING)


def _gathers(node: Node) -> bool:
    """Whether the gradient of a node's input is a depthwise convolution, too."""
    op = node.op
    return (
        isinstance(op, ops.DepthwiseConv2D)
        and op.strides == (1, 1)
        and node.output.shape[3] == node.source.shape[3]
        and min(map(min, _flipped(node).padding)) >= 0
    )


def _flipped(node: Node) -> Window:
    """The window of that convolution."""
    window = _window(node)
    (top, bottom), (left, right) = (
        tuple(step * (size - 1) - each for each in padding)
        for size, step, padding in zip(window.size, window.dilation, window.padding, strict=True)
    )
    return Window(window.size, (1, 1), window.dilation, ((top, bottom), (left, right)))


def _widest(paddings: Sequence[ops.Padding]) -> ops.Padding:
    (top, bottom), (left, right) = (
        tuple(max((padding[axis][end] for padding in paddings), default=0) for end in (0, 1))
        for axis in (0, 1)
    )
    return (top, bottom), (left, right)


def _seen(node: Node, index: int, box: Box) -> Box:
    """The rows and columns of an input that a box of the result depends on."""
    tensor = node.inputs[index]
    assert tensor is not None
    op, (height, width, _) = node.op, _size(tensor)
    if isinstance(op, ops.Reshape):
        return _whole(tensor)
    if isinstance(op, ops.Slice | ops.Pad | ops.Concatenate):
        moved = _moves(node)[index][1]
        down, right, _ = moved
        box = box[0] - down, box[1] - down, box[2] - right, box[3] - right
    else:
        window = _window(node)
        ranges = []
        for axis in (0, 1):
            low, high = box[2 * axis], box[2 * axis + 1]
            start = low * window.strides[axis] - window.padding[axis][0]
            last = (high - 1) * window.strides[axis] - window.padding[axis][0]
            ranges += [start, last + window.dilation[axis] * (window.size[axis] - 1) + 1]
        box = ranges[0], ranges[1], ranges[2], ranges[3]
    top, bottom = max(0, box[0]), min(height, box[1])
    left, right = max(0, box[2]), min(width, box[3])
    return (top, bottom, left, right) if top < bottom and left < right else (0, 1, 0, 1)


def _moves(node: Node) -> list[tuple[Tensor, tuple[int, int, int]]]:
    """Of a node that copies: each input, and where its first element lies in the result."""
    op = node.op
    if isinstance(op, ops.Concatenate):
        axis = op.axis + 3 - len(node.output.shape)
        starts = [0, *accumulate(_size(tensor)[axis] for tensor in node.computed)]
        places = [tuple(start * (a == axis) for a in range(3)) for start in starts]
    else:
        moved = [0, 0, 0, 0]
        if isinstance(op, ops.Pad):
            moved = [before for before, _ in op.margins]
        elif isinstance(op, ops.Slice):
            moved = [-start for start in op.starts]
        places = [(0, 0, 0, *moved[1:])[-3:]]
    return [(t, (p[0], p[1], p[2])) for t, p in zip(node.computed, places, strict=False)]


def _views(node: Node, source: Image, result: Image) -> tuple[Image, Image]:
    """Both sides of a copy; of a reshaping, in the shape of one of them."""
    if not isinstance(node.op, ops.Reshape):
        return source, result
    if not any(map(sum, source.margin)):
        return replace(result, margin=ops.NO_PADDING), result
    if any(map(sum, result.margin)):
        raise NotCompiledError("no gradient is written for reshaping with padding on both sides")
    return source, replace(source, margin=ops.NO_PADDING)


def _activated(op: ops.ReLU | ops.LeakyReLU) -> str:
    if isinstance(op, ops.LeakyReLU):
        return f"PICK(x[X] > 0, x[X], {op.slope!r}f * x[X])"
    text = f"PICK(x[X] > {op.low!r}f, x[X], {op.low!r}f + (V){{}})"
    return text if op.high == inf else f"PICK(x[X] < {op.high!r}f, {text}, {op.high!r}f + (V){{}})"


def _passed(op: Op, y: str, d: str) -> str:
    """What an activation passes of a gradient d, by its result y."""
    if isinstance(op, ops.LeakyReLU):
        return f"PICK({y} > 0, {d}, {op.slope!r}f * {d})"
    assert isinstance(op, ops.ReLU)
    inside = f"({y} > {op.low!r}f)"
    if op.high != inf:
        inside += f" & ({y} < {op.high!r}f)"
    return f"(V)(({inside}) & (M){d})"


_FRAME = """\
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define HUGE (1 << 21) /* bytes of a large page */
#if defined __AVX512F__
#define BYTES 64
#elif defined __AVX__
#define BYTES 32
#else
#define BYTES 16
#endif
enum {{ LANES = BYTES / 4, CLASSES = {classes}, COUNT = {count} }};
typedef float V __attribute__((vector_size(BYTES), may_alias));
typedef int32_t M __attribute__((vector_size(BYTES), may_alias));
/* In a register from here on: a compiler would rather load it again for each use. */
#if defined __x86_64__
#define HOLD(v) __asm__("" : "+x"(v))
#elif defined __aarch64__
#define HOLD(v) __asm__("" : "+w"(v))
#else
#define HOLD(v)
#endif
#define PICK(mask, one, other) ((V)(((mask) & (M)(one)) | (~(mask) & (M)(other))))

static V arena[({size} * sizeof(V) / HUGE + 1) * HUGE / sizeof(V)]
    __attribute__((aligned(HUGE)));
static V g[COUNT];

{functions}
static double total;

#ifdef __linux__
__attribute__((constructor)) static void take_large_pages(void) {{
  madvise(arena, sizeof arena, MADV_HUGEPAGE);
}}
#endif

/* The gradient d of the cross-entropy to the targets t of the first `many` images; without
   targets, the scores become probabilities. */
static void loss(V *scores, V *d, const float *t, int many) {{
  for (int l = 0; l < LANES; l++) {{
    float most = scores[0][l], sum = 0, weight = 0, dot = 0;
    for (int k = 1; k < CLASSES; k++) most = fmaxf(most, scores[k][l]);
    for (int k = 0; k < CLASSES; k++) sum += expf(scores[k][l] - most);
    if (!t) {{
      for (int k = 0; k < CLASSES; k++) scores[k][l] = expf(scores[k][l] - most) / sum;
      continue;
    }}
    const float *own = t + l * CLASSES;
    for (int k = 0; k < CLASSES && l < many; k++) {{
      weight += own[k];
      dot += own[k] * (scores[k][l] - most);
    }}
    for (int k = 0; k < CLASSES; k++)
      d[k][l] = l < many ? weight * expf(scores[k][l] - most) / sum - own[k] : 0;
    if (l < many) total += weight * logf(sum) - dot;
  }}
}}

static void load(const uint8_t *images, int many) {{
  for (int i = 0; i < {rows}; i++)
    for (int k = 0; k < {row_numbers}; k++)
      for (int l = 0; l < many; l++)
        arena[{input} + i * {row} + k][l] =
            images[l * {numbers} + i * {row_numbers} + k] * (1 / 255.f);
}}

static void forward(const float *w) {{
{forward}}}

static int at_most(long count) {{ return count < LANES ? (int)count : LANES; }}

/* The sum of the losses of n images; the gradients of the sum. */
double gradients(const float *w, const uint8_t *images, const float *targets, long n,
                 float *sums) {{
  memset(g, 0, sizeof g);
  total = 0;
  for (long first = 0; first < n; first += LANES) {{
    const int many = at_most(n - first);
    const float *t = targets + first * CLASSES;
    load(images + first * {numbers}, many);
    forward(w);
{step}  }}
  for (int i = 0; i < COUNT; i++) {{
    sums[i] = 0;
    for (int l = 0; l < LANES; l++) sums[i] += g[i][l];
  }}
  return total;
}}

/* The probabilities of n images. */
void predict(const float *w, const uint8_t *images, long n, float *scores) {{
  for (long first = 0; first < n; first += LANES) {{
    const int many = at_most(n - first);
    load(images + first * {numbers}, many);
    forward(w);
    loss(arena + {scores}, 0, 0, 0);
    for (int l = 0; l < many; l++)
      for (int k = 0; k < CLASSES; k++)
        scores[(first + l) * CLASSES + k] = arena[{scores} + k][l];
  }}
}}
"""
