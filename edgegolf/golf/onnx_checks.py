"""What the `onnx` package says of a model, asked in a process that a damaged model may crash.

It stays for the next question, as the package takes longer to load than most models to check.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from edgegolf.errors import EdgegolfError
from edgegolf.formats.onnx.inlining import inlined, nested_graphs
from edgegolf.runtimes.worker import run_apart

if TYPE_CHECKING:
    import onnx

T = TypeVar("T")

SECONDS = 10.0  # of processor time: inferring shapes of a damaged model may never end
BYTES_PER_SECOND = 1_000_000
MAXIMUM_ROUNDS = 16


def new_fault(original: bytes, rewritten: bytes) -> str:
    """Why `onnx.checker` refuses a rewritten file whose original it accepts; empty if it does not.

    The same holds for its full check, which also infers types and shapes. Where the package is
    missing, or ends with the original, nothing is said.
    """
    if find_spec("onnx") is None:
        return ""
    try:
        return _apart(_new_fault, original, rewritten)
    except EdgegolfError:
        pass
    try:
        _apart(_new_fault, original, original)
    except EdgegolfError:
        return ""
    return "onnx.checker does not come to an end with the rewritten file"


def _apart(function: Callable[..., T], data: bytes, *others: bytes) -> T:
    return run_apart(function, data, *others, busy=SECONDS + len(data) / BYTES_PER_SECOND)


def _new_fault(original: bytes, rewritten: bytes) -> str:
    for full in (False, True):
        if not _fault(original, full) and (fault := _fault(rewritten, full)):
            return f"onnx.checker refuses the rewritten file: {fault}"
    return ""


def _fault(data: bytes, full: bool) -> str:
    from onnx.checker import check_model

    try:
        check_model(data, full_check=full)
    except Exception as error:  # of any type: the checks are C++
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def needed_types(data: bytes) -> tuple[frozenset[str], bool] | None:
    """The values of the main graph whose types nothing but the file's `value_info` tells.

    These are results of operators that the standard lacks, above all, but also shapes that depend
    on what is computed.

    Returns:
        Their names; and whether graphs inside of nodes and functions may have such values too.
        None where the package is missing or does not come to an end.
    """
    if find_spec("onnx") is None:
        return None
    try:
        return _apart(_needed_types, data)
    except EdgegolfError:
        return None


def _needed_types(data: bytes) -> tuple[frozenset[str], bool]:
    import onnx

    try:
        model = onnx.load_from_string(data)
        return _underivable(model), not all(map(_is_standard, _all_nodes(model)))
    except Exception as error:  # of any type: the inference is C++
        raise EdgegolfError(str(error)) from None


def _underivable(model: onnx.ModelProto) -> frozenset[str]:
    from onnx.shape_inference import infer_shapes

    nodes = model.graph.node
    local = {(function.domain, function.name) for function in model.functions}
    made = {name for node in nodes for name in node.output}
    stated = {info.name: info for info in model.graph.value_info if info.name in made}
    kept: set[str] = set()
    for round_ in range(MAXIMUM_ROUNDS):
        del model.graph.value_info[:]
        model.graph.value_info.extend(info for name, info in stated.items() if name in kept)
        inferred = infer_shapes(model, data_prop=True).graph.value_info
        found = {info.name: info.type for info in inferred}
        missing = {
            name
            for name, info in stated.items()
            if name not in kept and not (name in found and _tells(found[name], info.type))
        }
        if not missing:
            break
        first = {
            name
            for node in nodes
            if missing.isdisjoint(node.input)
            or not (_is_standard(node) or (node.domain, node.op_type) in local)
            for name in missing.intersection(node.output)
        }
        # What follows from these need not stay: it is inferred in the next round.
        kept |= first if first and round_ < MAXIMUM_ROUNDS - 1 else missing
    return frozenset(kept)


def _is_standard(node: onnx.NodeProto) -> bool:
    import onnx

    return bool(onnx.defs.has(node.op_type, node.domain))


def _all_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    found = []
    pending = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while pending:
        node = pending.pop()
        found.append(node)
        for graph in nested_graphs(node):
            pending.extend(graph.node)
    return found


def _tells(found: onnx.TypeProto, stated: onnx.TypeProto) -> bool:
    """Whether a type says all that another says: its shape, as far as that has numbers."""
    kind = stated.WhichOneof("value")
    if found.WhichOneof("value") != kind:
        return kind is None
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return True
    tensor, other = getattr(found, kind), getattr(stated, kind)
    if not other.HasField("shape"):
        return bool(tensor.elem_type)
    return tensor.HasField("shape") and all(
        dimension.HasField("dim_value") or not wanted.HasField("dim_value")
        for dimension, wanted in zip(tensor.shape.dim, other.shape.dim, strict=False)
    )


def without_functions(data: bytes) -> bytes:
    """A model with the nodes of its functions in place of their calls.

    Raises:
        EdgegolfError: The functions call each other without end, or unfold to an absurd size.
    """
    return _apart(_without_functions, data)


def _without_functions(data: bytes) -> bytes:
    found: bytes = inlined(data, "the file").SerializeToString()
    return found
