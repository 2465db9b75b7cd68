"""A picture of a sweep: parameters against accuracy, beside the articles and the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgegolf.errors import require
from edgegolf.files import atomic_path
from edgegolf.sweep.costs import smallest
from edgegolf.sweep.front import pareto_front, published_records
from edgegolf.sweep.sweep import NetSummary, SweepResults, summarize_runs

TICKS = (0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 90)  # percent
LOWEST_ERROR = 1e-4  # a logarithmic axis has no zero: one image of 10,000


def draw_sweep(results: SweepResults, path: Path) -> None:
    """Draw every net with its spread over the seeds, the Pareto front, articles and records.

    Beside the parameters, bytes and latency of the smallest int8 file, where they are known.

    Raises:
        EdgegolfError: matplotlib is not installed, or the picture cannot be written.
    """
    matplotlib = require("matplotlib", extra="report")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "edgegolf"  # the same picture, the same bytes
    pyplot = require("matplotlib.pyplot", extra="report")

    nets = summarize_runs(results.runs, results.costs)
    measured = [net for net in nets if _bytes(net) is not None]
    panels = 3 if measured else 1
    figure, all_axes = pyplot.subplots(
        1, panels, figsize=(4 + 5 * panels, 5), layout="constrained", sharey=True, squeeze=False
    )
    parameters, *others = all_axes[0]
    colours = {name: f"C{index}" for index, name in enumerate(dict.fromkeys(map(_family, nets)))}
    _draw_nets(parameters, nets, colours, lambda net: net.parameters)
    _draw_records(parameters, nets, results.dataset)
    parameters.set(
        xscale="log", yscale="log", xlabel="parameters", ylabel="errors on the test set, %"
    )
    figure.legend(*parameters.get_legend_handles_labels(), loc="outside right center")
    for axes, cost, label in zip(
        others, (_bytes, _latency), ("bytes, smallest int8 file", "µs, one thread"), strict=False
    ):
        _draw_nets(axes, measured, colours, cost)
        axes.set(xscale="log", xlabel=label)
    parameters.yaxis.set_major_locator(matplotlib.ticker.FixedLocator(TICKS))
    parameters.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    parameters.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    for axes in all_axes[0]:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(results.title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _draw_nets(
    axes: Any,
    nets: Sequence[NetSummary],
    colours: Mapping[str, str],
    cost: Callable[[NetSummary], float | None],
) -> None:
    """Every net in the colour of its family, with the spread over its seeds."""
    for name, colour in colours.items():
        members = [net for net in nets if _family(net) == name]
        axes.errorbar(
            [cost(net) for net in members],
            [_error(net.mean) for net in members],
            yerr=[(net.deviation or 0) * 100 for net in members],
            fmt="o", capsize=3, label=name, color=colour,
        )  # fmt: skip


def _draw_records(axes: Any, nets: Sequence[NetSummary], dataset: str) -> None:
    """The fewest parameters, what the articles report, and what others have published."""
    front = pareto_front(nets)
    axes.step(
        [net.parameters for net in front], [_error(net.mean) for net in front],
        where="post", color="black", linewidth=0.8, zorder=0, label="fewest parameters",
    )  # fmt: skip
    articles = [(net.parameters, net.article_accuracy) for net in nets if net.article_accuracy]
    published = [
        (record.parameters, record.accuracy)
        for record in published_records()
        if record.dataset == dataset
    ]
    for label, mark, points in (("articles", "_", articles), ("published", "*", published)):
        if points:
            parameters, accuracies = zip(*points, strict=True)
            errors = [_error(accuracy) for accuracy in accuracies]
            axes.plot(parameters, errors, mark, color="black", markersize=12, label=label)


def _family(net: NetSummary) -> str:
    return net.net.partition(":")[0]


def _bytes(net: NetSummary) -> int | None:
    file = smallest(net.files, "int8")
    return None if file is None else file.size_bytes


def _latency(net: NetSummary) -> float | None:
    file = smallest(net.files, "int8")
    return None if file is None else file.latency_us


def _error(accuracy: float) -> float:
    return max(1 - accuracy, LOWEST_ERROR) * 100
