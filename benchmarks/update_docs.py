"""Write the tables and pictures of README and docs anew from the committed cards and figures.

python benchmarks/update_docs.py
"""

from __future__ import annotations

from pathlib import Path

from edgegolf.cards import read_card
from edgegolf.files import write_atomically
from edgegolf.footprint.result import read_footprint
from edgegolf.report.footprint_plot import draw_footprint
from edgegolf.report.footprint_table import footprint_sections
from edgegolf.report.models_markdown import (
    draw_models,
    files_markdown,
    replace_section,
    training_markdown,
)

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOOTPRINT = DOCS / "footprint.json"  # edgegolf footprint tight_resnet --output docs/footprint.json
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))


def main() -> None:
    folders = sorted((ROOT / "models" / "mnist").iterdir())
    cards = [card for folder in folders if (card := read_card(folder)) is not None]
    sections = {"training": training_markdown(cards), "files": files_markdown(cards)}
    if FOOTPRINT.exists():
        footprint = read_footprint(FOOTPRINT)
        sections |= footprint_sections(footprint)
        draw_footprint(footprint, DOCS)
    for page in PAGES:
        text = page.read_text()
        for name, content in sections.items():
            text = replace_section(text, name, content)
        write_atomically(page, text)
    draw_models(cards, DOCS / "models.svg")


if __name__ == "__main__":
    main()
