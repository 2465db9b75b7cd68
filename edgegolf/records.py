"""Frozen dataclasses to JSON and back; every record carries a schema name and version."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from edgegolf.errors import EdgegolfError

if TYPE_CHECKING:
    import cattrs


class Record(Protocol):
    """A frozen dataclass that is written to a file."""

    SCHEMA: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=Record)


def to_dict(record: Record) -> dict[str, Any]:
    """The record's fields, after `schema`, as plain JSON values."""
    return {"schema": record.SCHEMA, **dataclasses.asdict(record)}  # type: ignore[call-overload]


def to_json(record: Record) -> str:
    """The record as indented JSON text with a newline at its end."""
    return json.dumps(to_dict(record), indent=2, allow_nan=False) + "\n"


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
        return _converter().structure(data, kind)
    except (cattrs.BaseValidationError, TypeError, ValueError, AttributeError) as error:
        reasons = (
            "; ".join(cattrs.transform_error(error))
            if isinstance(error, cattrs.BaseValidationError)
            else str(error)
        )
        raise EdgegolfError(f"{source} is not a valid {kind.SCHEMA}: {reasons}") from None


@functools.cache
def _converter() -> cattrs.Converter:
    """One for all records: each compiles code for every class that it meets."""
    import cattrs
    from cattrs.strategies import configure_union_passthrough

    converter = cattrs.Converter()
    configure_union_passthrough(float | int | str | bool, converter)
    return converter


def from_json(text: str | bytes, kind: type[R], source: str = "the record") -> R:
    """A record from JSON text. Raises EdgegolfError as `from_dict`, or for broken JSON."""
    return from_dict(parse_json(text, source), kind, source)


def parse_json(text: str | bytes, source: str) -> Any:
    """Plain JSON values.

    Args:
        text: The JSON.
        source: What to call it in an error, such as a file name.

    Raises:
        EdgegolfError: It is no JSON, is nested too deeply, or has a number that is not finite.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise EdgegolfError(f"{source} is not JSON: {error}") from None


def _finite(text: str) -> float:
    """Python reads NaN and 1e999, which JSON does not have."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number
