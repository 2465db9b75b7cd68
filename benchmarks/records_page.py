"""The tables of docs/records.md, and the drawings of its nets, from the committed cards."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from doc_tables import replace_section

from edgegolf.bench.outline import outline
from edgegolf.cards import Card, read_card
from edgegolf.data import SOURCES
from edgegolf.files import write_atomically
from edgegolf.frontends.onnx import read_graph
from edgegolf.passes.gauge import fix_gauge
from edgegolf.report.outline_views import outline_svg
from edgegolf.report.table import UNKNOWN, Table, mean_and_spread
from edgegolf.sweep.front import Published, published_records
from edgegolf.workspace import exported_files
from edgegolf.zoo import find_recipe

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models" / "mnist"
DRAWINGS = ROOT / "docs" / "records"  # NET.svg of each net that holds a record
LEVELS = (0.95, 0.97, 0.98, 0.99, 0.994, 0.995)
SEEDS = 3  # whose mean counts
CONFIDENCE = 0.95  # of the lower bound of one net, one-sided


@dataclass(frozen=True)
class Level:
    """An accuracy with the smallest nets that hold it."""

    accuracy: float  # at least this, a fraction
    published: Published | None  # of fewest parameters
    ours: Card | None  # likewise
    by: str  # why ours holds it


def levels(cards: Sequence[Card]) -> tuple[Level, ...]:
    """For every accuracy, the published net and ours of fewest parameters."""
    records = sorted(
        (record for record in published_records() if record.dataset == "mnist"),
        key=lambda record: record.parameters,
    )
    found = []
    for level in LEVELS:
        published = next((record for record in records if record.accuracy >= level), None)
        holding = [card for card in cards if reason(card, level)]
        ours = min(holding, key=lambda card: card.parameters, default=None)
        found.append(Level(level, published, ours, reason(ours, level) if ours else ""))
    return tuple(found)


def reason(card: Card, level: float) -> str:
    """Why a net holds an accuracy on the test images; empty if it does not."""
    if len(card.seeds) >= SEEDS and _mean(card) >= level:
        return f"mean of {len(card.seeds)} seeds"
    return f"lower bound of seed {card.seed}" if lower_bound(card) >= level else ""


def lower_bound(card: Card) -> float:
    """Of the net that is kept: an accuracy that it surpasses, with a confidence of 95 %.

    Wilson's bound of a binomial share (1927), one-sided, of as many test images as there are.
    """
    images = SOURCES[card.dataset].images[2]
    share = next(each.test_accuracy for each in card.seeds if each.seed == card.seed)
    z = statistics.NormalDist().inv_cdf(CONFIDENCE)
    middle = share + z * z / (2 * images)
    spread = z * (share * (1 - share) / images + (z / (2 * images)) ** 2) ** 0.5
    return float((middle - spread) / (1 + z * z / images))


def _mean(card: Card) -> float:
    return statistics.mean(each.test_accuracy for each in card.seeds)


def holders(cards: Sequence[Card]) -> tuple[Card, ...]:
    """Our nets that hold a record, fewest parameters first, each once."""
    found = {level.ours.net: level.ours for level in levels(cards) if level.ours is not None}
    return tuple(sorted(found.values(), key=lambda card: card.parameters))


def records_sections(cards: Sequence[Card]) -> dict[str, str]:
    """The sections of docs/records.md."""
    return {
        "records": _levels_table(levels(cards)).markdown(),
        "record-nets": _nets_table(holders(cards)).markdown(),
        "record-drawings": "\n".join(map(_drawing, holders(cards))),
    }


def _levels_table(found: Sequence[Level]) -> Table:
    header = (
        "at least", "published", "whose", "how selected", "ours", "net", "by",
        "test accuracy, mean of seeds", "lower bound",
    )  # fmt: skip

    def row(level: Level) -> tuple[str, ...]:
        record, card = level.published, level.ours
        theirs, ours = (UNKNOWN,) * 3, (UNKNOWN,) * 5
        if record is not None:
            notes = "; ".join(filter(None, (record.note, record.also)))
            theirs = f"{record.parameters:,}", _linked(record), notes
        if card is not None:
            accuracies = [each.test_accuracy for each in card.seeds]
            ours = (
                f"{card.parameters:,}", f"`{card.net}`", level.by, mean_and_spread(accuracies),
                f"{lower_bound(card):.2%}",
            )  # fmt: skip
        return f"{level.accuracy * 100:g} %", *theirs, *ours

    return Table(header, tuple(map(row, found)))


def _linked(record: Published) -> str:
    return f"[{record.holder}]({record.source})" if record.source else record.holder


def _nets_table(cards: Sequence[Card]) -> Table:
    header = (
        "net", "parameters", "of which not needed", "MACs", "from", "seeds", "test split read on",
        "int8.onnx", "int4.onnx", "command",
    )  # fmt: skip

    def size(card: Card, name: str) -> str:
        facts = card.files.get(name)
        return f"{facts.size_bytes:,} B, {facts.test_accuracy:.2%}" if facts else UNKNOWN

    rows = (
        (
            f"`{card.net}`",
            f"{card.parameters:,}",
            f"{_not_needed(card):,}",
            f"{card.macs:,}",
            find_recipe(card.net).article.title,
            str(len(card.seeds)),
            card.tested_on or UNKNOWN,
            size(card, "int8.onnx"),
            size(card, "int4.onnx"),
            f"`edgegolf train {card.net} --seeds {len(card.seeds)}`",
        )
        for card in cards
    )
    return Table(header, tuple(rows))


def _not_needed(card: Card) -> int:
    """How many parameters can be 1 or 0 without changing the function."""
    path = MODELS / card.net.replace(":", "-") / "float32.onnx"
    return fix_gauge(read_graph(path.read_bytes()).graph)[1]


def _drawing(card: Card) -> str:
    name = card.net.replace(":", "-")
    return f"### `{card.net}`\n\n![The operators of {card.net}](records/{name}.svg)\n"


def structure_svg(card: Card) -> str:
    """What a net consists of, drawn from the file of fewest operators: there loops are loops."""
    files = exported_files(MODELS / card.net.replace(":", "-"))
    outlines = [outline(file) for file in files]
    return outline_svg(min(outlines, key=lambda each: len(each.lines)))


def draw_structures(cards: Sequence[Card]) -> None:
    """Draw every net that holds a record, and nothing else, into docs/records/."""
    DRAWINGS.mkdir(exist_ok=True)
    wanted = {DRAWINGS / f"{card.net.replace(':', '-')}.svg": card for card in holders(cards)}
    for path in {*DRAWINGS.glob("*.svg")} - {*wanted}:
        path.unlink()
    for path, card in wanted.items():
        write_atomically(path, structure_svg(card))


def main() -> None:
    """Draw, and write the page's sections."""
    cards = [card for folder in sorted(MODELS.iterdir()) if (card := read_card(folder)) is not None]
    draw_structures(cards)
    page = ROOT / "docs" / "records.md"
    text = page.read_text()
    for name, content in records_sections(cards).items():
        text = replace_section(text, name, content)
    write_atomically(page, text)


if __name__ == "__main__":
    main()
