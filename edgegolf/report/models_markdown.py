"""The models' cards as Markdown and as a picture, for README and docs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from edgegolf.cards import Card
from edgegolf.errors import require
from edgegolf.files import atomic_path

SHOWN_FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")


def training_markdown(cards: Sequence[Card]) -> str:
    """One row per net: its accuracy and cost beside the article's."""
    lines = [
        "| net | parameters | article | ours, mean of seeds | seeds | epochs | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for card in _sorted(cards):
        accuracies = [result.test_accuracy for result in card.seeds]
        spread = f" ± {statistics.stdev(accuracies) * 100:.2f}" if len(accuracies) > 1 else ""
        epochs = str(card.seeds[0].epochs)
        article = "–" if card.article_accuracy is None else f"{card.article_accuracy:.2%}"
        seconds = statistics.mean(result.seconds for result in card.seeds)
        lines.append(
            f"| `{card.net}` | {card.parameters:,} | {article} "
            f"| {statistics.mean(accuracies) * 100:.2f}{spread} % | {len(accuracies)} "
            f"| {epochs} | {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def files_markdown(cards: Sequence[Card]) -> str:
    """One row per net: bytes and test accuracy of its files."""
    lines = [
        "| net | " + " | ".join(SHOWN_FILES) + " |",
        "| --- |" + " ---: |" * len(SHOWN_FILES),
    ]
    for card in _sorted(cards):
        cells = []
        for name in SHOWN_FILES:
            facts = card.files.get(name)
            cells.append(
                f"{facts.size_bytes:,} B, {facts.test_accuracy:.2%}" if facts is not None else "–"
            )
        lines.append(f"| `{card.net}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def replace_section(text: str, name: str, content: str) -> str:
    """The text with what stands between the markers of a section replaced.

    A section begins with `<!-- NAME -->` and ends with `<!-- /NAME -->`; a text without them
    stays as it is.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    return f"{before}{begin}{content}{end}{after}" if found and closed else text


def draw_models(cards: Sequence[Card], path: Path) -> None:
    """Parameters against accuracy: the articles' figures, ours, and the int8 files'.

    Raises:
        EdgegolfError: matplotlib is not installed, or the picture cannot be written.
    """
    matplotlib = require("matplotlib", extra="report")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "edgegolf"  # the same picture, the same bytes
    pyplot = require("matplotlib.pyplot", extra="report")

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    for card in _sorted(cards):
        ours = statistics.mean(result.test_accuracy for result in card.seeds) * 100
        errors = 100 - ours
        axes.plot(card.parameters, errors, "o", color="#1f6feb", markersize=9)
        axes.annotate(
            card.net, (card.parameters, errors), xytext=(8, 4), textcoords="offset points"
        )
        if card.article_accuracy is not None:
            there = 100 - card.article_accuracy * 100
            axes.plot(
                card.parameters, there, "_", color="#9a6700", markersize=16, markeredgewidth=3
            )
            axes.plot([card.parameters] * 2, [there, errors], ":", color="#888888", zorder=0)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="parameters",
        ylabel="errors on the test set, %",
        title="Fewer parameters, fewer errors: edgegolf (dots) and the articles (bars)",
    )
    ticks = (0.5, 1, 2, 3, 5, 10, 20)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _sorted(cards: Sequence[Card]) -> list[Card]:
    return sorted(cards, key=lambda card: card.parameters)
