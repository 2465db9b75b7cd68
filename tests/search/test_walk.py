"""The walk of docs/search.md, from its space to a card."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from edgegolf.cards import read_card
from edgegolf.search.space import parse_space

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def test_the_page_shows_spaces() -> None:
    for text in blocks("toml"):
        parse_space(text.encode(), "docs/search.md")


@pytest.mark.long
def test_the_walk(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("optuna")
    (tmp_path / "walk.toml").write_text(blocks("toml")[-1])
    outputs = []
    for command in blocks("sh")[-1].splitlines():
        arguments = command.removeprefix("edgegolf ").split()
        done = subprocess.run(
            [sys.executable, "-m", "edgegolf", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "| golf_net:" in outputs[1]
    card = read_card(tmp_path / "models" / "digits" / "walked")
    assert card is not None
    assert card.tested_on is not None
    assert card.tested_on <= date.today().isoformat()
    assert card.recipe["learning_rate"] == 0.05
