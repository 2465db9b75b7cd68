"""Results and what a gate says of them as JUnit XML, which CI servers show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from xml.etree import ElementTree

from edgegolf.errors import printable

if TYPE_CHECKING:
    from edgegolf.bench.gate import Verdict
    from edgegolf.bench.result import BenchResult
    from edgegolf.emulation.instructions import Instructions

Result = TypeVar("Result", "BenchResult", "Instructions")


def junit(
    results: Sequence[Result], verdicts: Sequence[Verdict], name: Callable[[Result], str]
) -> str:
    """A test case for each result: an error where it has no figures, a failure for each limit.

    Args:
        results: All of them.
        verdicts: What the gate says of those with figures; nothing if nothing is limited.
        name: What a result is called, as its verdict is.
    """
    failures = {verdict.row: verdict.failures for verdict in verdicts}
    suite = ElementTree.Element(
        "testsuite",
        name="edgegolf",
        tests=str(len(results)),
        errors=str(sum(result.error is not None for result in results)),
        failures=str(sum(bool(broken) for broken in failures.values())),
    )
    for result in results:
        row = name(result)
        case = ElementTree.SubElement(
            suite, "testcase", classname="edgegolf.bench", name=printable(row)
        )
        if result.error is not None:
            ElementTree.SubElement(case, "error", message=printable(result.error))
        elif broken := failures.get(row):
            ElementTree.SubElement(case, "failure", message=printable("; ".join(broken)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
