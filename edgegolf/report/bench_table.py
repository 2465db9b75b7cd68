"""Benchmark results as a table for people, as Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from edgegolf.records import to_dict
from edgegolf.report.table import BEST, Table, csv_text, known

if TYPE_CHECKING:
    from edgegolf.bench.profile import Profile
    from edgegolf.bench.result import BenchResult

SIDE_BY_SIDE = 3  # up to so many results get a column each, with every figure; more get a row


@dataclass(frozen=True)
class Figure:
    """One figure of a result."""

    name: str  # what it is called, with its unit
    value: Callable[[Any], float | None]  # takes it from a successful result; None if unknown
    text: Callable[[float], str] = "{:,.0f}".format  # formats it
    key: bool = False  # whether it is in the short table too
    # Chooses the better of some values; None where no value is better.
    best: Callable[[Sequence[float]], float] | None = min


def _latency(field: str) -> Callable[[Any], float]:
    return lambda result: getattr(result.latency_us, field)


def _memory(field: str, divisor: int = 1) -> Callable[[Any], float | None]:
    def value(result: Any) -> float | None:
        found = getattr(result.memory, field)
        return None if found is None else found / divisor

    return value


def _microjoules(result: Any) -> float | None:
    return None if result.energy is None else result.energy.joules * 1e6


FIGURES = (
    Figure("size, B", lambda result: result.size_bytes, key=True),
    Figure("compressed, B", lambda result: result.compressed_bytes),
    Figure("parameters", lambda result: result.parameters, key=True),
    Figure("MACs", lambda result: result.macs),
    Figure("accuracy", lambda result: result.accuracy, "{:.2%}".format, key=True, best=max),
    Figure("p50, µs", _latency("p50"), "{:,.1f}".format, key=True),
    Figure("p90, µs", _latency("p90"), "{:,.1f}".format),
    Figure("p99, µs", _latency("p99"), "{:,.1f}".format, key=True),
    Figure("minimum, µs", _latency("minimum"), "{:,.1f}".format),
    Figure("mean, µs", _latency("mean"), "{:,.1f}".format),
    Figure("standard deviation, µs", _latency("standard_deviation"), "{:,.1f}".format),
    Figure("samples", _latency("samples"), best=None),
    Figure("outliers", _latency("outliers"), best=None),
    Figure("load, µs", _latency("load")),
    Figure("first inference, µs", _latency("first"), "{:,.1f}".format),
    Figure("copying in, µs", _latency("input_copy"), "{:,.1f}".format),
    Figure("copying out, µs", _latency("output_copy"), "{:,.1f}".format),
    Figure("own overhead, µs", _latency("overhead"), "{:,.2f}".format, best=None),
    Figure("runtime RSS, kB", _memory("runtime_rss_bytes", 1000)),
    Figure("load RSS, kB", _memory("load_rss_bytes", 1000)),
    Figure("first inference RSS, kB", _memory("first_inference_rss_bytes", 1000)),
    Figure("peak RSS, kB", _memory("peak_rss_bytes", 1000), key=True),
    Figure("weights, B", _memory("weights_bytes")),
    Figure("activations, B", _memory("activation_peak_bytes")),
    Figure("state, B", lambda result: result.memory.state_bytes or None),
    Figure("energy, µJ", _microjoules, "{:,.1f}".format, key=True),
)


def profile_table(profile: Profile) -> Table:
    """A row for each type of operator, those that take longest first."""
    rows = [
        (each.operator, each.provider, f"{each.calls:,.0f}", f"{each.microseconds:,.1f}",
         f"{each.microseconds / profile.microseconds:.1%}", known(each.macs), known(each.bytes))
        for each in profile.operators
    ]  # fmt: skip
    rest = profile.microseconds - sum(each.microseconds for each in profile.operators)
    rows.append(
        ("between them", "", "", f"{rest:,.1f}", f"{rest / profile.microseconds:.1%}", "", "")
    )
    return Table(
        ("operator", "on", "calls", "µs", "share", "MACs", "bytes"),
        tuple(rows),
        labels=2,
        title=f"{profile.file}: {profile.runtime}, {profile.threads} "
        f"thread{'s' if profile.threads > 1 else ''}",
        caption=f"Of an inference, the mean of {profile.inferences:,}. Profiling takes time of its "
        "own, most of what is between small operators: compare their shares." + _delegated(profile),
    )


def _delegated(profile: Profile) -> str:
    """Which of the file's operators a delegate took, and which not."""
    if not profile.delegated and not profile.left:
        return ""
    taken, left = (
        ", ".join(f"{n} {name}" for name, n in each.items()) or "none"
        for each in (profile.delegated, profile.left)
    )
    return f" Of the file's operators XNNPACK took {taken}; left to built-in kernels: {left}."


def bench_table(results: Sequence[BenchResult], whole_paths: bool = False) -> Table:
    """The results that have figures; the best value of each figure is bold and has a star.

    A few results stand side by side with every figure, many get a row each with the key figures.
    """
    measured = _measured(results)
    folders = [str(PurePath(result.file).parent) for result in measured]
    files = [PurePath(result.file).name for result in measured]
    labels = {
        "folder": folders,
        "file": files,
        "runtime": [_runs_in(result) for result in measured],
        "machine": [result.machine or "this machine" for result in measured],
    }
    if not any(result.machine for result in measured):
        del labels["machine"]
    if len(measured) > SIDE_BY_SIDE:
        cells = {each.name: _cells(each, measured) for each in FIGURES if each.key}
        cells = {name: column for name, column in cells.items() if any(map(str.strip, column))}
        columns, header = (*labels.values(), *cells.values()), (*labels, *cells)
        table = Table(header, tuple(zip(*columns, strict=True)), len(labels), headings=1)
    else:
        labels["file"] = [result.file for result in measured] if whole_paths else files
        title = folders[0] if len(set(folders)) == 1 else ""
        del labels["folder"]
        names = map("\n".join, zip(*labels.values(), strict=True))
        rows = ((figure.name, *_cells(figure, measured)) for figure in FIGURES)
        known = tuple(row for row in rows if any(map(str.strip, row[1:])))
        table = Table(("", *names), known, title=title)
    starred = any(cell.endswith(BEST) for row in table.rows for cell in row)
    return replace(table, caption=f"{BEST} the best of its kind" if starred else "")


def bench_notes(results: Sequence[BenchResult]) -> tuple[str, ...]:
    """What belongs below the table: data sets, warnings, and the conditions of the figures."""
    measured = _measured(results)
    datasets = dict.fromkeys(result.dataset for result in measured if result.dataset)
    notes = [f"accuracy: on the test images of {name}" for name in datasets]
    for result in measured:
        notes += [f"{_label(result)}: {warning}" for warning in result.warnings]
        if (energy := result.energy) is not None:
            notes.append(
                f"{_label(result)}: energy by {energy.meter}, {energy.busy_watts:.3g} W, of which "
                f"the idle machine takes {energy.idle_watts:.3g} W"
            )
        if result.system.throttling:
            slowed = ", ".join(result.system.throttling)
            notes.append(f"{_label(result)}: the machine was slowed down: {slowed}")
    notes += dict.fromkeys(_conditions(result) for result in measured)
    return tuple(notes)


def to_markdown(results: Sequence[BenchResult]) -> str:
    """The same table in Markdown, with the errors and notes below it."""
    errors = dict.fromkeys(result.error for result in results if result.error)
    notes = (" ".join(note.split("\n")) for note in (*errors, *bench_notes(results)))
    table = bench_table(results, whole_paths=True).markdown()
    return "".join((table, "\n", *(f"- {note}\n" for note in notes)))


def to_csv(results: Sequence[BenchResult]) -> str:
    """Every field of every result, one row each; names as in the JSON, joined by dots."""
    rows = [dict(_flat("", to_dict(result))) for result in results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text([names, *([row.get(name) for name in names] for row in rows)])


def _measured(results: Sequence[BenchResult]) -> list[BenchResult]:
    return [result for result in results if result.error is None]


def _cells(figure: Figure, results: Sequence[BenchResult]) -> list[str]:
    """The figure of each result as text, with a star or a space at its end."""
    values = [figure.value(result) for result in results]
    known = [value for value in values if value is not None]
    best = figure.best(known) if figure.best and len(set(known)) > 1 else None
    return [
        "" if value is None else figure.text(value) + (BEST if value == best else " ")
        for value in values
    ]


def _runs_in(result: BenchResult) -> str:
    provider = "" if result.provider == "cpu" else f", {result.provider}"
    threads = "" if result.threads == 1 else f", {result.threads} threads"
    throttled = ", THROTTLED" if result.system.throttling else ""
    return f"{result.runtime}{provider}{threads}{throttled}"


def _label(result: BenchResult) -> str:
    machine = f", on {result.machine}" if result.machine else ""
    return f"{result.file} ({_runs_in(result)}{machine})"


def _conditions(result: BenchResult) -> str:
    system = result.system
    packages = ", ".join(f"{name} {version}" for name, version in system.packages.items())
    clock = f", {system.frequency_mhz:,.0f} MHz" if system.frequency_mhz else ""
    machine = f"{result.machine}: " if result.machine else ""
    warmth = (
        f", {system.temperature_before_c:.0f} to {system.temperature_after_c:.0f} °C"
        if system.temperature_before_c is not None and system.temperature_after_c is not None
        else ""
    )
    pinned = f", pinned to core {result.pinned_cpu}" if result.pinned_cpu is not None else ""
    governor = f"governor {system.governor or 'unknown'}{clock}{warmth}"
    return (
        f"{machine}{system.cpu} "
        f"({' '.join(system.vector_features) or 'no vector features known'}), "
        f"{system.logical_cores} cores to use, {governor}, "
        f"{system.memory_bytes / 1e9:.1f} GB; {system.os}; Python {system.python}, {packages}; "
        f"{result.min_time:g} s after {result.warm_up:g} s of warm-up{pinned}"
        + "".join(f"; GPU {name}" for name in dict.fromkeys(system.gpus))
    )


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix}{key}.", inner)]
    if value is None:
        return []
    text = "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    return [(prefix[:-1], text)]
