"""TOML files that people write: records of them, or what is wrong in which line and key."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgegolf.errors import EdgegolfError, unknown
from edgegolf.files import read_bounded
from edgegolf.records import is_large, parse_toml, reasons, toml_names

if TYPE_CHECKING:
    from importlib.abc import Traversable

MAXIMUM_BYTES = 1 << 16
MAXIMUM_REASONS = 3  # of what is wrong in a file

NAMES = {int: "an integer", str: "a text", float: "a number", bool: "true or false"}

T = TypeVar("T")


def read_toml(name: str, shipped: Traversable, what: str) -> tuple[bytes, str]:
    """The bytes of a file that comes with the package, by its name, or of any `.toml` file.

    Args:
        name: Without the suffix, or a path.
        shipped: The folder of the former.
        what: It is, for errors.

    Returns:
        Its content; what messages call it.

    Raises:
        EdgegolfError: There is neither.
    """
    names = toml_names(shipped)
    if name in names:
        return (shipped / f"{name}.toml").read_bytes(), f"{name}.toml"
    if not name.endswith(".toml"):
        raise unknown(f"there is no {what} {name!r}, and it is no .toml file", name, names)
    return read_bounded(Path(name), MAXIMUM_BYTES), name


def from_toml(
    data: bytes, kind: type[T], source: str, hooks: Mapping[Any, Callable[..., Any]] | None = None
) -> tuple[T, str]:
    """A frozen dataclass from the bytes of a TOML file, and its text.

    Args:
        data: The file's content.
        kind: The class.
        source: The file's name.
        hooks: What makes fields of other types, by the type, as cattrs takes it.

    Raises:
        EdgegolfError: It is wrong: says in which line and key.
    """
    import cattrs
    from cattrs.strategies import configure_union_passthrough

    try:
        text = data.decode()
        content = parse_toml(text)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise EdgegolfError(f"{source} is not UTF-8 text (at line {line})") from None
    except (ValueError, RecursionError) as error:
        raise EdgegolfError(f"{source} is not TOML: {error}") from None
    detailed = not is_large(content)
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=detailed)
    configure_union_passthrough(float | int | str | bool, converter)
    for each in (int, str, float, bool):
        converter.register_structure_hook(each, _exactly)
    for each, hook in (hooks or {}).items():
        converter.register_structure_hook(each, hook)
    try:
        return converter.structure(content, kind), text
    except (
        cattrs.BaseValidationError, cattrs.ForbiddenExtraKeysError, KeyError, TypeError, ValueError,
    ) as error:  # fmt: skip
        found = reasons(error)
        more = f"; and {len(found) - MAXIMUM_REASONS:,} more" * (len(found) > MAXIMUM_REASONS)
        raise EdgegolfError(
            "; ".join(located(reason, text, source) for reason in found[:MAXIMUM_REASONS]) + more
        ) from None


def _exactly(value: object, kind: type) -> object:
    """TOML has types; a text that looks like a number is none, but 1 is one where 1.0 is meant."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"must be {NAMES[kind]}, not {reprlib.repr(value)}")
    return value


def located(reason: str, text: str, source: str) -> str:
    """A reason with the line and the key that it is about.

    Args:
        reason: As cattrs tells it, `… @ $.nets[1].sizes[0]`.
        text: The file's.
        source: The file's name.
    """
    message, _, path = reason.rpartition(" @ $")
    if not message:
        return f"{source}: {reason}"
    extra = re.search(r"extra fields found \(([^),]+)", message)
    keys = re.findall(r"\.([\w-]+)|\['([\w-]+)'\]", path)
    names = [first or second for first, second in keys]
    if extra:
        names.append(extra.group(1))
    index = re.search(r"\.nets\[(\d+)\]", path)
    line = _line(text, names, int(index.group(1)) if index else None)
    where = f", line {line}" if line else ""
    key = f", key {'.'.join(names)}" if names else ""
    return f"{source}{where}{key}: {message}"


def _line(text: str, names: list[str], net: int | None) -> int | None:
    """The line of the innermost of the keys that the text has; the header of the table if none."""
    lines = text.splitlines()
    headers = [
        number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*nets\s*\]\]", line)
    ]
    start, end = 0, headers[0] if headers else len(lines)
    if net is not None and net < len(headers):
        start, end = headers[net], ([*headers, len(lines)])[net + 1]
    for name in reversed(names):
        pattern = re.compile(rf"(^|[\s{{,.\[]){re.escape(name)}['\"]?\s*(\.|=|\])")
        for number in range(start, end):
            if pattern.search(lines[number].split("#")[0]):
                return number + 1
    return start + 1 if net is not None and headers else None
