"""The table that `edgegolf c` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgegolf.report.table import Table

if TYPE_CHECKING:
    from edgegolf.export.c_files import CResult


def c_table(result: CResult) -> Table:
    """What the compiled C takes, and what it was compared with."""
    taken = result.footprint
    sizes = (
        ("flash: code, bytes", taken.code_bytes),
        ("flash: weights and tables, bytes", taken.constant_bytes),
        ("RAM: arena, bytes", taken.arena_bytes),
        ("RAM: stack, bytes", taken.stack_bytes),
        ("multiply-accumulates", result.macs),
    )
    rows = [(what, "–" if size is None else f"{size:,}") for what, size in sizes]
    title = f"{result.source} → {', '.join(result.files)}"
    caption = "\n".join(_sentences(result))
    return Table(("what", "size"), tuple(rows), title=title, caption=caption)


def _sentences(result: CResult) -> Iterator[str]:
    compiler = result.footprint.compiler
    yield f"Compiled by {compiler}." if compiler else "There is no C compiler here."
    if result.device is not None:
        yield (
            f"It fits {result.device}: {result.flash_left:,} bytes of flash "
            f"and {result.ram_left:,} of RAM are left."
        )
    if result.compared is not None:
        random, images = result.compared
        real = f" and {images:,} images" if images else ""
        yield f"Every bit of the outputs for {random:,} random inputs{real} is the interpreter's."
