"""Runs a graph with NumPy, many images at once: the one oracle of every back end.

Written after the definitions of the operators, with no code of any runtime, so that an agreement
with one says something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.ir.graph import Graph, Node
from edgegolf.ir.kernels import Call, compute
from edgegolf.ir.ops import Loop, Unsupported, While
from edgegolf.ir.tensor import Array, Tensor

#: Told of every computed tensor, for some of the images at a time; in loops once per iteration.
Observer = Callable[[Tensor, Array], None]

#: Nodes executed for one run, beyond which a loop is taken for endless.
MAXIMUM_STEPS = 10_000

# Elements of the largest activation that are held for all images of a run together.
_CHUNK_ELEMENTS = 2**18


def run(graph: Graph, images: Sequence[Array], observe: Observer | None = None) -> list[Array]:
    """What a graph computes: quantized results bit-identical to LiteRT's reference kernels.

    float32 results agree with runtimes up to the order of additions.

    Args:
        graph: What to run.
        images: For each input an array of its type, `[n, …]`: the graph's batch, as a rule 1, may
            be there any number of times.
        observe: Told of the inputs and of every result.

    Returns:
        For each output an array `[n, …]`.

    Raises:
        EdgegolfError: An operator or type is not covered, or the graph cannot take such images.
    """
    prepared = _per_run(graph, images)
    runs = len(prepared[0]) if prepared else 1
    chunk = max(1, _CHUNK_ELEMENTS // _largest(graph))
    parts = [
        _Run(min(chunk, runs - start), observe).outputs(
            graph, [array[start : start + chunk] for array in prepared]
        )
        for start in range(0, runs, chunk)
    ]
    joined = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return [a.reshape(-1, *a.shape[2:]) if a.ndim > 1 else a for a in joined]


def constant_results(node: Node) -> list[Array]:
    """The results of a node whose inputs are all constants, each `[*shape]`.

    Raises:
        EdgegolfError: The operator or a type is not covered.
    """
    return [result[0] for result in _Run(1, None).execute(node, _constants(node))]


class _Run:
    """One run over some images."""

    def __init__(self, images: int, observe: Observer | None) -> None:
        self.images = images
        self.observe = observe
        self.steps = 0

    def outputs(self, graph: Graph, arrays: list[Array]) -> list[Array]:
        """The results, one for each image even where they are constant."""
        results = self.run(graph, arrays)
        return [np.broadcast_to(array, (self.images, *array.shape[1:])) for array in results]

    def run(self, graph: Graph, arrays: Sequence[Array]) -> list[Array]:
        """The results of a graph."""
        if len(arrays) != len(graph.inputs):
            raise EdgegolfError(f"a graph takes {len(graph.inputs)} inputs, not {len(arrays)}")
        values = dict(zip(graph.inputs, arrays, strict=True))
        self.report(graph.inputs, arrays)
        for node in graph.nodes:
            values |= _constants(node)
            self.steps += 1
            if self.steps > MAXIMUM_STEPS:
                raise EdgegolfError(f"it has not ended after {MAXIMUM_STEPS:,} operators")
            results = self.execute(node, values)
            values.update(zip(node.outputs, results, strict=True))
            self.report(node.outputs, results)
        return [_value(values, tensor) for tensor in graph.outputs]

    def report(self, tensors: Sequence[Tensor], arrays: Sequence[Array]) -> None:
        """Tell the observer."""
        if self.observe is not None:
            for tensor, array in zip(tensors, arrays, strict=True):
                self.observe(tensor, array)

    def execute(self, node: Node, values: dict[Tensor, Array]) -> list[Array]:
        """The results of one node."""
        arrays = tuple(None if t is None else _value(values, t) for t in node.inputs)
        match node.op:
            case Unsupported(name, why):
                raise EdgegolfError(
                    f"the interpreter does not have {why + ' in ' if why else ''}{name}"
                )
            case Loop(body, iterations):
                state = [array for array in arrays if array is not None]
                for _ in range(iterations):
                    state = self.run(body, state)
                return state
            case While(condition, body):
                return self.repeat(condition, body, [a for a in arrays if a is not None])
        try:
            with np.errstate(all="ignore"):
                result = compute(node.op, Call(node, arrays))
        except EdgegolfError:
            raise
        except Exception as error:  # shapes and numbers that contradict each other
            raise EdgegolfError(f"{type(node.op).__name__} cannot be run: {error}") from None
        results = result if isinstance(result, list) else [result]
        for array, tensor in zip(results, node.outputs, strict=True):
            if array.shape[1:] != tensor.shape or len(array) not in (1, self.images):
                raise EdgegolfError(
                    f"{type(node.op).__name__} gives {array.shape[1:]}, not {tensor.shape}"
                )
        return results

    def repeat(self, condition: Graph, body: Graph, state: list[Array]) -> list[Array]:
        """WHILE: all images take the same number of turns."""
        while True:
            (goes_on,) = self.run(condition, state)
            if not goes_on.size or (goes_on != goes_on.flat[0]).any():
                raise EdgegolfError("the interpreter has no WHILE that differs by image")
            if not goes_on.flat[0]:
                return state
            state = self.run(body, state)


def _constants(node: Node) -> dict[Tensor, Array]:
    """The constant inputs of a node, with an axis of images of length 1."""
    tensors = (tensor for tensor in node.inputs if tensor is not None)
    return {tensor: tensor.data[None] for tensor in tensors if tensor.data is not None}


def _value(values: dict[Tensor, Array], tensor: Tensor) -> Array:
    if tensor.data is not None:
        array: Array = tensor.data[None]
        return array
    if tensor not in values:
        raise EdgegolfError(f"tensor {tensor.name!r} is read before it is written")
    return values[tensor]


def _largest(graph: Graph) -> int:
    """Elements of the largest tensor."""
    sizes = [t.elements for node in graph.walk() for t in (*node.inputs, *node.outputs) if t]
    return max([1, *sizes])


def _per_run(graph: Graph, images: Sequence[Array]) -> list[Array]:
    """The images, `[runs, *shape]`."""
    if len(images) != len(graph.inputs):
        raise EdgegolfError(f"it takes {len(graph.inputs)} inputs, not {len(images)}")
    prepared = []
    for tensor, array in zip(graph.inputs, images, strict=True):
        if array.dtype.name != tensor.dtype:
            raise EdgegolfError(f"it takes {tensor.dtype}, not {array.dtype.name}")
        per_run, whole = prod(tensor.shape), array.size
        if array.shape[1:] != tensor.shape[1:] or not whole or whole % per_run:
            raise EdgegolfError(f"it takes {list(tensor.shape)}, which {array.shape} does not give")
        prepared.append(array.reshape(-1, *tensor.shape))
    if len(set(map(len, prepared))) > 1:
        raise EdgegolfError("its inputs have different numbers of images")
    return prepared
