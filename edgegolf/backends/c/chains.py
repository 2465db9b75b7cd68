"""Which nodes run pixel by pixel in one function, so that what is between them is one pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from edgegolf.backends.c.layer import is_map
from edgegolf.ir import Graph, Node, Tensor
from edgegolf.ir.ops import (
    NO_PADDING,
    Add,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Maximum,
    MaxPool2D,
    Mean,
    Minimum,
    Mul,
    Sub,
)

PRODUCTS = (Conv2D, DepthwiseConv2D, FullyConnected)
POOLS = (MaxPool2D, AveragePool2D, Mean)
BINARY = (Add, Sub, Mul, Maximum, Minimum)


@dataclass(frozen=True)
class Stage:
    """A node, and those after it that only map its values."""

    node: Node
    after: tuple[Node, ...] = ()

    @property
    def output(self) -> Tensor:
        """What it gives."""
        return (self.after[-1] if self.after else self.node).output


@dataclass(frozen=True)
class Chain:
    """Nodes that run pixel by pixel."""

    before: tuple[Node, ...]  # maps of what the first stage sees
    # The first sees a window, the others a pixel of what the one before gives.
    stages: tuple[Stage, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All of them."""
        return (*self.before, *(n for stage in self.stages for n in (stage.node, *stage.after)))

    @property
    def source(self) -> Tensor:
        """What the window of the first stage slides over."""
        node = self.nodes[0]
        return next(t for t in node.inputs if t is not None and t.data is None)

    @property
    def output(self) -> Tensor:
        """The result."""
        return self.stages[-1].output

    @property
    def pixels(self) -> int:
        """How often it runs: once for all elements if none sees others than its own."""
        head = self.stages[0].node
        sizes = {t.elements for t in head.inputs if t is not None} - {1}
        if len(self.stages) == 1 and sizes == {head.output.elements} and not self.slides:
            return 1
        return prod(head.output.shape[:-1])

    @property
    def slides(self) -> bool:
        """Whether the first stage sees more than the element or pixel that it gives."""
        return isinstance(self.stages[0].node.op, (*PRODUCTS, *POOLS))


def chains(graph: Graph) -> Iterator[Chain | Node]:
    """All nodes in an order in which they can run, those that can in chains."""
    taken: set[Node] = set()
    ready: dict[Node, Chain] = {}  # by the node at whose place it runs
    position = {node: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node in taken or not _can_start(node):
            continue
        chain = _grown(graph, _begun(graph, node), taken)
        taken.update(chain.nodes)
        ready[max(chain.nodes, key=position.__getitem__)] = chain
    for node in graph.nodes:
        if node in ready:
            yield ready[node]
        elif node not in taken:
            yield node


def _can_start(node: Node) -> bool:
    """Whether a chain may begin with a node."""
    return isinstance(node.op, (*PRODUCTS, *POOLS, *BINARY)) or is_map(node)


def _only_reader(graph: Graph, tensor: Tensor) -> Node | None:
    """The node that alone reads a tensor, which then need not be kept."""
    readers = graph.readers.get(tensor, [])
    if len(readers) != 1 or tensor in graph.outputs:
        return None
    return readers[0]


def _begun(graph: Graph, node: Node) -> Chain:
    """A node, with the window that follows it if it is a map."""
    before: list[Node] = []
    while is_map(node):
        following = _only_reader(graph, node.output)
        if following is None:
            break
        if isinstance(following.op, (*PRODUCTS, *POOLS)) and following.source is node.output:
            return Chain((*before, node), (Stage(following),))
        if not is_map(following):
            break
        before.append(node)
        node = following
    return Chain((), (Stage(before[0], (*before[1:], node)) if before else Stage(node),))


def _grown(graph: Graph, chain: Chain, taken: set[Node]) -> Chain:
    """The chain with the nodes that follow it as long as each needs only a pixel of it."""
    while True:
        node = _only_reader(graph, chain.output)
        if node is None or node in taken:
            return chain
        stages = chain.stages
        if is_map(node):
            last = Stage(stages[-1].node, (*stages[-1].after, node))
            chain = Chain(chain.before, (*stages[:-1], last))
        elif _is_pointwise(node, chain.output):
            chain = Chain(chain.before, (*stages, Stage(node)))
        else:
            return chain


def _is_pointwise(node: Node, tensor: Tensor) -> bool:
    """Whether a node computes each pixel of its result from the same pixel of a tensor."""
    if isinstance(node.op, Conv2D):
        _, height, width, channels = node.filter.shape
        plain = node.op.strides == (1, 1) and node.op.padding == NO_PADDING
        return plain and (height, width) == (1, 1) and channels == tensor.shape[-1]
    if isinstance(node.op, BINARY):
        others = [t for t in node.inputs if t is not tensor and t is not None]
        return tensor.shape == node.output.shape and len(others) == 1
    return False
