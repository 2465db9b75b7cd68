"""A picture of a sweep: parameters against accuracy, beside the articles and the records."""

from __future__ import annotations

from pathlib import Path

from edgegolf.errors import require
from edgegolf.files import atomic_path
from edgegolf.sweep.front import pareto_front, published_records
from edgegolf.sweep.sweep import NetSummary, SweepResults, summarize_runs

TICKS = (0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 90)  # percent
LOWEST_ERROR = 1e-4  # a logarithmic axis has no zero: one image of 10,000


def draw_sweep(results: SweepResults, path: Path) -> None:
    """Draw every net with its spread over the seeds, the Pareto front, articles and records.

    Raises:
        EdgegolfError: matplotlib is not installed, or the picture cannot be written.
    """
    matplotlib = require("matplotlib", extra="report")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "edgegolf"  # the same picture, the same bytes
    pyplot = require("matplotlib.pyplot", extra="report")

    figure, axes = pyplot.subplots(figsize=(9, 5), layout="constrained")
    families: dict[str, list[NetSummary]] = {}
    for net in summarize_runs(results.runs):
        families.setdefault(net.net.partition(":")[0], []).append(net)
    for name, nets in families.items():
        axes.errorbar(
            [net.parameters for net in nets],
            [_error(net.mean) for net in nets],
            yerr=[(net.deviation or 0) * 100 for net in nets],
            fmt="o", capsize=3, label=name,
        )  # fmt: skip
    front = pareto_front(net for nets in families.values() for net in nets)
    axes.step(
        [net.parameters for net in front], [_error(net.mean) for net in front],
        where="post", color="#888888", zorder=0, label="fewest parameters",
    )  # fmt: skip
    articles = [net for nets in families.values() for net in nets if net.article_accuracy]
    records = [record for record in published_records() if record.dataset == results.dataset]
    marks = (
        ("articles", "_", [(net.parameters, net.article_accuracy or 0) for net in articles]),
        ("published", "*", [(record.parameters, record.accuracy) for record in records]),
    )
    for label, mark, points in marks:
        if points:
            parameters, accuracies = zip(*points, strict=True)
            errors = [_error(accuracy) for accuracy in accuracies]
            axes.plot(parameters, errors, mark, color="black", markersize=12, label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="parameters", ylabel="errors on the test set, %",
        title=results.title,
    )  # fmt: skip
    axes.yaxis.set_major_locator(matplotlib.ticker.FixedLocator(TICKS))
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _error(accuracy: float) -> float:
    return max(1 - accuracy, LOWEST_ERROR) * 100
