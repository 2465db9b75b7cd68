"""Limits that results must keep to, for continuous integration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path, PurePath

from edgegolf.bench.result import BenchResult, read_results
from edgegolf.errors import EdgegolfError, unknown

FIGURES = ("size", "p50", "accuracy")


@dataclass(frozen=True)
class Gate:
    """Limits; None does not limit."""

    min_accuracy: float | None = None  # smallest accuracy, a fraction
    max_size: int | None = None  # largest file, in bytes
    max_latency: float | None = None  # largest p50, in microseconds
    # Earlier results; each result must have a counterpart of the same runtime, provider, threads
    # and machine, and of the same path, else the same content, else the same file name.
    baseline: tuple[BenchResult, ...] | None = None
    # By which fraction size, p50 and the error rate may be above the baseline's.
    tolerance: float = 0.1
    # Which of these are held against the baseline: on a shared runner, p50 is better left out.
    figures: tuple[str, ...] = FIGURES

    def __post_init__(self) -> None:
        for name in self.figures:
            if name not in FIGURES:
                raise unknown(f"the baseline gates no {name!r}", name, FIGURES)


@dataclass(frozen=True)
class Change:
    """A figure before and after, each ``None`` if it is unknown."""

    figure: str  # what it is called
    before: float | None  # the baseline's
    after: float | None  # the result's
    unit: str  # of both; "%" if they are fractions

    @property
    def relative(self) -> float | None:
        """By which fraction it changed; fractions by their difference. None if unknown."""
        if self.before is None or self.after is None:
            return None
        if self.unit == "%":
            return self.after - self.before
        return self.after / self.before - 1 if self.before else None


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one result."""

    row: str  # the result's file and how it ran
    changes: tuple[Change, ...]  # its figures before and after
    # Which limits it breaks and by how much, one line each; none if it passed.
    failures: tuple[str, ...]


def verdicts(results: Sequence[BenchResult], gate: Gate) -> tuple[Verdict, ...]:
    """What the gate says of each result; of none if nothing is limited.

    Results with an error are left out: they fail anyway.
    """
    if gate == Gate(tolerance=gate.tolerance, figures=gate.figures):
        return ()
    measured = [result for result in results if result.error is None]
    before = counterparts(measured, gate.baseline or ())
    return tuple(
        Verdict(
            row_name(result),
            _changes(old, result),
            (*_above_limits(result, gate), *_worse_than_baseline(result, old, gate)),
        )
        for result, old in zip(measured, before, strict=True)
    )


def counterparts(
    results: Sequence[BenchResult], baseline: Sequence[BenchResult]
) -> tuple[BenchResult | None, ...]:
    """The row of the baseline that belongs to each result, and to no other; None without one.

    The path decides; where it differs, the content does, then the file's name with as many
    folders above it as are alike.
    """
    found: dict[int, BenchResult] = {}
    left = [old for old in baseline if old.error is None]
    same: tuple[Callable[[BenchResult, BenchResult], int], ...] = (
        lambda old, new: normpath(old.file) == normpath(new.file),
        lambda old, new: old.sha256 is not None and old.sha256 == new.sha256,
        lambda old, new: _common_parts(old.file, new.file),
    )
    for likeness in same:
        for number, result in enumerate(results):
            if number in found:
                continue
            alike = [(likeness(old, result), old) for old in left if _key(old) == _key(result)]
            best = max((score for score, _ in alike), default=0)
            fitting = [old for score, old in alike if score == best > 0]
            # Of several with one name none is known to be the one.
            if len(fitting) == 1 or (fitting and likeness is not same[-1]):
                found[number] = fitting[0]
                left = [old for old in left if old is not fitting[0]]
    return tuple(found.get(number) for number in range(len(results)))


def _common_parts(first: str, second: str) -> int:
    """How many parts at the end two paths have in common."""
    pairs = zip(reversed(PurePath(first).parts), reversed(PurePath(second).parts), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _changes(before: BenchResult | None, after: BenchResult) -> tuple[Change, ...]:
    def of(take: Callable[[BenchResult], float | None]) -> tuple[float | None, float | None]:
        return None if before is None else take(before), take(after)

    changes = (
        Change("size", *of(lambda result: result.size_bytes), "bytes"),
        Change("p50", *of(_p50), "µs"),
        Change("accuracy", *of(lambda result: result.accuracy), "%"),
    )
    return tuple(each for each in changes if (each.before, each.after) != (None, None))


def row_name(result: BenchResult) -> str:
    """A result's file and how it ran."""
    machine = f", on {result.machine}" if result.machine else ""
    return (
        f"{result.file} ({result.runtime}, {result.provider}, {result.threads} "
        f"thread{'s' if result.threads > 1 else ''}{machine})"
    )


def read_baseline(path: Path) -> tuple[BenchResult, ...]:
    """Results to compare with, from a file that `edgegolf bench --json` wrote.

    Raises:
        EdgegolfError: The file cannot be read, is no such list, or has no row with figures.
    """
    results = read_results(path)
    if all(result.error is not None for result in results):
        raise EdgegolfError(f"{path} has no row with figures", "make it with edgegolf bench --json")
    return results


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
        yield from exceeds("size", result.size_bytes, gate.max_size, "bytes", "the limit")
    if gate.max_latency is not None:
        yield from exceeds("p50", _p50(result), gate.max_latency, "µs", "the limit")


def _worse_than_baseline(
    result: BenchResult, before: BenchResult | None, gate: Gate
) -> Iterator[str]:
    if gate.baseline is None:
        return
    if before is None:
        yield "is not in the baseline"
        return
    growth = 1 + gate.tolerance
    allowed = f"the baseline plus {gate.tolerance:.0%}"
    if before.size_bytes is not None and "size" in gate.figures:
        limit = before.size_bytes * growth
        yield from exceeds("size", result.size_bytes, limit, "bytes", allowed)
    old_p50 = _p50(before)
    if old_p50 is not None and "p50" in gate.figures:
        machine = (
            ""
            if before.system.cpu == result.system.cpu
            else f" (taken on another machine: {before.system.cpu}, now {result.system.cpu})"
        )
        yield from exceeds("p50", _p50(result), old_p50 * growth, "µs", allowed + machine)
    if before.accuracy is not None and "accuracy" in gate.figures:
        if result.accuracy is None:
            yield "accuracy was not measured; the baseline has it"
        else:
            least = 1 - (1 - before.accuracy) * growth
            if result.accuracy < least:
                yield (
                    f"accuracy {result.accuracy:.2%} is below {least:.2%}: the error rate is "
                    f"above {allowed}"
                )


def exceeds(
    figure: str, found: float | None, limit: float, unit: str, allowed: str
) -> Iterator[str]:
    """What to say of a figure that is above a limit, or unknown; nothing otherwise."""
    if found is None:
        yield f"{figure} was not measured"
    elif found > limit:
        values = (found, found - limit, limit)
        now, more, most = (f"{value:,.6g} {unit}".strip() for value in values)
        yield f"{figure} {now} is {more} above {allowed}, {most}"


def _p50(result: BenchResult) -> float | None:
    return result.latency_us.p50 if result.latency_us else None


def _key(result: BenchResult) -> tuple[str, str, int, str | None]:
    return result.runtime, result.provider, result.threads, result.machine
