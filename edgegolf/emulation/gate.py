"""Instructions held against earlier ones: exact on any machine, so a small tolerance does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from edgegolf.bench.gate import Change, Verdict, exceeds
from edgegolf.emulation.instructions import Instructions


def row_name(result: Instructions) -> str:
    """A result's file and how it ran."""
    return f"{result.file} ({result.runtime}, {result.cpu})"


def instruction_verdicts(
    results: Sequence[Instructions], baseline: Sequence[Instructions], tolerance: float
) -> tuple[Verdict, ...]:
    """What the gate says of each result that has figures.

    Args:
        results: What was counted.
        baseline: The same of earlier files; a file's counterpart has its path, else its name.
        tolerance: By which fraction they may be above the baseline's.
    """
    by_name = {(PurePath(old.file).name, old.runtime, old.cpu): old for old in baseline}
    by_path = {old.key: old for old in baseline}
    verdicts = []
    for new in results:
        if new.instructions is None:
            continue
        old = by_path.get(new.key) or by_name.get((PurePath(new.file).name, new.runtime, new.cpu))
        before = old.instructions if old else None
        failures: tuple[str, ...] = ("is not in the baseline",)
        if before is not None:
            allowed = f"the baseline plus {tolerance:.0%}"
            limit = int(before * (1 + tolerance))
            failures = tuple(exceeds("instructions", new.instructions, limit, "", allowed))
        change = Change("instructions", before, new.instructions, "")
        verdicts.append(Verdict(row_name(new), (change,), failures))
    return tuple(verdicts)
