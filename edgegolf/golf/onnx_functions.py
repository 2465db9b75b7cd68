"""Store groups of nodes that repeat in an ONNX graph once, as model-local functions.

Runtimes inline functions when they load a model, so what they execute does not change. The search
is greedy grammar compression, as in Re-Pair (Larsson and Moffat, "Offline dictionary-based
compression", 1999), on the sequence of nodes instead of letters: the group that saves most becomes
a function, its calls become nodes, and the search starts again.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import prod

from edgegolf.formats.onnx.model import subgraphs
from edgegolf.formats.onnx.protobuf import Message, message, write_protobuf

DOMAIN = "f"
# Functions came with version 8 of the intermediate representation.
FIRST_IR_VERSION = 8
LONGEST_GROUP = 64
MAXIMUM_NODES = 3_000
# How many nodes the search may look at, again and again, before it ends with what it has found:
# five times what the committed files take, and about a second.
BUDGET = 300_000

NAME_BYTES = 3
CAST_LIKE, FLOAT = 15, 1  # the first version that has that operator, and a type
OPERATOR_SET_BYTES = 4


def with_functions(root: Message, shorten: Callable[[Message], Message]) -> Message:
    """Turn groups of nodes that repeat into functions, where that is shorter in the end.

    What repeats depends on the order of the nodes. Those that decode constants may come first, so
    that what uses them for the first time looks like what uses them again.

    Args:
        root: The model.
        shorten: What is done to the names of the result, which are then fewer.
    """
    if root.ir_version < 4 or len(root.graph.node) > MAXIMUM_NODES:
        return root
    if any(item.domain == DOMAIN for item in root.opset_import):
        return root
    # Another order of all nodes would let other tensors be alive together.
    short = _cast_like(root)
    decoding, nodes = _decoding(short.graph), short.graph.node
    orders = [nodes, sorted(nodes, key=lambda node: node.output[:1] not in decoding)]
    budget = _Budget(BUDGET)
    made = (_with_functions(short, each, budget) for each in orders[: 2 if decoding else 1])
    found = [shorten(model) for model in made if model.functions]
    return min([root, *found], key=lambda model: len(write_protobuf(model)))


def _cast_like(root: Message) -> Message:
    """The model with casts of constants that name no type, but the float that multiplies them.

    That is shorter. onnxruntime computes it at load where a model has functions, else each time.
    """
    versions = [item.version for item in root.opset_import if item.domain == ""]
    if not versions or versions[0] < CAST_LIKE:
        return root
    floats = {tensor.name for tensor in root.graph.initializer if tensor.data_type == FLOAT}
    constants = {tensor.name for tensor in root.graph.initializer}
    scales = {
        node.input[0]: node.input[1]
        for node in root.graph.node
        if node.op_type == "Mul" and node.input[1] in floats
    }

    def shortened(node: Message) -> Message:
        if node.op_type != "Cast" or node.input[0] not in constants:
            return node
        scale = scales.get(node.output[0])
        if scale is None or [item.i for item in node.attribute] != [FLOAT]:
            return node
        return node.replace(op_type="CastLike", input=[node.input[0], scale], attribute=())

    nodes = [shortened(node) for node in root.graph.node]
    return root.replace(graph=root.graph.replace(node=nodes))


def _decoding(graph: Message) -> set[tuple[str, ...]]:
    """The first results of the nodes that compute arrays, such as weights, from constants alone."""
    fixed = {tensor.name for tensor in graph.initializer}
    arrays = {tensor.name for tensor in graph.initializer if prod(tensor.dims) > 1}
    found = set()
    for node in graph.node:
        if (
            not arrays.isdisjoint(node.input)
            and fixed.issuperset(filter(None, node.input))
            and not _captured([node])
        ):
            fixed.update(node.output)
            arrays.update(node.output)
            found.add(node.output[:1])
    return found


def _with_functions(root: Message, nodes: Sequence[Message], budget: _Budget) -> Message:
    graph = root.graph
    outputs = {info.name for info in graph.output}
    # Names that graphs inside of nodes capture must stay what they are.
    kept = outputs | _captured(graph.node)
    # So must values whose types are stated: a type inside of a function cannot be.
    typed = {info.name for info in graph.value_info}
    # The nodes of the main graph, then those of each function.
    sequences = [[_step(node, typed) for node in nodes]]
    functions: list[Message] = []
    names = _function_names()
    while (found := _best(sequences, kept, budget)) is not None:
        function, sequences = _extract(sequences, found, next(names))
        functions.append(function)
        kept.update(function.output)
    domain = message("OperatorSetIdProto", domain=DOMAIN, version=1)
    versions = [*root.opset_import, domain]
    return root.replace(
        ir_version=max(root.ir_version, FIRST_IR_VERSION),
        graph=graph.replace(node=[step.node for step in sequences[0]]),
        functions=[
            *root.functions,
            *(
                _completed(function, [step.node for step in steps], versions)
                for function, steps in zip(functions, sequences[1:], strict=True)
            ),
        ],
        opset_import=versions,
    )


def _completed(function: Message, nodes: Sequence[Message], versions: Sequence[Message]) -> Message:
    domains = {node.domain for node in nodes}
    needed = [item for item in versions if item.domain in domains]
    return function.replace(node=nodes, opset_import=needed)


def _captured(nodes: Sequence[Message]) -> set[str]:
    names: set[str] = set()
    pending = [graph for node in nodes for graph in subgraphs(node)]
    while pending:
        graph = pending.pop()
        names.update(info.name for info in graph.output)
        for node in graph.node:
            names.update(node.input)
            pending.extend(subgraphs(node))
    return names


@dataclass
class _Budget:
    """Bounds the search by its work: a bound of time would give other files on other machines."""

    left: int

    def spend(self, nodes: int) -> bool:
        """Whether there was as much left."""
        self.left -= nodes
        return self.left >= 0


@dataclass(frozen=True)
class _Step:
    """A node with what the search asks of it again and again."""

    node: Message  # the node
    # What it does, without what it works on; ``None`` if it cannot move into a function.
    body: bytes | None
    size: int  # in bytes, where each name has one letter


def _step(node: Message, typed: Collection[str] = ()) -> _Step:
    bare = node.replace(input=None, output=None)
    names = len(node.input) + len(node.output)
    size = 2 + NAME_BYTES * names + len(write_protobuf(bare))
    fixed = (
        any(True for _ in subgraphs(node))
        or any(item.ref_attr_name for item in node.attribute)
        or any(name in typed for name in node.output)
    )
    body = None if fixed else write_protobuf(bare.replace(name=None, doc_string=None))
    return _Step(node, body, size)


@dataclass(frozen=True)
class _Group:
    """Places where the same nodes follow each other, wired alike."""

    size: int  # number of nodes
    starts: tuple[int, ...]  # index of the first node of each place; the places do not overlap
    # For each place, the values that the nodes take from outside, in the order in which they are
    # met.
    inputs: tuple[tuple[str, ...], ...]
    # The values, as (node, output), that some place needs outside.
    exported: tuple[tuple[int, int], ...]


class _Window:
    """Nodes from one start on, described without the names of their values."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[int, int]] = {}
        self.inputs: dict[str, int] = {}

    def extend(self, offset: int, node: Message) -> tuple[object, ...]:
        """How the next node is wired to those before and to what comes from outside."""
        wires: list[object] = []
        for name in node.input:
            if not name:
                wires.append(None)
            elif name in self.made:
                wires.append(self.made[name])
            else:
                wires.append(self.inputs.setdefault(name, len(self.inputs)))
        for position, name in enumerate(node.output):
            if name:
                self.made[name] = (offset, position)
        return (*wires, *map(bool, node.output))


def _flattened(sequences: Sequence[Sequence[_Step]]) -> list[_Step | None]:
    """All nodes, with ``None`` behind each sequence."""
    return [step for sequence in sequences for step in (*sequence, None)]


def _best(sequences: Sequence[Sequence[_Step]], kept: set[str], budget: _Budget) -> _Group | None:
    """The group whose extraction saves most bytes; ``None`` if none saves any."""
    steps = _flattened(sequences)
    sizes = [step.size if step else 0 for step in steps]
    best, best_saving = None, 0
    for group in _groups(steps, kept, budget):
        saving = _saving(group, sizes)
        if saving > best_saving:
            best, best_saving = group, saving
    return best


def _saving(group: _Group, sizes: Sequence[int]) -> int:
    """How many bytes the function and its calls save, where each name has one letter."""
    place = sum(sizes[group.starts[0] : group.starts[0] + group.size])
    connections = NAME_BYTES * (len(group.inputs[0]) + len(group.exported))
    call = 2 + connections + 2 * NAME_BYTES
    definition = 4 + connections + 2 * NAME_BYTES + OPERATOR_SET_BYTES + place
    return place * len(group.starts) - definition - call * len(group.starts)


def _groups(steps: Sequence[_Step | None], kept: set[str], budget: _Budget) -> Iterator[_Group]:
    """Groups of each size that occur at several places, as far as the budget reaches."""
    last_use: dict[str, int] = dict.fromkeys(kept, len(steps))
    for index, step in enumerate(steps):
        for name in step.node.input if step else ():
            last_use[name] = max(index, last_use.get(name, 0))
    windows = [_Window() for _ in steps]
    pattern = [0] * len(steps)
    active = list(range(len(steps)))
    for size in range(1, LONGEST_GROUP + 1):
        if not active or not budget.spend(len(active)):
            return
        places: dict[object, list[int]] = {}
        for start in active:
            last = start + size - 1
            step = steps[last] if last < len(steps) else None
            if step is not None and step.body is not None:
                wiring = windows[start].extend(size - 1, step.node)
                places.setdefault((pattern[start], step.body, wiring), []).append(start)
        repeated = [starts for starts in places.values() if len(starts) > 1]
        # A longer group can only repeat where its beginning does.
        active = sorted(start for starts in repeated for start in starts)
        for number, starts in enumerate(repeated):
            for start in starts:
                pattern[start] = number
            chosen = _without_overlap(starts, size)
            if len(chosen) > 1:
                if not budget.spend(size * len(chosen)):
                    return
                yield _Group(
                    size,
                    tuple(chosen),
                    tuple(tuple(windows[start].inputs) for start in chosen),
                    _exported(steps, chosen, size, last_use),
                )


def _without_overlap(starts: Sequence[int], size: int) -> list[int]:
    chosen: list[int] = []
    for start in starts:
        if not chosen or chosen[-1] + size <= start:
            chosen.append(start)
    return chosen


def _exported(
    steps: Sequence[_Step | None], starts: Sequence[int], size: int, last_use: dict[str, int]
) -> tuple[tuple[int, int], ...]:
    found = {
        (offset, position)
        for start in starts
        for offset in range(size)
        for position, name in enumerate(_outputs(steps[start + offset]))
        if name and last_use.get(name, -1) >= start + size
    }
    return tuple(sorted(found))


def _outputs(step: _Step | None) -> tuple[str, ...]:
    return tuple(step.node.output) if step is not None else ()


def _extract(
    sequences: Sequence[Sequence[_Step]], group: _Group, name: str
) -> tuple[Message, list[list[_Step]]]:
    """The function that a group becomes, and the sequences with its calls and its nodes."""
    steps = _flattened(sequences)
    body = [step for step in steps[group.starts[0] :][: group.size] if step is not None]
    inner = {
        value: f"{name}/{value}" for step in body for value in (*step.node.input, *step.node.output)
    }
    inner[""] = ""
    function = message(
        "FunctionProto",
        name=name,
        domain=DOMAIN,
        input=[inner[value] for value in group.inputs[0]],
        output=[inner[body[offset].node.output[position]] for offset, position in group.exported],
    )
    calls: dict[int, _Step] = {}
    for start, inputs in zip(group.starts, group.inputs, strict=True):
        outputs = [_outputs(steps[start + offset])[position] for offset, position in group.exported]
        calls[start] = _step(
            message("NodeProto", op_type=name, domain=DOMAIN, input=inputs, output=outputs)
        )
    changed: list[list[_Step]] = [[]]
    index = 0
    while index < len(steps):
        step = calls.get(index, steps[index])
        if step is None:
            changed.append([])
        else:
            changed[-1].append(step)
        index += group.size if index in calls else 1
    changed[-1] = [
        replace(
            step,
            node=step.node.replace(
                input=[inner[value] for value in step.node.input],
                output=[inner[value] for value in step.node.output],
            ),
        )
        for step in body
    ]
    return function, changed


def _function_names() -> Iterator[str]:
    yield from string.ascii_letters
    yield from (f"f{number}" for number in count())
