"""The table of `edgegolf ablate`, for people and for docs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import groupby

from edgegolf.report.table import UNKNOWN, Table
from edgegolf.sweep.ablation import AblationResults, IdeaResult

HEADER = ("what", "article", "validation", "test", "seeds", "seconds")


def ablation_table(results: AblationResults) -> Table:
    """One row per idea, with the article's figure beside ours."""
    rows = tuple((idea.group, *_cells(idea)) for idea in results.ideas)
    return Table(("group", *HEADER), rows, labels=2, title=_heading(results), headings=1)


def ablation_markdown(results: AblationResults) -> str:
    """The same as Markdown."""
    rows: list[tuple[str, ...]] = []
    for group, ideas in groupby(results.ideas, lambda idea: idea.group):
        rows.append((f"**{group}**", *[""] * (len(HEADER) - 1)))
        rows.extend(_cells(idea) for idea in ideas)
    return f"{_heading(results)}.\n\n{Table(HEADER, tuple(rows)).markdown()}"


def _heading(results: AblationResults) -> str:
    epochs = "1 epoch" if results.epochs == 1 else f"{results.epochs} epochs"
    return f"{results.title} {epochs} each, on {results.dataset}"


def _cells(idea: IdeaResult) -> tuple[str, ...]:
    return (
        idea.title,
        _accuracy(() if idea.article is None else (idea.article,)),
        _accuracy(idea.validation_accuracies),
        _accuracy(idea.test_accuracies),
        str(len(idea.test_accuracies)),
        f"{idea.seconds:.0f}" if idea.test_accuracies else UNKNOWN,
    )


def _accuracy(accuracies: Sequence[float]) -> str:
    if not accuracies:
        return UNKNOWN
    spread = f" ± {statistics.stdev(accuracies) * 100:.2f}" if len(accuracies) > 1 else ""
    return f"{statistics.mean(accuracies) * 100:.2f}{spread} %"
