"""The table of the files that a net could be deployed as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgegolf.report.table import BEST, UNKNOWN, Table

if TYPE_CHECKING:
    from edgegolf.export.measuring import Candidate


def candidates_table(candidates: Sequence[Candidate], title: str) -> Table:
    """One row per candidate, smallest first; those that no other beats in everything are starred.

    Args:
        candidates: The first is the stock float32 file, which latencies are compared with.
        title: What they are candidates for.
    """
    from edgegolf.export.choosing import pareto_front

    runtimes = tuple(candidates[0].latency_us)
    front = pareto_front(candidates, runtimes[0])
    rows = (
        (
            candidate.name + (f" {BEST}" if any(candidate is other for other in front) else ""),
            "float32" if candidate.compute == "int8-weights" else candidate.compute,
            f"{candidate.size_bytes:,}",
            f"{candidate.sqnr:.1f} dB"
            if candidate.accuracy is None
            else f"{candidate.accuracy:.2%}",
            *(
                f"{candidate.latency_us[name]:,.1f} ({candidate.latency_ratio[name]:.2f}×)"
                if name in candidate.latency_us
                else UNKNOWN
                for name in runtimes
            ),
        )
        for candidate in sorted(candidates, key=lambda candidate: candidate.size_bytes)
    )
    return Table(
        ("candidate", "computes in", "bytes", "quality", *(f"{name}, µs" for name in runtimes)),
        tuple(rows),
        title=title,
        caption=f"{BEST} no other is smaller, faster and as accurate at once. Quality on "
        "validation samples, of a data set on as many training images, too; × is the latency "
        "against the float32 file.",
    )
