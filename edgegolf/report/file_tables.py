"""The tables of single files: where their bytes go, what became of them, what they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from statistics import median
from typing import TYPE_CHECKING

from edgegolf.report.table import BEST, UNKNOWN, Table, known

if TYPE_CHECKING:
    from edgegolf.anatomy.anatomy import Anatomy, AnatomyChange
    from edgegolf.bench.result import BenchResult
    from edgegolf.circuit.flow import Circuit, Fit
    from edgegolf.export import ExportedFile
    from edgegolf.export.c_files import CResult
    from edgegolf.export.measuring import Candidate
    from edgegolf.golf.golf import GolfResult

MAXIMUM_ROWS = 12
NAME_LENGTH = 160


def anatomy_table(anatomy: Anatomy) -> Table:
    """What the bytes of a file are for, which weights are shared, and what is stored twice."""
    rows = [
        (part.name, f"{part.bytes:,}", f"{part.bytes / anatomy.bytes:.1%}")
        for part in anatomy.parts
    ]
    rows.append(("total", f"{anatomy.bytes:,}", "100.0%"))
    shared = [
        (f"{weight.role} {_short(weight.name)}", f"{weight.bytes:,}", f"{weight.operators} uses")
        for weight in anatomy.weights
        if weight.operators > 1
    ]
    equal = [
        (f"equal data: {_short(next(iter(each.names), 'unused'))}", f"{each.bytes:,}",
         f"{each.copies} copies")
        for each in anatomy.duplicates
    ]  # fmt: skip
    rows += [*_first(shared), *_first(equal)]
    if equal:
        saved = f"{anatomy.sharing_would_save:,}"
        rows.append(("storing equal data once would save", saved, ""))
    title = f"{anatomy.file}: {anatomy.bytes:,} bytes"
    return Table(("what", "bytes", "share"), tuple(rows), title=title)


def anatomy_change_table(found: AnatomyChange) -> Table:
    """What grew and what shrank, by cause."""
    rows = [(each.name, each.before, each.after) for each in found.changes]
    return Table(
        ("what", "before", "after", "change"),
        tuple(
            (name, f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else "=")
            for name, before, after in (*rows, ("total", found.before, found.after))
        ),
        title=f"{found.old} → {found.new}: {found.before:,} → {found.after:,} bytes",
    )


def anatomy_change_markdown(found: AnatomyChange) -> str:
    """The same for a pull request, one line above what changed."""
    table = anatomy_change_table(found)
    changed = Table(table.header, tuple(row for row in table.rows if row[-1] != "="))
    return f"**{table.title}**\n\n{changed.markdown() if len(changed.rows) > 0 else ''}"


def _first(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    more = len(rows) - MAXIMUM_ROWS
    return [*rows[:MAXIMUM_ROWS], (f"and {more} more", "", "")] if more > 0 else rows


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"… {name[2 - NAME_LENGTH :]}"


def golf_table(result: GolfResult) -> Table:
    """What each cause saved, and the sizes before and after."""
    saved = 1 - result.bytes_after / result.bytes_before
    rows = (
        ("before", f"{result.bytes_before:,}"),
        *((saving.cause, f"{-saving.bytes:+,}") for saving in result.savings),
        (f"after, {saved:.0%} less", f"{result.bytes_after:,}"),
    )
    title = f"{result.source} → {result.destination}"
    return Table(("cause", "bytes"), rows, title=title, caption="\n".join(_verified(result)))


def _verified(result: GolfResult) -> Iterator[str]:
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


def export_table(files: Sequence[ExportedFile], title: str) -> Table:
    """A row for each file of a model: its size, its accuracy, and how far it is from the model."""
    header = ("file", "bytes", "accuracy", "model", "SQNR", "seconds")
    rows = (
        (file.name, f"{file.bytes:,}", _percent(file.validation_accuracy),
         _percent(file.model_accuracy), f"{file.sqnr:.1f} dB", f"{file.seconds:.1f}")
        for file in files
    )  # fmt: skip
    return Table(header, tuple(rows), title=title)


def run_table(
    results: Sequence[BenchResult], made: Sequence[ExportedFile], failures: Mapping[str, str]
) -> Table:
    """A row for each format: a tick and what the file takes, or a cross and, below, the reason."""
    noise = {file.name: file.sqnr for file in made}
    rows: list[tuple[str, ...]] = []
    for result in results:
        latency, memory = result.latency_us, result.memory
        name = PurePath(result.file).name
        rows.append((
            f"{'✗' if result.error else '✓'} {name}", known(result.size_bytes),
            known(noise.get(name), "{:.1f} dB"), _percent(result.accuracy),
            known(latency.p50 if latency else None, "{:,.1f}"),
            known(memory.peak_rss_bytes / 1000 if memory else None, "{:,.0f}"),
        ))  # fmt: skip
    rows += [(f"✗ {name}", *[UNKNOWN] * 5) for name in failures]
    header = ("file", "bytes", "SQNR", "accuracy", "p50, µs", "peak RSS, kB")
    told = {PurePath(result.file).name: result.error for result in results if result.error}
    reasons = (f"{name}: {why}" for name, why in (told | dict(failures)).items())
    return Table(header, tuple(rows), caption="\n".join(reasons))


def _percent(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else f"{fraction * 100:.2f} %"


def candidates_table(candidates: Sequence[Candidate], title: str) -> Table:
    """One row per candidate, smallest first; those that no other beats in everything are starred.

    Args:
        candidates: The first is the stock float32 file, which latencies are compared with.
        title: What they are candidates for.
    """
    from edgegolf.export.choosing import pareto_front

    runtimes = tuple(candidates[0].latency_us)
    front = pareto_front(candidates, runtimes[0])

    def latency(candidate: Candidate, runtime: str) -> str:
        if runtime not in candidate.latency_us:
            return UNKNOWN
        return f"{candidate.latency_us[runtime]:,.1f} ({candidate.latency_ratio[runtime]:.2f}×)"

    rows = (
        (
            candidate.name + (f" {BEST}" if any(candidate is other for other in front) else ""),
            "float32" if candidate.compute == "int8-weights" else candidate.compute,
            f"{candidate.size_bytes:,}",
            f"{candidate.sqnr:.1f} dB"
            if candidate.accuracy is None
            else f"{candidate.accuracy:.2%}",
            *(latency(candidate, runtime) for runtime in runtimes),
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
    told = ["There is no C compiler here."]
    if taken.compiler:
        told = [f"Compiled by {taken.compiler}."]
    if result.device is not None:
        told.append(
            f"It fits {result.device}: {result.flash_left:,} bytes of flash "
            f"and {result.ram_left:,} of RAM are left."
        )
    if result.compared is not None:
        random, images = result.compared
        real = f" and {images:,} images" if images else ""
        told.append(
            f"Every bit of the outputs for {random:,} random inputs{real} is the interpreter's."
        )
    rows = tuple((what, known(size)) for what, size in sizes)
    title = f"{result.source} → {', '.join(result.files)}"
    return Table(("what", "size"), rows, title=title, caption="\n".join(told))


def circuit_table(circuit: Circuit) -> Table:
    """What the circuit takes on each device, and what is known of it."""
    header = ("device", "cells", "LUT", "FF", "BRAM", "SPRAM", "DSP", "MHz", "images/s")
    rows = []
    for fit in circuit.fits:
        cells, (logic, memories, multipliers) = fit.cells, fit.available
        rows.append((
            cells.device, f"{fit.used:,}/{logic:,}", f"{cells.luts:,}", f"{cells.flip_flops:,}",
            f"{cells.block_rams}/{memories}", str(cells.sprams),
            f"{cells.multipliers}/{multipliers}",
            clock(fit), f"{per_second(circuit, fit):,.0f}",
        ))  # fmt: skip
    told = [
        f"{circuit.macs:,} multiply-accumulates, {circuit.lanes} at a time: {circuit.cycles:,} "
        f"cycles an image. Weights {circuit.weight_bytes:,} B, images {circuit.image_bytes:,} B."
    ]
    if circuit.simulated:
        told.append(
            f"{circuit.simulator}: every logit of {circuit.simulated:,} images equals the "
            "interpreter's."
        )
    if not circuit.fits and not circuit.simulated:
        told.append(
            f"make -C {circuit.folder} simulate compares its logits with the interpreter's."
        )
    title = f"{circuit.model} → {circuit.folder}"
    return Table(header, tuple(rows), title=title, caption="\n".join(told))


def per_second(circuit: Circuit, fit: Fit) -> float:
    """Images, at the median clock."""
    return median(fit.megahertz) * 1e6 / circuit.cycles


def clock(fit: Fit) -> str:
    """The median over the seeds, and the range."""
    low, high = min(fit.megahertz), max(fit.megahertz)
    middle = f"{median(fit.megahertz):.1f}"
    return middle if low == high else f"{middle} ({low:.1f}–{high:.1f})"
