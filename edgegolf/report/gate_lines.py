"""What the gate says, as lines for people and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.bench.gate import Change, Verdict


def gate_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """For each row that it passed, or why it did not, and its figures before and after."""
    for verdict in verdicts:
        changes = ", ".join(f"{each.figure} {_before_after(each)}" for each in verdict.changes)
        if not verdict.failures:
            yield f"passed: {verdict.row}: {changes}"
        else:
            yield from (f"failed: {verdict.row}: {line}" for line in verdict.failures)
            yield f"        {changes}"


def gate_markdown(verdicts: Sequence[Verdict]) -> str:
    """A table with a line for each figure of each row; nothing if nothing is limited."""
    rows = []
    for verdict in verdicts:
        told = "; ".join(("**failed**", *verdict.failures)) if verdict.failures else "passed"
        name = f"{verdict.row}: {told}"
        for each in verdict.changes:
            figures = (_text(each, each.before), _text(each, each.after), _change(each))
            rows.append((name, each.figure, *figures))
            name = ""
    header = ("", "figure", "before", "after", "change")
    return Table(header, tuple(rows), labels=2).markdown() if verdicts else ""


def _before_after(change: Change) -> str:
    if change.before is None:
        return _text(change, change.after)
    before, after = _text(change, change.before), _text(change, change.after)
    return f"{before} → {after}" + (f" ({_change(change)})" if change.after is not None else "")


def _text(change: Change, value: float | None) -> str:
    if value is None:
        return "unknown"
    if change.unit == "%":
        return f"{value:.2%}"
    return f"{value:,.1f} µs" if change.unit == "µs" else f"{value:,.0f} {change.unit}".rstrip()


def _change(change: Change) -> str:
    if change.relative is None:
        return ""
    if not change.relative:
        return "±0"
    sign = "+" if change.relative > 0 else "−"
    digits = f"{abs(change.relative):.2%}" if change.unit == "%" else f"{abs(change.relative):.1%}"
    return f"{sign}{digits}"
