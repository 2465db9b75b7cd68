"""The figures of README and docs are those of the committed models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import c_bars
import circuits
import exactness
import hosts
import low_bits
import peers
import pytest
import records_page
import strangers
import users
from doc_tables import (
    costs_markdown,
    files_markdown,
    instructions_sections,
    low_bits_markdown,
    replace_section,
    training_markdown,
)

from edgegolf.bench.result import read_results
from edgegolf.cards import read_card
from edgegolf.emulation.instructions import read_instructions
from edgegolf.files import sha256
from edgegolf.records import from_json
from edgegolf.report.frontier import nets_of
from edgegolf.report.sweep_tables import ablation_markdown
from edgegolf.sweep.ablation import AblationResults

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models" / "mnist"
CARDS = [card for folder in sorted(MODELS.glob("*")) if (card := read_card(folder)) is not None]


@pytest.mark.parametrize("page", ["README.md", "docs/zoo.md"])
def test_tables_are_written_from_the_cards(page: str) -> None:
    text = (ROOT / page).read_text()
    written = replace_section(text, "training", training_markdown(CARDS))
    written = replace_section(written, "files", files_markdown(CARDS))
    for dataset in (ROOT / "models").iterdir():
        cards = [card for folder in sorted(dataset.iterdir()) if (card := read_card(folder))]
        written = replace_section(written, f"training-{dataset.name}", training_markdown(cards))
    assert text == written, "run make docs"


def test_tables_of_ablations_and_of_other_data_sets_are_written_from_their_records() -> None:
    text = written = (ROOT / "docs" / "cifar10.md").read_text()
    for dataset in (ROOT / "models").iterdir():
        cards = [card for folder in sorted(dataset.iterdir()) if (card := read_card(folder))]
        written = replace_section(written, f"training-{dataset.name}", training_markdown(cards))
        if (path := ROOT / "docs" / "costs" / f"{dataset.name}.json").exists():
            counts = read_instructions(path.with_name(f"{dataset.name}-arm.json"))
            content = costs_markdown(read_results(path), counts)
            written = replace_section(written, f"costs-{dataset.name}", content)
            assert content in written
    for path in (ROOT / "docs" / "ablations").glob("*.json"):
        content = ablation_markdown(from_json(path.read_bytes(), AblationResults, str(path)))
        written = replace_section(written, f"ablation-{path.stem}", content)
        assert content in written
    assert text == written, "run make docs"


def test_the_table_of_strangers_files_is_written_from_its_counts() -> None:
    text = (ROOT / "docs" / "strangers.md").read_text()
    counts = (ROOT / "docs" / "strangers.json").read_bytes()
    result = from_json(counts, strangers.Strangers)
    assert result.counts["wrong"] == result.counts["crashed"] == 0
    table = strangers.strangers_markdown(result)
    assert table in text
    assert replace_section(text, "strangers", table) == text, "run make docs"


def test_the_table_of_users_models_is_written_from_its_record() -> None:
    text = (ROOT / "docs" / "users.md").read_text()
    record = from_json((ROOT / "docs" / "users.json").read_bytes(), users.Users)
    assert len(record.users) >= 40
    assert replace_section(text, "users", users.users_markdown(record)) == text, "run make docs"


def test_the_table_of_few_bits_is_written_from_the_cards() -> None:
    text = (ROOT / "docs" / "low-bits.md").read_text()
    content = low_bits_markdown(CARDS)
    assert "`tight_resnet`" in content
    assert content in text
    assert replace_section(text, "low-bits", content) == text, "run make docs"


def test_tables_of_circuits_are_written_from_their_record() -> None:
    sections = circuits.sections(circuits.read())
    for page in ("docs/circuit.md", "docs/footprint.md", "README.md"):
        text = (ROOT / page).read_text()
        assert sections["circuit-answer"] in text
        for name, content in sections.items():
            assert page != "docs/circuit.md" or content in text
            assert replace_section(text, name, content) == text, "run make docs"


def test_the_page_of_verbs_is_what_they_tell() -> None:
    # In a process of its own: click keeps the help option of the first context of a verb.
    script = "import cli_page; print(cli_page.cli_page(), end='')"
    path = os.pathsep.join((str(ROOT), str(ROOT / "benchmarks")))
    page = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "cli.md").read_text() == page, "run python benchmarks/cli_page.py"


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("exactness", exactness.exactness_markdown),
        ("peers", peers.peers_markdown),
        ("hosts", hosts.hosts_markdown),
        ("pis", hosts.pis_markdown),
        ("c-bars", c_bars.bars_markdown),
    ],
)
def test_tables_of_c_are_written_from_their_records(name: str, write: Callable[[], str]) -> None:
    text = (ROOT / "docs" / "c.md").read_text()
    assert write() in text
    assert replace_section(text, name, write()) == text, "run make docs"


def test_records_are_written_and_drawn_from_the_cards() -> None:
    every = [card for path in sorted(MODELS.parent.glob("*/*")) if (card := read_card(path))]
    for page, sections in (
        ("records.md", records_page.records_sections(CARDS)),
        ("frontier.md", records_page.frontier_sections(every)),
        ("low-bits.md", {"bars": low_bits.low_bits_bars_markdown()}),
    ):
        text = (ROOT / "docs" / page).read_text()
        for name, content in sections.items():
            assert content in text
            assert replace_section(text, name, content) == text, "run make docs"
    holders = {card.net.replace(":", "-"): card for card in records_page.holders(CARDS)}
    assert {path.stem for path in records_page.DRAWINGS.glob("*")} == {*holders}
    name, card = next(iter(holders.items()))
    drawn = (records_page.DRAWINGS / f"{name}.svg").read_text()
    assert drawn == records_page.structure_svg(card), "run make docs"


def test_one_net_holds_what_its_lower_bound_does_and_three_seeds_what_their_mean_does() -> None:
    stats = pytest.importorskip("scipy.stats")
    (net,) = nets_of([card for card in CARDS if card.net == "tight_resnet"])
    exact = stats.binomtest(round(net.kept * 10_000), 10_000, alternative="greater").proportion_ci(
        confidence_level=0.95, method="wilson"
    )
    assert net.lower_bound == pytest.approx(exact.low, abs=1e-9)
    assert net.reason(0.99) == "mean of 3 seeds"
    one = replace(net, accuracies=(net.kept,))
    assert one.reason(0.98) == "lower bound"
    assert one.reason(net.kept) == ""


def test_arm_tables_are_written_from_the_counts() -> None:
    text = (ROOT / "docs" / "arm.md").read_text()
    results = read_instructions(ROOT / "benchmarks" / "arm_instructions.json")
    for name, content in instructions_sections(results).items():
        assert replace_section(text, name, content) == text, "run make docs"
        assert content in text


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "models").glob("*/*")), ids=lambda folder: folder.name
)
def test_committed_files_are_those_of_their_card(folder: Path) -> None:
    card = read_card(folder)
    assert card is not None
    assert (folder.parent.name, folder.name) == (card.dataset, card.net.replace(":", "-"))
    for name, facts in card.files.items():
        path = folder / name
        if path.exists() or card.parameters < 100_000:
            assert sha256(path) == facts.sha256
            assert path.stat().st_size == facts.size_bytes


def test_a_page_without_the_section_stays_as_it_is() -> None:
    assert replace_section("text", "training", "table") == "text"
    page = "a\n<!-- t -->\nold\n<!-- /t -->\nb"
    assert replace_section(page, "t", "new\n") == "a\n<!-- t -->\nnew\n<!-- /t -->\nb"


def test_links_lead_to_files() -> None:
    import re

    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
