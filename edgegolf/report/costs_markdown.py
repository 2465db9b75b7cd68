"""What files cost, of whatever origin, in one table: benches and ARM instructions, for docs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from edgegolf.bench.result import BenchResult
from edgegolf.emulation.instructions import Instructions


def costs_markdown(results: Sequence[BenchResult], counts: Sequence[Instructions]) -> str:
    """A row for each file and runtime: bytes, accuracy, activations, latency, instructions.

    Args:
        results: Benches. Those that failed are left out.
        counts: Of the same files, by the same paths; a file without has no figure there.
    """
    cpus = sorted({count.cpu for count in counts})
    found = {count.key: count.instructions for count in counts}
    headings = [
        *("bytes", "parameters", "accuracy", "activations, bytes", "p50, µs"),
        *(f"instructions, {cpu}" for cpu in cpus),
    ]
    lines = [
        f"| file | runtime | {' | '.join(headings)} |",
        f"| --- | --- |{' ---: |' * len(headings)}",
    ]
    for result in results:
        if result.error is not None or result.latency_us is None or result.memory is None:
            continue
        cells = (
            _number(result.size_bytes),
            _number(result.parameters),
            "–" if result.accuracy is None else f"{result.accuracy:.2%}",
            _number(result.memory.activation_peak_bytes),
            _number(result.latency_us.p50),
            *(_number(found.get((result.file, result.runtime, cpu))) for cpu in cpus),
        )
        name = "/".join(PurePosixPath(result.file).parts[-2:])
        lines.append(f"| `{name}` | {result.runtime} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
