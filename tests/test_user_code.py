"""Nets and data sets of a user's own: functions in a file, or in a package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgegolf.cards import read_card
from edgegolf.data import load_dataset, named_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.zoo import find_recipe, named_recipe, usual_dataset
from edgegolf.zoo.recipe import NETS, OWN_TRAINING

CODE = '''
import numpy as np
import helper
from edgegolf.zoo.recipe import Article, Training, net

def stripe(image_shape, classes):
    """A line of weights."""
    import keras
    import later
    return keras.Sequential([
        keras.Input(image_shape, batch_size=1),
        keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])

@net(Training(epochs=3, learning_rate=0.01), Article("mine", accuracy=0.5), parameters=12)
def counted(image_shape, classes):
    """Counted."""

def linear(image_shape, classes):
    """Has a zoo net's name."""

def data():
    labels = np.arange(120) % 3
    images = np.zeros((120, 6, 6, 1), np.uint8)
    images[np.arange(120), labels] = helper.BRIGHT
    return images, labels

def floats():
    return np.zeros((60, 6, 6, 1)), np.zeros(60, int)

def broken():
    return 1 / 0
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("BRIGHT = 200")
    (tmp_path / "later.py").write_text("")
    known = dict(NETS)
    yield str(tmp_path / "my.py")
    NETS.clear()
    NETS.update(known)
    for name in ("helper", "later"):
        sys.modules.pop(name, None)


def test_a_function_is_a_net(file: str) -> None:
    recipe = named_recipe(f"{file}:stripe")
    assert (recipe.name, recipe.summary) == ("stripe", "A line of weights")
    assert recipe.training == OWN_TRAINING
    counted = named_recipe(f"{file}:counted")
    assert (counted.training.epochs, counted.article.accuracy, counted.parameters) == (3, 0.5, 12)
    assert usual_dataset([f"{file}:stripe", "linear"]) == "mnist"


def test_names_that_are_not_typed_run_no_code(file: str, tmp_path: Path) -> None:
    for find in (find_recipe, load_dataset):
        with pytest.raises(EdgegolfError):
            find(f"{file}:data")
    folder = Path(__file__).parent.parent / "models" / "mnist" / "linear"
    card = json.loads((folder / "card.json").read_text()) | {"dataset": f"{file}:data"}
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(EdgegolfError, match="names a Python file"):
        read_card(tmp_path)
    assert "helper" not in sys.modules


def test_a_function_is_a_data_set(file: str) -> None:
    dataset = named_dataset(f"{file}:data")
    assert (dataset.name, dataset.image_shape, dataset.classes) == ("data", (6, 6, 1), 3)
    splits = [dataset.split(name) for name in ("train", "validation", "test")]
    assert [len(each.labels) for each in splits] == [90, 10, 20]
    assert np.unique(splits[2].labels, return_counts=True)[1].tolist() == [7, 7, 6]
    for each in splits:
        assert (each.images[np.arange(len(each.labels)), each.labels] == 200).all()
    assert named_dataset(f"{file}:data").checksum == dataset.checksum


@pytest.mark.parametrize(
    ("name", "told"),
    [("floats", "float64"), ("broken", "line 33"), ("dada", "did you mean"), ("stripe", "stripe")],
)
def test_what_is_no_data_set_is_refused(file: str, name: str, told: str) -> None:
    with pytest.raises(EdgegolfError) as refused:
        named_dataset(f"{file}:{name}")
    assert told in f"{refused.value.message} {refused.value.hint}"


def test_a_name_of_the_zoo_is_refused(file: str) -> None:
    with pytest.raises(EdgegolfError, match="a net of the zoo"):
        named_recipe(f"{file}:linear")
    with pytest.raises(EdgegolfError, match="does not exist"):
        named_recipe("nowhere.py:net")


def test_packages_offer_nets_and_data_sets(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = tmp_path / "mine-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[edgegolf.nets]\ntheirs = my:stripe\n[edgegolf.datasets]\nstripes = my:data\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my", raising=False)
    assert find_recipe("theirs").name == "theirs"
    assert load_dataset("stripes").classes == 3


def test_a_net_of_a_users_own_is_trained_on_data_of_their_own(file: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    done = subprocess.run(
        [sys.executable, "-m", "edgegolf", "train", "my.py:stripe", "--dataset", "my.py:data"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    card = read_card(tmp_path / "models" / "data" / "stripe")
    assert card is not None
    assert (card.net, card.dataset, card.parameters) == ("stripe", "data", 6 * 6 * 3 + 3)
