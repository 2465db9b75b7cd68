"""The table that `edgegolf golf` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.golf.golf import GolfResult


def golf_table(result: GolfResult) -> Table:
    """What each cause saved, and the sizes before and after."""
    saved = 1 - result.bytes_after / result.bytes_before
    rows = (
        ("before", f"{result.bytes_before:,}"),
        *((saving.cause, f"{-saving.bytes:+,}") for saving in result.savings),
        (f"after, {saved:.0%} less", f"{result.bytes_after:,}"),
    )
    title = f"{result.source} → {result.destination}"
    return Table(("cause", "bytes"), rows, title=title, caption="\n".join(_sentences(result)))


def _sentences(result: GolfResult) -> Iterator[str]:
    """What is known of the file that was written, and why smaller ones were not."""
    if result.verified:
        yield f"Bit-identical in {', '.join(result.verified)}."
    elif result.unverified:
        yield f"Not verified: {'; '.join(result.unverified)}."
    elif result.bytes_after < result.bytes_before:
        yield "Not compared with the original."
    elif result.refused:
        yield "The original, unchanged."
    else:
        yield "Nothing to gain: the original, unchanged."
    for reason in dict.fromkeys(result.refused):
        yield f"A smaller file was refused: {reason}."
