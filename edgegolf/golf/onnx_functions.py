"""Store groups of nodes that repeat in an ONNX graph once, as model-local functions.

Runtimes inline functions when they load a model, so what they execute does not change. The search
is greedy grammar compression, as in Re-Pair (Larsson and Moffat, "Offline dictionary-based
compression", 1999), on the sequence of nodes instead of letters: the group that saves most becomes
a function, its calls become nodes, and the search starts again.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from edgegolf.golf.onnx_model import subgraphs
from edgegolf.golf.protobuf import Message, message, write_protobuf

DOMAIN = "f"
# Functions came with version 8 of the intermediate representation.
FIRST_IR_VERSION = 8
LONGEST_GROUP = 64
# Larger graphs would take minutes to search.
MAXIMUM_NODES = 3_000

NAME_BYTES = 3
OPERATOR_SET_BYTES = 4


def with_functions(root: Message) -> Message:
    """Turn groups of nodes that repeat into functions, where that is shorter."""
    if root.ir_version < 4 or len(root.graph.node) > MAXIMUM_NODES:
        return root
    if any(item.domain == DOMAIN for item in root.opset_import):
        return root
    graph = root.graph
    outputs = {info.name for info in graph.output}
    # Names that graphs inside of nodes capture must stay what they are.
    kept = outputs | _captured(graph.node)
    # The nodes of the main graph, then those of each function.
    sequences = [_in_depth_first_order(graph.node, outputs)]
    functions: list[Message] = []
    names = _function_names()
    while (found := _best(sequences, kept)) is not None:
        function, sequences = _extract(sequences, found, next(names))
        functions.append(function)
        kept.update(function.output)
    domain = message("OperatorSetIdProto", domain=DOMAIN, version=1)
    versions = [*root.opset_import, domain]
    changed = root.replace(
        ir_version=max(root.ir_version, FIRST_IR_VERSION),
        graph=graph.replace(node=sequences[0]),
        functions=[
            *root.functions,
            *(
                function.replace(node=nodes, opset_import=_needed(versions, nodes))
                for function, nodes in zip(functions, sequences[1:], strict=True)
            ),
        ],
        opset_import=versions,
    )
    return min(root, changed, key=lambda model: len(write_protobuf(model)))


def _needed(versions: Sequence[Message], nodes: Sequence[Message]) -> list[Message]:
    domains = {node.domain for node in nodes}
    return [item for item in versions if item.domain in domains]


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


def _in_depth_first_order(nodes: Sequence[Message], outputs: set[str]) -> list[Message]:
    """Order nodes so that equal parts of a graph become equal sequences.

    Every node follows directly on what it needs; those that nothing needs come last.
    """
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [
        [producers[name] for name in (*node.input, *sorted(_captured([node]))) if name in producers]
        for node in nodes
    ]
    ordered: list[int] = []
    done: set[int] = set()
    roots = [index for index, node in enumerate(nodes) if outputs.intersection(node.output)]
    for start in (*roots, *range(len(nodes))):
        pending = [start]
        while pending:
            index = pending[-1]
            # An index met again while its needs are open would be a cycle, which ONNX forbids.
            missing = [need for need in needs[index] if need not in done and need not in pending]
            if index in done or not missing:
                pending.pop()
                if index not in done:
                    done.add(index)
                    ordered.append(index)
            else:
                pending.append(missing[0])
    return [nodes[index] for index in ordered]


@dataclass(frozen=True)
class _Group:
    """Places where the same nodes follow each other, wired alike.

    Attributes:
        size: Number of nodes.
        starts: Index of the first node of each place; the places do not overlap.
        inputs: For each place, the values that the nodes take from outside, in the order in
            which they are met.
        exported: The values, as (node, output), that some place needs outside.
    """

    size: int
    starts: tuple[int, ...]
    inputs: tuple[tuple[str, ...], ...]
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


def _flattened(sequences: Sequence[Sequence[Message]]) -> list[Message | None]:
    """All nodes, with ``None`` behind each sequence."""
    return [node for sequence in sequences for node in (*sequence, None)]


def _best(sequences: Sequence[Sequence[Message]], kept: set[str]) -> _Group | None:
    """The group whose extraction saves most bytes; ``None`` if none saves any."""
    nodes = _flattened(sequences)
    sizes = [_size(node) if node else 0 for node in nodes]
    best, best_saving = None, 0
    for group in _groups(nodes, kept):
        saving = _saving(group, sizes)
        if saving > best_saving:
            best, best_saving = group, saving
    return best


def _size(node: Message) -> int:
    """Size of a node in bytes, where each name has one letter."""
    names = len(node.input) + len(node.output)
    return 2 + NAME_BYTES * names + len(write_protobuf(node.replace(input=None, output=None)))


def _saving(group: _Group, sizes: Sequence[int]) -> int:
    """How many bytes the function and its calls save, where each name has one letter."""
    place = sum(sizes[group.starts[0] : group.starts[0] + group.size])
    connections = NAME_BYTES * (len(group.inputs[0]) + len(group.exported))
    call = 2 + connections + 2 * NAME_BYTES
    definition = 4 + connections + 2 * NAME_BYTES + OPERATOR_SET_BYTES + place
    return place * len(group.starts) - definition - call * len(group.starts)


def _body(node: Message | None) -> bytes | None:
    """What a node does, without what it works on; ``None`` if it cannot move into a function."""
    if node is None or any(True for _ in subgraphs(node)):
        return None
    if any(item.ref_attr_name for item in node.attribute):
        return None
    return write_protobuf(node.replace(input=None, output=None, name=None, doc_string=None))


def _groups(nodes: Sequence[Message | None], kept: set[str]) -> Iterator[_Group]:
    """Groups of each size that occur at several places."""
    last_use: dict[str, int] = dict.fromkeys(kept, len(nodes))
    for index, node in enumerate(nodes):
        for name in node.input if node else ():
            last_use[name] = max(index, last_use.get(name, 0))
    bodies = [_body(node) for node in nodes]
    windows = [_Window() for _ in nodes]
    pattern = [0] * len(nodes)
    active = list(range(len(nodes)))
    for size in range(1, LONGEST_GROUP + 1):
        places: dict[object, list[int]] = {}
        for start in active:
            last = start + size - 1
            node = nodes[last] if last < len(nodes) else None
            if node is not None and bodies[last] is not None:
                wiring = windows[start].extend(size - 1, node)
                places.setdefault((pattern[start], bodies[last], wiring), []).append(start)
        repeated = [starts for starts in places.values() if len(starts) > 1]
        # A longer group can only repeat where its beginning does.
        active = sorted(start for starts in repeated for start in starts)
        for number, starts in enumerate(repeated):
            for start in starts:
                pattern[start] = number
            chosen = _without_overlap(starts, size)
            if len(chosen) > 1:
                yield _Group(
                    size,
                    tuple(chosen),
                    tuple(tuple(windows[start].inputs) for start in chosen),
                    _exported(nodes, chosen, size, last_use),
                )


def _without_overlap(starts: Sequence[int], size: int) -> list[int]:
    chosen: list[int] = []
    for start in starts:
        if not chosen or chosen[-1] + size <= start:
            chosen.append(start)
    return chosen


def _exported(
    nodes: Sequence[Message | None], starts: Sequence[int], size: int, last_use: dict[str, int]
) -> tuple[tuple[int, int], ...]:
    found = {
        (offset, position)
        for start in starts
        for offset in range(size)
        for position, name in enumerate(_outputs(nodes[start + offset]))
        if name and last_use.get(name, -1) >= start + size
    }
    return tuple(sorted(found))


def _outputs(node: Message | None) -> tuple[str, ...]:
    return tuple(node.output) if node is not None else ()


def _extract(
    sequences: Sequence[Sequence[Message]], group: _Group, name: str
) -> tuple[Message, list[list[Message]]]:
    """The function that a group becomes, and the sequences with its calls and its nodes."""
    nodes = _flattened(sequences)
    body = [node for node in nodes[group.starts[0] :][: group.size] if node is not None]
    inner = {value: f"{name}/{value}" for node in body for value in (*node.input, *node.output)}
    inner[""] = ""
    function = message(
        "FunctionProto",
        name=name,
        domain=DOMAIN,
        input=[inner[value] for value in group.inputs[0]],
        output=[inner[body[offset].output[position]] for offset, position in group.exported],
    )
    calls: dict[int, Message] = {}
    for start, inputs in zip(group.starts, group.inputs, strict=True):
        outputs = [_outputs(nodes[start + offset])[position] for offset, position in group.exported]
        calls[start] = message(
            "NodeProto", op_type=name, domain=DOMAIN, input=inputs, output=outputs
        )
    changed: list[list[Message]] = [[]]
    index = 0
    while index < len(nodes):
        node = calls.get(index, nodes[index])
        if node is None:
            changed.append([])
        else:
            changed[-1].append(node)
        index += group.size if index in calls else 1
    changed[-1] = [
        node.replace(
            input=[inner[value] for value in node.input],
            output=[inner[value] for value in node.output],
        )
        for node in body
    ]
    return function, changed


def _function_names() -> Iterator[str]:
    yield from string.ascii_letters
    yield from (f"f{number}" for number in count())
