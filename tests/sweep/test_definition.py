"""Sweep files: what the shipped ones say, and what is said of bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegolf.data import load_dataset
from edgegolf.errors import EdgegolfError
from edgegolf.sweep.ablation import load_ablation, read_ablation
from edgegolf.sweep.definition import expand, parse_definition, read_definition, shipped_names
from edgegolf.zoo import find_recipe

GOOD = """\
title = "small"  # of a test
epochs = 2
seeds = 2

[[nets]]
net = "double_cnn"
sizes = [2, 1]

[[nets]]
net = "tight_resnet"
settings = { iterations = [1, 8], channels = [8, 20] }
"""


def test_sizes_and_settings_are_combined() -> None:
    points = expand(parse_definition(GOOD.encode(), "good.toml"))
    assert [point.net for point in points] == [
        "double_cnn:2",
        "double_cnn:1",
        "tight_resnet:iterations=1,channels=8",
        "tight_resnet:iterations=1",
        "tight_resnet:channels=8",
        "tight_resnet",
    ]
    assert {(point.epochs, point.seeds) for point in points} == {(2, 2)}


def test_seeds_of_the_command_line_win() -> None:
    points = expand(parse_definition(GOOD.encode(), "good.toml"), seeds=7)
    assert {point.seeds for point in points} == {7}


@pytest.mark.parametrize("name", ["mlp", "pooled_mlp"])
def test_dense_articles_halve_from_512_to_16(name: str) -> None:
    nets = [point.net for point in expand(read_definition(name))]
    assert nets == [f"{name}:{n}" for n in (512, 256, 128, 64, 32, 16)]


@pytest.mark.parametrize("name", ["cnn", "double_cnn"])
def test_convolutional_articles_halve_from_32_to_1(name: str) -> None:
    points = expand(read_definition(name))
    assert [point.net for point in points] == [f"{name}:{n}" for n in (32, 16, 8, 4, 2, 1)]
    assert {(point.epochs, point.seeds) for point in points} == {(12, 3)}


def test_random_filters_are_drawn_ten_times() -> None:
    points = expand(read_definition("random_cnn"))
    assert {point.seeds for point in points} == {10}
    parameters = {point.net: find_recipe(point.net).parameters for point in points}
    assert (parameters["linear"], parameters["pooled_linear"]) == (7_850, 500)
    assert parameters["random_cnn"] - 20 - 136 == 3_930
    assert len(parameters) > 3


def test_tight_resnet_covers_iterations_and_channels_of_both_twins() -> None:
    nets = {point.net for point in expand(read_definition("tight_resnet"))}
    for name in ("tight_resnet", "tight_resnet_unshared"):
        for setting in ("iterations=1", "iterations=32", "channels=8", "channels=32"):
            assert f"{name}:{setting}" in nets


def test_the_front_contains_every_other_sweep() -> None:
    front = {point.net for point in expand(read_definition("front"))}
    for name in shipped_names():
        assert {point.net for point in expand(read_definition(name))} <= front


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ('title = "small"', "", None, "title"),
        ("epochs = 2", "epoch = 2", 2, "epoch"),
        ("epochs = 2", 'epochs = "2"', 2, "epochs"),
        ("seeds = 2", "seeds = 0", 3, "seeds"),
        ("seeds = 2", "seeds = true", 3, "seeds"),
        ('net = "double_cnn"', 'net = "triple_cnn"', 6, "nets.net"),
        ('net = "double_cnn"', "net = 3", 6, "nets.net"),
        ('net = "double_cnn"', "", 5, "nets.net"),
        ("sizes = [2, 1]", "sizes = [2, 0]", 7, "nets.sizes"),
        ("sizes = [2, 1]", "sizes = [2.5]", 7, "nets.sizes"),
        ("sizes = [2, 1]", "sizes = 2", 7, "nets.sizes"),
        ("sizes = [2, 1]", "", 6, "nets.net"),
        ("sizes = [2, 1]", "size = [2, 1]", 7, "nets.size"),
        ("iterations = [1, 8]", "steps = [1]", 11, "nets.settings"),
        ("iterations = [1, 8]", "iterations = [0]", 11, "nets.settings"),
        ("iterations = [1, 8]", 'iterations = ["x"]', 11, "nets.settings.iterations"),
        ("iterations = [1, 8]", "iterations = []", 11, "nets.settings"),
        ("seeds = 2", 'include = ["nonsense"]', 3, "include"),
    ],
)
def test_bad_files_get_line_and_key(old: str, new: str, line: int | None, key: str) -> None:
    assert old in GOOD
    with pytest.raises(EdgegolfError) as caught:
        parse_definition(GOOD.replace(old, new).encode(), "bad.toml")
    place = f"bad.toml, line {line}, key {key}:" if line else f"bad.toml, key {key}:"
    assert place in caught.value.message


@pytest.mark.parametrize("data", [b"title = ", b"\xff", b"title = 1\ntitle = 2", b"[" * 5000])
def test_what_is_not_toml_gets_its_line(data: bytes) -> None:
    with pytest.raises(EdgegolfError, match=r"bad\.toml is not .*"):
        parse_definition(data, "bad.toml")


def test_an_empty_sweep_is_refused() -> None:
    with pytest.raises(EdgegolfError, match="key nets: a sweep needs nets"):
        parse_definition(b'title = "nothing"', "empty.toml")


def test_unknown_sweeps_are_refused(tmp_path) -> None:
    with pytest.raises(EdgegolfError, match="no sweep 'nonsense'") as caught:
        read_definition("nonsense")
    assert "double_cnn" in caught.value.hint
    with pytest.raises(EdgegolfError, match="does not exist"):
        read_definition(str(tmp_path / "missing.toml"))


SETTINGS = ", ".join(f"k{number} = [1, 2]" for number in range(30))


@pytest.mark.parametrize(
    ("text", "place", "runs"),
    [
        (f'[[nets]]\nnet = "tight_resnet"\nsettings = {{ {SETTINGS} }}', 4, 3 * 2**30),
        ('seeds = 1000000000\n[[nets]]\nnet = "linear"', 4, 10**9),
        (
            'seeds = 4000\n[[nets]]\nnet = "linear"\n[[nets]]\nnet = "mlp"\nsizes = [1, 2]',
            7,
            12_000,
        ),
        ("[[nets]]\nnet = 'linear'\n" * 3_500, 3, 10_500),
    ],
    ids=["settings", "seeds", "tables with seeds", "tables"],
)
def test_products_are_multiplied_not_enumerated(text: str, place: int, runs: int) -> None:
    with pytest.raises(EdgegolfError, match=rf"big\.toml, line {place}, .* {runs:,} runs"):
        parse_definition(f'title = "big"\n{text}\n'.encode(), "big.toml")


def test_seeds_of_the_command_line_and_of_included_sweeps_are_bounded() -> None:
    for name, seeds in (("mlp", 10**12), ("front", 300)):
        with pytest.raises(EdgegolfError, match=r"would be .* runs, more than the 10,000"):
            expand(read_definition(name), seeds)
    with pytest.raises(EdgegolfError, match=r"ideas with 1,000,000,000,000 seeds each would be"):
        load_ablation("tencnn", read_ablation("tencnn"), load_dataset("digits"), None, 10**12)


def test_a_sweep_that_is_included_often_is_read_once() -> None:
    names = ", ".join(['"front"'] * 2_000)
    definition = parse_definition(f'title = "a"\ninclude = [{names}]'.encode(), "often.toml")
    assert expand(definition) == expand(read_definition("front"))


@pytest.mark.parametrize(
    "text",
    [
        "seeds = " + "9" * 5_000,
        "epochs = " + "9" * 300,
        "epochs = 1979-05-27",
        "seeds = inf",
        "x = " + "[" * 300 + "]" * 300,
        "seeds = " + "[" * 100 + "]" * 100,
        "[" + ".".join("a" * 20_000) + "]",
        "[[nets]]\nnet = '" + "x" * 60_000 + "'",
        "[[nets]]\nnet = 'mlp'\nsizes = [" + "'x'," * 10_000 + "]",
        '"e\\nk\\u001b[31m" = 1',
        '[[nets]]\nnet = "li\\nn\\u001b[31mear"',
    ],
)
def test_hostile_values_get_one_printable_line(text: str) -> None:
    with pytest.raises(EdgegolfError) as caught:
        parse_definition(f'title = "a"\n{text}\n'.encode(), "bad.toml")
    assert caught.value.message.startswith("bad.toml")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 2_000


def test_a_title_is_one_printable_line() -> None:
    definition = parse_definition(GOOD.replace("small", "s\\nm\\u001b[31m").encode(), "good.toml")
    assert definition.title.isprintable()


def test_large_files_are_refused(tmp_path) -> None:
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (1 << 20))
    with pytest.raises(EdgegolfError, match="more than the 65,536 allowed"):
        read_definition(str(path))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_give_a_sweep_or_one_line(data: st.DataObject) -> None:
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.integers(0, 8))
        content[start:end] = data.draw(st.binary(max_size=8) | st.sampled_from(TOKENS))
    try:
        points = expand(parse_definition(bytes(content), "bad.toml"))
    except EdgegolfError:
        pass
    else:
        assert 0 < sum(point.seeds for point in points) <= 10_000


TOKENS = [
    b"[[nets]]\n",
    b"[",
    b"]",
    b"{",
    b"}",
    b"99999",
    b"-1",
    b"inf",
    b"seeds=",
    b"sizes=",
    b"=",
]
