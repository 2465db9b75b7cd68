"""The tables of `edgegolf sweep` and `edgegolf ablate`, for people and for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import chain, groupby

from edgegolf.report.table import BEST, UNKNOWN, Table, csv_text, known, mean_and_spread
from edgegolf.sweep.ablation import AblationResults, IdeaResult
from edgegolf.sweep.costs import FileCosts, smallest
from edgegolf.sweep.front import Goal, goals
from edgegolf.sweep.sweep import NetSummary, SweepResults, SweepRun, summarize_runs

NETS_HEADER = (
    "net", "parameters", "trained", "MACs", "article", "ours, mean of seeds", "seeds", "epochs",
    "seconds",
)  # fmt: skip
# Of the smallest file of each number type.
COSTS_HEADER = ("float32, bytes", "float32, µs", "int8, bytes", "int8, µs")
GOALS_HEADER = ("at least", "our net", "parameters", "accuracy", "published", "parameters", "note")
IDEAS_HEADER = ("what", "article", "validation", "test", "seeds", "seconds")
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


def sweep_csv(results: SweepResults) -> str:
    """One line per run, with bytes and latency of each file of its net where they are known."""
    names = [field.name for field in fields(SweepRun) if field.name != "losses"]
    files = {(cost.net, cost.file): (cost.size_bytes, cost.latency_us) for cost in results.costs}
    kinds = sorted({cost.file for cost in results.costs})
    units = (f"{kind} {unit}" for kind in kinds for unit in ("bytes", "µs"))
    rows = (
        [
            *(getattr(run, name) for name in names),
            run.losses[-1],
            *chain.from_iterable(files.get((run.net, kind), (None, None)) for kind in kinds),
        ]
        for run in results.runs
    )
    return csv_text([[*names, "last_loss", *units], *rows])


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
    with_costs = any(net.files for net in nets)

    def row(net: NetSummary) -> tuple[str, ...]:
        costs = [smallest(net.files, kind) for kind in ("float32", "int8") if with_costs]
        return (
            net.net,
            f"{net.parameters:,}",
            f"{net.trained_parameters:,}",
            f"{net.macs:,}",
            known(net.article_accuracy, "{:.2%}"),
            mean_and_spread(net.accuracies),
            str(len(net.accuracies)),
            str(net.epochs),
            f"{net.seconds:.0f}",
            *chain.from_iterable(map(_costs, costs)),
        )

    header = NETS_HEADER + (COSTS_HEADER if with_costs else ())
    return Table(header, tuple(map(row, nets)))


def _costs(file: FileCosts | None) -> tuple[str, str]:
    if file is None:
        return UNKNOWN, UNKNOWN
    return f"{file.size_bytes:,}", f"{file.latency_us:,.1f}"


def _goal_table(found: Sequence[Goal]) -> Table:
    nothing = (UNKNOWN,) * 3

    def row(goal: Goal) -> tuple[str, ...]:
        net, record = goal.ours, goal.published
        ours, theirs = nothing, nothing
        if net is not None:
            ours = net.net, f"{net.parameters:,}", mean_and_spread(net.accuracies)
        if record is not None:
            theirs = record.holder, f"{record.cost:,}", record.note
        return f"{goal.accuracy:.0%}", *ours, *theirs

    title = "Fewest parameters for an accuracy"
    return Table(GOALS_HEADER, tuple(map(row, found)), labels=2, title=title)


def ablation_table(results: AblationResults) -> Table:
    """One row per idea, with the article's figure beside ours."""
    rows = tuple((idea.group, *_idea(idea)) for idea in results.ideas)
    return Table(("group", *IDEAS_HEADER), rows, labels=2, title=_heading(results), headings=1)


def ablation_markdown(results: AblationResults) -> str:
    """The same as Markdown."""
    rows: list[tuple[str, ...]] = []
    for group, ideas in groupby(results.ideas, lambda idea: idea.group):
        rows.append((f"{group}{BEST}", *[""] * (len(IDEAS_HEADER) - 1)))
        rows.extend(map(_idea, ideas))
    return f"{_heading(results)}.\n\n{Table(IDEAS_HEADER, tuple(rows)).markdown()}"


def _heading(results: AblationResults) -> str:
    epochs = "1 epoch" if results.epochs == 1 else f"{results.epochs} epochs"
    return f"{results.title} {epochs} each, on {results.dataset}"


def _idea(idea: IdeaResult) -> tuple[str, ...]:
    return (
        idea.title,
        mean_and_spread(() if idea.article is None else (idea.article,)),
        mean_and_spread(idea.validation_accuracies),
        mean_and_spread(idea.test_accuracies),
        str(len(idea.test_accuracies)),
        f"{idea.seconds:.0f}" if idea.test_accuracies else UNKNOWN,
    )
