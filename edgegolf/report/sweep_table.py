"""The tables of `edgegolf sweep`, for people and for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields, replace

from edgegolf.report.table import UNKNOWN, Table
from edgegolf.sweep.costs import smallest
from edgegolf.sweep.front import Goal, goals
from edgegolf.sweep.sweep import NetSummary, SweepResults, SweepRun, summarize_runs

Rows = tuple[tuple[str, ...], ...]

NETS_HEADER = (
    "net", "parameters", "trained", "MACs", "article", "ours, mean of seeds", "seeds", "epochs",
    "seconds",
)  # fmt: skip
# Of the smallest file of each number type.
COSTS_HEADER = ("float32, bytes", "float32, µs", "int8, bytes", "int8, µs")
GOALS_HEADER = ("at least", "our net", "parameters", "accuracy", "published", "parameters", "note")
BREAKING_POINT = 0.97


def sweep_tables(results: SweepResults) -> tuple[Table, ...]:
    """What is there, one row per net, and the fewest parameters for an accuracy."""
    nets = summarize_runs(results.runs, results.costs)
    caption = f"{len(results.runs)} of {results.expected} runs. {breaking_point(nets)}".strip()
    table = replace(_net_table(nets), title=results.title, caption=caption)
    return (table, _goal_table(goals(nets, results.dataset))) if nets else (table,)


def sweep_markdown(results: SweepResults) -> str:
    """The same as Markdown, for docs."""
    nets = summarize_runs(results.runs, results.costs)
    return "\n".join(
        (
            _net_table(nets).markdown(),
            breaking_point(nets),
            "",
            _goal_table(goals(nets, results.dataset)).markdown(),
        )
    )


def sweep_sections(results: SweepResults) -> dict[str, str]:
    """The section of docs on this sweep, by its name: its picture and its tables."""
    name = results.name
    picture = f"![Parameters against errors](sweeps/{name}.svg)"
    finished = f"{len(results.runs)} of {results.expected} runs."
    return {f"sweep-{name}": "\n".join((picture, "", finished, "", sweep_markdown(results)))}


def sweep_csv(results: SweepResults) -> str:
    """One line per run, with bytes and latency of each file of its net where they are known."""
    text = io.StringIO()
    names = [field.name for field in fields(SweepRun) if field.name != "losses"]
    files = {(cost.net, cost.file): cost for cost in results.costs}
    kinds = sorted({cost.file for cost in results.costs})
    costs = [f"{kind} {unit}" for kind in kinds for unit in ("bytes", "µs")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, "last_loss", *costs])
    for run in results.runs:
        found = [files.get((run.net, kind)) for kind in kinds]
        writer.writerow(
            [
                *(getattr(run, name) for name in names),
                run.losses[-1],
                *(
                    value
                    for cost in found
                    for value in ((cost.size_bytes, cost.latency_us) if cost else ("", ""))
                ),
            ]
        )
    return text.getvalue()


def breaking_point(nets: Sequence[NetSummary]) -> str:
    """Where 97 % breaks: the smallest net above it and the largest that is smaller and below."""
    above = [net for net in nets if net.mean >= BREAKING_POINT]
    if not above:
        return ""
    smallest = min(above, key=lambda net: net.parameters)
    below = [net for net in nets if net.parameters < smallest.parameters]
    text = f"97 % holds down to {smallest.net} with {smallest.parameters:,} parameters"
    if not below:
        return f"{text}, the smallest here."
    broken = max(below, key=lambda net: net.parameters)
    return f"{text} and breaks at {broken.net} with {broken.parameters:,}."


def _net_table(nets: Sequence[NetSummary]) -> Table:
    """A row per net, with what files cost where any was measured."""
    if not any(net.files for net in nets):
        return Table(NETS_HEADER, _net_rows(nets))
    rows = zip(_net_rows(nets), map(_cost_cells, nets), strict=True)
    return Table(NETS_HEADER + COSTS_HEADER, tuple(row + costs for row, costs in rows))


def _cost_cells(net: NetSummary) -> tuple[str, ...]:
    found = [smallest(net.files, kind) for kind in ("float32", "int8")]
    return tuple(
        text
        for cost in found
        for text in (
            (f"{cost.size_bytes:,}", f"{cost.latency_us:,.1f}") if cost else (UNKNOWN, UNKNOWN)
        )
    )


def _net_rows(nets: Sequence[NetSummary]) -> Rows:
    return tuple(
        (
            net.net,
            f"{net.parameters:,}",
            f"{net.trained_parameters:,}",
            f"{net.macs:,}",
            UNKNOWN if net.article_accuracy is None else f"{net.article_accuracy:.2%}",
            _accuracy(net),
            str(len(net.accuracies)),
            str(net.epochs),
            f"{net.seconds:.0f}",
        )
        for net in nets
    )


def _goal_table(found: Sequence[Goal]) -> Table:
    rows = tuple(
        (
            f"{goal.accuracy:.0%}",
            goal.ours.net if goal.ours else UNKNOWN,
            f"{goal.ours.parameters:,}" if goal.ours else UNKNOWN,
            _accuracy(goal.ours) if goal.ours else UNKNOWN,
            goal.published.holder if goal.published else UNKNOWN,
            f"{goal.published.parameters:,}" if goal.published else UNKNOWN,
            goal.published.note if goal.published else UNKNOWN,
        )
        for goal in found
    )
    return Table(GOALS_HEADER, rows, labels=2, title="Fewest parameters for an accuracy")


def _accuracy(net: NetSummary) -> str:
    spread = "" if net.deviation is None else f" ± {net.deviation * 100:.2f}"
    return f"{net.mean * 100:.2f}{spread} %"
