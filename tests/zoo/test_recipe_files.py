"""Recipes as TOML files: read, refused, and trained as any net."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegolf.errors import EdgegolfError
from edgegolf.zoo import all_names, default_names, find_recipe, named_recipe, usual_dataset
from edgegolf.zoo.own import SHIPPED, parse_recipe

GOOD = """\
net = "golf_net:stem=none,body=--,widths=1,head=flatten"
summary = "small"
source = "a search"

[training]
epochs = 2
learning_rate = 0.02
"""


def test_a_file_is_a_net(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(GOOD)
    recipe = named_recipe(str(path))
    assert (recipe.name, recipe.parameters) == ("small", 500)
    assert (recipe.training.epochs, recipe.training.learning_rate) == (2, 0.02)
    assert recipe.training.clip_norm == find_recipe("golf_net").training.clip_norm
    assert usual_dataset([str(path)]) == "mnist"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("stem=none", "stem=some", "no golf_net with stem 'some'"),
        ("epochs = 2", "epochs = 0", "epochs cannot be 0"),
        ("epochs = 2", "epochs = 2.0", "epochs cannot be 2.0"),
        ("epochs = 2", "epochs = true", "epochs cannot be True"),
        ("epochs = 2", "epoch = 2", "no hyper-parameter 'epoch'"),
        ("0.02", "nan", "learning_rate cannot be nan"),
        ("0.02", "-1", "learning_rate cannot be -1"),
        ("epochs = 2", 'optimizer = "luck"', "optimizer cannot be 'luck'"),
        ('summary = "small"', "", "line|summary"),
        ('summary = "small"', "summary = 3", "line 2, key summary"),
        ("source", "sauce", "line 3, key sauce"),
        ("source", 'dataset = "cats"\nsource', "no data set 'cats'"),
        ("[training]", "[training", "is not TOML"),
    ],
)
def test_bad_files_are_refused(old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(EdgegolfError, match=told):
        parse_recipe(GOOD.replace(old, new).encode(), "bad", "bad.toml")


def test_names_of_the_zoo_are_taken(tmp_path: Path) -> None:
    (tmp_path / "tight_resnet.toml").write_text(GOOD)
    with pytest.raises(EdgegolfError, match="has the name of a net of the zoo"):
        named_recipe(str(tmp_path / "tight_resnet.toml"))
    with pytest.raises(EdgegolfError, match="no name that a net can have"):
        named_recipe(str(tmp_path / "a b.toml"))
    with pytest.raises(EdgegolfError, match="does not exist"):
        named_recipe(str(tmp_path / "missing.toml"))


@given(st.data())
def test_damaged_files_give_a_recipe_or_one_line(data: st.DataObject) -> None:
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=6))
    try:
        recipe = parse_recipe(bytes(content), "bad", "bad.toml")
    except EdgegolfError:
        return
    assert recipe.parameters > 0


@pytest.mark.long
def test_training_it_reads_the_test_split_and_writes_the_day(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    (tmp_path / "small.toml").write_text(GOOD.replace("body=--", "body=-"))
    before = date.today().isoformat()
    done = subprocess.run(
        [sys.executable, "-m", "edgegolf", "train", "small.toml", "--dataset", "digits"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "models" / "digits" / "small" / "card.json").read_text())
    assert card["net"] == "small"
    assert card["recipe"]["learning_rate"] == 0.02
    assert before <= card["tested_on"] <= date.today().isoformat()


@pytest.mark.parametrize("name", [file.stem for file in sorted(Path(str(SHIPPED)).glob("*.toml"))])
def test_recipes_that_come_with_the_package_are_nets_that_are_trained_when_named(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.parameters == int(name.removeprefix("golf_"))
    assert name in all_names()
    assert name not in default_names(recipe.image_shape)
