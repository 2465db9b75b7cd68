"""From an `.onnx` file to a `Graph`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgegolf.errors import EdgegolfError
from edgegolf.files import check_size, read_bounded
from edgegolf.formats.onnx.inlining import inlined, nested_graphs
from edgegolf.formats.onnx.schema import DATA_TYPES
from edgegolf.frontends.onnx.folding import Folder
from edgegolf.frontends.onnx.fusing import fused
from edgegolf.frontends.onnx.integers import Encoded, encoded
from edgegolf.frontends.onnx.layout import Builder, Operand, Order, Value, channels_last
from edgegolf.frontends.onnx.operators import (
    OF_IMAGES,
    OPERATORS,
    Call,
    NotCoveredError,
    UnsupportedOperatorError,
)
from edgegolf.frontends.onnx.quantized import QUANTIZED
from edgegolf.frontends.onnx.recurrent import RECURRENT
from edgegolf.frontends.onnx.resizing import RESIZING
from edgegolf.frontends.onnx.tidying import tidied
from edgegolf.ir import Graph, Tensor, ops
from edgegolf.ir.tensor import BITS, Array, Shape

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

FLOATS = ("float16", "float64", "bfloat16")  # in the graph they are float32
OLDEST = 7  # version of the operators that is read
UNROLLED = 20_000  # nodes that loops and functions may unfold to
READERS = OPERATORS | QUANTIZED | RECURRENT | RESIZING

# What sees no images: an input that reaches a convolution through others is one.
_MOVES_AXES = frozenset(("Flatten", "Gemm", "MatMul", "Reshape", "Squeeze", "Transpose"))
_MOVING = frozenset(("Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"))


@dataclass(frozen=True)
class Read:
    """What a file computes, and how the graph's inputs and outputs lie."""

    graph: Graph  # images in it have their channels last
    # For each of its inputs, the file's axes in the graph's order: what the file takes as `array`,
    # the graph takes as `array.transpose(order)`. (0, 2, 3, 1) is an image that had its channels
    # first; a file that takes them last, as tf2onnx writes it, keeps them.
    inputs: tuple[Order, ...]
    # The same for each output: what the file gives is `result.transpose(numpy.argsort(order))`.
    outputs: tuple[Order, ...]


def read_graph(
    data: bytes,
    name: str = "the file",
    shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
) -> Read:
    """The graph of an `.onnx` file, of float32 whatever its floating-point types are.

    Batch normalization becomes a depthwise convolution with a window of 1×1 where it is of images.
    Equal constants are one tensor, and what is computed from constants alone is a constant. Nodes
    are in depth-first order, which keeps those of a block together. Loops of known length are
    written out, and of conditions that are known the branch. An open batch is 1.

    Args:
        data: The bytes of the file.
        name: What messages call it.
        shapes: Of inputs by name, for those with open dimensions.
        folder: Where files with its weights lie, beside it; None if it must be whole.

    Raises:
        UnsupportedOperatorError: An operator, or what it does, cannot be expressed.
        EdgegolfError: The file is damaged, of too old a version, or has open dimensions.
    """
    model = inlined(data, name)
    try:
        return _Reader(model, shapes or {}, folder).read()
    except EdgegolfError as error:
        raise type(error)(f"{name}: {error.message}", error.hint) from None


class _Reader:
    def __init__(self, model: ModelProto, shapes: Mapping[str, Shape], folder: Path | None) -> None:
        self.model = model
        self.shapes = shapes
        self.folder = folder
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        self.opset = versions[0] if versions else 1
        self.build = Builder()
        self.folding = Folder(self.opset)
        self.files: dict[Path, bytes] = {}
        self.known: dict[str, Operand] = {}
        self.producers: dict[str, NodeProto] = {}
        self.left = UNROLLED

    def read(self) -> Read:
        import onnx

        if self.opset < OLDEST:
            raise EdgegolfError(
                f"its operators are of version {self.opset}, older than {OLDEST}",
                hint="convert it with onnx.version_converter",
            )
        if self.opset > onnx.defs.onnx_opset_version():
            raise EdgegolfError(
                f"its operators are of version {self.opset}, newer than the package onnx",
                hint="pip install -U onnx",
            )
        graph = self.model.graph
        if graph.sparse_initializer:
            raise UnsupportedOperatorError("it has sparse constants")
        for tensor in graph.initializer:
            self.known[tensor.name] = self.constant(tensor)
        inputs = [info for info in graph.input if info.name not in self.known]
        images = self.images()
        taken = [self.input(info, info.name in images) for info in inputs]
        self.producers = {name: node for node in graph.node for name in node.output if name}
        for info in graph.output:
            self.compute(info.name)
        given = [self.output(info.name) for info in graph.output]
        results = tuple(value.tensor for value in given)
        nodes = tidied(self.build, self.build.nodes, results)
        nodes = tidied(self.build, fused(self.build, nodes, results), results)
        if left := [node.op.name for node in nodes if isinstance(node.op, ops.Unsupported)]:
            raise UnsupportedOperatorError(f"the operator {left[0]} is not supported")
        found = Graph(tuple(value.tensor for value in taken), results, nodes)
        orders = (tuple(value.order for value in values) for values in (taken, given))
        return Read(found, *orders)

    def constant(self, tensor: TensorProto) -> Array:
        import onnx

        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor = self.loaded(tensor)
        try:
            array = onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # whatever does not fit in it
            raise EdgegolfError(f"its constant {tensor.name!r} is damaged: {error}") from None
        if array.dtype.name in FLOATS:
            return array.astype(np.float32)
        return array

    def loaded(self, tensor: TensorProto) -> TensorProto:
        """A constant whose elements are in a file beside the model."""
        import onnx

        where = {entry.key: entry.value for entry in tensor.external_data}
        location = where.get("location", "")
        if self.folder is None or Path(location).name != location or location in ("", "..", "."):
            raise EdgegolfError(f"its constant {tensor.name!r} is in another file, {location!r}")
        path = self.folder / location
        try:
            start, length = int(where.get("offset", 0)), int(where.get("length", 0))
        except ValueError:
            raise EdgegolfError(f"{path} is referred to by no number") from None
        size = check_size(path)
        if path.is_symlink() or not 0 <= start <= start + length <= size:
            raise EdgegolfError(f"{path} has no {length:,} bytes from {start:,} on")
        if path not in self.files:
            self.files[path] = read_bounded(path)
        content = self.files[path]
        whole = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        whole.raw_data = content[start : start + length if length else size]
        return whole

    def input(self, info: ValueInfoProto, is_image: bool) -> Value:
        kind = info.type.tensor_type
        name = DATA_TYPES.get(kind.elem_type or 1, ("", None))[0]
        name = "float32" if name in FLOATS else name
        if not info.type.HasField("tensor_type") or name not in BITS:
            raise UnsupportedOperatorError(f"its input {info.name!r} has no type that is covered")
        sizes = [size.dim_value if size.dim_value > 0 else 0 for size in kind.shape.dim]
        shape = self.shapes.get(info.name)
        if shape is None:
            shape = tuple(size or (1 if axis == 0 else 0) for axis, size in enumerate(sizes))
        if not kind.HasField("shape") or 0 in shape or len(shape) != len(sizes):
            raise EdgegolfError(
                f"its input {info.name!r} has open dimensions, {list(shape)}",
                hint="say which shape it has",
            )
        order = tuple(range(len(shape)))
        if is_image and len(shape) in (3, 4):
            order = channels_last(len(shape))
        stored = tuple(shape[axis] for axis in order)
        value = Value(Tensor(stored, name, name=info.name), order)
        self.known[info.name] = value
        return value

    def output(self, name: str) -> Value:
        """An output, with its axes in the file's order or with channels last."""
        found = self.known[name]
        if not isinstance(found, Value):
            raise UnsupportedOperatorError(f"its output {name!r} is constant")
        last = channels_last(found.rank) if found.rank > 2 else None
        if found.order != last:
            found = Value(self.build.as_in_file(found), tuple(range(found.rank)))
        return found

    def images(self) -> set[str]:
        """The values that are images with their channels first: that is how they are used."""
        found: set[str] = set()
        for node in reversed(self.model.graph.node):
            if node.op_type in OF_IMAGES:
                found.update(node.input[:1])
            elif node.op_type not in _MOVES_AXES and not found.isdisjoint(node.output):
                found.update(node.input)
        return found

    def compute(self, name: str) -> None:
        """Read the nodes that a value needs, depth first."""
        pending = [(name, False)]
        entered: set[int] = set()
        while pending:
            name, ready = pending.pop()
            if name in self.known:
                continue
            if name not in self.producers:
                raise EdgegolfError(f"{name!r} is read but never computed")
            node = self.producers[name]
            if ready:
                self.apply(node)
                continue
            if id(node) in entered:
                raise EdgegolfError(f"{name!r} is computed from itself")
            entered.add(id(node))
            pending.append((name, True))
            missing = [each for each in reversed(node.input) if each and each not in self.known]
            pending += [(each, False) for each in missing]

    def apply(self, node: NodeProto) -> None:
        """Read one node whose inputs are known."""
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
        name = f"{domain}{node.op_type}"
        inputs = tuple(self.known[each] if each else None for each in node.input)
        self.build.name = node.output[0] if node.output else ""
        try:
            results = self.results(name, node, inputs)
        except NotCoveredError as error:
            raise UnsupportedOperatorError(f"{name} with {error} is not supported") from None
        except UnsupportedOperatorError:
            raise
        except EdgegolfError as error:
            raise EdgegolfError(f"{name} {node.name!r}: {error.message}", error.hint) from None
        except Exception as error:  # attributes and shapes that contradict each other
            raise EdgegolfError(f"{name} {node.name!r} is not valid: {error}") from None
        for output, result in zip(node.output, results, strict=False):
            if output:
                self.known[output] = result
        for output in node.output:
            if output and output not in self.known:
                raise UnsupportedOperatorError(f"{name} with {output!r} is not supported")

    def results(
        self, name: str, node: NodeProto, inputs: tuple[Operand | None, ...]
    ) -> list[Operand]:
        import onnx

        if name == "Constant":
            tensors = [a.t for a in node.attribute if a.name == "value"]
            if tensors:
                return [self.constant(tensors[0])]
        if name in ("Shape", "Size") and isinstance(inputs[0], Value):
            inputs = (np.broadcast_to(np.int8(0), inputs[0].shape),)  # only its shape is read
        arrays = [each for each in inputs if each is None or not isinstance(each, Value)]
        if len(arrays) == len(inputs) and (inputs or name == "Constant"):
            folded = self.folding.fold(node, arrays)
            if folded is not None:
                results = [_narrowed(array) for array in folded]
                self.remember(node, arrays, results)
                return list(results)
        if name in ("If", "Loop"):
            return self.branch(node, inputs) if name == "If" else self.turns(node, inputs)
        read = READERS.get(name)
        if read is None:
            if (inlined_results := self.function(node, inputs)) is not None:
                return inlined_results
            raise UnsupportedOperatorError(f"the operator {name} is not supported")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        found = read(Call(node, inputs, attributes, self.opset, self.build))
        return list(found) if isinstance(found, list | tuple) else [found]  # type: ignore[list-item]

    def function(self, node: NodeProto, inputs: Sequence[Operand | None]) -> list[Operand] | None:
        """What an operator computes that the standard defines by others; None if it does not."""
        import onnx
        import onnx.inliner

        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
            return None
        schema = onnx.defs.get_schema(node.op_type, self.opset)
        newest = onnx.defs.onnx_opset_version()
        version = max(  # the newest that has the same operator: later ones define more
            each
            for each in range(self.opset, newest + 1)
            if onnx.defs.get_schema(node.op_type, each).since_version == schema.since_version
        )
        given = {name: each for name, each in zip(node.input, inputs, strict=True) if name}
        types = [
            onnx.helper.make_tensor_value_info(
                name,
                onnx.helper.np_dtype_to_tensor_dtype(
                    np.dtype(each.tensor.dtype if isinstance(each, Value) else each.dtype)
                ),
                each.shape,
            )
            for name, each in given.items()
            if each is not None
        ]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        usual = (each.default_value for each in schema.attributes.values())
        own = {attribute.name for attribute in node.attribute}
        whole = onnx.NodeProto()
        whole.CopyFrom(node)
        whole.attribute.extend(each for each in usual if each.name and each.name not in own)
        graph = onnx.helper.make_graph([whole], "function", types, results)
        imports = [onnx.helper.make_opsetid("", version)]
        model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
        inner = onnx.inliner.inline_selected_functions(
            model, [("", node.op_type)], inline_schema_functions=True
        ).graph
        if any(each.op_type == node.op_type or any(nested_graphs(each)) for each in inner.node):
            return None
        given = {f"{node.output[0]}: {name}": each for name, each in given.items()}
        for info in (*inner.input, *inner.output):
            info.name = f"{node.output[0]}: {info.name}"
        for each in inner.node:  # names that are nowhere else
            each.input[:] = [name and f"{node.output[0]}: {name}" for name in each.input]
            each.output[:] = [name and f"{node.output[0]}: {name}" for name in each.output]
        opset, self.opset = self.opset, version
        self.folding.opset = version
        try:
            found = iter(self.inside(inner, [given[info.name] for info in inner.input]))
        except UnsupportedOperatorError:  # what is told is the operator that the file has
            return None
        self.opset = self.folding.opset = opset
        return [next(found) if name else None for name in node.output]  # type: ignore[misc]

    def branch(self, node: NodeProto, inputs: Sequence[Operand | None]) -> list[Operand]:
        """The branch of an If whose condition is known."""
        taken = "then_branch" if _truth(inputs[0], "a condition") else "else_branch"
        return self.inside(next(a.g for a in node.attribute if a.name == taken), ())

    def turns(self, node: NodeProto, inputs: Sequence[Operand | None]) -> list[Operand]:
        """A Loop of known length, turn by turn."""
        (body,) = (attribute.g for attribute in node.attribute)
        times, goes_on, *carried = inputs
        if isinstance(times, Value):
            raise NotCoveredError("a length that is computed")
        if len(body.output) != len(carried) + 1 or any(each is None for each in carried):
            raise NotCoveredError("results of every turn")
        turn = 0
        while (times is None or turn < int(times.item())) and (
            goes_on is None or _truth(goes_on, "an end")
        ):
            values = (np.array(turn), np.array(True), *carried)
            goes_on, *carried = self.inside(body, values)
            turn += 1
        return [each for each in carried if each is not None]

    def inside(self, graph: GraphProto, inputs: Sequence[Operand | None]) -> list[Operand]:
        """What a graph in a node computes, which may read what is outside."""
        self.left -= 1 + len(graph.node)
        if self.left < 0:
            raise EdgegolfError("its loops unfold to an absurd number of nodes")
        outside = self.producers
        inner = {name: node for node in graph.node for name in node.output if name}
        own = {*inner, *(tensor.name for tensor in graph.initializer)}
        self.producers = outside | inner
        for tensor in graph.initializer:
            self.known[tensor.name] = self.constant(tensor)
        for info, given in zip(graph.input, inputs, strict=True):
            own.add(info.name)
            assert given is not None
            self.known[info.name] = given
        for info in graph.output:
            self.compute(info.name)
        found = [self.known[info.name] for info in graph.output]
        for name in own:
            self.known.pop(name, None)
        self.producers = outside
        return found

    def remember(
        self, node: NodeProto, inputs: Sequence[Array | None], results: list[Array]
    ) -> None:
        """Keep the integers that a constant is decoded from, also where it is moved after that.

        Weights are `DequantizeLinear` of integers, or `Cast` and multiplied by one scale.
        """
        first, *others = inputs or [None]
        if first is None or not results:
            return
        known = self.build.decoded
        before = known.get(id(first))
        found: list[Encoded | None] = []
        if node.op_type == "DequantizeLinear":
            axes = [a.i for a in node.attribute if a.name == "axis"]
            blocks = any(a.i for a in node.attribute if a.name == "block_size")
            zero = others[1] if len(others) > 1 else None
            if others[0] is not None and not blocks:
                found = [encoded(results[0], first, others[0], zero, (axes or [1])[0])]
        elif node.op_type in ("Cast", "CastLike") and results[0].dtype == np.float32:
            found = [encoded(results[0], first, np.ones(()), None, 0)]
        elif before is not None and not before.quant.is_per_channel:
            if node.op_type == "Mul" and others[0] is not None and others[0].size == 1:
                quant = replace(before.quant, scale=(before.quant.scale[0] * others[0].item(),))
                found = [replace(before, reals=results[0], quant=quant)]
            elif node.op_type in _MOVING:
                moved = self.folding.fold(node, [before.integers, *others]) or []
                found = [
                    replace(before, reals=reals, integers=integers)
                    for reals, integers in zip(results, moved, strict=True)
                ]
        known.update((id(each.reals), each) for each in found if each is not None)


def _truth(condition: Operand | None, what: str) -> bool:
    if condition is None or isinstance(condition, Value):
        raise NotCoveredError(f"{what} that is computed")
    return bool(condition.all())


def _narrowed(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.name in FLOATS else array
