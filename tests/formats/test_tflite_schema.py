"""The table of the schema holds what the published one holds, as generated for Python."""

from __future__ import annotations

import ast
import inspect
import re
from types import ModuleType

import pytest

from edgegolf.formats.tflite.schema import ENUMERATIONS, SCALARS, TABLES, UNION_NAMES

PUBLISHED = ("ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated")

# Integers whose names sound like indices of tensors, buffers, graphs or codes but are none:
# positions of dimensions, counts, flags, versions, and bytes behind the flatbuffer.
NO_INDICES = {
    ("StablehloGatherOptions", "index_vector_dim"),
    ("StablehloGatherOptions", "start_index_map"),
    ("StablehloScatterOptions", "index_vector_dim"),
    ("StablehloSliceOptions", "start_indices"),
    ("StablehloSliceOptions", "limit_indices"),
    ("StablehloConvolutionOptions", "input_batch_dimension"),
    ("StablehloConvolutionOptions", "input_feature_dimension"),
    ("StablehloConvolutionOptions", "input_spatial_dimensions"),
    ("StablehloConvolutionOptions", "kernel_input_feature_dimension"),
    ("StablehloConvolutionOptions", "output_batch_dimension"),
    ("StablehloConvolutionOptions", "output_feature_dimension"),
    ("StablehloConvolutionOptions", "output_spatial_dimensions"),
    ("StablehloConvolutionOptions", "kernel_output_feature_dimension"),
    ("StablehloConvolutionOptions", "window_reversal"),
    ("StablehloConvolutionOptions", "feature_group_count"),
    ("StablehloConvolutionOptions", "batch_group_count"),
    ("ArgMaxOptions", "output_type"),
    ("ArgMinOptions", "output_type"),
    ("UniqueOptions", "idx_out_type"),
    ("OperatorCode", "deprecated_builtin_code"),
    ("OperatorCode", "builtin_code"),
    ("QuantizationParameters", "zero_point"),
    ("QuantizationParameters", "scale"),
    ("HashtableOptions", "table_id"),
    ("ExternalBuffer", "id"),
    ("DimensionMetadata", "array_indices_type"),
}
SOUNDS_LIKE_AN_INDEX = re.compile(
    r"ind(ex|ices)|idx|buffer|graph|tensor|input|output|intermediate|code|scale|zero_point|"
    r"computation|branch|group|_id$|^id$|body|cond"
)


@pytest.fixture(params=PUBLISHED)
def published(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param)


def camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def slots_of(module: ModuleType, table: str) -> dict[int, str]:
    """The accessors' names by slot: `Offset(4 + 2 * slot)` stands in the code of each."""
    found = {}
    for name, member in vars(getattr(module, table)).items():
        if not inspect.isfunction(member):
            continue
        offset = re.search(r"_tab\.Offset\((\d+)\)", inspect.getsource(member))
        if offset:  # the accessor itself comes before those of its length and its array
            found.setdefault((int(offset[1]) - 4) // 2, name)
    return found


def tables_of(module: ModuleType) -> set[str]:
    return {
        name
        for name, member in vars(module).items()
        if inspect.isclass(member) and hasattr(member, "GetRootAs")
    }


def test_every_table_and_field_is_known_at_its_slot(published: ModuleType) -> None:
    newest = published.__name__ == PUBLISHED[0]
    unknown = tables_of(published) - TABLES.keys()
    assert not unknown, f"new tables: does a field of theirs hold an index? {unknown}"
    if newest:
        assert tables_of(published) == TABLES.keys()
    for name in tables_of(published):
        slots = slots_of(published, name)
        fields = [field for field in TABLES[name] if not field.deprecated]
        known = {field.slot: camel(field.name) for field in fields}
        if newest:
            assert slots == known, f"{name}: what do its new fields hold?"
        assert slots.items() <= known.items()


def test_deprecated_slots_are_those_that_generated_code_skips(published: ModuleType) -> None:
    found = {
        (name, slot)
        for name in tables_of(published)
        for slots in [slots_of(published, name)]
        for slot in range(max(slots, default=0))
        if slot not in slots
    }
    deprecated = {
        (name, field.slot)
        for name, fields in TABLES.items()
        for field in fields
        if field.deprecated
    }
    assert found == deprecated


def test_types_are_the_published_ones(published: ModuleType) -> None:
    for name in tables_of(published):
        for field in TABLES[name]:
            reader = getattr(getattr(published, name), camel(field.name), None)
            if reader is None or field.deprecated:
                continue
            source = inspect.getsource(reader)
            flags = re.search(r"number_types\.(\w+)Flags, (o \+|a \+)", source)
            assert (field.element in SCALARS) == bool(flags), (name, field.name)
            if flags:
                assert flags[1].lower() == field.element, (name, field.name)
            assert field.is_vector == ("j" in inspect.signature(reader).parameters)
            made = re.search(r"obj = (\w+)\(", source)
            if made:
                assert made[1] == ("Table" if field.type in UNION_NAMES else field.element)
            elif flags and not field.is_vector:
                default = ast.literal_eval(source.split("return ")[-1].strip())
                assert field.default == default, (name, field.name)
            else:
                assert field.is_vector or field.type == "string", (name, field.name)


def test_every_member_of_the_enumerations_is_known(published: ModuleType) -> None:
    for name, members in ENUMERATIONS.items():
        numbers = {
            member: value
            for member, value in vars(getattr(published, name)).items()
            if isinstance(value, int)
        }
        known = {member: number for number, member in enumerate(members)}
        assert numbers.items() <= known.items(), f"new members of {name}"
        if published.__name__ == PUBLISHED[0]:
            assert numbers == known, name
    unions = {
        name.removesuffix("Creator")
        for name, member in vars(published).items()
        if name.endswith("Creator") and inspect.isfunction(member)
    }
    assert unions <= UNION_NAMES


def test_every_integer_that_sounds_like_an_index_is_one_or_known_to_be_none() -> None:
    doubtful = {
        (name, field.name)
        for name, fields in TABLES.items()
        for field in fields
        if field.element in SCALARS
        and field.element not in ("bool", "float32", "uint8")
        and not field.refers_to
        and SOUNDS_LIKE_AN_INDEX.search(field.name)
    }
    assert doubtful <= NO_INDICES
    referring = {
        (name, field.name) for name, fields in TABLES.items() for field in fields if field.refers_to
    }
    assert not referring & NO_INDICES
    assert all(SOUNDS_LIKE_AN_INDEX.search(field) for _, field in referring)


NAMED_OTHERWISE = {
    "called_computations": "subgraph", "group": "external_buffer_group", "inputs": "tensor",
    "intermediates": "tensor", "opcode_index": "operator_code", "outputs": "tensor",
    "scales": "tensor", "zero_points": "tensor",
}  # fmt: skip


def test_indices_are_of_what_their_names_say() -> None:
    for name, fields in TABLES.items():
        for field in fields:
            if field.refers_to and field.refers_to not in field.name:
                assert NAMED_OTHERWISE[field.name] == field.refers_to, (name, field.name)
