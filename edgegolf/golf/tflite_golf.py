"""Rewrite a TFLite file into fewer bytes without changing what it computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from edgegolf.errors import EdgegolfError
from edgegolf.formats.tflite.flatbuffer import Contents, Table, transform, unshared_size, walk
from edgegolf.formats.tflite.model import (
    TfliteModel,
    buffer_alignments,
    external_or_inline,
    operator_names,
    parse_tflite,
    referred,
    type_name,
    write_tflite,
)
from edgegolf.formats.tflite.operators import BIAS_INPUTS
from edgegolf.formats.tflite.outside import (
    Outside,
    moved_archive,
    outside,
    unknown_referrer,
    with_programs,
)
from edgegolf.formats.tflite.schema import FIELDS, number
from edgegolf.golf.golfing import Golfed, Keep, Stage
from edgegolf.golf.tflite_numbers import Layout, renumber_tensors, with_layouts

# What converters note about themselves. Other entries may change how a runtime executes the model
# (``reduced_precision_support``, compiled code for accelerators) and stay.
_INFORMATIVE_METADATA = frozenset({"min_runtime_version", "CONVERSION_METADATA", "TFLITE_METADATA"})

# Options whose absence every runtime reads as all fields zero, besides those without fields.
_OPTIONAL_OPTIONS = frozenset(
    {"AddOptions", "SubOptions", "MulOptions", "DivOptions", "ReshapeOptions"}
)


def golf_tflite(data: bytes, keep: Keep, name: str = "the file") -> Golfed:
    """Rewrite a ``.tflite`` file.

    Args:
        data: The file's bytes.
        keep: What to keep although no runtime needs it.
        name: What error messages call the file.

    Returns:
        The smallest file found, and its size after each stage.

    Raises:
        EdgegolfError: The file is damaged, or it is one that cannot be rewritten.
    """
    root, found, numbered = _opened(data, name)
    archive = found.archive
    if any(entry.name == "TFLITE_METADATA" for entry in root.metadata) and not keep.metadata:
        archive = (len(data), len(data))
    stages = [Stage("layout", unshared_size(root, keep_defaults=True, byte_alignment=16))]
    for cause, step in _steps(keep, numbered):
        root = step(root)
        stages.append(Stage(cause, unshared_size(root, keep_defaults=True, byte_alignment=16)))
    stages.append(Stage("default values", unshared_size(root, byte_alignment=16)))
    stages.append(Stage("alignment", unshared_size(root, alignments=buffer_alignments(root))))
    flatbuffer, behind = with_programs(root, found.programs, data, write_tflite)
    stages.append(Stage("equal objects stored once", len(flatbuffer)))
    for cause, reordered in () if numbered else _ORDERS:
        changed = reordered(root)
        if changed is root:
            continue
        candidate = with_programs(changed, found.programs, data, write_tflite)
        if len(candidate[0]) < len(flatbuffer):
            root, (flatbuffer, behind) = changed, candidate
        stages.append(Stage(cause, len(flatbuffer)))
    # Nothing in the model refers to the other bytes behind it, as far as all in it is known.
    behind += b"".join(data[start:end] for start, end in found.unexplained if start >= found.end)
    behind += moved_archive(data[slice(*archive)], archive[0], len(flatbuffer) + len(behind))
    # What lies behind is no cause of waste: all sizes before have it, too.
    stages = [Stage(stage.cause, stage.bytes + len(behind)) for stage in stages]
    return Golfed(flatbuffer + behind, tuple(stages))


def _opened(data: bytes, name: str) -> tuple[Table, Outside, bool]:
    """A model, what lies outside it, and whether its tensors and buffers keep their numbers."""
    model = parse_tflite(data, name)
    found = outside(model, name)
    referrer = unknown_referrer(model)
    if found.unexplained and referrer:
        start, end = found.unexplained[-1]
        raise EdgegolfError(
            f"{name} has {end - start:,} bytes at {start:,} that {referrer} may refer to",
            hint="golf rewrites only what it understands",
        )
    return _with_everything_inside(model, name), found, bool(referrer)


def _steps(keep: Keep, numbered: bool) -> Iterator[tuple[str, Callable[[Table], Table]]]:
    """The steps, without those that renumber if something unknown may use the numbers."""
    if not keep.names:
        yield "names", _without_names
    if not keep.metadata:
        yield "metadata", _without_metadata
    if not keep.signatures:
        yield "signatures", _without_signatures
    if not numbered:
        yield "buffers", _with_distinct_buffers
    yield "tensors", _with_one_scale_for_zero_biases
    if not numbered:
        yield "tensors", _with_needed_tensors
    yield "quantization ranges", _without_ranges
    yield "shape signatures", _with_needed_shapes
    if not numbered:
        yield "operator codes", _with_short_operator_codes
    yield "operator options", _without_default_options


def _each(items: Iterable[Table], rule: Callable[[Table], Table]) -> list[Table]:
    """A rule applied to tables, once to each, however often it is among them."""
    done: dict[int, Table] = {}
    changed = []
    for item in items:
        if id(item) not in done:
            done[id(item)] = rule(item)
        changed.append(done[id(item)])
    return changed


def _with_everything_inside(model: TfliteModel, name: str) -> Table:
    """Move data that lies behind the flatbuffer, as in files above 2 GB, into it."""

    def inline_buffer(buffer: Table) -> Table:
        data = external_or_inline(buffer, "data", "offset", "size", model.data)
        return Table("Buffer", {"data": data} if data else {})

    def inline_options(operator: Table) -> Table:
        data = external_or_inline(
            operator,
            "custom_options",
            "large_custom_options_offset",
            "large_custom_options_size",
            model.data,
        )
        return operator.replace(
            custom_options=data if "custom_options" in operator.fields or data else None,
            large_custom_options_offset=None,
            large_custom_options_size=None,
        )

    if model.root.external_buffers:
        raise EdgegolfError(f"{name} keeps weights in another file, which golf cannot rewrite")
    if model.root.buffers and model.root.buffers[0].data:
        raise EdgegolfError(f"{name} keeps data in its first buffer, which runtimes ignore")
    return transform(model.root, {"Buffer": inline_buffer, "Operator": inline_options})


def _without_names(root: Table) -> Table:
    """Names tell people what is what; programs too, where a model has several inputs or outputs."""
    bare = transform(
        root,
        {
            "Tensor": lambda tensor: tensor.replace(name=None),
            "SubGraph": lambda subgraph: subgraph.replace(name=None, debug_metadata_index=None),
            "Operator": lambda operator: operator.replace(debug_metadata_index=None),
        },
    )
    if not root.subgraphs:
        return bare
    main = root.subgraphs[0]
    ends = [ends for ends in (main.inputs, main.outputs) if len(ends) > 1]
    tensors = list(bare.subgraphs[0].tensors)
    for index in {index for each in ends for index in each}:
        tensors[index] = tensors[index].replace(name=main.tensors[index].name)
    first = bare.subgraphs[0].replace(tensors=tuple(tensors))
    return bare.replace(subgraphs=(first, *bare.subgraphs[1:]))


def _without_metadata(root: Table) -> Table:
    kept = [entry for entry in root.metadata if entry.name not in _INFORMATIVE_METADATA]
    return root.replace(description=None, metadata_buffer=None, metadata=kept or None)


def _without_signatures(root: Table) -> Table:
    """Drop a single signature of the main graph; others are needed to reach their graphs."""
    if len(root.signature_defs) > 1 or any(item.subgraph_index for item in root.signature_defs):
        return root
    return root.replace(signature_defs=None)


def _with_distinct_buffers(root: Table) -> Table:
    """Keep each content once; buffer 0 stands for no data."""
    if not root.buffers:
        return root
    kept: dict[bytes, int] = {b"": 0}
    tables = [root.buffers[0]]
    moved: dict[int, int] = {}

    def move(index: int) -> int:
        if index not in moved:
            data = root.buffers[index].data
            if data not in kept:
                kept[data] = len(tables)
                tables.append(root.buffers[index])
            moved[index] = kept[data]
        return moved[index]

    changed = transform(
        root,
        {
            "Tensor": lambda tensor: tensor.replace(buffer=move(tensor.buffer)),
            "Metadata": lambda entry: entry.replace(buffer=move(entry.buffer)),
        },
    )
    buffers = [move(index) for index in root.metadata_buffer if index < len(root.buffers)]
    return changed.replace(buffers=tables, metadata_buffer=buffers or None)


def _with_one_scale_for_zero_biases(root: Table) -> Table:
    """Let biases of only zeros, which are zero whatever their scale, be one tensor.

    Only those with a scale per channel: with a single one, runtimes check that it fits.
    """
    return _with_subgraphs(root, _each(root.subgraphs, partial(_with_one_zero_bias, root)))


def _with_one_zero_bias(root: Table, subgraph: Table) -> Table:
    names = operator_names(root)
    biases = {
        operator.inputs[position]
        for operator in subgraph.operators
        if (position := BIAS_INPUTS.get(names[operator.opcode_index], 99)) < len(operator.inputs)
    }
    other_uses = {
        index
        for operator in subgraph.operators
        for position, index in enumerate(operator.inputs)
        if position != BIAS_INPUTS.get(names[operator.opcode_index])
    }
    first: dict[object, Table] = {}

    def shared(tensor: Table, alone: bool) -> Table:
        quantization = tensor.quantization
        data = root.buffers[tensor.buffer].data if tensor.buffer else b""
        if not alone or not data or data.strip(b"\0"):
            return tensor
        if quantization is None or len(quantization.scale) < 2 or any(quantization.zero_point):
            return tensor
        key = tensor.type, tensor.buffer, tensor.shape, quantization.quantized_dimension
        return tensor.replace(quantization=first.setdefault(key, quantization))

    tensors = _each_used(subgraph, biases - other_uses, shared)
    return subgraph.replace(tensors=tensors if "tensors" in subgraph.fields else None)


def _each_used(
    subgraph: Table, used: set[int], rule: Callable[[Table, bool], Table]
) -> list[Table]:
    """A rule applied to each tensor and whether its number is among the used ones."""
    done: dict[tuple[int, bool], Table] = {}
    changed = []
    for index, tensor in enumerate(subgraph.tensors):
        key = id(tensor), index in used
        if key not in done:
            done[key] = rule(tensor, key[1])
        changed.append(done[key])
    return changed


def _with_needed_tensors(root: Table) -> Table:
    """Drop tensors that nothing uses and merge equal constants, graph by graph."""
    signed = _signed_tensors(root)
    contents = Contents()
    done: dict[object, Layout] = {}
    layouts = []
    for index, subgraph in enumerate(root.subgraphs):
        key = id(subgraph), frozenset(signed.get(index, ()))
        if key not in done:
            done[key] = _needed_tensors(subgraph, key[1], contents)
        layouts.append(done[key])
    return with_layouts(root, layouts)


def _signed_tensors(root: Table) -> dict[int, set[int]]:
    """The tensors that signatures name, by graph."""
    signed: dict[int, set[int]] = {}
    for signature in root.signature_defs:
        signed.setdefault(signature.subgraph_index, set()).update(
            entry.tensor_index for entry in (*signature.inputs, *signature.outputs)
        )
    return signed


def _needed_tensors(subgraph: Table, signed: frozenset[int], contents: Contents) -> Layout:
    interface = {*subgraph.inputs, *subgraph.outputs, *signed}
    used = set(interface)
    written: set[int] = set()
    for operator in _distinct(subgraph.operators):
        written.update(operator.outputs, operator.intermediates)
        for node in walk(operator):
            used.update(referred(node, "tensor"))
    pending = list(used - {-1})
    while pending:  # quantization names the tensors of its scales
        for node in walk(subgraph.tensors[pending.pop()]):
            found = set(referred(node, "tensor")) - used - {-1}
            used |= found
            pending.extend(found)
    moved = {-1: -1}
    tensors: list[Table] = []
    constants: dict[object, int] = {}
    for index in sorted(used - {-1}):
        tensor = subgraph.tensors[index]
        mergeable = tensor.buffer and index not in interface | written and not tensor.is_variable
        key = ("constant", contents.number(tensor)) if mergeable else index
        if key not in constants:
            constants[key] = len(tensors)
            tensors.append(tensor)
        moved[index] = constants[key]
    return tensors, moved


def _distinct(items: Iterable[Table]) -> Iterable[Table]:
    return {id(item): item for item in items}.values()


def _without_ranges(root: Table) -> Table:
    """Drop observed ranges and empty quantization parameters."""

    def short(tensor: Table) -> Table:
        quantization = tensor.quantization
        if quantization is not None:
            quantization = quantization.replace(min=None, max=None)
            if not quantization.scale and quantization.details is None:
                quantization = None
        return tensor.replace(quantization=quantization)

    return transform(root, {"Tensor": short})


def _with_needed_shapes(root: Table) -> Table:
    """Drop shape signatures that repeat the shape or that no interface shows."""
    signed = _signed_tensors(root)

    def short(tensor: Table, is_shown: bool) -> Table:
        keep = is_shown and tensor.shape_signature != tensor.shape
        return tensor.replace(
            shape_signature=tensor.fields.get("shape_signature") if keep else None,
            has_rank=None if "shape" in tensor.fields else tensor.has_rank,
        )

    done: dict[object, Table] = {}
    subgraphs = []
    for index, subgraph in enumerate(root.subgraphs):
        shown = {*subgraph.inputs, *subgraph.outputs, *signed.get(index, ())}
        key = id(subgraph), frozenset(shown)
        if key not in done:
            tensors = _each_used(subgraph, shown, short)
            done[key] = subgraph.replace(tensors=tensors if "tensors" in subgraph.fields else None)
        subgraphs.append(done[key])
    return _with_subgraphs(root, subgraphs)


def _with_subgraphs(root: Table, subgraphs: list[Table]) -> Table:
    return root.replace(subgraphs=subgraphs if "subgraphs" in root.fields else None)


def _with_short_operator_codes(root: Table, by_frequency: bool = False) -> Table:
    """Store each code once, in the shorter of its two fields, in the order of first use."""
    placeholder = number("BuiltinOperator", "PLACEHOLDER_FOR_GREATER_OP_CODES")

    def shorten(code: Table) -> Table:
        builtin = max(code.builtin_code, code.deprecated_builtin_code)
        short = code.replace(deprecated_builtin_code=builtin, builtin_code=None)
        return short if builtin < placeholder else code

    codes = _each(root.operator_codes, shorten)
    contents = Contents()
    keys = [contents.number(code) for code in codes]
    uses = Counter(
        keys[operator.opcode_index]
        for subgraph in root.subgraphs
        for operator in subgraph.operators
    )
    ordered = [key for key, _ in uses.most_common()] if by_frequency else list(uses)
    if by_frequency and ordered == list(uses):
        return root
    order = {key: position for position, key in enumerate(ordered)}
    changed = transform(
        root,
        {
            "Operator": lambda operator: operator.replace(
                opcode_index=order[keys[operator.opcode_index]]
            )
        },
    )
    first = {key: code for key, code in zip(reversed(keys), reversed(codes), strict=True)}
    return changed.replace(
        operator_codes=[first[key] for key in order] if "operator_codes" in root.fields else None
    )


def _without_default_options(root: Table) -> Table:
    """Drop options that say nothing, and empty lists."""

    def short(subgraph: Table) -> Table:
        if "operators" not in subgraph.fields:
            return subgraph
        rule = partial(_without_default_options_of, subgraph)
        return subgraph.replace(operators=_each(subgraph.operators, rule))

    return _with_subgraphs(root, _each(root.subgraphs, short))


def _without_default_options_of(subgraph: Table, operator: Table) -> Table:
    types = {type_name(subgraph.tensors[index]) for index in operator.inputs if index >= 0}
    changes: dict[str, None] = {
        name: None
        for name in ("custom_options", "intermediates", "mutating_variable_inputs")
        if not getattr(operator, name)
    }
    for name in ("builtin_options", "builtin_options_2"):
        options = getattr(operator, name)
        # Absent options read as zeros, but the default of pot_scale_int16 is true.
        if options is not None and _says_nothing(options) and "INT16" not in types:
            changes |= {name: None, f"{name}_type": None}
    return operator.replace(**changes)


def _says_nothing(options: Table) -> bool:
    fields = FIELDS[options.table_name]
    if fields and options.table_name not in _OPTIONAL_OPTIONS:
        return False
    return all(value == fields[name].default for name, value in options.fields.items())


# What changes no object's size, but how many are equal.
_ORDERS: tuple[tuple[str, Callable[[Table], Table]], ...] = (
    ("operator codes", partial(_with_short_operator_codes, by_frequency=True)),
    ("tensor numbers", renumber_tensors),
)
