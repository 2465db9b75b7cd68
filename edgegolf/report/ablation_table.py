"""The table of `edgegolf ablate`, for people and for docs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from edgegolf.sweep.ablation import AblationResults, IdeaResult

if TYPE_CHECKING:
    from rich.table import Table

HEADER = ("what", "article", "validation", "test", "seeds", "seconds")
UNKNOWN = "–"


def ablation_table(results: AblationResults) -> Table:
    """One row per idea, with the article's figure beside ours."""
    from rich.table import Table

    table = Table(title=_heading(results), title_justify="left")
    for index, name in enumerate(HEADER):
        table.add_column(name, justify="right" if index else "left")
    for group, ideas in groupby(results.ideas, lambda idea: idea.group):
        table.add_row(group, style="bold")
        for idea in ideas:
            table.add_row(*_cells(idea))
        table.add_section()
    return table


def ablation_markdown(results: AblationResults) -> str:
    """The same as Markdown."""
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1))]
    for group, ideas in groupby(results.ideas, lambda idea: idea.group):
        lines.append((f"**{group}**", *[""] * (len(HEADER) - 1)))
        lines.extend(_cells(idea) for idea in ideas)
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"{_heading(results)}.\n\n{table}"


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
