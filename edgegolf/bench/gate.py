"""Limits that results must keep to, for continuous integration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgegolf.bench.result import BenchResult
from edgegolf.errors import EdgegolfError


@dataclass(frozen=True)
class Gate:
    """Limits; None does not limit.

    Attributes:
        min_accuracy: Smallest accuracy, a fraction.
        max_size: Largest file, in bytes.
        max_latency: Largest p50, in microseconds.
        baseline: Earlier results; each result must have a counterpart of the same file, runtime,
            provider, threads and machine.
        tolerance: By which fraction size, p50 and the error rate may be above the baseline's.
    """

    min_accuracy: float | None = None
    max_size: int | None = None
    max_latency: float | None = None
    baseline: tuple[BenchResult, ...] | None = None
    tolerance: float = 0.1


def failures(results: Sequence[BenchResult], gate: Gate) -> tuple[str, ...]:
    """One line for each limit that a result breaks, naming the row and by how much.

    Results with an error are left out: they fail anyway.
    """
    return tuple(
        f"{row_name(result)}: {line}"
        for result in results
        if result.error is None
        for line in (*_above_limits(result, gate), *_worse_than_baseline(result, gate))
    )


def row_name(result: BenchResult) -> str:
    """A result's file and how it ran."""
    machine = f", on {result.machine}" if result.machine else ""
    return (
        f"{result.file} ({result.runtime}, {result.provider}, {result.threads} "
        f"thread{'s' if result.threads > 1 else ''}{machine})"
    )


def parse_fraction(text: str) -> float:
    """`98.5%` or `0.985` as 0.985. Raises EdgegolfError if it is neither, or not in 0…1."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise EdgegolfError(f"{text!r} is no fraction", hint="write 98.5% or 0.985")
    return value


def _above_limits(result: BenchResult, gate: Gate) -> Iterator[str]:
    if gate.min_accuracy is not None:
        if result.accuracy is None:
            yield "accuracy was not measured; name a data set with --accuracy"
        elif result.accuracy < gate.min_accuracy:
            yield (
                f"accuracy {result.accuracy:.2%} is {gate.min_accuracy - result.accuracy:.2%} "
                f"below the least allowed, {gate.min_accuracy:.2%}"
            )
    if gate.max_size is not None:
        yield from _exceeds("size", result.size_bytes, gate.max_size, "bytes", "the limit")
    if gate.max_latency is not None:
        yield from _exceeds("p50", _p50(result), gate.max_latency, "µs", "the limit")


def _worse_than_baseline(result: BenchResult, gate: Gate) -> Iterator[str]:
    if gate.baseline is None:
        return
    before = next((old for old in gate.baseline if _key(old) == _key(result)), None)
    if before is None:
        yield "is not in the baseline"
        return
    growth = 1 + gate.tolerance
    allowed = f"the baseline plus {gate.tolerance:.0%}"
    if before.size_bytes is not None:
        limit = before.size_bytes * growth
        yield from _exceeds("size", result.size_bytes, limit, "bytes", allowed)
    old_p50 = _p50(before)
    if old_p50 is not None:
        machine = (
            ""
            if before.system.cpu == result.system.cpu
            else f" (taken on another machine: {before.system.cpu}, now {result.system.cpu})"
        )
        yield from _exceeds("p50", _p50(result), old_p50 * growth, "µs", allowed + machine)
    if before.accuracy is not None:
        if result.accuracy is None:
            yield "accuracy was not measured; the baseline has it"
        else:
            least = 1 - (1 - before.accuracy) * growth
            if result.accuracy < least:
                yield (
                    f"accuracy {result.accuracy:.2%} is below {least:.2%}: the error rate is "
                    f"above {allowed}"
                )


def _exceeds(
    figure: str, found: float | None, limit: float, unit: str, allowed: str
) -> Iterator[str]:
    if found is None:
        yield f"{figure} was not measured"
    elif found > limit:
        yield (
            f"{figure} {found:,.6g} {unit} is {found - limit:,.6g} {unit} above {allowed}, "
            f"{limit:,.6g} {unit}"
        )


def _p50(result: BenchResult) -> float | None:
    return result.latency_us.p50 if result.latency_us else None


def _key(result: BenchResult) -> tuple[str, str, str, int, str | None]:
    return result.file, result.runtime, result.provider, result.threads, result.machine
