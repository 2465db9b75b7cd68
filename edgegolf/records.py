"""Frozen dataclasses to JSON and back; every record carries a schema name and version."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from edgegolf.errors import EdgegolfError
from edgegolf.files import read_bounded

if TYPE_CHECKING:
    from importlib.abc import Traversable

    import cattrs

MAXIMUM_BYTES = 1 << 28  # of a file of records
MANY = 10_000  # letters and values


class Record(Protocol):
    """A frozen dataclass that is written to a file."""

    SCHEMA: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=Record)


def to_dict(record: Record) -> dict[str, Any]:
    """The record's fields, after `schema`, as plain JSON values."""
    return {"schema": record.SCHEMA, **dataclasses.asdict(record)}  # type: ignore[call-overload]


def to_json(records: Record | Sequence[Record]) -> str:
    """The record, or a list of records, as indented JSON text with a newline at its end."""
    data = list(map(to_dict, records)) if isinstance(records, Sequence) else to_dict(records)
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def from_dict(data: object, kind: type[R], source: str = "the record") -> R:
    """A record from plain JSON values.

    Args:
        data: What `to_dict` returns.
        kind: The record's class.
        source: What to call it in an error, such as a file name.

    Raises:
        EdgegolfError: Another schema, or a field that is missing or of another type.
    """
    import cattrs

    found = data.get("schema") if isinstance(data, dict) else None
    if found != kind.SCHEMA:
        raise EdgegolfError(f"{source} has schema {found!r}, not {kind.SCHEMA!r}")
    try:
        return _converter(not is_large(data)).structure(data, kind)
    except (
        cattrs.BaseValidationError, KeyError, TypeError, ValueError, AttributeError,
    ) as error:  # fmt: skip
        told = "; ".join(reasons(error))
        raise EdgegolfError(f"{source} is not a valid {kind.SCHEMA}: {told}") from None


def reasons(error: Exception) -> list[str]:
    """What cattrs finds wrong, each reason with its place."""
    import cattrs

    if isinstance(error, cattrs.BaseValidationError):
        return cattrs.transform_error(error)
    return [f"it lacks {error}" if isinstance(error, KeyError) else str(error)]


def is_large(data: object) -> bool:
    """Whether plain values are so many that only the first fault is looked for.

    To tell each with its place takes kilobytes, even of each letter where a list is expected.
    """
    pending, count = [data], 0
    while pending and count <= MANY:
        value = pending.pop()
        if isinstance(value, str | list | dict):
            count += len(value)
        if isinstance(value, list | dict):
            pending.extend(value.values() if isinstance(value, dict) else value)
    return count > MANY


@functools.cache
def _converter(detailed: bool) -> cattrs.Converter:
    """One for all records: each compiles code for every class that it meets."""
    import cattrs
    from cattrs.strategies import configure_union_passthrough

    converter = cattrs.Converter(detailed_validation=detailed)
    configure_union_passthrough(float | int | str | bool, converter)
    return converter


def from_json(text: str | bytes, kind: type[R], source: str = "the record") -> R:
    """A record from JSON text. Raises EdgegolfError as `from_dict`, or for broken JSON."""
    return from_dict(parse_json(text, source), kind, source)


def list_from_json(text: str | bytes, kind: type[R], source: str) -> tuple[R, ...]:
    """Records from a JSON list. Raises EdgegolfError as `from_json`, or if it is none."""
    data = parse_json(text, source)
    if not isinstance(data, list):
        raise EdgegolfError(
            f"{source} is not a list of results", hint="make it with edgegolf bench --json"
        )
    return tuple(
        from_dict(item, kind, f"{source}, result {number}")
        for number, item in enumerate(data, start=1)
    )


def from_file(path: Path, kind: type[R], maximum: int = MAXIMUM_BYTES) -> R:
    """The record in a file. Raises EdgegolfError as `from_json`, or if it cannot be read."""
    return from_json(read_bounded(path, maximum), kind, str(path))


def parse_json(text: str | bytes, source: str) -> Any:
    """Plain JSON values.

    Args:
        text: The JSON.
        source: What to call it in an error, such as a file name.

    Raises:
        EdgegolfError: It is no JSON, is nested too deeply, or has a number that is not finite, or
            an integer of more than 64 bits.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise EdgegolfError(f"{source} is not JSON: {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Plain values. Raises ValueError, which is not only TOMLDecodeError, or RecursionError."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    return tomllib.loads(text)


def toml_names(folder: Traversable) -> tuple[str, ...]:
    """What the TOML files of a folder are called, sorted, without the suffix."""
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".toml")))


def _finite(text: str) -> float:
    """Python reads NaN and 1e999, which JSON does not have."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _whole(text: str) -> int:
    """Python reads integers of any length, with which no float can be computed."""
    if abs(number := int(text)) >= 2**63:
        raise ValueError(f"{text[:20]}… is too large")
    return number
