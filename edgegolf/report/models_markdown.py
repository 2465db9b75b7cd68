"""The models' cards as Markdown, for README and docs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgegolf.cards import Card

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


def _sorted(cards: Sequence[Card]) -> list[Card]:
    return sorted(cards, key=lambda card: card.parameters)
