"""Write the tables, pictures and outputs of README and docs anew.

python benchmarks/update_docs.py

Tables and pictures come from the committed cards and figures, outputs from running the commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from c_bars import bars_markdown
from circuits import draw_growth
from circuits import read as read_circuits
from circuits import sections as circuit_sections
from cli_page import main as write_cli_page
from doc_tables import (
    costs_markdown,
    files_markdown,
    footprint_sections,
    instructions_sections,
    low_bits_markdown,
    replace_section,
    sweep_sections,
    training_markdown,
)
from exactness import exactness_markdown
from hosts import hosts_markdown, pis_markdown
from low_bits import low_bits_bars_markdown
from peers import peers_markdown
from records_page import draw_structures, frontier_sections, records_sections
from strangers import Strangers, strangers_markdown
from structure import GUIDE, structure
from trainers import trainers_markdown
from users import Users, users_markdown

from edgegolf.bench.result import read_results
from edgegolf.cards import read_card
from edgegolf.emulation.instructions import read_instructions
from edgegolf.files import write_atomically
from edgegolf.footprint.result import Footprint
from edgegolf.records import from_file
from edgegolf.report import page_charts
from edgegolf.report.pictures import draw, draw_footprint
from edgegolf.report.sweep_tables import ablation_markdown
from edgegolf.sweep import SweepResults
from edgegolf.sweep.ablation import AblationResults

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FOOTPRINT = DOCS / "footprint.json"  # edgegolf footprint tight_resnet --output docs/footprint.json
OUTPUTS = {  # of commands, by the name of the section that shows it
    "train-export-output": ("export",),  # what `make train export` ends with
    "bench-output": ("bench", "models/mnist/tight_resnet/int8-weights.tflite"),
}
INSTRUCTIONS = ROOT / "benchmarks" / "arm_instructions.json"  # arm_instructions.py writes it
SWEEPS = DOCS / "sweeps"  # edgegolf sweep NAME --output docs/sweeps/NAME.json
ABLATIONS = DOCS / "ablations"  # edgegolf ablate NET --output docs/ablations/NET.json
COSTS = DOCS / "costs"  # docs/cifar10.md says how DATASET.json and DATASET-arm.json are made
STRANGERS = DOCS / "strangers.json"  # python benchmarks/strangers.py models --json …
USERS = DOCS / "users.json"  # python benchmarks/users.py --json …
PAGES = (ROOT / "README.md", GUIDE, *sorted(DOCS.glob("*.md")))


def main() -> None:
    every = [card for path in sorted((ROOT / "models").glob("*/*")) if (card := read_card(path))]
    cards = [card for card in every if card.dataset == "mnist"]
    sections = {"training": training_markdown(cards), "files": files_markdown(cards)}
    sections |= {"low-bits": low_bits_markdown(cards), "bars": low_bits_bars_markdown()}
    sections |= {"exactness": exactness_markdown(), "peers": peers_markdown()}
    sections |= {"hosts": hosts_markdown(), "pis": pis_markdown(), "c-bars": bars_markdown()}
    sections["structure"] = structure()
    sections["trainers"] = trainers_markdown()
    sections |= other_sections()
    sections |= {name: output(*command) for name, command in OUTPUTS.items()}
    sections |= instructions_sections(read_instructions(INSTRUCTIONS))
    sections |= circuit_sections(read_circuits())
    sections |= records_sections(cards) | frontier_sections(every)
    draw_structures(cards)
    draw_growth(read_circuits(), DOCS / "circuit-growth.svg")
    if FOOTPRINT.exists():
        footprint = from_file(FOOTPRINT, Footprint)
        sections |= footprint_sections(footprint)
        draw_footprint(footprint, DOCS)
    for path in sorted(SWEEPS.glob("*.json")):
        results = from_file(path, SweepResults)
        sections |= sweep_sections(results)
        draw(page_charts.sweep(results), path.with_suffix(".svg"))
    for page in PAGES:
        text = page.read_text()
        for name, content in sections.items():
            text = replace_section(text, name, content)
        write_atomically(page, text)
    draw(page_charts.front(cards, "mnist"), DOCS / "models.svg")
    write_cli_page()


def other_sections() -> dict[str, str]:
    """Of the models on other data sets than MNIST, of what they cost, and of ablations."""
    sections = {}
    for dataset in sorted((ROOT / "models").iterdir()):
        cards = [card for folder in sorted(dataset.iterdir()) if (card := read_card(folder))]
        sections[f"training-{dataset.name}"] = training_markdown(cards)
        if (path := COSTS / f"{dataset.name}.json").exists():
            counts = read_instructions(COSTS / f"{dataset.name}-arm.json")
            sections[f"costs-{dataset.name}"] = costs_markdown(read_results(path), counts)
    for path in sorted(ABLATIONS.glob("*.json")):
        results = from_file(path, AblationResults)
        sections[f"ablation-{path.stem}"] = ablation_markdown(results)
    strangers, users = from_file(STRANGERS, Strangers), from_file(USERS, Users)
    return sections | {"strangers": strangers_markdown(strangers), "users": users_markdown(users)}


def output(*arguments: str) -> str:
    """What a command of edgegolf prints, as a block of Markdown."""
    done = subprocess.run(
        [sys.executable, "-m", "edgegolf", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    return "\n".join(("```text", *lines, "```", ""))


if __name__ == "__main__":
    main()
