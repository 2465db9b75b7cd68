"""Write the tables and the picture of README and docs anew from the committed cards.

python benchmarks/update_docs.py
"""

from __future__ import annotations

from pathlib import Path

from edgegolf.cards import read_card
from edgegolf.files import write_atomically
from edgegolf.report.models_markdown import (
    draw_models,
    files_markdown,
    replace_section,
    training_markdown,
)

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def main() -> None:
    folders = sorted((ROOT / "models" / "mnist").iterdir())
    cards = [card for folder in folders if (card := read_card(folder)) is not None]
    sections = {"training": training_markdown(cards), "files": files_markdown(cards)}
    for page in PAGES:
        text = page.read_text()
        for name, content in sections.items():
            text = replace_section(text, name, content)
        write_atomically(page, text)
    draw_models(cards, ROOT / "docs" / "models.svg")


if __name__ == "__main__":
    main()
