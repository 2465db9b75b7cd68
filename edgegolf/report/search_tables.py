"""What `edgegolf search` shows: its progress, its front as a table, and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgegolf.progress import Work, say
from edgegolf.report.page_charts import BLUE, GREY, ORANGE, Chart, percent
from edgegolf.report.page_plot import Line, Point, Series, beside, plot
from edgegolf.report.table import Table, known, mean_and_spread
from edgegolf.search.results import SearchResults, Trial
from edgegolf.search.space import describe

FRONT, COMPLETE, STOPPED = "the front", "trained to the end", "stopped early"
SERIES: Series = {
    FRONT: (BLUE, "circle"), COMPLETE: (ORANGE, "circle"), STOPPED: (GREY, "circle")
}  # fmt: skip
LOWEST_ERROR = 0.01  # %; a logarithmic axis has no zero


def search_table(results: SearchResults) -> Table:
    """A row for each net of the front, the cheapest first."""
    in_bytes = results.minimize == "bytes"
    rows = tuple(
        (
            trial.net,
            f"{trial.parameters:,}",
            f"{trial.macs:,}",
            *([known(trial.bytes)] if in_bytes else []),
            mean_and_spread(trial.accuracies),
            str(len(trial.accuracies)),
            str(trial.epochs),
            describe(trial.training),
        )
        for trial in results.front
    )
    costs = ("parameters", "MACs", *(["int8.onnx, bytes"] if in_bytes else []))
    header = ("net", *costs, "validation", "seeds", "epochs", "recipe")
    return Table(header, rows, headings=1, title=results.title, caption=_caption(results))


def _caption(results: SearchResults) -> str:
    complete = sum(trial.is_complete for trial in results.trials)
    told = (
        f"{len(results.trials)} of {results.expected} trials, of which {complete} were trained to "
        f"the end; {results.refused:,} draws were refused. The test split was not read."
    )
    best = results.best
    if best is None:
        return told
    reaches = "reaches" if best.accuracy >= results.target else "comes nearest to"
    return f"{told} {results.cost(best):,} {results.minimize}: the cheapest that {reaches} " + (
        f"{results.target:.2%}."
    )


def search_chart(results: SearchResults) -> Chart | None:
    """The cost of every net against its errors on the validation images."""
    if not results.trials:
        return None
    front = results.front
    points = [
        Point(
            results.cost(trial),
            _errors(trial.accuracy),
            FRONT if trial in front else COMPLETE if trial.is_complete else STOPPED,
            f"{trial.net}: {percent(trial.accuracy)} after {trial.epochs} epochs",
            f"{results.cost(trial):,}" if trial in front else "",
        )
        for trial in results.trials
    ]
    costs = [point.x for point in points]
    wanted = _errors(results.target)
    lines = [
        Line(((min(costs), wanted), (max(costs), wanted)), label=percent(results.target)),
        Line(tuple((results.cost(each), _errors(each.accuracy)) for each in front), steps=True),
    ]
    best = results.best
    return Chart(
        results.title,
        f"{results.cost(best):,} {results.minimize}: {percent(best.accuracy)}"
        if best is not None
        else "nothing was trained to the end yet",
        "Every net of the search. The line joins those that none as cheap surpasses.",
        beside(
            [plot(points, results.minimize, "errors on the validation images, %", SERIES, lines)],
            SERIES,
        ),
    )


def _errors(accuracy: float) -> float:
    return max(LOWEST_ERROR, 100 - 100 * accuracy)


@contextmanager
def report_search(expected: int, minimize: str) -> Iterator[Callable[[int, Sequence[Trial]], None]]:
    """A function that tells, on standard error, what of a search is done."""

    def report(over: int, fresh: Sequence[Trial]) -> None:
        work.update(min(over, expected))
        for trial in fresh:
            end = "" if trial.is_complete else ", stopped"
            say(
                f"{over} of {expected}. {trial.net}: {getattr(trial, minimize):,} {minimize}, "
                f"validation {mean_and_spread(trial.accuracies)}, {trial.epochs} epochs{end}"
            )
        if not fresh:
            say(f"{over} of {expected} are done.")

    with Work("searching", expected) as work:
        yield report
