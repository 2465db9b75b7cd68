"""Ablations: their definitions, and a real one on the embedded digits."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.sweep.ablation import (
    Group,
    Idea,
    ablation_names,
    load_ablation,
    read_ablation,
    training_of,
)
from edgegolf.sweep.runs import SweepRun
from edgegolf.sweep.store import Store
from edgegolf.zoo import find_recipe, with_epochs


def test_the_articles_six_ideas_stand_beside_their_figures() -> None:
    article, ours = read_ablation("tencnn").groups
    assert [idea.article for idea in article.ideas] == [0.75, 0.85, 0.875, None, 0.8996, 0.901]
    assert [find_recipe(idea.net).name for idea in article.ideas] == [
        "tencnn:kernels=531,dropout=0",
        "tencnn:kernels=531,dropout=0",
        "tencnn:kernels=531,dropout=20",
        "tencnn:kernels=531,dropout=50",
        "tencnn:dropout=20",
        "tencnn",
    ]
    augmented = [training_of(article, idea, 4).flip > 0 for idea in article.ideas]
    assert augmented == [False, True, True, True, True, True]
    assert ours.ideas[0].net == "tencnn"
    recipe = with_epochs(find_recipe("tencnn"), 5).training
    assert training_of(ours, ours.ideas[0], 5) == replace(recipe, validation_images=0)
    assert training_of(article, article.ideas[0], 5).validation_images == 0


@pytest.mark.parametrize("name", ablation_names())
def test_every_idea_is_another_run(name: str) -> None:
    pytest.importorskip("sklearn")
    definition = read_ablation(name)
    ablation = load_ablation(name, definition, load_dataset("digits"), None, 2)
    ideas = sum(len(group.ideas) for group in definition.groups)
    assert len(ablation.sweep.runs) == 2 * ideas
    assert {run.training.epochs for run in ablation.sweep.runs} == {definition.epochs}


def test_what_is_no_hyper_parameter_is_refused() -> None:
    idea = Idea("faster", "linear", {"learning_speed": 2})
    with pytest.raises(EdgegolfError, match="faster: there is no hyper-parameter 'learning_speed'"):
        training_of(Group("", (idea,)), idea, 1)


def test_an_unknown_ablation_lists_the_known() -> None:
    with pytest.raises(EdgegolfError, match=r"no ablation of '\.\./tencnn'") as caught:
        read_ablation("../tencnn")
    assert "tencnn" in caught.value.hint


def ablate(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgegolf", "ablate", "loop_resnet", "--dataset", "digits",
         "--epochs", "1", "--jobs", "1", "--store", "store.sqlite", *options],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip


@pytest.mark.long
def test_an_ablation_is_trained(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("sqlalchemy")
    done = ablate(tmp_path)
    assert "4 of 4. loop_resnet" in done.stderr
    assert "a normalization for each" in done.stdout
    found = json.loads(ablate(tmp_path, "--json").stdout)
    assert [len(idea["test_accuracies"]) for idea in found["ideas"]] == [1] * 4
    assert "4 of 4 are done" in ablate(tmp_path).stderr


def test_what_is_known_of_an_ablation_is_shown_and_not_trained(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("sqlalchemy")
    definition = read_ablation("loop_resnet")
    store = Store(str(tmp_path / "store.sqlite"))
    accuracies = []
    for run in load_ablation("", definition, load_dataset("digits"), 1, 1).sweep.runs:
        accuracies.append(0.5 + len(accuracies) / 16)
        assert store.claim([run], "a") == run
        store.finish(run, "a", SweepRun(
            run.net, run.dataset, run.seed, 1, 10, 10, 10, (0.1,), 0.5, accuracies[-1], 1.0, "here",
        ))  # fmt: skip
    store.close()
    again = ablate(tmp_path)
    assert "4 of 4 are done" in again.stderr
    assert "a normalization for each" in again.stdout
    found = json.loads(ablate(tmp_path, "--json").stdout)
    assert (found["schema"], found["epochs"]) == ("edgegolf.ablation/1", 1)
    assert [idea["test_accuracies"] for idea in found["ideas"]] == [[each] for each in accuracies]
    markdown = ablate(tmp_path, "--markdown").stdout
    assert "1 epoch each, on digits" in markdown
    assert f"| {accuracies[0] * 100:.2f} % |" in markdown
