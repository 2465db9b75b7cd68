"""Spaces: what the shipped ones say, what is drawn from them, and what is said of bad ones."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegolf.errors import EdgegolfError
from edgegolf.records import parse_toml, toml_names
from edgegolf.search.results import SearchResults, Trial, recipe_text, score
from edgegolf.search.space import SHIPPED as SPACES
from edgegolf.search.space import Choices, Range, parse_space, read_space
from edgegolf.search.study import draw, results
from edgegolf.zoo import find_recipe
from edgegolf.zoo.own import SHIPPED, parse_recipe

GOOD = """\
title = "small"
net = "golf_net"
target = 0.9
parameters = 600
epochs = [1, 3]

[settings]
body = ["aa", "ab-b"]
widths = [{ low = 4, high = 12, step = 4 }, [6, 8]]
residual = [0, 1]

[training]
learning_rate = { low = 0.001, high = 0.1, log = true }
optimizer = "adam"
"""


class Drawn:
    """Draws as a trial of Optuna's does, from Hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def suggest_categorical(self, name: str, values: Any) -> Any:
        return self.data.draw(st.sampled_from(values), label=name)

    def suggest_int(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        return low + step * self.data.draw(st.integers(0, (high - low) // step), label=name)

    def suggest_float(self, name: str, low: float, high: float, log: bool) -> float:
        return self.data.draw(st.floats(low, high), label=name)


@pytest.mark.parametrize("name", toml_names(SPACES))
@settings(max_examples=50)
@given(data=st.data())
def test_what_is_drawn_is_a_net_within_bounds_or_refused(name: str, data: st.DataObject) -> None:
    space = read_space(name)
    try:
        recipe = space.recipe(draw(space, Drawn(data)))
    except EdgegolfError as error:
        told = error.message
        assert "parameters" in told or "no golf_net" in told
        return
    assert space.parameters is None or recipe.parameters <= space.parameters
    assert find_recipe(recipe.name).name == recipe.name
    assert recipe.training.epochs == space.epochs[-1]


@pytest.mark.parametrize("name", toml_names(SPACES))
def test_a_shipped_space_has_nets(name: str) -> None:
    """Of what a sampler draws first, a good part can be trained."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space, fitting = read_space(name), 0
    for _ in range(200):
        try:
            space.recipe(draw(space, study.ask()))
        except EdgegolfError:
            continue
        fitting += 1
    assert fitting >= 40


def allows(dimension: Choices | Range, value: Any) -> bool:
    if isinstance(dimension, Choices):
        return value in dimension.values
    return dimension.low <= value <= dimension.high


@pytest.mark.parametrize(("space", "net"), [("mnist-97", "golf_375"), ("mnist-98", "golf_535")])
def test_records_are_points_of_their_space(space: str, net: str) -> None:
    """So its search can find what is as good, from nothing but the file."""
    recipe, found = find_recipe(net), read_space(space)
    text = (SHIPPED / f"{net}.toml").read_text("utf-8")
    settings = parse_toml(text)["net"].partition(":")[2].split(",")
    drawn = {name: getattr(each, "values", (None,))[0] for name, each in found.dimensions.items()}
    for setting in settings:
        key, _, value = setting.partition("=")
        drawn[f"settings.{key}"] = int(value) if value.isdigit() else value
    drawn |= {"settings.head_biases": 1, "settings.stem_stride": 2}
    for name in ("learning_rate", "shift", "optimizer"):
        drawn[f"training.{name}"] = getattr(recipe.training, name)
    assert all(allows(each, drawn[name]) for name, each in found.dimensions.items())
    assert found.recipe(drawn).parameters == recipe.parameters
    assert found.recipe(drawn).training == recipe.training


def test_ranges_lists_and_parts_are_dimensions() -> None:
    space = parse_space(GOOD.encode(), "good.toml")
    assert space.dimensions == {
        "settings.body": Choices(("aa", "ab-b")),
        "settings.widths.0": Range(4, 12, 4),
        "settings.widths.1": Choices((6, 8)),
        "settings.residual": Choices((0, 1)),
        "training.learning_rate": Range(0.001, 0.1, log=True),
        "training.optimizer": Choices(("adam",)),
    }
    drawn = {name: getattr(each, "values", (None,))[0] for name, each in space.dimensions.items()}
    drawn |= {"settings.widths.0": 8, "training.learning_rate": 0.01}
    assert space.recipe(drawn).name == "golf_net:body=aa,widths=8-6,residual=0"


def test_another_space_is_another_study() -> None:
    space = parse_space(GOOD.encode(), "good.toml")
    for old, new, same in (("small", "other", True), ("0.9", "0.8", False), ("8]", "9]", False)):
        changed = parse_space(GOOD.replace(old, new).encode(), "good.toml")
        assert (changed.fingerprint == space.fingerprint) == same


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ('title = "small"', "", None, "title"),
        ("target = 0.9", "target = 90", 3, "target"),
        ("target = 0.9", "target = nan", 3, "target"),
        ("parameters = 600", "parameters = 0", 4, "parameters"),
        ("epochs = [1, 3]", "epochs = [3, 1]", 5, "epochs"),
        ("epochs = [1, 3]", "epochs = []", 5, "epochs"),
        ("epochs = [1, 3]", "epochs = 3", 5, "epochs"),
        ('net = "golf_net"', 'net = "gulf_net"', 2, "net"),
        ("[settings]", 'minimize = "luck"\n[settings]', 7, "minimize"),
        ("[settings]", 'dataset = "cats"\n[settings]', 7, "dataset"),
        ("[settings]", "keep = 1\n[settings]", 7, "keep"),
        ("[settings]", "trials = 0\n[settings]", 7, "trials"),
        ("[settings]", "trial = 5\n[settings]", 7, "trial"),
        ("low = 4", "low = 40", 9, "settings.widths"),
        ("step = 4", "step = 0.5", 9, "settings.widths"),
        ("step = 4", "stop = 4", 9, "settings.widths"),
        ("low = 0.001", "low = 0.0", 13, "training.learning_rate"),
        ("residual = [0, 1]", "residual = []", 10, "settings.residual"),
        ("residual = [0, 1]", "residual = [[[1]]]", 10, "settings.residual"),
        ("residual = [0, 1]", "residual = 1979-05-27", 10, "settings.residual"),
        ("[training]", "[training]\nepochs = 3", 12, "training"),
    ],
)
def test_bad_spaces_get_line_and_key(old: str, new: str, line: int | None, key: str) -> None:
    assert old in GOOD
    with pytest.raises(EdgegolfError) as caught:
        parse_space(GOOD.replace(old, new).encode(), "bad.toml")
    place = f"bad.toml, line {line}, key {key}:" if line else f"bad.toml, key {key}:"
    assert place in caught.value.message


def test_what_no_net_takes_is_refused_when_it_is_drawn() -> None:
    space = parse_space(GOOD.replace("residual", "residue").encode(), "good.toml")
    drawn = dict.fromkeys(space.dimensions, 4) | {"settings.body": "aa"}
    with pytest.raises(EdgegolfError, match="cannot take the setting 'residue=4'"):
        space.recipe(drawn)


@settings(max_examples=200)
@given(st.data())
def test_damaged_spaces_are_one_or_get_one_line(data: st.DataObject) -> None:
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.integers(0, 8))
        token = st.sampled_from([b"[", b"{", b"}", b"9" * 30, b"-1", b"inf", b"=", b"[[1]]"])
        content[start:end] = data.draw(st.binary(max_size=8) | token)
    try:
        space = parse_space(bytes(content), "bad.toml")
        space.recipe(draw(space, Drawn(data)))
    except EdgegolfError as error:
        assert error.message.isprintable()  # noqa: PT017


def test_unknown_spaces_are_refused() -> None:
    with pytest.raises(EdgegolfError, match="no space 'nonsense'") as caught:
        read_space("nonsense")
    assert "tiny" in caught.value.hint


def some_trial(number: int, parameters: int, *accuracies: float, complete: bool = True) -> Trial:
    net, training = "golf_net:body=a", {"learning_rate": 0.02}
    return Trial(number, net, training, 5, parameters, 1000, accuracies, complete)


def some_results(*trials: Trial) -> SearchResults:
    return SearchResults("s", "a title", "mnist", 0.95, "parameters", 9, 1, trials)


def test_the_front_and_the_best() -> None:
    cheap, good, dear, early = (
        some_trial(0, 100, 0.9),
        some_trial(1, 200, 0.95, 0.97),
        some_trial(2, 300, 0.95),
        some_trial(3, 50, 0.99, complete=False),
    )
    results = some_results(cheap, good, dear, early)
    assert results.front == (cheap, good)
    assert results.best == good
    assert some_results(cheap, early).best == cheap
    assert some_results(early).best is None
    assert score(100, [0.96], 0.95) == 100
    assert score(100, [0.9], 0.95) == pytest.approx(400)


def test_bytes_are_those_of_the_file_that_export_would_make() -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("sklearn")
    from edgegolf.data import load_dataset
    from edgegolf.search.costs import file_bytes

    def size(widths: int) -> int:
        return file_bytes(f"golf_net:stem_kernel=3,body=aa,widths={widths}", load_dataset("digits"))

    few, many = size(4), size(12)
    weights = [
        find_recipe(f"golf_net:stem_kernel=3,body=aa,widths={n}").parameters for n in (4, 12)
    ]
    assert few > weights[0]
    assert 0.9 < (many - few) / (weights[1] - weights[0]) < 1.5  # a byte for each weight


def test_trials_are_read_from_a_study() -> None:
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study()
    trial, expected = study.ask(), some_trial(0, 200, 0.95, 0.97)
    kept = {k: v for k, v in vars(expected).items() if k not in ("number", "is_complete")}
    trial.set_user_attr("facts", json.dumps(kept))
    study.ask()  # goes on
    study.tell(trial, 1.0)
    assert results(study) == (expected,)


@pytest.mark.parametrize("facts", ["{", "3", "{}", '{"net": 3}', '{"accuracies": "high"}'])
def test_a_damaged_trial_is_told(facts: str) -> None:
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study()
    trial = study.ask()
    trial.set_user_attr("facts", facts)
    study.tell(trial, 1.0)
    with pytest.raises(EdgegolfError, match="is damaged"):
        results(study)


def test_a_best_net_is_a_recipe() -> None:
    trial = some_trial(1, 200, 0.95, 0.97)
    text = recipe_text(some_results(trial), trial)
    recipe = parse_recipe(text.encode(), "small", "small.toml")
    assert recipe.build is not None
    assert (recipe.training.epochs, recipe.training.learning_rate) == (5, 0.02)
    assert re.search("96.00% on the validation split, mean of 2", recipe.summary)
