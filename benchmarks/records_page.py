"""The tables of docs/records.md and docs/frontier.md, and drawings, from the committed cards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import low_bits
from doc_tables import replace_section

from edgegolf.bench.outline import outline
from edgegolf.cards import Card, read_card
from edgegolf.files import write_atomically
from edgegolf.frontends.onnx import read_graph
from edgegolf.passes.gauge import fix_gauge
from edgegolf.report.frontier import (
    LEVELS,
    PARAMETERS,
    Contender,
    Level,
    files_of,
    levels,
    levels_table,
    nets_of,
    published_table,
)
from edgegolf.report.outline_views import outline_svg
from edgegolf.report.table import UNKNOWN, Table
from edgegolf.workspace import exported_files
from edgegolf.zoo import find_recipe

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models" / "mnist"
DRAWINGS = ROOT / "docs" / "records"  # NET.svg of each net that holds a record
MICROCONTROLLERS = Path(__file__).with_name("microcontrollers.json")
CORE = "cortex-m0"  # whose flash is told


def holders(cards: Sequence[Card]) -> tuple[Card, ...]:
    """Our nets that hold a record, fewest parameters first, each once."""
    found = {level.ours.net for level in _levels(cards) if level.ours is not None}
    return tuple(sorted((c for c in cards if c.net in found), key=lambda card: card.parameters))


def _levels(cards: Sequence[Card]) -> tuple[Level, ...]:
    return levels("mnist", nets_of(cards), PARAMETERS)


def _markdown(found: Sequence[Level]) -> str:
    return levels_table(found, markdown=True).markdown()


def records_sections(cards: Sequence[Card]) -> dict[str, str]:
    """The sections of docs/records.md."""
    return {
        "records": _markdown(_levels(cards)),
        "record-nets": _nets_table(holders(cards)).markdown(),
        "record-drawings": "\n".join(map(_drawing, holders(cards))),
    }


def frontier_sections(cards: Sequence[Card]) -> dict[str, str]:
    """The sections of docs/frontier.md.

    Args:
        cards: Of all data sets.
    """
    found: dict[str, str] = {}
    for dataset in LEVELS:
        own = [card for card in cards if card.dataset == dataset]
        files = files_of(own) + low_bits.contenders(own)
        found |= {
            f"frontier-{dataset}": _markdown(levels(dataset, files)),
            f"frontier-{dataset}-published": published_table(dataset, files).markdown(),
        }
    return found | {"frontier-flash": _markdown(levels("mnist", _in_flash(cards)))}


def _in_flash(cards: Sequence[Card]) -> list[Contender]:
    """Files by the bytes that they take in the flash of a microcontroller, as C."""
    flash = json.loads(MICROCONTROLLERS.read_text())
    found = []
    for each in files_of(cards):
        dataset = next(card.dataset for card in cards if card.net == each.net)
        name = f"{dataset}/{each.net.replace(':', '-')}/{each.file.removesuffix('.tflite')}"
        cores = flash.get(name, {}).get("size", {}).get("cores", {})
        if core := cores.get(CORE):
            found.append(replace(each, cost=core["flash"]))
    return found


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
    """Draw, and write the pages' sections."""
    every = [card for path in sorted((ROOT / "models").glob("*/*")) if (card := read_card(path))]
    cards = [card for card in every if card.dataset == "mnist"]
    draw_structures(cards)
    sections = records_sections(cards) | frontier_sections(every)
    for page in ("records.md", "frontier.md"):
        text = (ROOT / "docs" / page).read_text()
        for name, content in sections.items():
            text = replace_section(text, name, content)
        write_atomically(ROOT / "docs" / page, text)


if __name__ == "__main__":
    main()
